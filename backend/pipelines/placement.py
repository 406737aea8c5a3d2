"""Where a person's face goes: where the job says, where the canvas has one, or as in the person's own photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InvalidRequest
from protocol.geometry import Extent

from ..faces import Face, Identity
from ..keypoints import fit_keypoints
from .plan import Plan

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

HEAD_HEIGHT = 3.2
"""Height of a head with its hair, in distances from the eyes to the mouth (0.36 of ArcFace's 112-pixel template)."""
HEAD_WIDTH = 2.6
HEAD_RISE = 0.3
"""How far the head's centre lies above the middle between eyes and mouth, in the same unit: there is more head above than below."""

SMALLEST_HEAD = 0.35
"""Heads smaller than this part of the picture's shorter side are brought nearer …"""
NEARER_HEAD = 0.5
"""… to this part."""


class Finder(Protocol):
    """What finds faces in a picture."""

    def analyse(self, rgb: Pixels) -> list[Face]:
        """The faces of a picture (H, W, 3), largest first."""
        ...


def place(
    plan: Plan, identity: Identity, points: Floats | None, region: Pixels | None, finder: Finder | None, taken: Sequence[Floats]
) -> Floats:
    """Keypoints (5, 2) of one person's face, in pixels of what is drawn.

    `points` are the job's own (pixels of the picture) and win. On a canvas a face that is there already gives its pose: the largest one
    that is repainted, lies in `region` (uint8 mask of the picture) and is not in `taken`. Otherwise the face keeps the pose of the person's
    photo, fitted into the region or what is repainted, and without both framed as in the photo.
    """
    if points is not None:
        return plan.frame.inward(points)
    area = _area(plan, region)
    if plan.canvas is not None and finder is not None:
        for face in finder.analyse(plan.frame.cut_and_scale(plan.canvas)):
            if _inside(face.keypoints, area) and not any(np.abs(face.keypoints - other).max() < 1 for other in taken):
                return face.keypoints
    if area is None:
        return as_in_photo(identity, plan.frame.extent)
    return fit_head(identity.keypoints, _bounding_box(area))


def as_in_photo(identity: Identity, extent: Extent) -> Floats:
    """Keypoints (5, 2) framed as in the person's photo; a head that would be small is brought nearer, since small faces lose their likeness
    (InstantID/InstantID issue 212, cubiq/ComfyUI_InstantID issue 141).
    """
    points = fit_keypoints(identity.keypoints, identity.extent, extent)
    head = head_box(points)
    side = min(extent.width, extent.height)
    if head[3] - head[1] >= SMALLEST_HEAD * side:
        return points
    x, y, half = extent.width / 2, extent.height * 0.45, NEARER_HEAD * side / 2
    return fit_head(points, np.array([x - half, y - half, x + half, y + half], np.float32))


def head_box(keypoints: Floats) -> Floats:
    """The box (left, top, right, bottom) of the head around five keypoints (5, 2), after the proportions above."""
    eyes, mouth = keypoints[:2].mean(0), keypoints[3:].mean(0)
    unit = max(float(np.linalg.norm(eyes - mouth)), float(np.linalg.norm(keypoints[0] - keypoints[1])), 1e-3)
    x, y = (eyes + mouth) / 2 - np.array([0, HEAD_RISE * unit])
    wide, high = HEAD_WIDTH * unit / 2, HEAD_HEIGHT * unit / 2
    return np.array([x - wide, y - high, x + wide, y + high], np.float32)


def fit_head(keypoints: Floats, box: Floats) -> Floats:
    """Keypoints (5, 2), moved and scaled alike in both directions so that the head lies in `box` (left, top, right, bottom) and fills
    it."""
    head = head_box(keypoints)
    scale = float(min((box[2] - box[0]) / (head[2] - head[0]), (box[3] - box[1]) / (head[3] - head[1])))
    middle, goal = (head[:2] + head[2:]) / 2, (box[:2] + box[2:]) / 2
    return ((keypoints - middle) * scale + goal).astype(np.float32)


def _area(plan: Plan, region: Pixels | None) -> Pixels | None:
    """Where the face may be, as a mask at the drawn extent; None for everywhere."""
    masks = [mask for mask in (plan.mask, region) if mask is not None]
    if not masks:
        return None
    area = np.minimum.reduce([plan.frame.cut_and_scale(mask) for mask in masks])
    if not area.any():
        raise InvalidRequest("A person's region and what is to be repainted have nothing in common. Move one of them.")
    return area


def _inside(keypoints: Floats, area: Pixels | None) -> bool:
    if area is None:
        return True
    x, y = keypoints.mean(0).round().astype(int)
    height, width = area.shape
    return 0 <= x < width and 0 <= y < height and bool(area[y, x] >= area.max() / 2)


def _bounding_box(area: Pixels) -> Floats:
    inside = area >= area.max() / 2
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
