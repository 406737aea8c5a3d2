"""A turning head in real Blender: where its five points are and which of them are seen."""

from __future__ import annotations

import pytest

from plugin_blender.bones import FACE_POINTS

SEEN = {"0": "11111", "25": "11111", "180": "00000"}
SOURCES = ("bone", "group", "empty", "estimate")


@pytest.mark.parametrize("source", SOURCES)
def test_points_are_seen_from_the_front_and_hidden_from_behind(play, source: str):
    told = play("turning")["told"][source]
    assert {turn: told[turn]["bits"] for turn in SEEN} == SEEN
    assert all(told["0"]["sources"][index] == source for index in range(5))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("turn", "near"), [("90", "right"), ("-90", "left")])
def test_in_profile_only_the_near_half_and_the_nose_are_seen(play, source: str, turn: str, near: str):
    bits = play("turning")["told"][source][turn]["bits"]
    seen = {point for point, bit in zip(FACE_POINTS, bits, strict=True) if bit == "1"}
    assert {point.split("_")[0] for point in seen} <= {near, "nose"}
    assert f"{near}_eye" in seen


@pytest.mark.parametrize("source", SOURCES)
def test_keypoints_are_given_when_the_face_is_seen_and_else_a_sentence(play, source: str):
    told = play("turning")["told"][source]
    assert [told[turn]["keypoints"] for turn in ("0", "25", "90", "180")] == [5, 5, 0, 0]
    assert told["0"]["why"] == ""
    assert "turned away" in told["180"]["why"]


def test_bones_groups_and_empties_agree_to_a_hundredth_of_a_pixel(play):
    told = play("turning")["told"]
    for turn in told["group"]:
        for point in range(5):
            group = told["group"][turn]["points"][point]
            assert told["empty"][turn]["points"][point] == pytest.approx(group, abs=0.01)
            assert told["bone"][turn]["points"][point] == pytest.approx(group, abs=2.0)  # looked for on the skin again


def test_an_estimated_face_is_where_a_face_is(play):
    """Against the marks of the same head: within a twelfth of its height, which is 130 pixels here."""
    told = play("turning")["told"]
    for turn in ("0", "25"):
        for guess, known in zip(told["estimate"][turn]["points"], told["group"][turn]["points"], strict=True):
            assert guess == pytest.approx(known, abs=11)


def test_the_viewer_s_left_eye_is_the_first_point(play):
    points = play("turning")["told"]["group"]["0"]["points"]
    assert points[0][0] < points[2][0] < points[1][0]
    assert points[3][0] < points[4][0]
    assert points[0][1] < points[2][1] < points[3][1]


def test_a_turn_to_the_person_s_left_moves_the_nose_to_the_viewer_s_right_or_back(play):
    told = play("turning")["told"]["group"]
    assert (told["25"]["points"][2][0] - 128) * (told["-50"]["points"][2][0] - 128) < 0


def test_the_skeleton_s_head_tells_front_from_back(play):
    told = play("turning")["told"]["estimate"]
    nose, right_eye, left_eye, *ears = told["180"]["head"]
    assert [nose, right_eye, left_eye, *ears] == [False, False, False, True, True]
    assert all(told["0"]["head"])
    assert told["90"]["head"][3] != told["90"]["head"][4]


def test_points_follow_a_mesh_that_is_subdivided(play):
    assert play("turning")["moved"] < 1.0


def test_what_is_in_front_of_an_eye_covers_it_unless_it_is_not_rendered(play):
    played = play("turning")
    assert played["covered"] == "01111"
    assert played["hidden"] == "11111"


def test_a_head_without_a_rig_gives_its_points_alone(play):
    played = play("turning")["without_rig"]
    assert played["bits"] == "11111"
    assert not any(played["joints"])


def test_a_point_left_out_by_hand_is_named(play):
    played = play("turning")["left_out"]
    assert "nose" in played["why"]
    assert played["kept"] == '{"nose": null}'
    assert played["forgotten"]
