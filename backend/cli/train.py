"""`likeness train PART …`: one part of a model, by the module of `training` that knows how."""

from __future__ import annotations

from argparse import REMAINDER, ArgumentParser, Namespace
from importlib import import_module
from typing import Any

from ..config import Settings
from .arguments import Parser

PARTS: dict[str, tuple[str, str]] = {
    "data": ("data", "draw a data set of people"),
    "vae": ("vae", "the autoencoder"),
    "base": ("base", "the base: text encoders and UNet"),
    "ip-adapter": ("ip_adapter", "IP-Adapter on the frozen base"),
    "instantid": ("instantid", "InstantID on the frozen base: image adapter and IdentityNet"),
    "style": ("style", "a second base in another drawing style"),
    "faces": ("recogniser detector", "the face recogniser and the face detector, one after the other"),
    "recogniser": ("recogniser", "the face recogniser alone"),
    "detector": ("detector", "the face detector alone"),
    "clip": ("clip", "the image encoder"),
    "judge": ("judge", "the attribute judge of `likeness evaluate`"),
    "samples": ("samples", "draw the sample faces that ship with the built-in model"),
    "assemble": ("assemble", "put trained parts together into a model folder"),
}


def add_arguments(parser: ArgumentParser) -> None:
    """The part; its own options come from its module, which is read only when the part is named."""
    described = "; ".join(f"{name}: {summary}" for name, (_, summary) in PARTS.items())
    parser.add_argument("part", choices=PARTS, metavar="PART", help=described)
    parser.add_argument("options", nargs=REMAINDER, metavar="…", help="the part's options; `likeness train PART --help` lists them")


def run(options: Namespace, settings: Settings) -> int:
    """Train the part."""
    from ..training.options import check

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
