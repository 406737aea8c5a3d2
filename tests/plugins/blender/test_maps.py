"""From distances and directions to the pictures that the networks were trained on."""

from __future__ import annotations

import numpy as np
import pytest

from plugin_blender.maps import FARTHEST, depth_picture, normals_picture, plane_of

EVERYWHERE = np.ones((20, 30), dtype=bool)


def ramp(near: float = 1.0, far: float = 4.0):
    """From near on the left to far on the right."""
    return np.repeat(np.linspace(near, far, 30, dtype=np.float32)[None], 20, axis=0)


def test_near_is_white_and_far_is_black():
    picture = depth_picture(ramp(), EVERYWHERE)
    assert picture.shape == (20, 30, 3)
    assert (picture[:, 0] == 255).all()
    assert (picture[:, -1] == 0).all()
    assert (np.diff(picture[0, :, 0].astype(int)) <= 0).all()


def test_the_middle_of_the_way_is_inverse_and_not_linear():
    """At 2.5 of 1 … 4, (1/2.5 - 1/4) / (1 - 1/4) = 0.2 and not one half."""
    level = depth_picture(ramp(), EVERYWHERE)[0, np.abs(ramp()[0] - 2.5).argmin(), 0]
    assert level == pytest.approx(0.2 * 255, abs=4)


def test_a_figure_before_nothing_keeps_its_edge():
    covered = EVERYWHERE.copy()
    covered[:, :5] = False
    picture = depth_picture(ramp(), covered)
    assert (picture[:, :5] == 0).all()
    assert picture[:, 5:].min() == FARTHEST
    assert picture.max() == 255


def test_scale_does_not_matter():
    assert np.array_equal(depth_picture(ramp(), EVERYWHERE), depth_picture(ramp() * 100, EVERYWHERE))


def test_one_pixel_before_the_lens_does_not_flatten_the_rest():
    distance = np.repeat(ramp()[None], 20, axis=0).reshape(400, 30).copy()
    alone = depth_picture(distance, np.ones_like(distance, bool))
    distance[0, 0] = 0.001
    assert np.abs(depth_picture(distance, np.ones_like(distance, bool)).astype(int) - alone).mean() < 1


def test_a_flat_wall_is_white_and_nothing_is_black():
    assert (depth_picture(np.full((4, 4), 3.0, np.float32), np.ones((4, 4), bool)) == 255).all()
    assert (depth_picture(np.zeros((4, 4), np.float32), np.zeros((4, 4), bool)) == 0).all()


@pytest.mark.parametrize(
    ("normal", "colour"),
    [
        ((0, 0, 1), (128, 128, 255)),
        ((-1, 0, 0), (255, 128, 128)),  # looks to the viewer's left
        ((0, 1, 0), (128, 255, 128)),
    ],
)
def test_blue_is_front_red_is_left_and_green_is_top(normal, colour):
    normals, covered = np.array([[normal]], dtype=np.float32), np.ones((1, 1), bool)
    assert tuple(normals_picture(normals, covered)[0, 0]) == colour


def test_empty_space_looks_at_the_viewer():
    picture = normals_picture(np.full((3, 3, 3), np.nan, np.float32), np.zeros((3, 3), bool))
    assert (picture == (128, 128, 255)).all()


def test_a_picture_goes_over_the_wire_as_it_is():
    picture = depth_picture(ramp(), EVERYWHERE)[:, ::2]
    plane = plane_of(picture)
    plane.check()
    assert (plane.extent.width, plane.extent.height, bytes(plane.data)) == (15, 20, picture.tobytes())
