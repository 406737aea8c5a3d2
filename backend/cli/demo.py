"""`likeness demo`: see the product work, without any file of one's own."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..config import Settings
from .work import bench_for, make_folder


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--out", default=Path("out/demo"), type=Path, metavar="DIR", help="folder for the pictures (default: out/demo)")


def run(options: Namespace, settings: Settings) -> int:
    """Paint the demo and say where it is."""
    from ..demo import run_demo

    make_folder(options.out)
    with bench_for(settings) as bench:
        sheet = run_demo(bench, options.out)
    about = json.loads((options.out / "demo.json").read_text(encoding="utf-8"))
    likeness = "no face could be recognised" if about["mean_similarity"] is None else f"mean likeness {about['mean_similarity']:.2f}"
    print(f"{len(about['pictures'])} pictures in {about['seconds']:.0f} s, {likeness}. The contact sheet: {sheet}")
    return 0
