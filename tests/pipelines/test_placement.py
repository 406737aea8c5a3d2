"""Where faces go."""

from __future__ import annotations

import numpy as np
import pytest

from backend.faces import Face, Identity
from backend.models.bundle import Model
from backend.pipelines.placement import as_in_photo, fit_head, head_box, place
from backend.pipelines.plan import plan
from protocol.errors import InvalidRequest
from protocol.geometry import Extent
from protocol.jobs import Canvas, PictureJob
from protocol.planes import Layout, Plane

POINTS = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]], np.float32)
ANN = Identity(np.ones(512, np.float32), np.ones((1, 512), np.float32), POINTS, Extent(112, 140))


class Finder:
    def __init__(self, *places: np.ndarray) -> None:
        self.faces = [Face(np.zeros(4, np.float32), place.astype(np.float32), np.ones(512, np.float32), 0.9) for place in places]

    def analyse(self, rgb):
        return self.faces


@pytest.fixture
def model(tiny_folders):
    return Model.open(tiny_folders["sdxl"])


def inpaint(box, size=64):
    x, y, width, height = box
    mask = np.zeros((size, size), np.uint8)
    mask[y : y + height, x : x + width] = 255
    picture = Plane(Layout.RGB8, Extent(size, size), bytes(3 * size * size))
    return PictureJob(canvas=Canvas(picture, Plane(Layout.A8, Extent(size, size), mask.tobytes())))


def test_a_head_fills_the_box_that_it_is_fitted_into_and_keeps_its_proportions():
    fitted = fit_head(POINTS, np.array([10, 20, 110, 220], np.float32))
    head = head_box(fitted)
    assert head[0] == pytest.approx(10, abs=0.1)
    assert head[2] == pytest.approx(110, abs=0.1)
    assert (head[1] + head[3]) / 2 == pytest.approx(120, abs=0.1)
    scale = np.linalg.norm(fitted[0] - fitted[1]) / np.linalg.norm(POINTS[0] - POINTS[1])
    assert np.allclose(fitted - fitted.mean(0), (POINTS - POINTS.mean(0)) * scale, atol=1e-3)


def test_a_face_is_framed_as_in_its_photo():
    assert np.allclose(as_in_photo(ANN, Extent(224, 280)), POINTS * 2)


def test_a_face_that_is_small_in_its_photo_is_brought_nearer():
    far = Identity(ANN.embedding, ANN.embeddings, POINTS, Extent(2000, 2000))
    head = head_box(as_in_photo(far, Extent(128, 128)))
    assert head[3] - head[1] == pytest.approx(64, abs=1)
    assert 0 <= head[0] < head[2] <= 128


def test_the_pose_of_a_face_that_is_repainted_is_kept(model):
    there = np.array([[24, 28], [36, 28], [30, 34], [26, 40], [34, 40]], np.float32)
    decided = plan(inpaint((16, 16, 32, 32)), model)
    assert np.array_equal(place(decided, ANN, None, None, Finder(there), []), there)


def test_a_face_outside_the_mask_is_none_of_our_business(model):
    elsewhere = np.array([[2, 2], [6, 2], [4, 4], [3, 6], [5, 6]], np.float32)
    decided = plan(inpaint((32, 32, 28, 28)), model)
    head = head_box(place(decided, ANN, None, None, Finder(elsewhere), []))
    inner = decided.frame.inward(np.array([[32, 32], [60, 60]], np.float32)).ravel()
    assert (head[:2] >= inner[:2] - 1).all()
    assert (head[2:] <= inner[2:] + 1).all()


def test_two_people_never_take_the_same_face(model):
    there = np.array([[24, 28], [36, 28], [30, 34], [26, 40], [34, 40]], np.float32)
    decided = plan(inpaint((0, 0, 64, 64)), model)
    finder = Finder(there)
    first = place(decided, ANN, None, None, finder, [])
    assert not np.array_equal(place(decided, ANN, None, None, finder, [first]), first)


def test_a_region_that_is_not_repainted_is_said(model):
    region = np.zeros((64, 64), np.uint8)
    region[:10, :10] = 255
    with pytest.raises(InvalidRequest, match="nothing in common"):
        place(plan(inpaint((40, 40, 20, 20)), model), ANN, None, region, None, [])
