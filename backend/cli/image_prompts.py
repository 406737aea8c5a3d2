"""`--image-prompt FILE[:WEIGHT][,KEY=VALUE ...]`: a picture as a prompt, and what is lent of it."""

from __future__ import annotations

import argparse
import re
from argparse import ArgumentParser
from dataclasses import dataclass
from itertools import pairwise
from os.path import isfile  # Path.is_file raises for a name that is too long
from pathlib import Path

from protocol.jobs import Course, Crop, Lends

from ..recipe import File, Lent
from .arguments import MAX_WEIGHT, weighted_file

IMAGE_PROMPT = 0.6
"""Weight of a picture beside a text, between IP-Adapter's advice (0.5) and its demos."""
KEYS = ("lends", "crop", "schedule", "negative", "adapter", "block", "others")
HELP = (
    "a picture as a prompt. lends=style, composition, style-and-composition or face; crop=centre, top, pad or face; schedule=ease-in, "
    "ease-out, ease-in-out or peak, or points as in 0:1/0.5:0.3/1:0; negative=FILE for what it must not look like; adapter=NAME; "
    "block=NAME:FACTOR, several times, with others=FACTOR for all other blocks"
)


@dataclass(frozen=True, slots=True)
class GivenPrompt:
    """An image prompt as it was typed. The words are those of the protocol."""

    file: Path
    weight: float
    lends: str = Lends.ALL.value
    crop: str = Crop.SQUASH.value
    adapter: str | None = None
    course: str = Course.CONSTANT.value
    marks: tuple[tuple[float, float], ...] = ()
    blocks: tuple[tuple[str, float], ...] = ()
    other_blocks: float = 1.0
    negative: Path | None = None

    def lent(self, beside: Path) -> Lent:
        """For a recipe of a PNG in the folder `beside`; BadPicture if a file cannot be read, or is no picture."""
        from ..images import open_picture

        for path in filter(None, (self.file, self.negative)):
            open_picture(path)  # what is wrong with it is said before the first picture, and by the name that was typed
        return Lent(
            File.of(self.file, beside),
            self.weight,
            self.lends,
            self.crop,
            self.adapter,
            self.course,
            self.marks,
            self.blocks,
            self.other_blocks,
            None if self.negative is None else File.of(self.negative, beside),
        )


def add_image_prompts(parser: ArgumentParser) -> None:
    """The option."""
    parser.add_argument(
        "--image-prompt", action="append", default=[], type=image_prompt, metavar="FILE[:WEIGHT][,KEY=VALUE ...]", help=HELP
    )


def image_prompt(text: str) -> GivenPrompt:
    """The option's value. A file that is called like the whole text is just that file."""
    parts = [text] if isfile(text) else re.split(rf",(?=(?:{'|'.join(KEYS)})=)", text)
    for part in parts:
        _check_keys(part)
    given = weighted_file(parts[0])
    values: dict[str, list[str]] = {}
    for part in parts[1:]:
        key, _, value = part.partition("=")
        values.setdefault(key, []).append(value)
    for key, several in values.items():
        if len(several) > 1 and key != "block":
            raise argparse.ArgumentTypeError(f"{key}= is there {len(several)} times for {parts[0]}; give it once")
    course, marks = _schedule(values.get("schedule", [Course.CONSTANT.value])[0])
    return GivenPrompt(
        given.path,
        IMAGE_PROMPT if given.weight is None else given.weight,
        _word("lends", values.get("lends", [Lends.ALL.value])[0], [one.value for one in Lends]),
        _word("crop", values.get("crop", [Crop.SQUASH.value])[0], [one.value for one in Crop]),
        values.get("adapter", [None])[0],
        course,
        marks,
        tuple(_block(one) for one in values.get("block", [])),
        _factor(values.get("others", ["1"])[0], "others="),
        Path(values["negative"][0]) if "negative" in values else None,
    )


def _check_keys(part: str) -> None:
    """Refuse a key that is none; it would be taken for a part of what stands before it."""
    stray = re.search(r",\s*([\w-]+)=", part)
    weightless = re.sub(r":[\d.]+$", "", part)
    if stray and not any(isfile(name) for name in (part, weightless, part.partition("=")[2])):
        raise argparse.ArgumentTypeError(f"{stray[1]}= is not known; choose {', '.join(f'{key}=' for key in KEYS[:-1])} or {KEYS[-1]}=")


def _word(key: str, value: str, known: list[str]) -> str:
    if value not in known:
        raise argparse.ArgumentTypeError(f"{key}={value} is not known; choose {', '.join(known[:-1])} or {known[-1]}")
    return value


def _schedule(value: str) -> tuple[str, tuple[tuple[float, float], ...]]:
    if ":" not in value:
        return _word("schedule", value, [one.value for one in Course]), ()
    points = [point.partition(":") for point in value.split("/")]
    marks = tuple((_number(at, f"schedule={value}", 1.0), _factor(factor, f"schedule={value}")) for at, _, factor in points)
    if any(there[0] <= here[0] for here, there in pairwise(marks)):
        raise argparse.ArgumentTypeError(f"schedule={value} goes back; its points must be in rising order, as in 0:1/0.5:0.3/1:0")
    return Course.CONSTANT.value, marks


def _block(value: str) -> tuple[str, float]:
    name, colon, factor = value.rpartition(":")
    if not colon or not name:
        raise argparse.ArgumentTypeError(f"block={value} has no factor; give both, as in block=up_blocks.0.attentions.1:1")
    return name, _factor(factor, f"block={value}")


def _factor(text: str, where: str) -> float:
    return _number(text, where, MAX_WEIGHT)


def _number(text: str, where: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} in {where} is not a number") from None
    if not 0 <= value <= most:
        raise argparse.ArgumentTypeError(f"{text} in {where} is outside 0 to {most:g}")
    return value
