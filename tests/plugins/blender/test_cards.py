"""Pictures in and out of Blender level by level, cards at known pixels, face points that follow the pose."""

from __future__ import annotations

import numpy as np
import pytest

from plugin_blender.bones import FACE_POINTS

SPOTS = {"right_eye": (106, 108), "left_eye": (150, 108), "nose": (128, 130), "right_mouth": (112, 160), "left_mouth": (144, 160)}
WORDS = {
    "lost": "no pixels",
    "no PNG": "no PNG",
    "cut off": "no PNG",
    "wrong size": "48 bytes",
    "behind": "behind the camera",
    "beside the head": "no skin",
    "nobody": "Neither a rig nor a head",
}


@pytest.mark.parametrize("layout", ["RGB8", "RGBA8", "BGRA8", "A8"])
def test_every_pixel_comes_back_as_it_went(play, layout: str):
    kept = play("cards").arrays(f"layout {layout}")
    sent, came = kept["sent"], kept["came"]
    match layout:
        case "BGRA8":
            sent = sent[..., [2, 1, 0, 3]]
        case "A8":
            sent = np.repeat(sent, 3, axis=2)
        case _:
            pass
    assert (came[..., : sent.shape[2]] == sent).all()


def test_a_picture_knows_how_it_was_made_whatever_it_is_called(play):
    assert play("cards")["origin"] == ["a person", 2**53, pytest.approx(0.71), "Renamed by the user"]
    assert play("cards")["another's"] == [True, True]


@pytest.mark.parametrize("level", [0, 1])
def test_a_large_picture_survives_saving_whether_it_is_compressed_yet_or_not(play, level: int):
    kept = play("cards").arrays(f"chunks {level}")
    assert (kept["came"][..., :3] == kept["sent"]).all()


def test_a_picture_is_saved_with_the_file_though_nothing_shows_it(play):
    kept = play("cards").arrays("reloaded")
    assert play("cards")["kept without users"]
    assert (kept["came"][..., :3] == kept["sent"]).all()


@pytest.mark.parametrize("kind", ["light", "light from a file", "sixteen bits"])
def test_light_becomes_the_levels_that_a_viewer_would_show(play, kind: str):
    kept = play("cards").arrays(kind)
    assert np.abs(kept["came"][0, :, 0].astype(float) - kept["levels"]).max() <= 1
    if kind == "sixteen bits":
        assert kept["depth"] > 32


def test_only_pictures_with_clear_pixels_carry_alpha(play):
    assert play("cards")["alpha"] == ["RGBA8", "RGB8"]


def test_a_large_picture_is_shrunk_to_what_was_asked_for(play):
    assert play("cards")["shrunk"] == [[600, 90], [600, 90], [300, 45], [250, 38], [7, 1]]


@pytest.mark.parametrize("kind", WORDS)
def test_what_cannot_be_done_is_said_and_leaves_no_image_behind(play, kind: str):
    sentence, left = play("cards")["refused"][kind]
    assert WORDS[kind] in sentence
    assert left == 0


@pytest.mark.parametrize(("kind", "box"), [("same", (0, 0, 200, 120)), ("tall", (70, 0, 130, 120)), ("wide", (0, 30, 200, 90))])
def test_a_card_fills_the_frame_as_much_as_its_shape_allows(play, kind: str, box: tuple[int, ...]):
    left, top, right, bottom = box
    corners = play("cards")["corners"][kind]
    for corner, expected in zip(corners, ((left, bottom), (right, bottom), (right, top), (left, top)), strict=True):
        assert corner[:2] == pytest.approx(expected, abs=0.02)
        assert corner[2] == pytest.approx(2.5, abs=1e-4)


def test_a_card_shows_the_picture_pixel_by_pixel(play):
    kept = play("cards").arrays("card")
    difference = np.abs(kept["came"][..., :3].astype(int) - kept["sent"])[1:-1, 1:-1]
    assert difference.mean() < 1
    assert difference.max() < 20


def test_a_card_is_clear_where_the_picture_is(play):
    alpha = play("cards").arrays("holes")["came"][..., 3]
    assert (alpha[:59] == 0).all()
    assert (alpha[62:-1, 1:-1] == 255).all()


def test_face_points_lie_where_they_were_clicked_and_are_used(play):
    for point, (x, y) in SPOTS.items():
        found = play("cards")["points"][point]
        assert found[:2] == pytest.approx((x, y), abs=0.05)
        assert found[2:] == ["empty", True]


def test_face_points_stay_on_the_skin_when_the_head_turns(play):
    for turn in play("cards")["on the skin"].values():
        assert set(turn) == set(FACE_POINTS)
        assert max(turn.values()) < 1e-4
    assert play("cards")["parents"] == [["Rig", "BONE", "head"]]
    assert play("cards")["names"] == sorted(["likeness_eye.R", "likeness_eye.L", "likeness_nose", "likeness_mouth.R", "likeness_mouth.L"])


def test_a_point_placed_again_is_moved(play):
    x, y, points, empties = play("cards")["moved"]
    assert (x, y) == pytest.approx((128, 140), abs=0.05)
    assert (points, empties) == (5, 5)


def test_points_can_be_taken_away_and_follow_a_mesh_without_a_rig(play):
    assert play("cards")["taken away"] == [5, 0]
    assert play("cards")["without a rig"] == ["Head", True]
