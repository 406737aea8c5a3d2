"""From measured distances and surface normals to the pictures that depth and normal ControlNets were trained on. numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .protocol.geometry import Extent
from .protocol.planes import Layout, Plane

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8]

ENDS = (0.001, 0.999)
"""Shares of the nearest and farthest pixels that do not set the scale: one eyelash must not make the face flat."""
FARTHEST = 24
"""The level of the farthest surface where the picture also shows empty space, which is 0: the figure's edge stays an edge."""


def depth_picture(distance: Floats, covered: Mask) -> Pixels:
    """Distance along the viewing axis (height, width), and where there is a surface -> (height, width, 3); near is white, nothing is black.

    Depth ControlNets were trained on MiDaS, which gives inverse depth up to a scale and a shift (Ranftl et al., 2020, arXiv:1907.01341):
    1 / distance, stretched over what the picture shows. Distance turned over linearly is something else and flattens what is near.
    """
    covered = covered & (distance > 0)
    if not covered.any():
        return np.zeros((*distance.shape, 3), dtype=np.uint8)
    inverse = 1.0 / np.where(covered, distance, 1.0).astype(np.float64)
    far, near = np.quantile(inverse[covered], ENDS)
    lowest = 0 if covered.all() else FARTHEST
    # A flat wall has one depth; it is as near as anything gets.
    share = np.clip((inverse - far) / (near - far), 0.0, 1.0) if near - far > 1e-9 * near else np.ones_like(inverse)
    level = np.where(covered, np.rint(lowest + share * (255 - lowest)), 0).astype(np.uint8)
    return np.repeat(level[..., None], 3, axis=2)


def normals_picture(normals: Floats, covered: Mask) -> Pixels:
    """Unit normals in camera space (height, width, 3; x right, y up, z to the viewer) -> RGB; empty space looks at the viewer.

    Red is left, as NormalBae draws it and ControlNet 1.1 was trained (its README: "blue is front, red is left, green is top").
    """
    facing = np.where(covered[..., None], normals, np.array([0.0, 0.0, 1.0])).astype(np.float64)
    facing = facing * np.array([-1.0, 1.0, 1.0])
    return np.rint(np.clip(0.5 + 0.5 * facing, 0.0, 1.0) * 255).astype(np.uint8)


def plane_of(picture: Pixels) -> Plane:
    """RGB bytes (height, width, 3) as they go over the wire."""
    height, width = picture.shape[:2]
    return Plane(Layout.RGB8, Extent(width, height), np.ascontiguousarray(picture).tobytes())
