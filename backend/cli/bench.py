"""`likeness bench protocol`: what the way to the backend and back costs, beside its floor and beside the way of others."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from ..config import Settings


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "what", choices=("protocol", "picture"), help="protocol: nothing is drawn; picture: the backend beside this process"
    )
    parser.add_argument("--side", type=int, default=1024, help="side of the canvas in pixels")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="also send N small jobs and watch the backend's memory")


def run(options: Namespace, settings: Settings) -> int:
    """Measure and print; 1 if a goal is missed."""
    if options.what == "picture":
        from ..bench_picture import compare
        from ..bench_picture import report as told

        compared = compare(settings, options.rounds)
        print("\n".join(told(compared)))
        return 0 if compared.good else 1
    from ..bench import measure, report

    results = measure(options.side, options.rounds, options.jobs)
    print("\n".join(report(results)))
    return 0 if results.good else 1
