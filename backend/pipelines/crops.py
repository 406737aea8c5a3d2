"""Which part of a picture an image encoder sees. Encoders take squares: the rest is cut off, drawn out or squeezed in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InvalidRequest, NoFace
from protocol.jobs import Crop

from .placement import Finder, head_box

Pixels = NDArray[np.uint8]

FACE_ROOM = 1.25
"""Side of the square around a face, in heights of its head: a little of what is around it, as Plus-Face adapters were shown."""


def cropped(picture: Pixels, crop: Crop, finder: Finder | None) -> Pixels:
    """The part of `picture` (H, W, 3) that the encoder is given; a square (S, S, 3), but for `squash`, which leaves the picture as it is.

    Raises NoFace when a face is wanted and none is found by `finder`, and InvalidRequest when the model cannot look for faces.
    """
    height, width = picture.shape[:2]
    side = min(height, width)
    match crop:
        case Crop.SQUASH:
            return picture
        case Crop.CENTRE:
            return _cut(picture, (width - side) // 2, (height - side) // 2, side)
        case Crop.TOP:
            return _cut(picture, (width - side) // 2, 0, side)
        case Crop.PAD:
            side = max(height, width)
            return _cut(picture, (width - side) // 2, (height - side) // 2, side)
        case Crop.FACE:
            return _around_face(picture, finder)


def _around_face(picture: Pixels, finder: Finder | None) -> Pixels:
    if finder is None:
        raise InvalidRequest("This model has no face detector, so an image prompt cannot be cut to its face. Choose another crop.")
    found = finder.analyse(picture)
    if not found:
        raise NoFace(
            "No face was found in the image prompt, so it cannot be cut to it. Choose another crop, or a picture with a larger face."
        )
    left, top, right, bottom = (float(value) for value in head_box(found[0].keypoints))
    height, width = picture.shape[:2]
    side = max(1, min(round(FACE_ROOM * max(right - left, bottom - top)), height, width))
    # The square stays inside: what an encoder sees beyond the edge would be made up.
    x = min(max(round((left + right - side) / 2), 0), width - side)
    y = min(max(round((top + bottom - side) / 2), 0), height - side)
    return _cut(picture, x, y, side)


def _cut(picture: Pixels, x: int, y: int, side: int) -> Pixels:
    """The square at (x, y); where it sticks out of the picture, the picture's edge goes on."""
    rows = np.clip(np.arange(y, y + side), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(x, x + side), 0, picture.shape[1] - 1)
    return np.ascontiguousarray(picture[rows][:, columns])
