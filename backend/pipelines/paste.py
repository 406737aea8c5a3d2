"""Painting a part of a picture at the model's own resolution and laying it back: outside the mask not one byte changes.

The part is a `Frame`: a box on the canvas and the size at which it is drawn. Pure NumPy, resizing by Pillow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocol.errors import BadPicture, InvalidRequest
from protocol.geometry import Bounds, Extent

from ..models.bundle import CONTEXT
from .frames import Frame
from .sizes import nearest_size

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

LONGEST = 2.0
"""Crops are at most twice as long as wide: models paint narrow strips badly."""

_NEARLY = (0.7, 1.25)
"""A frame whose sides are within these factors of the model's size gets just that size: some more or less context, and nothing resized."""

_FILLED = 0.8
"""… unless the mask alone fills more than this part of it."""


def plan_crop(mask: Pixels, sizes: Sequence[Extent], *, context: float = CONTEXT, longest: float = LONGEST) -> Frame:
    """The part of the canvas to draw for a mask (height, width), 0 keeps: the mask with context around it, at one of the model's sizes.

    `context` is a part of the mask's longer side, 0 to 4, on each side of it. The crop is at most `longest` times as long as wide.

    At least half of such a size is shown, if the canvas has as much, so that a mask of one pixel is seen in its surroundings. On a canvas
    narrower than the proportions of any size, the bounds stick out. Raises `InvalidRequest` if the mask is empty.
    """
    box = mask_bounds(mask)
    height, width = mask.shape
    margin = 2 * math.ceil(context * max(box.width, box.height))
    wanted = Extent(min(box.width + margin, width), min(box.height + margin, height))
    work = nearest_size(wanted, sizes, longest)
    shown = Extent(min(max(wanted.width, work.width // 2), width), min(max(wanted.height, work.height // 2), height))
    size = _in_proportion(shown, work)
    if _suits(work, size, box, Extent(width, height)):
        size = work
    elif size.width > width or size.height > height:
        size = _on_canvas(work, size, box, Extent(width, height))
    x = _place(box.x + box.width / 2, size.width, width)
    y = _place(box.y + box.height / 2, size.height, height)
    return Frame(Bounds(x, y, size.width, size.height), work)


def take_mask(mask: Pixels, frame: Frame) -> Pixels:
    """What the model is told to repaint: (height, width) -> the drawn size, 255 wherever anything of the mask falls, else 0."""
    touched = Frame(frame.bounds, frame.bounds.extent).cut_and_scale(mask) > 0
    covered = _any_within(_any_within(touched, frame.extent.height).T, frame.extent.width).T
    return np.where(covered, np.uint8(255), np.uint8(0))


def put_back(picture: Pixels, frame: Frame, drawn: Pixels, mask: Pixels, feather: int = 0) -> Pixels:
    """A new picture (height, width, 3): what was `drawn` where the mask is, fading in over `feather` canvas pixels from its edge inwards.

    Where the mask (height, width) is 0, every byte is the picture's. Where it is between 0 and 255, it is the most that shows.
    Raises `BadPicture` if the mask or the drawing has another size than it must have.
    """
    check_mask(picture, mask)
    if drawn.shape != (frame.extent.height, frame.extent.width, 3):
        raise BadPicture(f"The drawing has the shape {drawn.shape}, and {frame.extent.width} x {frame.extent.height} pixels were planned.")
    full, box = frame.uncut(drawn)
    height, width = mask.shape
    left, top, right, bottom = max(box.x, 0), max(box.y, 0), min(box.right, width), min(box.bottom, height)
    inside = (slice(top, bottom), slice(left, right))
    result, opacity = picture.copy(), fade(mask, feather)[inside][..., None]
    below, above = result[inside], full[top - box.y : bottom - box.y, left - box.x : right - box.x].astype(np.float32)
    mixed = below + (above - below) * opacity
    result[inside] = np.where(opacity > 0, np.rint(mixed).astype(np.uint8), below)
    return result


def check_mask(picture: Pixels, mask: Pixels) -> None:
    """Raise `BadPicture` unless the mask (height, width) has the picture's size."""
    if mask.ndim != 2 or mask.shape != picture.shape[:2]:
        height, width = picture.shape[:2]
        raise BadPicture(
            f"The mask has {mask.shape[1]} x {mask.shape[0]} pixels and the picture {width} x {height}. Give a mask of the picture's size."
        )


def mask_bounds(mask: Pixels) -> Bounds:
    """The smallest box around everything that is not 0 in a mask (height, width). Raises `InvalidRequest` if there is nothing."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise InvalidRequest("The mask is empty, so nothing can be painted. Select an area, or paint the mask white where it shall change.")
    left, top = int(columns[0]), int(rows[0])
    return Bounds(left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)


def default_feather(mask: Pixels) -> int:
    """A feather in canvas pixels that suits the box of the mask (height, width): one sixteenth of its shorter side, at most 32."""
    box = mask_bounds(mask)
    return min(32, min(box.width, box.height) // 16)


def grow_mask(mask: Pixels, pixels: int) -> Pixels:
    """The mask (height, width), enlarged by some canvas pixels in every direction, corners included; for callers who ask for it."""
    box, result = mask_bounds(mask), mask.copy()
    part = (slice(max(box.y - pixels, 0), box.bottom + pixels), slice(max(box.x - pixels, 0), box.right + pixels))
    for _ in range(pixels):
        result[part] = _neighbourhood(result[part], np.maximum)
    return result


def repainted(mask: Pixels, frame: Frame, factor: int, grow: int | None = None) -> Pixels:
    """What the model repaints for a mask (height, width): at the drawn size, rounded up to whole latents of `factor` pixels, since a thin
    mask may hit none.

    It is grown by `grow` pixels of the picture before. Growing lets the model repaint more; what is shown of it in the end stays within
    the mask that was given.
    """
    drawn = take_mask(_grown(mask, grow or 0), frame)
    if not drawn.any():
        raise InvalidRequest("The mask is empty after it was made smaller. Shrink it less.")
    height, width = drawn.shape[0] // factor, drawn.shape[1] // factor
    latents = drawn.reshape(height, factor, width, factor).max((1, 3))
    return latents.repeat(factor, 0).repeat(factor, 1)


def _grown(mask: Pixels, grow: int) -> Pixels:
    if grow >= 0:
        return grow_mask(mask, grow)
    return np.bitwise_not(grow_mask(np.bitwise_not(mask), -grow))


def fade(mask: Pixels, feather: int) -> Floats:
    """Opacity (height, width), 0 to 1, of a mask that fades in over `feather` pixels inwards: never above the mask itself, 0 where it is 0.

    It is the mean of the mask eroded 0, 1, … `feather` times, smoothed at both ends. The canvas's border is no edge. Where the whole mask
    is too thin, the feather is shortened until its middle is opaque.
    """
    opacity = np.zeros(mask.shape, dtype=np.float32)
    if not mask.any():
        return opacity
    box = mask_bounds(mask)
    part = (slice(max(box.y - 1, 0), box.bottom + 1), slice(max(box.x - 1, 0), box.right + 1))
    steps = min(feather, (_depth(mask[part], 2 * feather + 1) - 1) // 2)
    eroded, total = mask[part], np.zeros(mask[part].shape, dtype=np.float32)
    for step in range(steps + 1):
        eroded = _neighbourhood(eroded, np.minimum) if step else eroded
        total += eroded
    ramp = total / np.float32(255 * (steps + 1))
    smooth = ramp * ramp * (3 - 2 * ramp) if steps else ramp
    opacity[part] = np.minimum(smooth, mask[part] / np.float32(255))
    return opacity


def _depth(mask: Pixels, most: int) -> int:
    """How often a mask can be eroded before nothing is left, counted up to `most`."""
    for done in range(most):
        if not mask.any():
            return done
        mask = _neighbourhood(mask, np.minimum)
    return most


def _neighbourhood(values: Pixels, of_two: np.ufunc) -> Pixels:
    """Minimum or maximum over 3 x 3 pixels; beyond the border the border is repeated."""
    for _ in range(2):
        padded = np.pad(values, ((1, 1), (0, 0)), mode="edge")
        values = of_two(of_two(padded[:-2], padded[1:-1]), padded[2:]).T
    return values


def _any_within(touched: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """(rows, columns) -> (count, columns): whether any of the rows that each new one overlaps is set; no row gets lost, however small."""
    rows = len(touched)
    new = np.arange(count)
    borders = np.stack([new * rows // count, -(-(new + 1) * rows // count)], axis=1).ravel()
    closed = np.concatenate([touched, np.zeros_like(touched[:1])])
    return np.logical_or.reduceat(closed, borders, axis=0)[::2]


def _suits(work: Extent, size: Extent, box: Bounds, canvas: Extent) -> bool:
    """Whether a frame can have the model's own size instead of `size`: nearly equal, on the canvas, with room around the mask."""
    low, high = _NEARLY
    fits = work.width <= canvas.width and work.height <= canvas.height
    roomy = box.width <= _FILLED * work.width and box.height <= _FILLED * work.height
    return fits and roomy and low <= size.width / work.width <= high


def _on_canvas(work: Extent, size: Extent, box: Bounds, canvas: Extent) -> Extent:
    """`size`, or the largest of its proportions that does not stick out of the canvas, if the mask has room in that: real surroundings are
    better than an edge that goes on."""
    scale = min(canvas.width / work.width, canvas.height / work.height)
    inner = Extent(int(work.width * scale), int(work.height * scale))
    return inner if box.width <= _FILLED * inner.width and box.height <= _FILLED * inner.height else size


def _in_proportion(shown: Extent, work: Extent) -> Extent:
    """The smallest size with the proportions of `work` that contains `shown`."""
    scale = max(shown.width / work.width, shown.height / work.height)
    return Extent(max(shown.width, round(work.width * scale)), max(shown.height, round(work.height * scale)))


def _place(middle: float, length: int, limit: int) -> int:
    """Start of a stretch around `middle`, inside 0 … limit if it fits, else with all of that inside it."""
    if length >= limit:
        return (limit - length) // 2
    return min(max(math.floor(middle - length / 2), 0), limit - length)
