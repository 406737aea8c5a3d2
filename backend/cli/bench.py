"""`likeness bench`: how fast each part is beside what it is compared with, goal by goal."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Settings

if TYPE_CHECKING:
    from ..speed.goals import Report

WHAT = """protocol: nothing is drawn; picture: the backend beside this process; engine: beside plain diffusers with the same weights;
start: what processes cost before they are of use; memory: what a picture needs beside the weights"""
STEPS = 30
ROUNDS = {"protocol": 15, "picture": 15, "engine": 7, "start": 5, "memory": 1}


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument("what", choices=tuple(ROUNDS), help=WHAT)
    parser.add_argument("--side", type=int, default=1024, help="protocol: side of the canvas in pixels")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each side is measured (engine: pairs, 7; others: 5 or 15)")
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="protocol: also send N small jobs and watch the backend's memory")
    parser.add_argument(
        "--clock", choices=("wall", "processor"), default="wall", help="protocol: 'processor' is for a busy machine (all processes of ours)"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="engine, memory: steps of a picture (30; a processor times 10)")
    parser.add_argument(
        "--shapes",
        choices=("sdxl", "small", "tiny"),
        help="engine, memory: the random models' size (a GPU: sdxl, else small)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="all but picture: write everything that was measured there")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="all but picture: draw the figures beside their goals")


def run(options: Namespace, settings: Settings) -> int:
    """Measure and print; 1 if a goal is missed."""
    rounds = max(1, options.rounds or ROUNDS[options.what])
    match options.what:
        case "picture":
            from ..speed.picture import compare
            from ..speed.picture import report as told

            compared = compare(settings, rounds)
            print("\n".join(told(compared)))
            return 0 if compared.good else 1
        case "protocol":
            from ..speed.protocol_goals import measure
            from ..speed.turns import Clock

            return _given(measure(options.side, rounds, options.jobs, _say, Clock(options.clock)), options)
        case "start":
            from ..speed.start import measure_start

            return _given(measure_start(rounds, _say), options)
        case "memory":
            from ..speed.memory import measure_memory

            return _given(measure_memory(settings, options.shapes, options.steps or STEPS), options)
        case _:
            from ..speed.engine_goals import Run
            from ..speed.run import measure_engine

            return _given(measure_engine(settings, options.shapes, Run(options.steps or STEPS, rounds, timed=options.steps), _say), options)


def _given(report: Report, options: Namespace) -> int:
    """Print a report and write what was asked for."""
    print("\n".join(report.lines()))
    if options.json is not None:
        report.write_json(options.json)
    if options.picture is not None:
        from ..speed.chart import draw

        draw(report, options.picture)
    return 0 if report.good else 1


def _say(line: str) -> None:
    """What happens meanwhile: it takes minutes, and standard output is for the report."""
    print(line, file=sys.stderr, flush=True)
