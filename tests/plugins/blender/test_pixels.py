"""Where a camera of Blender's sees a place, and where it sees a posed rig: right to far below a pixel, in real Blender."""

from __future__ import annotations

import pytest

from plugin_blender.bones import JOINTS


def test_every_kind_of_camera_sees_every_place_where_blender_does(play):
    for kind, difference in play("pixels")["differences"].items():
        assert difference < 0.01, kind


def test_a_ray_through_a_pixel_goes_through_the_place_that_it_shows(play):
    for kind, distance in play("pixels")["back"].items():
        assert distance < 1e-5, kind


def test_the_human_metarig_has_all_18_joints(play):
    played = play("pixels")
    assert (played["family"], tuple(played["found"])) == ("Rigify", JOINTS)


def test_a_posed_turned_and_scaled_rig_is_at_known_pixels(play):
    played = play("pixels")
    for joint, mark in zip(JOINTS, played["joints"], strict=True):
        x, y, depth, _, source = mark
        assert source == "bone"
        assert [x, y, depth] == pytest.approx(played["known"][joint], abs=0.01), joint
    assert all(0 <= x < 256 and 0 <= y < 384 for x, y, *_ in played["joints"])


def test_the_person_s_left_is_on_the_viewer_s_right_from_the_front(play):
    marks = dict(zip(JOINTS, play("pixels")["joints"], strict=True))
    for part in ("shoulder", "hip", "knee", "eye", "ear"):
        assert marks[f"left_{part}"][0] > marks[f"right_{part}"][0], part
