"""How much of a weight counts in one sampling step. Pure: numbers only."""

from __future__ import annotations

from itertools import pairwise

from protocol.jobs import Course, Mark, Schedule, Window

EDGE = 0.25
"""Part of the window in which `ease-in-out` comes in, and in which it goes out."""


def pace(schedule: Schedule, window: Window, step: int, steps: int) -> float:
    """The factor of a weight in `step` (from 0) of `steps`, read in the middle of the step; `window` is where the schedule lies.

    Reading in the middle treats both ends alike, and gives a window of a single step the middle of its schedule, never nothing.
    """
    if schedule.steady:
        return 1.0
    place = ((step + 0.5) / steps - window.start) / (window.end - window.start)
    place = min(max(place, 0.0), 1.0)
    return _between(schedule.marks, place) if schedule.marks else _course(schedule.course, place)


def _course(course: Course, place: float) -> float:
    match course:
        case Course.CONSTANT:
            return 1.0
        case Course.EASE_IN:
            return _smooth(place)
        case Course.EASE_OUT:
            return _smooth(1 - place)
        case Course.EASE_IN_OUT:
            return _smooth(min(1.0, place / EDGE, (1 - place) / EDGE))
        case Course.PEAK:
            return _smooth(1 - abs(2 * place - 1))


def _smooth(part: float) -> float:
    """0 to 1 without a kink at either end (smoothstep, 3 x^2 - 2 x^3)."""
    return part * part * (3 - 2 * part)


def _between(marks: tuple[Mark, ...], place: float) -> float:
    """On straight lines from mark to mark; before the first and after the last, what they say."""
    if place <= marks[0].at:
        return marks[0].factor
    for here, there in pairwise(marks):
        if place <= there.at:
            return here.factor + (there.factor - here.factor) * (place - here.at) / (there.at - here.at)
    return marks[-1].factor
