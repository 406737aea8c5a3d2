"""`likeness train PART …`: one part of a model, by the module of `training` that knows how."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser, Namespace
from importlib import import_module
from typing import Any

from ..config import Settings
from ..training.options import PARTS as PARTS
from ..training.options import check
from .arguments import Parser


def add_arguments(parser: ArgumentParser) -> None:
    """The part; its own options come from its module, which is read only when the part is named."""
    described = "; ".join(f"{name}: {summary}" for name, (_, summary) in PARTS.items())
    parser.add_argument("part", choices=PARTS, metavar="PART", help=described)
    parser.add_argument("options", nargs=REMAINDER, metavar="…", help="the part's options; `likeness train PART --help` lists them")


def run(options: Namespace, settings: Settings) -> int:
    """Train the part."""
    modules, summary = PARTS[options.part]
    names = modules.split()
    for name in names:
        module: Any = import_module(f"..training.{name}", __package__)
        parser = Parser(prog=f"likeness train {options.part}", description=f"{summary[0].upper()}{summary[1:]}. {module.__doc__ or ''}")
        module.add_arguments(parser)
        chosen = parser.parse_args(options.options)
        if len(names) > 1:
            chosen.out = chosen.out / name
        check(chosen)
        module.run(chosen)
    return 0
