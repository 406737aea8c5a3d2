"""The five keypoints of a face: aligned crops for recognisers, IdentityNet's picture, and moving them from photo to picture.

In this order: the viewer's left eye, the viewer's right eye, nose, left and right corner of the mouth; (5, 2), x and y in pixels.
OpenCV is imported when something is drawn or cropped.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from protocol.errors import FaceError, InvalidRequest, ModelError
from protocol.geometry import Extent

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
"""Where ArcFace expects the five keypoints in a 112 x 112 crop (insightface, utils/face_align.py)."""

_LIMBS = ((0, 2), (1, 2), (3, 2), (4, 2))
_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))


def aligned_crop(rgb: Pixels, keypoints: Floats, side: int) -> Pixels:
    """The face, turned upright and scaled as ArcFace expects it: (height, width, 3) and (5, 2) -> (side, side, 3).

    `side` is a multiple of 112, or of 128 (then with a margin at both sides), as in insightface's `norm_crop`, which this equals; written
    out since that one relies on a function that scikit-image is about to remove. The similarity that fits best in the sense of least
    squares (Umeyama, 1991) is, with points as complex numbers, one division.
    """
    import cv2

    if side % 112 and side % 128:
        raise ModelError(f"A face cannot be aligned to {side} x {side} pixels: recognisers take multiples of 112 or of 128 pixels.")
    ratio, margin = (side / 112, 0.0) if side % 112 == 0 else (side / 128, 8.0 * side / 128)
    goal = _TEMPLATE * ratio + np.array([margin, 0.0])
    here, there = _complex(keypoints.astype(np.float64)), _complex(goal)
    middle = here.mean()
    spread = float((abs(here - middle) ** 2).sum())
    if not spread > 0:
        raise FaceError("The five keypoints of a face lie on one point, so it cannot be aligned. Use a photo that shows the face larger.")
    turn = (np.conj(here - middle) * (there - there.mean())).sum() / spread
    shift = there.mean() - turn * middle
    matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    return np.asarray(cv2.warpAffine(rgb, matrix, (side, side), borderValue=(0, 0, 0)), dtype=np.uint8)


def draw_keypoints(keypoints: Floats, extent: Extent) -> Pixels:
    """Five keypoints (5, 2) in pixels of `extent` -> IdentityNet's picture (height, width, 3), as InstantID's `draw_kps` draws it.

    Sizes are absolute (limbs 8 pixels wide, discs of radius 10): draw at the size that is generated and never resize the drawing.
    Points may lie outside. Raises `InvalidRequest` if they are not five pairs of finite numbers.
    """
    import cv2

    points = np.asarray(keypoints, dtype=np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all() or abs(points).max() > 1e6:
        raise InvalidRequest("A face is placed by five points (eyes, nose, corners of the mouth), each an x and a y in pixels.")
    canvas = np.zeros((extent.height, extent.width, 3), dtype=np.uint8)
    for first, second in _LIMBS:
        (x0, y0), (x1, y1) = points[first], points[second]
        length = math.hypot(x0 - x1, y0 - y1)
        angle = math.degrees(math.atan2(y0 - y1, x0 - x1))
        limb = cv2.ellipse2Poly((int((x0 + x1) / 2), int((y0 + y1) / 2)), (int(length / 2), 4), int(angle), 0, 360, 1)
        cv2.fillConvexPoly(canvas, np.array(limb), _COLOURS[first])
    canvas = (canvas * 0.6).astype(np.uint8)
    for (x, y), colour in zip(points, _COLOURS, strict=True):
        cv2.circle(canvas, (int(x), int(y)), 10, colour, -1)
    return canvas


def fit_keypoints(keypoints: Floats, source: Extent, target: Extent) -> Floats:
    """Keypoints (5, 2) of a photo of size `source`, moved to a picture of size `target`: all of the photo inside, centred, never stretched.

    Stretching the points with the picture gives long or broad heads; so do drawings that are resized after drawing.
    """
    scale = min(target.width / source.width, target.height / source.height)
    margin = np.array([target.width - scale * source.width, target.height - scale * source.height]) / 2
    return (keypoints.astype(np.float64) * scale + margin).astype(np.float32)


def _complex(points: NDArray[np.float64]) -> NDArray[np.complex128]:
    return points[:, 0] + 1j * points[:, 1]
