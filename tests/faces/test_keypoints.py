"""IdentityNet's picture is the official one byte for byte; crops equal insightface's; keypoints move without being stretched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.faces import aligned_crop, draw_keypoints, fit_keypoints
from protocol.errors import FaceError, InvalidRequest, ModelError
from protocol.geometry import Extent

GOLDENS = Path(__file__).parents[1] / "goldens" / "instantid.npz"


def some_keypoints(rng: np.random.Generator) -> np.ndarray:
    face = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    turn = rng.uniform(-0.8, 0.8)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return ((face + rng.normal(0, 0.03, (5, 2))) @ rotation * rng.uniform(40, 150) + rng.uniform(20, 90, 2)).astype(np.float32)


def test_the_drawing_equals_the_official_one_byte_for_byte() -> None:
    with np.load(GOLDENS) as golden:
        drawn = draw_keypoints(golden["keypoints"], Extent(256, 256))
        assert drawn.dtype == np.uint8
        assert np.array_equal(drawn, golden["keypoint_image"])


def test_a_drawing_that_is_resized_is_another_one() -> None:
    """The unsafe twin: what people do who draw at the photo's size and stretch the drawing."""
    cv2 = pytest.importorskip("cv2")
    with np.load(GOLDENS) as golden:
        resized = cv2.resize(draw_keypoints(golden["keypoints"] / 2, Extent(128, 128)), (256, 256))
        assert not np.array_equal(resized, golden["keypoint_image"])


def test_a_disc_has_radius_ten_whatever_the_size_of_the_picture() -> None:
    points = np.array([[50, 50], [300, 50], [175, 150], [80, 250], [280, 250]], dtype=np.float32)
    for extent in (Extent(352, 300), Extent(1216, 832)):
        drawn = draw_keypoints(points, extent)
        assert drawn.shape == (extent.height, extent.width, 3)
        assert int((drawn == (255, 0, 0)).all(axis=2).sum()) == 317


def test_points_outside_the_picture_are_cut_off() -> None:
    outside = np.full((5, 2), -500, dtype=np.float32) + np.arange(5)[:, None]
    assert not draw_keypoints(outside, Extent(64, 48)).any()


@pytest.mark.parametrize("points", [np.zeros((4, 2)), np.full((5, 2), np.nan), np.full((5, 2), 1e12)])
def test_what_are_no_five_points_is_refused(points: np.ndarray) -> None:
    with pytest.raises(InvalidRequest, match="five points"):
        draw_keypoints(points, Extent(64, 64))


@pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning")
@pytest.mark.parametrize("side", [112, 224, 128, 256])
def test_aligned_crops_equal_insightfaces(side: int) -> None:
    face_align = pytest.importorskip("insightface.utils.face_align")
    rng = np.random.default_rng(side)
    for _ in range(8):
        photo = rng.integers(0, 256, (240, 260, 3), dtype=np.uint8)
        keypoints = some_keypoints(rng)
        ours = aligned_crop(photo, keypoints, side).astype(int)
        assert abs(ours - face_align.norm_crop(photo, keypoints, side).astype(int)).max() <= 1


def test_a_crop_of_an_unknown_size_is_refused() -> None:
    with pytest.raises(ModelError, match="multiples of 112"):
        aligned_crop(np.zeros((9, 9, 3), np.uint8), some_keypoints(np.random.default_rng(0)), 100)


def test_keypoints_on_one_point_cannot_be_aligned() -> None:
    with pytest.raises(FaceError, match="one point"):
        aligned_crop(np.zeros((9, 9, 3), np.uint8), np.ones((5, 2), np.float32), 112)


def test_fitting_keeps_angles_and_proportions_and_stays_inside() -> None:
    rng = np.random.default_rng(5)
    source = Extent(1500, 1000)
    points = (rng.random((5, 2)) * [1500, 1000]).astype(np.float32)
    for target in (Extent(832, 1216), Extent(1024, 1024), Extent(128, 128), Extent(1500, 1000)):
        moved = fit_keypoints(points, source, target)
        scale = min(target.width / 1500, target.height / 1000)
        np.testing.assert_allclose(moved - moved[0], (points - points[0]) * scale, atol=1e-2)
        assert (moved >= 0).all()
        assert (moved <= [target.width, target.height]).all()
    np.testing.assert_allclose(fit_keypoints(points, source, source), points, atol=1e-3)
