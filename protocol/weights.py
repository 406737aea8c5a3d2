"""How a weight is spread: over the sampling steps (`Schedule`) and over the blocks of the network (`BlockWeight`)."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from .frozen import frozen
from .limits import SCHEDULE_MARKS, Fraction, Items, LoraWeight, Name, Weight


class Course(Enum):
    """How a weight changes from the first to the last step of its window."""

    CONSTANT = "constant"
    EASE_IN = "ease-in"
    """Comes in softly: from nothing to the full weight."""
    EASE_OUT = "ease-out"
    """Goes out softly: from the full weight to nothing."""
    EASE_IN_OUT = "ease-in-out"
    """Comes in over the first quarter and goes out over the last."""
    PEAK = "peak"
    """Strongest in the middle, nothing at both ends."""


@frozen
class Mark:
    """A point of a schedule: at the part `at` of the window (0 its start, 1 its end) the weight counts `factor` times."""

    at: Fraction
    factor: Weight


@frozen
class Schedule:
    """How a weight changes over its window. `marks`, in rising order of `at` and joined by straight lines, replace the `course`."""

    course: Course = Course.CONSTANT
    marks: Annotated[tuple[Mark, ...], Items(SCHEDULE_MARKS)] = ()

    @property
    def steady(self) -> bool:
        """Whether nothing changes: the weight is what it is in every step."""
        return self.course is Course.CONSTANT and not self.marks


STEADY = Schedule()


@frozen
class BlockWeight:
    """A block of the UNet by its name there (`up_blocks.0`, `down_blocks.2.attentions.1`, `mid_block`), and the factor of the weight there.

    Of several names that fit a layer, the longest counts.
    """

    block: Name
    weight: Weight


@frozen
class Lora:
    """One of the model's LoRAs by its name, and how strongly it acts: 0 not at all, 1 as it was trained, below 0 against that."""

    name: Name
    weight: LoraWeight = 1.0
