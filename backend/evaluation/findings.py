"""What a measure gives back: rows for the table and rows for the picture sheet; and how many persons it is taken on."""

from __future__ import annotations

from dataclasses import dataclass

from ..contact import Row as Strip
from .table import Row


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one measure."""

    rows: tuple[Row, ...]
    strips: tuple[Strip, ...] = ()


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many persons each measure is taken on, and which is the first of them."""

    people: int
    posed: int
    photographed: int
    cornered: int
    restyled: int
    inpainted: int
    first: int = 0

    @property
    def numbers(self) -> range:
        """The numbers of all persons that any measure needs."""
        most = max(self.people, self.posed, self.photographed, self.cornered, self.restyled, self.inpainted)
        return range(self.first, self.first + most)

    @property
    def pictures(self) -> int:
        """How many pictures are painted in all."""
        return 3 * self.people + self.posed + 2 * self.photographed + 5 * self.cornered + 3 * self.restyled + 2 * self.inpainted


FULL = Sizes(people=100, posed=100, photographed=50, cornered=10, restyled=40, inpainted=50)
QUICK = Sizes(people=12, posed=8, photographed=6, cornered=2, restyled=5, inpainted=5)
SHOWN = 8
"""Persons on the picture sheet."""


def at_least(claim: str, measure: str, value: float, target: float, *, text: str = "", goal: str = "") -> Row:
    """A figure that must not be below a target; `text` and `goal` say them in another way than as a plain number."""
    return Row(claim, measure, text or f"{value:.3f}", f"≥ {goal or format(target, 'g')}", value >= target, value)


def at_most(claim: str, measure: str, value: float, target: float, *, text: str = "", goal: str = "") -> Row:
    """A figure that must not be above a target."""
    return Row(claim, measure, text or f"{value:.3f}", f"≤ {goal or format(target, 'g')}", value <= target, value)


def plain(claim: str, measure: str, value: float, *, text: str = "") -> Row:
    """A figure without a target."""
    return Row(claim, measure, text or f"{value:.3f}", value=value)
