"""`likeness evaluate`: the papers' claims, measured on drawn people the model was never trained on."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from protocol.errors import InvalidRequest

from ..config import Settings


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
    from ..workbench import open_workbench

    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(f"The folder {options.out} cannot be made: {error.strerror or error}. Choose another with --out.") from error
    sizes = QUICK if options.quick else FULL
    bench = open_workbench(settings)
    styled = open_workbench(settings, f"{bench.model.id}:{bench.model.styles[0].name}") if bench.model.styles else None
    with Bar("evaluate", sizes.pictures) as bar:
        rows = evaluate(bench, styled, sizes, bar, options.out)
    print(markdown(rows))
    print(f"{verdict(rows)} Table, figures and pictures: {options.out}")
    return 0
