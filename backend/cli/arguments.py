"""What the commands' options have in common: their types, and a parser that says what is wrong in one sentence."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from os.path import isfile  # Path.is_file raises for a name that is too long
from pathlib import Path
from typing import NoReturn, TypeVar

from protocol.jobs import Shortcut

Number = TypeVar("Number", int, float)
QUICK = (Shortcut.FEW_STEPS, Shortcut.GUIDANCE_INTERVAL, Shortcut.CONDITIONAL_IDENTITY)
"""What `--quick` alone stands for; `small` is for pictures that are looked at for a moment, `feature-reuse` for those of many steps."""
MAX_COUNT = 100
"""Pictures of one command; more is a loop in a script, where a mistyped zero does not keep the machine busy for a day."""
MAX_SEED = 2**32 - 1
MAX_PROMPT = 2000
"""Characters: a dozen passages of 75 tokens; a longer text is a mistake."""
MAX_WEIGHT = 2.0
MAX_PEOPLE = 8
"""People in one picture, as the protocol has it."""


class Parser(argparse.ArgumentParser):
    """argparse, with one sentence instead of the usage before an error."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence and leave with exit code 2."""
        sentence = one_line(message.rstrip("."))
        sys.stderr.write(f"{self.prog}: {sentence}. See `{self.prog} --help`.\n")
        sys.exit(2)


def one_line(text: str) -> str:
    """What cannot be printed, as an escape: a file's name may have newlines, and codes that would change the terminal."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


@dataclass(frozen=True, slots=True)
class WeightedFile:
    """`FILE[:WEIGHT]` as given; no weight means the job's default."""

    path: Path
    weight: float | None


def count(text: str) -> int:
    """A number of pictures."""
    return whole(text, 1, MAX_COUNT, "a number of pictures")


def seed(text: str) -> int:
    """A seed; with several pictures, the first one's."""
    return whole(text, 0, MAX_SEED, "a seed")


def prompt(text: str) -> str:
    """Text of a length that makes sense."""
    if len(text) > MAX_PROMPT:
        raise argparse.ArgumentTypeError(f"the text has {len(text)} characters, and {MAX_PROMPT} are the most that is read; shorten it")
    if not text.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise argparse.ArgumentTypeError(f"the text {text!r} is not written in the terminal's encoding ({sys.getfilesystemencoding()})")
    return text


def given_file(text: str) -> Path:
    """The name of a file to be read; a script's empty variable would be taken for the folder that it runs in."""
    if not text.strip():
        raise argparse.ArgumentTypeError("there is no file without a name; give a picture")
    return Path(text)


def weighted_file(text: str) -> WeightedFile:
    """`FILE` or `FILE:WEIGHT`. A colon that is no weight belongs to the name (`C:\\photo.png`)."""
    given_file(text)
    name, colon, tail = text.rpartition(":")
    if not colon or not name or isfile(text):
        return WeightedFile(Path(text), None)
    try:
        weight = float(tail)
    except ValueError:
        if isfile(name):
            raise argparse.ArgumentTypeError(f"the weight {tail!r} of {name} is no number from 0 to {MAX_WEIGHT:g}") from None
        return WeightedFile(Path(text), None)
    if not 0 <= weight <= MAX_WEIGHT:
        raise argparse.ArgumentTypeError(f"the weight {tail} of {name} is outside 0 to {MAX_WEIGHT:g}")
    return WeightedFile(Path(name), weight)


def shortcuts(text: str) -> tuple[Shortcut, ...]:
    """Names of shortcuts, with commas between them."""
    known = [shortcut.value for shortcut in Shortcut]
    names = [name.strip() for name in text.split(",")]
    if wrong := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"there is no shortcut {wrong[0]!r}; there are {', '.join(known)}")
    return tuple(Shortcut(name) for name in dict.fromkeys(names))


def add_quick(parser: argparse.ArgumentParser) -> None:
    """`--quick`, alone or with the names of shortcuts."""
    parser.add_argument(
        "--quick", nargs="?", default=(), const=QUICK, type=shortcuts, metavar="SHORTCUTS",
        help="in less time, and not quite the same picture: few-steps,guidance-interval,conditional-identity, or those that are named; "
        "also feature-reuse (every second step computes little) and small",
    )  # fmt: skip


def add_clip_skip(parser: argparse.ArgumentParser) -> None:
    """`--clip-skip`."""
    parser.add_argument("--clip-skip", type=clip_skip, metavar="N", help="as A1111 counts it: 1 to 12 (default: the model's own)")


def clip_skip(text: str) -> int:
    """Which of the text encoder's last layers is read."""
    return whole(text, 1, 12, "a clip skip")


def png_file(text: str) -> Path:
    """The name of a PNG to be written."""
    path = Path(text)
    if path.suffix.lower() != ".png":
        said = "does not end in .png" if Path(f"_{text}").suffix.lower() != ".png" else "has no name before .png"
        raise argparse.ArgumentTypeError(f"{text or 'an empty name'} {said}; pictures are written as PNG, which keeps every bit")
    return path


def whole(text: str, low: int, high: int, what: str) -> int:
    """A whole number from `low` to `high`; `what` names it in the sentence for anything else."""
    return _within(int, "whole number", text, low, high, what)


def number(text: str, low: float, high: float, what: str) -> float:
    """The same for any number."""
    return _within(float, "number", text, low, high, what)


def _within(kind: Callable[[str], Number], called: str, text: str, low: Number, high: Number, what: str) -> Number:
    try:
        value = kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}; give a {called} from {low} to {high}") from None
    if not low <= value <= high:  # no number is neither
        raise argparse.ArgumentTypeError(f"{text} is not {what} from {low} to {high}")
    return value
