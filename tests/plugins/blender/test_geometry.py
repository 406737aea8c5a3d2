"""Camera, head and figure as arithmetic: where a place is seen, which way a face looks, what of a person is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from plugin_blender.bones import FACE_POINTS, JOINTS
from plugin_blender.camera import Camera, Frame, Lens
from plugin_blender.figure import Figure, Mark
from plugin_blender.head import head_frame

# Camera space is the world; the camera looks along -z.
HERE = np.eye(4)


def seen(place, lens=None, frame=None):
    return Camera(lens or Lens(), frame or Frame(360, 240), HERE).project(np.array(place, float))[0]


def test_what_the_axis_hits_is_in_the_middle_of_the_picture():
    assert seen((0, 0, -5)) == pytest.approx((180, 120, 5))


def test_the_edge_of_the_sensor_is_the_edge_of_the_picture():
    """36 mm of sensor behind 50 mm of focal length: at a distance of 50, half the width is 18."""
    assert seen((18, 12, -50)) == pytest.approx((360, 0, 50))
    assert seen((-18, -12, -50)) == pytest.approx((0, 240, 50))


def test_the_longer_side_is_fitted_unless_the_camera_says_otherwise():
    tall = Frame(240, 360)
    assert seen((0, 18, -50), frame=tall)[1] == pytest.approx(0)
    assert seen((18, 0, -50), Lens(fit="HORIZONTAL"), tall)[0] == pytest.approx(240)
    assert seen((0, 12, -50), Lens(fit="VERTICAL"), tall)[1] == pytest.approx(0)


def test_a_shift_is_a_share_of_the_fitted_side():
    assert seen((0, 0, -5), Lens(shift_x=0.25, shift_y=0.1)) == pytest.approx((180 - 90, 120 + 36, 5))


def test_wide_pixels_show_more_beside_and_the_same_height_of_a_vertical_fit():
    frame = Frame(200, 200, 2.0, 1.0)
    assert seen((36 / 2, 0, -50), frame=frame)[0] == pytest.approx(200)
    assert seen((0, 36 / 4, -50), frame=frame)[1] == pytest.approx(0)


def test_without_perspective_distance_does_not_matter():
    lens = Lens(orthographic=True, ortho_scale=36.0)
    assert seen((18, 0, -2), lens)[0] == pytest.approx(360)
    assert seen((18, 0, -50), lens)[0] == pytest.approx(360)


def test_what_is_behind_the_camera_has_a_negative_distance():
    assert seen((0, 0, 3))[2] == pytest.approx(-3)


LENSES = {"perspective": Lens(shift_x=0.3), "orthographic": Lens(orthographic=True, shift_y=-0.2, clip_start=0.5)}


@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_a_ray_starts_at_the_near_clip_and_hits_what_its_pixel_shows(lens: Lens):
    turn = np.array([[0, -1, 0, 3], [1, 0, 0, -2], [0, 0, 1, 1], [0, 0, 0, 1]], float)
    camera = Camera(lens, Frame(320, 200, 1.0, 1.3), turn)
    places = np.random.default_rng(0).uniform(-1, 1, (20, 3)) + np.array([3, -2, -4])
    pixels = camera.project(places)
    start, way = camera.rays(pixels[:, :2])
    beside = places - start - ((places - start) * way).sum(axis=1, keepdims=True) * way
    assert np.abs(beside).max() < 1e-9
    assert camera.project(start)[:, 2] == pytest.approx(lens.clip_start)
    assert np.linalg.norm(way, axis=1) == pytest.approx(1)


# A person at rest as Blender's rigs stand: looking along -y, z up, the left hand at +x.
REST = {
    "left_shoulder": np.array([0.17, 0.0, 1.42]),
    "right_shoulder": np.array([-0.17, 0.0, 1.42]),
    "left_hip": np.array([0.09, 0.0, 0.95]),
    "right_hip": np.array([-0.09, 0.0, 0.95]),
}
ROOT = np.array([0.0, 0.0, 1.57])


def test_a_face_at_rest_looks_where_the_body_does():
    frame = head_frame(REST, ROOT, None, np.eye(4))
    assert frame.forward == pytest.approx((0, -1, 0))
    assert frame.left == pytest.approx((1, 0, 0))
    assert frame.place("left_eye")[0] > 0 > frame.place("right_eye")[0]
    assert frame.place("nose")[1] < frame.place("left_mouth")[1] < frame.place("left_ear")[1]
    assert frame.place("left_eye")[2] > frame.place("left_ear")[2] > frame.place("nose")[2] > frame.place("left_mouth")[2]


def test_a_face_turns_and_grows_with_its_bone_whatever_the_bone_s_axes_are():
    turn = np.diag([2.0, 2.0, 2.0, 1.0])
    turn[:2, :2] = 2 * np.array([[0, -1], [1, 0]])
    frame = head_frame(REST, ROOT, None, turn)
    assert frame.forward == pytest.approx((1, 0, 0))
    assert frame.size == pytest.approx(0.68)
    assert frame.place("nose") == pytest.approx(turn[:3, :3] @ head_frame(REST, ROOT, None, np.eye(4)).place("nose"))


def test_a_marked_crown_carries_the_face():
    crown = np.array([0.0, 0.0, 1.8])
    assert head_frame(REST, ROOT, crown, np.eye(4)).place("left_eye")[2] == pytest.approx(1.8 - 0.322 * 0.34)


def test_a_body_without_hips_stands_on_its_shoulders_and_one_without_shoulders_has_no_head():
    shoulders = {name: place for name, place in REST.items() if "shoulder" in name}
    assert head_frame(shoulders, ROOT, None, np.eye(4)).up == pytest.approx((0, 0, 1))
    assert head_frame({"left_shoulder": REST["left_shoulder"]}, ROOT, None, np.eye(4)) is None
    assert head_frame({**REST, "left_shoulder": REST["right_shoulder"]}, ROOT, None, np.eye(4)) is None


@pytest.mark.parametrize(
    ("degrees", "parts"),
    [
        (0, {"left_eye", "right_eye", "nose", "left_ear", "right_ear"}),
        (50, {"left_eye", "right_eye", "nose", "left_ear"}),
        (90, {"left_eye", "nose", "left_ear"}),
        (180, {"left_ear", "right_ear"}),
    ],
)
def test_without_a_mesh_the_head_s_direction_tells_what_is_seen(degrees: int, parts: set[str]):
    frame = head_frame(REST, ROOT, None, np.eye(4))
    camera = np.array([math.sin(math.radians(degrees)), -math.cos(math.radians(degrees)), 0])
    assert {part for part in ("left_eye", "right_eye", "nose", "left_ear", "right_ear") if frame.faces(part, camera)} == parts


def figure(joints=None, face=None):
    joints = {joint: Mark(100 + index, 100, 2.0) for index, joint in enumerate(JOINTS)} | (joints or {})
    face = {point: Mark(50 + index, 60, 2.0) for index, point in enumerate(FACE_POINTS)} | (face or {})
    return Figure(256, 200, tuple(joints[joint] for joint in JOINTS), tuple(face[point] for point in FACE_POINTS))


def test_limbs_behind_the_body_are_drawn_and_hidden_eyes_are_not():
    drawn = dict(zip(JOINTS, figure({"left_wrist": Mark(9, 9, 2.0, False), "left_eye": Mark(8, 8, 2.0, False)}).skeleton, strict=True))
    assert drawn["left_wrist"] == (9, 9)
    assert drawn["left_eye"] is None
    assert drawn["right_eye"] is not None


@pytest.mark.parametrize("mark", [None, Mark(-1, 5, 2.0), Mark(256, 5, 2.0), Mark(5, 200, 2.0), Mark(5, 5, -1.0)])
def test_a_joint_outside_the_picture_or_behind_the_camera_is_not_drawn(mark: Mark | None):
    assert figure({"neck": mark}).skeleton[1] is None


@pytest.mark.parametrize(
    ("face", "words"),
    [
        ({}, ""),
        ({"nose": Mark(1, 1, 2.0, False)}, ""),
        ({"nose": Mark(1, 1, 2.0, False), "left_eye": Mark(1, 1, 2.0, False)}, "turned away"),
        ({"right_mouth": None}, "right mouth"),
        ({"nose": Mark(1, 1, -2.0)}, "behind"),
        ({point: Mark(-5, 1, 2.0) for point in FACE_POINTS}, "outside"),
    ],
)
def test_five_points_are_given_or_a_sentence_says_why_not(face, words: str):
    made = figure(face=face)
    assert words in made.why_no_face
    assert bool(words) == bool(made.why_no_face)
    assert len(made.keypoints) == (0 if words else 5)
