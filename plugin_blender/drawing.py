"""The pose skeleton and the five face points as the ControlNets' own annotators draw them, with numpy alone: Blender has no OpenCV.

The networks were trained on what OpenCV draws, so its integer arithmetic is followed, pixel by pixel: polygons of `ellipse2Poly` filled by
`fillConvexPoly`, discs by `circle` (OpenCV, modules/imgproc/src/drawing.cpp). Pictures are (height, width, 3) RGB bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .bones import JOINTS
from .chores import Steps
from .protocol.errors import InvalidRequest
from .protocol.limits import PIXELS, SIDE

Pixels = NDArray[np.uint8]
Place = tuple[float, float]
"""x and y in pixels; (0, 0) is the upper left corner of the picture."""
Colour = tuple[int, int, int]

LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
"""Pairs of joints, in the order in which the annotator draws them (controlnet_aux, open_pose/util.py, `draw_bodypose`)."""
COLOURS: tuple[Colour, ...] = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85), (0, 255, 170)),
    *((0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
"""Of the limbs, by their order, and of the joints, by theirs (same source)."""
STICK = 4
"""Half the width of a limb, and the radius of a joint, in pixels (same source); it does not grow with the picture."""

FACE_LIMBS = ((0, 2), (1, 2), (3, 2), (4, 2))
FACE_COLOURS: tuple[Colour, ...] = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
FACE_DISC = 10
"""InstantID, pipeline_stable_diffusion_xl_instantid.py, `draw_kps`: limbs of half width 4, discs of radius 10, whatever the size."""
SHADE = 0.6
"""Limbs are darker than joints by this, in both drawings."""
FAR = 2.0 * SIDE
"""A point further out than this, in pixels, is a mistake; and lines to it would take their time."""


def draw_skeleton(joints: Sequence[Place | None], width: int, height: int) -> Pixels:
    """The 18 joints of OpenPose in its order, None where one is not seen -> the skeleton on black, (height, width, 3).

    A limb is drawn when both its joints are there. Places are truncated to whole pixels, as the annotator does.
    Raises `InvalidRequest` for anything but 18 joints.
    """
    steps = skeleton_in_steps(joints, width, height)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            drawn: Pixels = done.value
            return drawn


def skeleton_in_steps(joints: Sequence[Place | None], width: int, height: int) -> Steps[Pixels]:
    """The same as `draw_skeleton`, limb by limb, a millisecond each, at last (height, width, 3): for pictures that follow the artist."""
    if len(joints) != len(JOINTS) or not all(joint is None or _usable(joint) for joint in joints):
        raise InvalidRequest(f"A skeleton has {len(JOINTS)} joints, each an x and a y in pixels or nothing.")
    canvas = _black(width, height)
    for (first, second), colour in zip(LIMBS, COLOURS, strict=False):  # 17 limbs, 18 colours
        start, end = joints[first], joints[second]
        if start is not None and end is not None:
            _limb(canvas, start, end, _shaded(colour))
            yield
    for joint, colour in zip(joints, COLOURS, strict=True):
        if joint is not None:
            _disc(canvas, joint, STICK, colour)
    return canvas


def draw_face_keypoints(points: Sequence[Place], width: int, height: int) -> Pixels:
    """The five keypoints in InsightFace's order (`FACE_POINTS`), in pixels -> IdentityNet's picture, (height, width, 3).

    Draw at the size that is generated and never resize the drawing. Points may lie outside. Raises `InvalidRequest` unless there are five.
    """
    if len(points) != len(FACE_COLOURS) or not all(_usable(point) for point in points):
        raise InvalidRequest("A face is placed by five points (eyes, nose, corners of the mouth), each an x and a y in pixels.")
    canvas = _black(width, height)
    for first, second in FACE_LIMBS:
        _limb(canvas, points[first], points[second], FACE_COLOURS[first])
    canvas = (canvas * SHADE).astype(np.uint8)
    for point, colour in zip(points, FACE_COLOURS, strict=True):
        _disc(canvas, point, FACE_DISC, colour)
    return canvas


def _black(width: int, height: int) -> Pixels:
    if not (0 < width <= SIDE and 0 < height <= SIDE and width * height <= PIXELS):
        raise InvalidRequest(f"A picture of {width} x {height} pixels cannot be drawn. Choose a size between 1 and {SIDE} pixels a side.")
    return np.zeros((height, width, 3), dtype=np.uint8)


def _usable(place: Place) -> bool:
    return len(place) == 2 and all(math.isfinite(number) and abs(number) <= FAR for number in place)


def _shaded(colour: Colour) -> Colour:
    red, green, blue = (int(part * SHADE) for part in colour)
    return red, green, blue


def _limb(canvas: Pixels, start: Place, end: Place, colour: Colour) -> None:
    """A filled ellipse over the two places; everything is truncated to integers where the annotators do."""
    (x0, y0), (x1, y1) = start, end
    middle = (int((x0 + x1) / 2), int((y0 + y1) / 2))
    half = int(math.hypot(x0 - x1, y0 - y1) / 2)
    angle = int(math.degrees(math.atan2(y0 - y1, x0 - x1)))
    _fill_convex(canvas, _ellipse(middle, (half, STICK), angle), colour)


def _ellipse(middle: tuple[int, int], axes: tuple[int, int], angle: int) -> NDArray[np.int64]:
    """The corners of an ellipse at whole degrees as OpenCV's `ellipse2Poly` gives them: (n, 2), no two in a row alike."""
    around = np.arange(361)
    x, y = axes[0] * _sine(around + 90), axes[1] * _sine(around)
    cosine, sine = _sine(np.array([angle + 90, angle]))
    across = middle[0] + x * cosine - y * sine
    down = middle[1] + x * sine + y * cosine
    corners = np.rint(np.stack([across, down], axis=1)).astype(np.int64)
    kept = np.concatenate([[True], (corners[1:] != corners[:-1]).any(axis=1)])
    return corners[kept]


