"""How a weight goes over the steps, against numbers worked out by hand."""

from __future__ import annotations

import pytest

from backend.pipelines.pacing import pace
from protocol.jobs import Course, Mark, Schedule, Window

ALL = Window()


def paces(schedule: Schedule, window: Window = ALL, steps: int = 4) -> list[float]:
    return [pace(schedule, window, step, steps) for step in range(steps)]


def test_without_a_schedule_a_weight_is_what_it_is():
    assert paces(Schedule()) == [1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("course", "wanted"),
    [
        # 3 x^2 - 2 x^3 at 1/8, 3/8, 5/8, 7/8
        (Course.EASE_IN, [0.04296875, 0.31640625, 0.68359375, 0.95703125]),
        (Course.EASE_OUT, [0.95703125, 0.68359375, 0.31640625, 0.04296875]),
        # at 1/2, 1, 1, 1/2
        (Course.EASE_IN_OUT, [0.5, 1.0, 1.0, 0.5]),
        # at 1/4, 3/4, 3/4, 1/4
        (Course.PEAK, [0.15625, 0.84375, 0.84375, 0.15625]),
    ],
)
def test_a_course_is_the_smooth_curve_of_its_name(course: Course, wanted: list[float]):
    assert paces(Schedule(course)) == pytest.approx(wanted)


def test_marks_are_joined_by_straight_lines_and_held_at_the_ends():
    marks = (Mark(0.25, 0.0), Mark(0.75, 2.0))
    assert paces(Schedule(Course.PEAK, marks)) == pytest.approx([0.0, 0.5, 1.5, 2.0])


def test_a_schedule_lies_in_its_window_and_not_in_all_steps():
    early = paces(Schedule(Course.EASE_OUT), Window(0.0, 0.5), 8)[:4]
    assert early == pytest.approx(paces(Schedule(Course.EASE_OUT)))


@pytest.mark.parametrize("course", list(Course))
def test_a_single_step_is_never_nothing(course: Course):
    assert paces(Schedule(course), steps=1)[0] >= 0.5
