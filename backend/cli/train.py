"""`likeness train PART …`: one part of a model, by the module of `training` that knows how."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser, Namespace
from collections.abc import Iterable
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
    names = PARTS[options.part][0].split()
    modules: dict[str, Any] = {name: import_module(f"..training.{name}", __package__) for name in names}
    given = _parser(options.part, modules.values()).parse_args(options.options)
    trainings: list[tuple[Any, Namespace]] = []
    for name, module in modules.items():
        chosen, _ = _parser(options.part, [module]).parse_known_args(options.options)  # the others' options are known to be theirs
        if len(modules) > 1:
            chosen.out = chosen.out / name
        if getattr(given, "embed", None) is None or hasattr(chosen, "embed"):  # --embed only writes, and the detector has nothing to write
            check(chosen)
            trainings.append((module, chosen))
    for module, chosen in trainings:  # only now: a wrong option of the last must not be found after the first was trained
        module.run(chosen)
    return 0


def _parser(part: str, modules: Iterable[Any]) -> Parser:
    """The options of all of a part's modules together; of those that several have, the last one's default is shown."""
    summary = PARTS[part][1]
    about = " ".join(module.__doc__ or "" for module in modules)
    last = PARTS[part][0].split()[-1]
    own = f"The defaults that are shown are those of the {last}; each part by itself has a --help too, and its own folder below OUT."
    several = " " in PARTS[part][0]
    parser = Parser(
        prog=f"likeness train {part}",
        description=f"{summary[0].upper()}{summary[1:]}. {about}",
        epilog=own if several else None,
        conflict_handler="resolve",
    )
    for module in modules:
        module.add_arguments(parser)
    return parser
