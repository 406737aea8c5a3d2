"""The drawn world: who a person is never depends on how the person is shown."""

from dataclasses import replace

import numpy as np
import pytest

from backend.training import world
from backend.training.drawing import Drawing, draw


def plain_shot(**changes: object) -> world.Shot:
    view = world.shot(np.random.default_rng(5))
    still = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "scale": 0.28, "x": 0.5, "y": 0.5}
    still |= {"hat": "none", "glasses": "none", "expression": "neutral"}
    return replace(view, **{**still, "background": "blue", **changes})


def drawn(person: int = 1, **changes: object) -> Drawing:
    return draw(world.person(person), plain_shot(**changes))


def test_a_seed_is_one_person_and_one_picture_everywhere() -> None:
    assert world.person(42) == world.person(42)
    assert np.array_equal(drawn(42).picture, drawn(42).picture)


def test_a_thousand_seeds_are_a_thousand_different_persons() -> None:
    assert len({world.person(seed) for seed in range(1000)}) == 1000


def test_the_caption_names_what_is_shown_and_never_who() -> None:
    view = plain_shot(hat="cap", hat_colour="red", glasses="sunglasses", expression="sad", background="sea")
    said = draw(world.person(3), view).caption
    assert all(word in said for word in ("red cap", "sunglasses", "sad", "at the sea"))
    assert draw(world.person(4), view).caption == said


def test_every_word_of_captions_and_descriptions_is_in_the_vocabulary() -> None:
    rng = np.random.default_rng(0)
    known = set(world.vocabulary())
    for seed in range(200):
        view = world.shot(rng)
        assert set(world.describe(world.person(seed), view).replace(",", " , ").split()) <= known


@pytest.mark.parametrize("size", [128, 200, 256])
def test_keypoints_lie_inside_the_face_box_in_pixels_of_the_picture(size: int) -> None:
    rng = np.random.default_rng(1)
    for seed in range(12):
        made = draw(world.person(seed), world.shot(rng), size)
        assert made.picture.shape == (size, size, 3)
        x0, y0, x1, y1 = made.box
        x, y = made.keypoints.T
        nose_out = 0.25 * (x1 - x0)  # the tip of the nose stands out of the face when the head turns
        assert (x > x0 - nose_out).all()
        assert (x < x1 + nose_out).all()
        assert (y > y0).all()
        assert (y < y1).all()


def test_the_pupils_are_dark_where_the_eye_keypoints_say() -> None:
    made = drawn(6, expression="surprised")
    for x, y in made.keypoints[:2]:
        patch = made.picture[int(y) - 1 : int(y) + 3, int(x) - 1 : int(x) + 3]
        assert patch.min() < 70


def test_turning_the_head_moves_the_nose_against_the_eyes() -> None:
    def nose_between_eyes(yaw: float) -> float:
        left, right, nose = drawn(1, yaw=yaw).keypoints[:3, 0]
        return (nose - left) / (right - left)

    assert nose_between_eyes(-30) < nose_between_eyes(0) - 0.15
    assert nose_between_eyes(30) > nose_between_eyes(0) + 0.15


def test_leaning_the_head_leans_the_line_through_the_eyes() -> None:
    left, right = drawn(1, roll=12.0).keypoints[:2]
    assert np.degrees(np.arctan2(right[1] - left[1], right[0] - left[0])) == pytest.approx(12, abs=0.5)


def test_depth_is_nearest_at_the_face_and_zero_at_the_background() -> None:
    made = drawn(1)
    x, y = made.keypoints[2].astype(int)
    assert made.depth[y, x] > 230
    assert made.depth[2, 2] == 0


def test_the_skeleton_shows_the_bust_and_not_the_knees() -> None:
    skeleton = drawn(1).skeleton
    shown = {i for i in range(18) if skeleton[i, 2]}
    assert shown == {0, 1, 2, 5, 14, 15, 16, 17}
    assert skeleton[2, 0] < skeleton[1, 0] < skeleton[5, 0]


def test_ink_drawings_share_geometry_with_soft_ones_but_not_pixels() -> None:
    soft, ink = drawn(1), draw(world.person(1), plain_shot(), style="ink")
    assert np.array_equal(soft.keypoints, ink.keypoints)
    assert np.abs(soft.picture.astype(int) - ink.picture.astype(int)).mean() > 3
