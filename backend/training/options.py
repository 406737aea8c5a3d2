"""The parts that can be trained, and their options, checked before anything is loaded: numbers that make sense, and folders that hold what
they are named for.

The libraries would find most of this out too, but some minutes later, in words of their own, or by looking for a folder on the Internet.
"""

import argparse
from pathlib import Path
from typing import Any, cast

from protocol.errors import InvalidRequest

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
"""Each part by its name: the modules that train it, and what it is."""
LARGE = 10**9
BOUNDS: dict[str, tuple[float, float]] = {
    "minutes": (0, 1e6), "warm_up": (0, 1e6), "taught": (0, 1e6), "sheet_every": (1, 1e6), "rate": (1e-9, 1), "steps": (1, LARGE),
    "batch": (1, 65536), "accumulate": (1, 65536), "seed": (0, 2**32 - 1), "size": (32, 4096), "persons": (1, LARGE), "shots": (1, 10_000),
    "held": (1, LARGE), "limit": (1, LARGE), "rank": (1, 1024), "processes": (1, 1024), "first": (0, LARGE), "pixels": (1, LARGE),
    "count": (1, LARGE), "channels": (1, 8192),
}  # fmt: skip
FOLDERS: dict[str, str] = {
    "data": "", "base": "", "model": "", "runs": "", "begin_with": "", "beside": "", "embed": "", "faces": "", "asked": "",
    "vae": "config.json", "decoder_of": "config.json", "encoder": "config.json", "identitynet": "config.json",
    "likeness": "recogniser.pt", "recogniser": "recogniser.pt",
}  # fmt: skip
"""Folders that must be there, each with a file that it must hold (none: what is in it is looked at where it is read)."""


def check(args: argparse.Namespace) -> None:
    """InvalidRequest for the first option that cannot be meant. Options that a part does not have are passed over."""
    for name, (low, high) in BOUNDS.items():
        given: Any = getattr(args, name, None)
        values = cast("list[float]", given) if isinstance(given, list) else [] if given is None else [float(given)]
        for value in values:
            if not low <= value <= high:  # no number is neither
                raise InvalidRequest(f"{_option(name)} {value:g} makes no sense; give a number from {low:g} to {high:g}.")
    if hasattr(args, "data") and args.data is None and getattr(args, "embed", None) is None:
        raise InvalidRequest("--data is missing. Give the folder of drawn persons to train on; `likeness train data` makes one.")
    for name, needed in FOLDERS.items():
        folder = getattr(args, name, None)
        if isinstance(folder, Path):
            _check_folder(name, folder, needed)
    if isinstance(out := getattr(args, "out", None), Path):
        _check_out(out)


def _check_folder(name: str, folder: Path, needed: str) -> None:
    if not folder.is_dir():
        said = "is no folder" if folder.exists() else "does not exist"
        raise InvalidRequest(f"{_option(name)}: {folder} {said}. Give the folder that `--help` describes.")
    if needed and not (folder / needed).is_file():
        raise InvalidRequest(f"{_option(name)}: {folder} holds no {needed}, so it is not what `--help` describes. Choose another folder.")


def _check_out(out: Path) -> None:
    """Nothing is made yet: a command that is refused afterwards leaves no folder behind."""
    present = next((place for place in (out, *out.parents) if place.exists()), Path())
    if not present.is_dir():
        raise InvalidRequest(f"The folder {out} cannot be made, because {present} is a file. Choose another with --out.")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
