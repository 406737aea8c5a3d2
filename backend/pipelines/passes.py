"""Second passes, planned: the whole picture once more at a larger size, and small faces once more at the model's own. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from protocol.geometry import Bounds, Extent
from protocol.jobs import FacePass, SecondPass

from ..faces import Face
from ..models.bundle import Model
from .cast import REACH, Cast, whose
from .choices import Mode
from .frames import Frame
from .paste import repainted
from .placement import head_box
from .plan import Plan
from .sizes import INSTANTID_AVOIDS, snap

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

WHOLE = 2.25
"""Second passes of more pixels than this many times the model's own are drawn in tiles: beyond one and a half times its side, a model
repeats what it draws."""
OVERLAP = 0.25
"""Of a tile's side, shared with its neighbour."""
FILL = 0.55
"""Height of a head in the square that is drawn for it: about as in the portraits that the model was trained on."""
FADE = 0.12
"""How softly a repainted head goes over into the picture, in its heights."""


@dataclass(frozen=True, slots=True, eq=False)
class Larger:
    """A second pass: `drawn` says how it is drawn, within the bounds of the first, and `shown` where it goes in the result."""

    drawn: Plan
    shown: Plan
    tiles: tuple[Bounds, ...]
    """In pixels of what is drawn; one for all of it when it is small enough."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A small face that is drawn once more: `number` of its person, None for nobody's; five `points` (5, 2) in pixels of the result."""

    number: int | None
    points: Floats


def larger(decided: Plan, model: Model, again: SecondPass) -> Larger:
    """The second pass of a picture. With a mask the result keeps its size; without one it grows with what is drawn."""
    first, scale = decided.frame, again.scale
    size = snap(Extent(round(first.extent.width * scale), round(first.extent.height * scale)), model.grid)
    if decided.job.subjects and size in {INSTANTID_AVOIDS, *model.avoid}:
        size = Extent(size.width - model.grid, size.height)
    steps = again.steps or decided.steps
    drawn = replace(decided, frame=Frame(first.bounds, size), steps=steps, strength=max(again.strength, 1 / steps))
    tiles = _tiles(size, _tile(decided, model), model.grid)
    if decided.mask is not None:
        grow = decided.job.canvas.grow if decided.job.canvas else None
        drawn = replace(drawn, mode=Mode.INPAINT, repainted=repainted(decided.mask, drawn.frame, model.factor, grow))
        return Larger(drawn, drawn, tiles)
    extent = Extent(round(decided.extent.width * scale), round(decided.extent.height * scale))
    x, y = round(first.bounds.x * scale), round(first.bounds.y * scale)
    width, height = (round(side * scale) for side in (first.bounds.width, first.bounds.height))
    bounds = Bounds(x, y, max(width, extent.width - x), max(height, extent.height - y))
    drawn = replace(drawn, mode=Mode.IMAGE)
    return Larger(drawn, replace(drawn, extent=extent, frame=Frame(bounds, size), canvas=None), tiles)


def enlarged(cast: Cast, first: Extent, size: Extent) -> Cast:
    """The people of a picture drawn at `first`, in one drawn at `size`."""
    scale = np.array([size.width / first.width, size.height / first.height], np.float32)
    regions = tuple(None if region is None else _resized(region, size) for region in cast.regions)
    return replace(cast, keypoints=tuple((points * scale).astype(np.float32) for points in cast.keypoints), regions=regions)


def within(cast: Cast, box: Bounds) -> Cast:
    """Those people whose faces are all inside a tile; places and regions stay those of the whole.

    With a part of a face only, the model would draw the rest of it too, into the tile, and there would be two.
    """
    inside = [number for number, points in enumerate(cast.keypoints) if _holds(box, points)]
    return Cast(
        tuple(cast.subjects[number] for number in inside),
        tuple(cast.identities[number] for number in inside),
        tuple(cast.keypoints[number] for number in inside),
        tuple(cast.regions[number] for number in inside),
    )


def joined(tiles: Sequence[tuple[Bounds, Pixels]], below: Pixels) -> Pixels:
    """The tiles (h, w, 3) laid over `below` (H, W, 3), each going over into its neighbour where they overlap."""
    height, width = below.shape[:2]
    total, weight = np.zeros((height, width, 3), np.float32), np.zeros((height, width, 1), np.float32)
    for box, drawn in tiles:
        place = (slice(box.y, box.bottom), slice(box.x, box.right))
        ramp = (_ramp(box.y, box.height, height)[:, None] * _ramp(box.x, box.width, width)[None])[..., None]
        total[place] += drawn * ramp
        weight[place] += ramp
    mixed = np.rint(total / np.maximum(weight, 1e-6)).astype(np.uint8)
    return np.where(weight > 0, mixed, below)


def small_heads(shown: Plan, cast: Cast, model: Model, again: FacePass, faces: Sequence[Face]) -> tuple[Head, ...]:
    """The heads that are small, or were asked for small, of the people of a picture; when it has none, of all `faces` found in it.

    `faces` are in pixels of what is shown. A person's face is where it was found; where it was not, where it was asked for.
    """
    acting = [number for number, one in enumerate(cast.subjects) if one.adapter > 0 or one.identity_net > 0]
    places = [shown.frame.outward(cast.keypoints[number]) for number in acting]
    heads: list[tuple[Head, float]] = []
    for number, asked, face in zip(acting, places, whose(faces, places), strict=True):
        points = asked if face is None or _far(face.keypoints, asked) else face.keypoints
        # A model that was asked for a small face and drew a larger one did not draw it well either.
        heads.append((Head(number, points), min(_height(asked), _height(points))))
    if not cast.subjects:
        heads = [(Head(None, face.keypoints), _height(face.keypoints)) for face in faces]
    least = again.threshold * min(model.extent.width, model.extent.height)
    return tuple(head for head, height in heads if height * shown.frame.scale < least and _on(shown.extent, head.points))


