"""Planes become arrays and back without losing or swapping a byte."""

from __future__ import annotations

import numpy as np
import pytest

from backend.images import from_pillow, to_mask, to_pillow, to_plane, to_rgb
from protocol.errors import BadPicture
from protocol.geometry import Extent
from protocol.planes import Layout, Plane


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 1, 3), (2, 4000, 3)])
def test_a_picture_goes_into_a_plane_and_comes_back(shape: tuple[int, ...]) -> None:
    picture = noise(*shape)
    plane = to_plane(picture)
    assert (plane.layout, plane.extent) == (Layout.RGB8, Extent(shape[1], shape[0]))
    assert np.array_equal(to_rgb(plane), picture)


def test_a_mask_goes_into_a_plane_and_comes_back() -> None:
    mask = noise(6, 5)
    assert to_plane(mask).layout is Layout.A8
    assert np.array_equal(to_mask(to_plane(mask)), mask)


def test_kritas_byte_order_is_blue_green_red_alpha() -> None:
    plane = Plane(Layout.BGRA8, Extent(1, 1), bytes([1, 2, 3, 255]))
    assert to_rgb(plane).tolist() == [[[3, 2, 1]]]
    picture = noise(4, 3, 3)
    opaque = np.dstack([picture[..., ::-1], np.full(picture.shape[:2], 255, np.uint8)])
    height, width = picture.shape[:2]
    assert np.array_equal(to_rgb(Plane(Layout.BGRA8, Extent(width, height), opaque.data)), picture)


def test_transparent_pixels_show_the_background_and_opaque_ones_their_bytes() -> None:
    plane = Plane(Layout.RGBA8, Extent(3, 1), bytes([10, 20, 30, 255, 10, 20, 30, 0, 100, 100, 100, 128]))
    assert to_rgb(plane).tolist() == [[[10, 20, 30], [255, 255, 255], [177, 177, 177]]]
    assert to_rgb(plane, background=0)[0, 1].tolist() == [0, 0, 0]


def test_a_strided_array_becomes_a_plane_of_its_own_pixels() -> None:
    picture = noise(8, 8, 3)
    assert np.array_equal(to_rgb(to_plane(picture[::2, 1:5])), picture[::2, 1:5])


def test_pictures_and_masks_are_not_taken_for_each_other() -> None:
    with pytest.raises(BadPicture, match="a mask came"):
        to_rgb(to_plane(noise(3, 3)))
    with pytest.raises(BadPicture, match="a picture came"):
        to_mask(to_plane(noise(3, 3, 3)))


def test_a_plane_with_missing_bytes_is_refused() -> None:
    with pytest.raises(BadPicture):
        to_rgb(Plane(Layout.RGB8, Extent(4, 4), b"\0" * 47))


@pytest.mark.parametrize("array", [np.zeros((3, 3, 2), np.uint8), np.zeros((3,), np.uint8), np.zeros((3, 3, 3), np.float32)])
def test_arrays_that_are_no_pictures_are_refused(array: np.ndarray) -> None:
    with pytest.raises(BadPicture):
        to_plane(array)


def test_pillow_and_back_is_the_same() -> None:
    picture = noise(9, 4, 3)
    assert np.array_equal(from_pillow(to_pillow(picture)), picture)
