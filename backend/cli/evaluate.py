"""`likeness evaluate`: the papers' claims, measured on drawn people the model was never trained on."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import ExitStack
from pathlib import Path

from protocol.errors import InvalidRequest, ModelError

from ..config import Settings
from .work import bench_for


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--quick", action="store_true", help="a dozen persons instead of a hundred: figures that scatter, in minutes")
    parser.add_argument(
        "--out", default=Path("out/evaluation"), type=Path, metavar="DIR", help="folder for table.md, evaluation.json and sheet.png"
    )
    parser.add_argument("--model", metavar="ID", help="the model (default: sketch, the built-in one)")


def run(options: Namespace, settings: Settings) -> int:
    """Measure, and print the table."""
    from ..evaluation.evaluate import evaluate
    from ..evaluation.findings import FULL, QUICK
    from ..evaluation.table import markdown, verdict
    from ..progress import Bar
    from ..workbench import find_model, open_faces

    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(f"The folder {options.out} cannot be made: {error.strerror or error}. Choose another with --out.") from error
    sizes = QUICK if options.quick else FULL
    model = find_model(settings, settings.model)
    faces = open_faces(model, settings)
    if faces is None:
        raise ModelError(f"The model {model.id!r} has no face models, so no likeness can be measured. Choose another model.")
    with ExitStack() as open_:
        bench = open_.enter_context(bench_for(settings))
        styled = open_.enter_context(bench_for(settings, f"{model.id}:{model.styles[0].name}")) if model.styles else None
        rows = evaluate(bench, styled, faces, sizes, open_.enter_context(Bar("evaluate", sizes.pictures)), options.out)
    print(markdown(rows))
    print(f"{verdict(rows)} Table, figures and pictures: {options.out}")
    return 0
