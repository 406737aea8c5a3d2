"""Options about people that the painting commands have in common: who they are, and which part of the picture is whose."""

from __future__ import annotations

import argparse
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import FaceError, InvalidRequest
from protocol.jobs import Lends

from ..recipe import FacePrompt, Region, Somebody, saved, somebody
from .arguments import MAX_PEOPLE, MAX_WEIGHT, given_file

if TYPE_CHECKING:
    from ..workbench import Bench

FACE_PROMPT = 0.8
"""Weight of a person as an image prompt: that of InstantID's adapter."""


def add_people(parser: ArgumentParser) -> None:
    """`--face` for one person, `--person` and `--region` for several."""
    parser.add_argument(
        "--face", action="append", default=[], type=given_file, metavar="FILE", help="a photo of the person; several make one person"
    )
    parser.add_argument(
        "--person",
        action="append",
        default=[],
        nargs="+",
        type=given_file,
        metavar="FILE",
        help="photos of one person; once for each of several people, from left to right",
    )
    parser.add_argument(
        "--character", action="append", default=[], metavar="NAME", help="a saved person (`likeness character`); once for each of several"
    )
    parser.add_argument(
        "--face-prompt",
        action="append",
        default=[],
        type=face_prompt,
        metavar="NAME[:WEIGHT][,adapter=NAME]",
        help="a saved person as an image prompt of a FaceID adapter",
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


def face_prompt(text: str) -> tuple[str, float, str | None]:
    """Name, weight and adapter."""
    given, _, adapter = text.partition(",adapter=")
    name, colon, tail = given.rpartition(":")
    if not colon:
        return given, FACE_PROMPT, adapter or None
    try:
        weight = float(tail)
    except ValueError:
        return given, FACE_PROMPT, adapter or None
    if not name or not 0 <= weight <= MAX_WEIGHT:
        raise argparse.ArgumentTypeError(f"{text} is no saved person with a weight from 0 to {MAX_WEIGHT:g}")
    return name, weight, adapter or None


def check_people(options: Namespace) -> None:
    """Before anything is opened: InvalidRequest where the options do not fit each other."""
    if options.face and options.person:
        raise InvalidRequest("--face is for a picture of one person and --person for several. Give each person by --person.")
    if options.character and (options.face or options.person):
        raise InvalidRequest("People are given by photos or by saved names, not both. Save the others first: likeness character make.")
    count = len(_photos(options)) + len(options.character)
    if count > MAX_PEOPLE:
        raise InvalidRequest(f"{count} people are too many for one picture; {MAX_PEOPLE} are drawn at most. Leave some out.")
    if options.region and len(options.region) != count:
        raise InvalidRequest(
            f"Regions: {len(options.region)}, people: {count}. Give one --region for each --person, in the same order, or none."
        )


def people(bench: Bench, options: Namespace) -> tuple[Somebody, ...]:
    """The people of the options, their faces recognised; nobody when none is named."""
    photos = _photos(options)
    regions: list[Region | None] = [*options.region] or [None] * (len(photos) + len(options.character))
    if options.character:
        return tuple(saved(bench, name, place) for name, place in zip(options.character, regions, strict=True))
    return tuple(_somebody(bench, files, place) for files, place in zip(photos, regions, strict=True))


def _somebody(bench: Bench, files: list[Path], place: Region | None) -> Somebody:
    """The person on the photos; where a face cannot be read, the sentence says of which files it speaks."""
    try:
        return somebody(bench, files, place)
    except FaceError as error:
        raise type(error)(f"{', '.join(map(str, files))}: {error}") from error


def face_prompts(bench: Bench, options: Namespace) -> tuple[FacePrompt, ...]:
    """The saved people who are image prompts, each as the adapter's own recogniser reads them."""
    from ..pipelines.ip_adapter import entry_for

    found: list[FacePrompt] = []
    for name, weight, adapter in options.face_prompt:
        entry = entry_for(bench.model, adapter, Lends.FACE)
        found.append(FacePrompt(Somebody.of(bench.saved(name, entry.name), 0.0, 0.0), weight, entry.name))
    return tuple(found)


def _photos(options: Namespace) -> list[list[Path]]:
    """The photos of each person."""
    return [options.face] if options.face else options.person
