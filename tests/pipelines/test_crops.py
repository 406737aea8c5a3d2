"""What an image encoder is shown of a picture, against Pillow's own crops."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from backend.faces import Face
from backend.pipelines.crops import cropped
from backend.pipelines.placement import head_box
from protocol.errors import InvalidRequest, NoFace
from protocol.jobs import Crop

POINTS = np.array([[22, 30], [34, 30], [28, 36], [24, 42], [32, 42]], np.float32)


class Finder:
    def __init__(self, *faces: np.ndarray) -> None:
        self.faces = [Face(np.zeros(4, np.float32), points, np.ones(512, np.float32), 0.9) for points in faces]

    def analyse(self, rgb):
        return self.faces


def by_pillow(picture, box):
    return np.asarray(Image.fromarray(picture).crop(box))


def test_squash_leaves_the_picture_as_it_is(picture):
    upright = picture(1, 40, 70)
    assert cropped(upright, Crop.SQUASH, None) is upright


def test_the_centre_and_the_top_of_an_upright_picture(picture):
    upright = picture(1, 40, 70)
    assert np.array_equal(cropped(upright, Crop.CENTRE, None), by_pillow(upright, (0, 15, 40, 55)))
    assert np.array_equal(cropped(upright, Crop.TOP, None), by_pillow(upright, (0, 0, 40, 40)))


def test_the_centre_and_the_top_of_a_lying_picture_are_one(picture):
    lying = picture(1, 70, 40)
    assert np.array_equal(cropped(lying, Crop.CENTRE, None), by_pillow(lying, (15, 0, 55, 40)))
    assert np.array_equal(cropped(lying, Crop.TOP, None), cropped(lying, Crop.CENTRE, None))


def test_padding_keeps_all_of_the_picture_and_draws_out_its_edges(picture):
    upright = picture(1, 40, 70)
    padded = cropped(upright, Crop.PAD, None)
    assert padded.shape == (70, 70, 3)
    assert np.array_equal(padded[:, 15:55], upright)
    assert (padded[:, :15] == upright[:, :1]).all()
    assert (padded[:, 55:] == upright[:, -1:]).all()


def test_a_square_picture_is_the_same_in_every_way_but_the_face(picture):
    square = picture(1, 50, 50)
    for crop in (Crop.SQUASH, Crop.CENTRE, Crop.TOP, Crop.PAD):
        assert np.array_equal(cropped(square, crop, None), square)


def test_the_face_is_in_the_middle_of_its_square_with_its_whole_head(picture):
    shown = picture(1, 120, 100)
    square = cropped(shown, Crop.FACE, Finder(POINTS))
    left, top, right, bottom = head_box(POINTS)
    side = square.shape[0]
    assert square.shape == (side, side, 3)
    assert side >= max(right - left, bottom - top)
    corner = next((x, y) for y in range(20) for x in range(40) if np.array_equal(shown[y : y + side, x : x + side], square))
    assert corner[0] <= left
    assert corner[0] + side >= right
    assert corner[1] + side >= bottom


def test_a_face_at_the_edge_never_leaves_the_picture(picture):
    shown = picture(1, 60, 60)
    square = cropped(shown, Crop.FACE, Finder(POINTS - [20, 28]))
    assert np.array_equal(square, shown[: square.shape[0], : square.shape[1]])


def test_no_face_and_no_detector_are_said(picture):
    with pytest.raises(NoFace, match="another crop"):
        cropped(picture(1, 60, 60), Crop.FACE, Finder())
    with pytest.raises(InvalidRequest, match="no face detector"):
        cropped(picture(1, 60, 60), Crop.FACE, None)
