"""`likeness evaluate`: the papers' claims, measured on drawn people the model was never trained on."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import ModelError

from ..config import Settings
from .arguments import whole
from .work import bench_for, make_folder

if TYPE_CHECKING:
    from ..faces import FaceAnalyser

PEOPLE, FEW_PEOPLE = 24, 6
"""Persons that shortcuts are compared on."""


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--quick", action="store_true", help="a dozen persons instead of a hundred: figures that scatter, in minutes")
    parser.add_argument(
        "--out", default=Path("out/evaluation"), type=Path, metavar="DIR", help="folder for table.md, evaluation.json and sheet.png"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--shortcuts", action="store_true", help="instead: what each shortcut (--quick) costs in likeness and saves in time"
    )
    instead.add_argument("--small-faces", action="store_true", help="instead: what the second pass over small faces (--face-pass) gains")
    parser.add_argument(
        "--first",
        type=_first,
        default=0,
        metavar="N",
        help="number of the first person (default: 0); others than the first hundred are fresh ones",
    )
    parser.add_argument("--model", metavar="ID", help="the model (default: sketch, the built-in one)")


def _first(text: str) -> int:
    return whole(text, 0, 100_000, "a person's number")


def run(options: Namespace, settings: Settings) -> int:
    """Measure, and print the table."""
    from ..evaluation.evaluate import evaluate
    from ..evaluation.findings import FULL, QUICK
    from ..evaluation.table import markdown, verdict
    from ..progress import Bar
    from ..workbench import find_model, open_faces

    make_folder(options.out)
    sizes = replace(QUICK if options.quick else FULL, first=options.first)
    model = find_model(settings, settings.model)
    faces = open_faces(model, settings)
    if faces is None:
        raise ModelError(f"The model {model.id!r} has no face models, so no likeness can be measured. Choose another model.")
    if options.small_faces:
        return _small_faces(options, settings, faces)
    if options.shortcuts:
        return _shortcuts(options, settings, faces)
    with ExitStack() as open_:
        bench = open_.enter_context(bench_for(settings))
        styled = open_.enter_context(bench_for(settings, f"{model.id}:{model.styles[0].name}")) if model.styles else None
        rows = evaluate(bench, styled, faces, sizes, open_.enter_context(Bar("evaluate", sizes.pictures)), options.out)
    print(markdown(rows))
    print(f"{verdict(rows)} Table, figures and pictures: {options.out}")
    return 0


def _shortcuts(options: Namespace, settings: Settings, faces: FaceAnalyser) -> int:
    from ..evaluation.evaluate import compare_shortcuts
    from ..evaluation.shortcuts import WAYS
    from ..evaluation.table import markdown
    from ..progress import Bar

    people = FEW_PEOPLE if options.quick else PEOPLE
    clock = time.process_time if settings.alone == "yes" else time.perf_counter
    with bench_for(settings) as bench, Bar("shortcuts", people * len(WAYS)) as bar:
        print(markdown(compare_shortcuts(bench, faces, people, bar, options.out, clock)))
    return 0


def _small_faces(options: Namespace, settings: Settings, faces: FaceAnalyser) -> int:
    """Measure the pass over small faces; 1 where it gains nothing beyond chance."""
    from ..evaluation.evaluate import compare_small_faces
    from ..evaluation.small_faces import report
    from ..progress import Bar

    people = FEW_PEOPLE if options.quick else PEOPLE
    with bench_for(settings) as bench, Bar("small faces", 2 * people) as bar:
        measured = compare_small_faces(bench, faces, people, bar, options.out)
    print("\n".join([*report(measured), f"Figures and pictures: {options.out}"]))
    return 0 if measured.better.value > 2 * measured.better.error else 1