def _sine(degrees: NDArray[np.int64]) -> NDArray[np.float64]:
    """OpenCV's table of sines: seven digits, in single precision; a corner halfway between two pixels falls to the same side."""
    return np.sin(np.radians(degrees % 360)).round(7).astype(np.float32).astype(np.float64)


def _fill_convex(canvas: Pixels, corners: NDArray[np.int64], colour: Colour) -> None:
    """All pixels inside a convex polygon and on its outline, as OpenCV's `fillConvexPoly` draws it: row by row."""
    height, width = canvas.shape[:2]
    top = max(0, int(corners[:, 1].min()))
    bottom = min(height - 1, int(corners[:, 1].max()))
    if bottom < top:
        return
    left = np.full(bottom - top + 1, width, dtype=np.int64)
    right = np.full(bottom - top + 1, -1, dtype=np.int64)
    for x, y in _outline(corners):
        if top <= y <= bottom:
            left[y - top] = min(left[y - top], x)
            right[y - top] = max(right[y - top], x)
    for row, (first, last) in enumerate(zip(left, right, strict=True)):
        if last >= 0 and first < width:
            canvas[top + row, max(0, first) : last + 1] = colour


def _outline(corners: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """The pixels at which rows may begin and end: those of the lines from corner to corner, and where the edges cross the rows."""
    ring = corners.tolist()
    for one, other in zip(ring, [*ring[1:], ring[0]], strict=True):
        yield from _line(*sorted((one, other)))
        yield from _crossings(*sorted((one, other), key=lambda corner: corner[1]))


def _line(start: Sequence[int], end: Sequence[int]) -> Iterator[tuple[int, int]]:
    """A line from the left to the right, 8-connected, after Bresenham: the shorter side moves once the error is above a half."""
    (x0, y0), (x1, y1) = start, end
    across, down = x1 - x0, abs(y1 - y0)
    way = 1 if y1 > y0 else -1
    for step in range(max(across, down) + 1):
        if across >= down:
            yield x0 + step, y0 + way * _nearest(step * down, across)
        else:
            yield x0 + _nearest(step * across, down), y0 + way * step


def _nearest(over: int, under: int) -> int:
    """over / under to the nearest whole number, halves down; 0 for a line without a length."""
    return (2 * over + under - 1) // (2 * under) if under else 0


def _crossings(upper: Sequence[int], lower: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where an edge crosses the rows, in OpenCV's fixed point: 16 bits behind the point, rounded at the end."""
    (x0, y0), (x1, y1) = upper, lower
    rows = y1 - y0
    if rows:
        twice = ((x1 - x0) << 17) + rows
        slope = twice // (2 * rows) if twice >= 0 else -(-twice // (2 * rows))  # C divides towards zero
        for row in range(rows):
            yield ((x0 << 16) + row * slope + 32768) >> 16, y0 + row


def _disc(canvas: Pixels, place: Place, radius: int, colour: Colour) -> None:
    """A filled disc as OpenCV's `circle` draws it, by the midpoint algorithm."""
    height = canvas.shape[0]
    x, y = int(place[0]), int(place[1])
    for below, reach in _reaches(radius):
        for row in {y - below, y + below}:
            if 0 <= row < height and x + reach >= 0:
                canvas[row, max(0, x - reach) : x + reach + 1] = colour


def _reaches(radius: int) -> Iterator[tuple[int, int]]:
    """For each row below the middle of a disc, how far it reaches to either side; rows may come twice, the wider last."""
    across, down, error, plus, minus = radius, 0, 0, 1, 2 * radius - 1
    while across >= down:
        yield down, across
        yield across, down
        down += 1
        error += plus
        plus += 2
        if error > 0:
            error -= minus
            across -= 1
            minus -= 2
