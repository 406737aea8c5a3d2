"""Drawings that the ControlNets know: against OpenCV itself, drawn as the published annotators draw."""

from __future__ import annotations

import math
import time

import cv2
import numpy as np
import pytest
from plugin_blender.protocol.errors import InvalidRequest

from backend.keypoints import draw_keypoints
from plugin_blender.drawing import COLOURS, LIMBS, draw_face_keypoints, draw_skeleton
from protocol.geometry import Extent

# controlnet_aux 0.0.10, open_pose/util.py, draw_bodypose: counted from one, as there.
PUBLISHED = [(2, 3), (2, 6), (3, 4), (4, 5), (6, 7), (7, 8), (2, 9), (9, 10), (10, 11), (2, 12), (12, 13), (13, 14)]
PUBLISHED += [(2, 1), (1, 15), (15, 17), (1, 16), (16, 18)]

STANDING = [
    *((256, 90), (256, 150), (196, 152), (170, 250), (160, 340), (316, 152), (344, 246), (398, 180)),
    *((222, 340), (216, 470), (210, 600), (290, 340), (300, 470), (310, 602), (240, 76), (272, 76), (220, 84), (292, 84)),
]


def published_skeleton(joints, width: int, height: int):
    """ControlNet's annotator (`draw_bodypose`), with OpenCV."""
    canvas = np.zeros((height, width, 3), np.uint8)
    for (first, second), colour in zip(PUBLISHED, COLOURS, strict=False):
        one, two = joints[first - 1], joints[second - 1]
        if one is None or two is None:
            continue
        across, down = np.array([one[0], two[0]], float), np.array([one[1], two[1]], float)
        length = ((down[0] - down[1]) ** 2 + (across[0] - across[1]) ** 2) ** 0.5
        angle = math.degrees(math.atan2(down[0] - down[1], across[0] - across[1]))
        polygon = cv2.ellipse2Poly((int(np.mean(across)), int(np.mean(down))), (int(length / 2), 4), int(angle), 0, 360, 1)
        cv2.fillConvexPoly(canvas, np.asarray(polygon), [int(float(part) * 0.6) for part in colour])
    for joint, colour in zip(joints, COLOURS, strict=True):
        if joint is not None:
            cv2.circle(canvas, (int(joint[0]), int(joint[1])), 4, colour, thickness=-1)
    return canvas


def bodies(count: int, spread: float):
    """Random people, some joints missing, some outside the picture."""
    for seed in range(count):
        random = np.random.default_rng(seed)
        places = random.uniform(-spread, 512 + spread, (18, 2))
        yield [None if random.random() < 0.15 else (float(x), float(y)) for x, y in places]


def test_the_skeleton_is_the_annotators_to_the_pixel():
    assert np.array_equal(draw_skeleton(STANDING, 512, 640), published_skeleton(STANDING, 512, 640))


@pytest.mark.parametrize(("spread", "share"), [(0, 0), (200, 0.002), (5000, 0.02)], ids=["inside", "at the rim", "far outside"])
def test_any_pose_is_the_annotators_to_the_pixel_but_where_opencv_clips_long_lines(spread: float, share: float):
    for joints in bodies(12, spread):
        ours, theirs = draw_skeleton(joints, 512, 512), published_skeleton(joints, 512, 512)
        drawn = (ours.any(-1) | theirs.any(-1)).sum()
        different = (ours != theirs).any(-1).sum()
        assert different <= share * drawn, (different, drawn)


@pytest.mark.parametrize("degrees", range(0, 360, 5))
def test_a_limb_in_every_direction_is_the_annotators(degrees: int):
    joints = [None] * 18
    joints[1], joints[2] = (128, 128), (128 + 90 * math.cos(math.radians(degrees)), 128 + 90 * math.sin(math.radians(degrees)))
    ours, theirs = draw_skeleton(joints, 256, 256), published_skeleton(joints, 256, 256)
    assert np.array_equal(ours, theirs)


def test_a_missing_joint_takes_its_limbs_along_and_nothing_else():
    for gone in range(18):
        joints = [None if index == gone else place for index, place in enumerate(STANDING)]
        picture = draw_skeleton(joints, 512, 640)
        colours = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()} - {(0, 0, 0)}
        limbs = {tuple(int(part * 0.6) for part in COLOURS[index]) for index, limb in enumerate(LIMBS) if gone not in limb}
        assert colours == limbs | {COLOURS[index] for index in range(18) if index != gone}


@pytest.mark.parametrize("seed", range(20))
def test_the_face_is_the_backends_own_drawing(seed: int):
    random = np.random.default_rng(seed)
    face = np.array([[-35, -20], [35, -20], [0, 15], [-25, 45], [25, 45]]) * random.uniform(0.3, 4)
    turn = random.uniform(-math.pi, math.pi)
    points = face @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]) + random.uniform(-50, 600, 2)
    ours = draw_face_keypoints([(float(x), float(y)) for x, y in points], 512, 640)
    theirs = draw_keypoints(points, Extent(512, 640))
    drawn = (ours.any(-1) | theirs.any(-1)).sum()
    assert (ours != theirs).any(-1).sum() <= 0.002 * drawn


@pytest.mark.parametrize(
    "joints",
    [STANDING[:17], [*STANDING[:17], (math.nan, 0)], [*STANDING[:17], (1e9, 0)], [*STANDING[:17], (1, 2, 3)]],
    ids=["17", "nan", "far", "three"],
)
def test_what_is_no_skeleton_is_refused_with_a_sentence(joints):
    with pytest.raises(InvalidRequest, match="18 joints"):
        draw_skeleton(joints, 64, 64)
    with pytest.raises(InvalidRequest, match="five points"):
        draw_face_keypoints(joints[-5:] + joints[:1], 64, 64)


@pytest.mark.parametrize("size", [(0, 10), (10, -1), (20000, 10), (16000, 16000)])
def test_a_size_that_cannot_be_sent_is_refused_with_a_sentence(size):
    with pytest.raises(InvalidRequest, match="cannot be drawn"):
        draw_skeleton(STANDING, *size)


def test_a_full_skeleton_is_drawn_in_a_moment():
    start = time.thread_time()
    draw_skeleton([(x * 2.4, y * 2) for x, y in STANDING], 832, 1216)
    assert time.thread_time() - start < 0.5
