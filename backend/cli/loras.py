"""`--lora NAME[:WEIGHT]`: LoRAs of the model's folder."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from protocol.errors import InvalidRequest
from protocol.limits import LORAS

from ..adornment import Adornment

if TYPE_CHECKING:
    from ..workbench import Bench

MAX_WEIGHT = 4.0
"""As `protocol.limits.LoraWeight`."""


def add_loras(parser: argparse.ArgumentParser) -> None:
    """The option."""
    parser.add_argument(
        "--lora", action="append", default=[], type=weighted_name, metavar="NAME[:WEIGHT]",
        help="a LoRA of the model's folder loras/, by the name of its file (weight: 1; below 0 against its training); several go together",
    )  # fmt: skip


def weighted_name(text: str) -> tuple[str, float]:
    """`NAME` or `NAME:WEIGHT`."""
    name, colon, tail = text.rpartition(":")
    try:
        named, weight = (name, float(tail)) if colon and name else (text, 1.0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"the weight {tail!r} of {name} is no number from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}") from None
    if not -MAX_WEIGHT <= weight <= MAX_WEIGHT:
        raise argparse.ArgumentTypeError(f"the weight {tail} of {named} is outside {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}")
    if not named or len(named) > 80:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a LoRA; a name has 1 to 80 characters")
    return named, weight


def adornments(bench: Bench, given: list[tuple[str, float]]) -> tuple[Adornment, ...]:
    """What was named, for a recipe; UnknownModel for a LoRA that the model lacks."""
    if len(given) > LORAS:
        raise InvalidRequest(f"{len(given)} LoRAs are too many for one picture. Give at most {LORAS}.")
    return tuple(Adornment.of(bench.model, name, weight) for name, weight in given)