def head_mask(points: Floats, extent: Extent) -> Pixels:
    """A mask (H, W) of the head around five keypoints (5, 2): an ellipse a little larger than it, with room to fade."""
    left, top, right, bottom = (float(value) for value in head_box(points))
    across, down = (right - left) * (0.5 + FADE), (bottom - top) * (0.5 + FADE)
    rows, columns = np.ogrid[0 : extent.height, 0 : extent.width]
    inside = ((columns + 0.5 - (left + right) / 2) / across) ** 2 + ((rows + 0.5 - (top + bottom) / 2) / down) ** 2 <= 1
    return np.where(inside, np.uint8(255), np.uint8(0))


def head_plan(shown: Plan, cast: Cast, model: Model, again: FacePass, head: Head, pixels: Pixels) -> tuple[Plan, Cast, Pixels] | None:
    """How a head of the finished picture (H, W, 3) is drawn once more, by whom, and its mask in the picture; None where it must not be."""
    mask = head_mask(head.points, shown.extent)
    if shown.mask is not None:
        mask = np.minimum(mask, shown.mask)
    if not mask.any():
        return None
    frame = _head_frame(head.points, _tile(shown, model), shown.extent)
    steps = again.steps or shown.steps
    subjects = () if head.number is None else (replace(cast.subjects[head.number], region=None),)
    # Guides and regions are for the whole picture, at its own size.
    prompts = tuple(prompt for prompt in shown.job.image_prompts if prompt.region is None)
    plan = replace(
        shown, job=replace(shown.job, subjects=subjects, guides=(), image_prompts=prompts, canvas=None), mode=Mode.INPAINT, frame=frame,
        steps=steps, strength=max(again.strength, 1 / steps), canvas=pixels, mask=mask, repainted=repainted(mask, frame, model.factor),
    )  # fmt: skip
    if head.number is None:
        return plan, Cast((), (), (), ()), mask
    return plan, Cast(subjects, (cast.identities[head.number],), (frame.inward(head.points),), (None,)), mask


def feather_of(points: Floats) -> int:
    """Pixels over which a repainted head with these keypoints (5, 2) fades."""
    return max(1, round(2 * FADE * _height(points)))


def _tile(decided: Plan, model: Model) -> Extent:
    """What the model draws best, without the size that InstantID spoils."""
    own = model.extent
    spoilt = decided.job.subjects and own in {INSTANTID_AVOIDS, *model.avoid}
    return Extent(own.width - model.grid, own.height - model.grid) if spoilt else own


def _tiles(size: Extent, tile: Extent, grid: int) -> tuple[Bounds, ...]:
    if size.width * size.height <= WHOLE * tile.width * tile.height:
        return (Bounds(0, 0, size.width, size.height),)
    across, down = min(tile.width, size.width), min(tile.height, size.height)
    return tuple(Bounds(x, y, across, down) for y in _starts(size.height, down, grid) for x in _starts(size.width, across, grid))


def _starts(length: int, tile: int, grid: int) -> list[int]:
    if length == tile:
        return [0]
    count = math.ceil((length - tile) / (tile * (1 - OVERLAP))) + 1
    return [round(number * (length - tile) / (count - 1) / grid) * grid for number in range(count)]


def _ramp(start: int, length: int, whole: int) -> Floats:
    """Weights (length,) of a tile along one side: rising from its edges, except where the edge is the picture's."""
    rise = max(1, round(length * OVERLAP))
    place = np.arange(length, dtype=np.float32) + 0.5
    left = np.ones(length, np.float32) if start == 0 else np.minimum(place / rise, 1)
    right = np.ones(length, np.float32) if start + length >= whole else np.minimum((length - place) / rise, 1)
    return (left * right).astype(np.float32)


def _head_frame(points: Floats, tile: Extent, extent: Extent) -> Frame:
    """The part of a picture in which a head is drawn `FILL` high, moved into the picture where it would stick out."""
    left, top, right, bottom = (float(value) for value in head_box(points))
    scale = (bottom - top) / (FILL * tile.height)
    width, height = max(1, round(tile.width * scale)), max(1, round(tile.height * scale))
    x, y = (
        _moved((low + high) / 2, side, limit)
        for low, high, side, limit in ((left, right, width, extent.width), (top, bottom, height, extent.height))
    )
    return Frame(Bounds(x, y, width, height), tile)


def _moved(middle: float, length: int, limit: int) -> int:
    start = math.floor(middle - length / 2)
    return (limit - length) // 2 if length >= limit else min(max(start, 0), limit - length)


def _resized(region: Floats, size: Extent) -> Floats:
    return np.asarray(Image.fromarray(region).resize((size.width, size.height), Image.Resampling.BILINEAR), np.float32)


def _height(points: Floats) -> float:
    head = head_box(points)
    return float(head[3] - head[1])


def _far(found: Floats, asked: Floats) -> bool:
    return float(np.linalg.norm(found.mean(0) - asked.mean(0))) > REACH * _height(asked)


def _on(extent: Extent, points: Floats) -> bool:
    x, y = (float(value) for value in points.mean(0))
    return 0 <= x < extent.width and 0 <= y < extent.height


def _holds(box: Bounds, points: Floats) -> bool:
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return bool(left >= box.x and right < box.right and top >= box.y and bottom < box.bottom)
