"""Options about people that the painting commands have in common: who they are, and which part of the picture is whose."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import InvalidRequest

from ..recipe import Region, Somebody, somebody
from .arguments import MAX_PEOPLE

if TYPE_CHECKING:
    from ..workbench import Bench


def add_people(parser: ArgumentParser) -> None:
    """`--face` for one person, `--person` and `--region` for several."""
    parser.add_argument(
        "--face", action="append", default=[], type=Path, metavar="FILE", help="a photo of the person; several make one person"
    )
    parser.add_argument(
        "--person",
        action="append",
        default=[],
        nargs="+",
        type=Path,
        metavar="FILE",
        help="photos of one person; once for each of several people, from left to right",
    )
    parser.add_argument(
        "--region",
        action="append",
        default=[],
        type=region,
        metavar="LEFT,TOP,RIGHT,BOTTOM",
        help="the part of the picture, from 0 to 1, of the first --person, then of the second … (default: around each face)",
    )


def region(text: str) -> Region:
    """A box in parts of the picture."""
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a region; give left, top, right and bottom from 0 to 1, as in 0,0,0.5,1 for the left half"
        ) from None
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise argparse.ArgumentTypeError(f"the region {text} is empty or outside of the picture; all four numbers are from 0 to 1")
    return left, top, right, bottom


def check_people(options: Namespace) -> None:
    """Before anything is opened: InvalidRequest where the options do not fit each other."""
    if options.face and options.person:
        raise InvalidRequest("--face is for a picture of one person and --person for several. Give each person by --person.")
    count = len(_photos(options))
    if count > MAX_PEOPLE:
        raise InvalidRequest(f"{count} people are too many for one picture; {MAX_PEOPLE} are drawn at most. Leave some out.")
    if options.region and len(options.region) != count:
        raise InvalidRequest(
            f"There are {len(options.region)} regions and {count} people. Give one --region for each --person, in the same order, or none."
        )


def people(bench: Bench, options: Namespace) -> tuple[Somebody, ...]:
    """The people of the options, their faces recognised; nobody when none is named."""
    photos = _photos(options)
    regions: list[Region | None] = [*options.region] or [None] * len(photos)
    return tuple(somebody(bench, files, place) for files, place in zip(photos, regions, strict=True))


def _photos(options: Namespace) -> list[list[Path]]:
    """The photos of each person."""
    return [options.face] if options.face else options.person
