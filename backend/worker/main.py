"""The worker's command line: `python -m backend.worker.main --pipe HANDLE --device cuda:0 --pipeline studio`. Only the server runs it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..pipe import inherited_channel
from .nothing import BUSY_STEP_S, Nothing
from .serve import Pipeline, serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Work for the server that started this process."""
    options = _parser().parse_args(arguments)
    return serve(inherited_channel(options.pipe), lambda: _pipeline(options), ahead=lambda: _ahead(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="likeness worker")
    parser.add_argument("--pipe", required=True)
    parser.add_argument("--pipeline", choices=("studio", "nothing", "busy"), default="studio")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--storage", default="same")
    parser.add_argument("--compile", default="no")
    parser.add_argument("--graphs", default="no")
    parser.add_argument("--attention", default="auto")
    parser.add_argument("--model", default="sketch")
    parser.add_argument("--models", type=Path, default=None)
    parser.add_argument("--characters", type=Path, required=True)
    return parser


def _pipeline(options: argparse.Namespace) -> Pipeline:
    if options.pipeline != "studio":
        return Nothing(BUSY_STEP_S if options.pipeline == "busy" else 0.0)
    from ..config import defaults
    from ..deferred import defer

    defer()  # imports torch: late, so that a worker that draws nothing starts at once
    from .studio import StudioPipeline

    usual = defaults(os.environ)
    models = options.models or usual.models
    exactness = {name: getattr(options, name) for name in ("dtype", "storage", "compile", "graphs", "attention")}
    settings = replace(usual, models=models, model=options.model, device=options.device, **exactness)
    return StudioPipeline(settings, options.characters)


def _ahead(options: argparse.Namespace) -> None:
    if options.pipeline == "studio":
        from .ahead import import_ahead

        import_ahead()


if __name__ == "__main__":
    sys.exit(main())
