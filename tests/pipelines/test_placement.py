"""Where faces go."""

from __future__ import annotations

import numpy as np
import pytest

from backend.faces import Face, Identity
from backend.models.bundle import Model
from backend.pipelines.placement import Wish, as_in_photo, fit_head, head_box, place
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
    assert np.array_equal(place(decided, [Wish(ANN)], Finder(there))[0], there)


def test_a_face_outside_the_mask_is_none_of_our_business(model):
    elsewhere = np.array([[2, 2], [6, 2], [4, 4], [3, 6], [5, 6]], np.float32)
    decided = plan(inpaint((32, 32, 28, 28)), model)
    head = head_box(place(decided, [Wish(ANN)], Finder(elsewhere))[0])
    inner = decided.frame.inward(np.array([[32, 32], [60, 60]], np.float32)).ravel()
    assert (head[:2] >= inner[:2] - 1).all()
    assert (head[2:] <= inner[2:] + 1).all()


def test_two_people_never_take_the_same_face(model):
    there = np.array([[24, 28], [36, 28], [30, 34], [26, 40], [34, 40]], np.float32)
    decided = plan(inpaint((0, 0, 64, 64)), model)
    first, second = place(decided, [Wish(ANN), Wish(ANN)], Finder(there))
    assert np.array_equal(first, there)
    assert not np.array_equal(second, first)


def test_a_region_that_is_not_repainted_is_said(model):
    region = np.zeros((64, 64), np.uint8)
    region[:10, :10] = 255
    with pytest.raises(InvalidRequest, match="nothing in common"):
        place(plan(inpaint((40, 40, 20, 20)), model), [Wish(ANN, region=region)], None)


def middles(places):
    return [float(points[:, 0].mean()) for points in places]


def test_people_of_whom_nothing_is_said_stand_side_by_side_in_their_order_with_heads_of_one_height(model):
    near = Identity(ANN.embedding, ANN.embeddings, POINTS * 0.6 + 20, ANN.extent)
    decided = plan(PictureJob(extent=Extent(80, 48)), model)
    places = place(decided, [Wish(ANN), Wish(near)], None)
    assert 10 < middles(places)[0] < 30 < 50 < middles(places)[1] < 70
    heights = [head_box(points)[3] - head_box(points)[1] for points in places]
    assert heights[0] == pytest.approx(heights[1], rel=1e-3)


def test_who_has_no_place_stands_where_nobody_stands(model):
    decided = plan(PictureJob(extent=Extent(80, 48)), model)
    on_the_left = fit_head(POINTS, np.array([4, 4, 34, 44], np.float32))
    waiting, placed = place(decided, [Wish(ANN), Wish(ANN, points=on_the_left)], None)
    assert np.allclose(placed, on_the_left)
    assert waiting[:, 0].min() > 40


def test_several_people_in_a_mask_share_it(model):
    decided = plan(inpaint((8, 8, 48, 32)), model)
    inner = decided.frame.inward(np.array([[8, 8], [56, 40]], np.float32)).ravel()
    middle = (inner[0] + inner[2]) / 2
    left, right = (head_box(points) for points in place(decided, [Wish(ANN), Wish(ANN)], None))
    assert inner[0] - 1 <= left[0] < left[2] <= middle + 1
    assert middle - 1 <= right[0] < right[2] <= inner[2] + 1


def test_in_a_region_a_person_is_framed_as_in_the_photo_with_all_of_the_head(model):
    region = np.zeros((48, 80), np.uint8)
    region[:, 48:] = 255
    decided = plan(PictureJob(extent=Extent(80, 48)), model)
    head = head_box(place(decided, [Wish(ANN, region=region)], None)[0])
    assert 48 <= head[0] < head[2] <= 80
    assert 0 <= head[1] < head[3] <= 48
    assert head[3] - head[1] < 46, "there is more of the person than the head"
