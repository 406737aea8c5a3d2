"""Floats become the bytes that the plain expression gives, whatever stands in them and however large the picture is."""

from __future__ import annotations

import numpy as np
import pytest

from plugin_blender.levels import BLOCK, levels_of, without_alpha
from plugin_blender.maps import Floats


def plainly(values: Floats):
    return np.rint(np.clip(np.nan_to_num(values), 0.0, 1.0) * 255).astype(np.uint8)


def picture(values) -> Floats:
    return np.resize(np.asarray(values, np.float32), (7, 5, 4))


LEVELS = np.arange(256, dtype=np.float32) / np.float32(255)
HALVES = (np.arange(255, dtype=np.float32) + np.float32(0.5)) / np.float32(255)


def test_every_level_comes_back():
    values = LEVELS.reshape(8, 8, 4)
    assert levels_of(values).ravel().tolist() == list(range(256))


@pytest.mark.parametrize("values", [HALVES, np.nextafter(HALVES, np.float32(0)), np.nextafter(HALVES, np.float32(1))])
def test_between_two_levels_it_is_the_same_one(values: Floats):
    shaped = np.resize(values, (16, 4, 4))
    assert (levels_of(shaped) == plainly(shaped)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.0, -1e-9, -3.0, 1.0000001, 1.5, 256.0, 3e38, 1e-45])
def test_what_is_outside_or_no_number_is_cut_off(value: float):
    values = picture([0.2, value, 0.7])
    assert (levels_of(values) == plainly(values)).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, BLOCK), (131, 257), (0, 4)])
@pytest.mark.parametrize("strange", [False, True])
def test_a_picture_of_any_size_upside_down_as_blender_has_it(size: tuple[int, int], strange: bool):
    values = np.random.default_rng(3).random((*size, 4), np.float32)
    if strange and values.size:
        values[-1, -1, 2] = np.nan
    before = values.copy()
    assert (levels_of(values[::-1]) == plainly(before[::-1])).all()
    assert np.array_equal(values, before, equal_nan=True)


def test_cutting_decimals_off_would_be_noticed():
    """The unsafe twin: most levels are a hair below themselves as floats."""
    assert ((LEVELS * np.float32(254.999)).astype(np.uint8) != plainly(LEVELS)).any()


def test_colours_without_their_alpha():
    levels = np.random.default_rng(4).integers(0, 256, (13, 7, 4), dtype=np.uint8)
    assert without_alpha(levels).tobytes() == np.ascontiguousarray(levels[..., :3]).tobytes()
