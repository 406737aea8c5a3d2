"""Two people compared, and people between them in a row."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from math import fsum, sqrt

from protocol.errors import InvalidRequest
from protocol.jobs import Embedding
from protocol.results import ModelInfo, RecogniserInfo


class Verdict(Enum):
    """What a cosine means; the value is how it is said."""

    SAME = "the same person"
    UNCERTAIN = "may be the same person or two who are alike: between what it gives for one and for two"
    STRANGERS = "two people"
    UNKNOWN = "nobody has measured what this recogniser gives for one person and for two, so the number has to speak for itself"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How alike two people are. `figures` is what was measured of the recogniser (same person, strangers), None where nobody did."""

    cosine: float
    verdict: Verdict
    recogniser: str
    figures: tuple[float, float] | None

    @property
    def sentence(self) -> str:
        """For people."""
        said = f"Cosine {self.cosine:.2f} by {self.recogniser}: {self.verdict.value}."
        if self.figures is None:
            return said
        same, strangers = self.figures
        return f"{said} Of 100 pairs of photos of one person 95 are above {same:.2f}, of 100 pairs of two people 95 below {strangers:.2f}."


def compared(one: Embedding, other: Embedding, model: ModelInfo | None) -> Comparison:
    """The cosine of two people whom one recogniser has read, and the verdict by that recogniser's figures.

    Raises `InvalidRequest` for readings of two recognisers, which have nothing in common.
    """
    if one.recogniser != other.recogniser:
        raise InvalidRequest("These two were read by different recognisers, so they cannot be compared. Make one of them from photos anew.")
    by = None if model is None else next((known for known in model.recognisers if known.sha256 == one.recogniser), None)
    value = cosine_of(one, other)
    figures = None if by is None or by.same is None or by.strangers is None else (by.same, by.strangers)
    return Comparison(value, _verdict(value, figures), _name(by), figures)


def cosine_of(one: Embedding, other: Embedding) -> float:
    """Of the angle between two embeddings, -1 to 1."""
    first, second = (struct.unpack("<512f", bytes.fromhex(person.numbers)) for person in (one, other))
    product = fsum(a * b for a, b in zip(first, second, strict=True))
    return max(-1.0, min(1.0, product / sqrt(fsum(a * a for a in first) * fsum(b * b for b in second))))


def in_a_row(people: Sequence[Embedding]) -> list[Embedding]:
    """The same people, all with the face in the place of the first one's: what changes from picture to picture is who it is."""
    return [replace(person, keypoints=people[0].keypoints, extent=people[0].extent) for person in people]


def _verdict(cosine: float, figures: tuple[float, float] | None) -> Verdict:
    if figures is None:
        return Verdict.UNKNOWN
    same, strangers = figures
    low, high = min(figures), max(figures)
    if low < cosine < high:
        return Verdict.UNCERTAIN
    return Verdict.SAME if cosine >= max(same, strangers) else Verdict.STRANGERS


def _name(by: RecogniserInfo | None) -> str:
    return "a recogniser that has no name" if by is None else by.name
