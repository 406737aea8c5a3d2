"""Where people's faces go: where the job says, where the canvas has one, or as in their own photos, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """What a job says about the place of one person: `points` (5, 2) in pixels of the picture, `region` a uint8 mask of it."""

    identity: Identity
    points: Floats | None = None
    region: Pixels | None = None


def place(plan: Plan, wishes: Sequence[Wish], finder: Finder | None) -> tuple[Floats, ...]:
    """Keypoints (5, 2) of each person's face, in pixels of what is drawn.

    The job's own points win. On a canvas a face that is there already gives its pose: the largest one that is repainted, lies in the
    person's region and is nobody else's. Otherwise the face keeps the pose of the person's photo: framed as in the photo, within the
    region; into a mask it is fitted. Several people of whom nothing is said stand side by side, in their order, with heads of one height.
    """
    if not wishes:
        return ()
    places: list[Floats | None] = [None if wish.points is None else plan.frame.inward(wish.points) for wish in wishes]
    areas = [_area(plan, wish.region) for wish in wishes]
    _take_faces(plan, areas, places, finder)
    for number, wish in enumerate(wishes):
        if places[number] is None and (wish.region is not None or len(wishes) == 1):
            places[number] = _in_box(plan, wish, _box(plan, areas[number]))
    waiting = [number for number, place in enumerate(places) if place is None]
    columns = _free_columns(_box(plan, _area(plan, None)), len(wishes), [one for one in places if one is not None])
    beside = [_in_box(plan, wishes[number], column) for number, column in zip(waiting, columns, strict=False)]
    for number, points in zip(waiting, _of_one_height(beside), strict=True):
        places[number] = points
    return tuple(one for one in places if one is not None)


def _take_faces(plan: Plan, areas: Sequence[Pixels | None], places: list[Floats | None], finder: Finder | None) -> None:
    """Give people the faces that are on the canvas."""
    if plan.canvas is None or finder is None or all(one is not None for one in places):
        return
    faces = finder.analyse(plan.frame.cut_and_scale(plan.canvas))
    for number, area in enumerate(areas):
        if places[number] is None:
            free = (face for face in faces if not any(one is not None and _same_face(face.keypoints, one) for one in places))
            places[number] = next((face.keypoints for face in free if _inside(face.keypoints, area)), None)


def _same_face(one: Floats, other: Floats) -> bool:
    """Whether two sets of keypoints are where only one face can be."""
    left, _, right, _ = head_box(other)
    return float(np.linalg.norm(one.mean(0) - other.mean(0))) < float(right - left) / 4


def _box(plan: Plan, area: Pixels | None) -> Floats:
    """The box (left, top, right, bottom) in which a face may be, in pixels of what is drawn."""
    whole = np.array([0, 0, plan.frame.extent.width, plan.frame.extent.height], np.float32)
    return whole if area is None else _bounding_box(area)


def _in_box(plan: Plan, wish: Wish, box: Floats) -> Floats:
    """The face of a photo in a box: a mask is filled by it, in a picture it is framed as in the photo, with all of the head inside."""
    if plan.mask is not None:
        return fit_head(wish.identity.keypoints, box)
    size = Extent(max(1, round(float(box[2] - box[0]))), max(1, round(float(box[3] - box[1]))))
    points = (as_in_photo(wish.identity, size) + box[:2]).astype(np.float32)
    if size == plan.frame.extent:
        return points
    head = head_box(points)
    return points if (head[:2] >= box[:2]).all() and (head[2:] <= box[2:]).all() else fit_head(points, box)


def _free_columns(box: Floats, people: int, placed: Sequence[Floats]) -> list[Floats]:
    """The columns of a box, one for each of `people`, without those in which a face stands already."""
    left, wide = float(box[0]), float(box[2] - box[0]) / people
    taken = {min(max(int((float(points[:, 0].mean()) - left) // wide), 0), people - 1) for points in placed}
    free = [left + wide * one for one in range(people) if one not in taken]
    return [np.array([edge, box[1], edge + wide, box[3]], np.float32) for edge in free]


def _of_one_height(faces: Sequence[Floats]) -> list[Floats]:
    """Faces with heads as high as the smallest of them, each around its own middle: photos are taken from different distances."""
    heads = [head_box(points) for points in faces]
    lowest = min((float(head[3] - head[1]) for head in heads), default=0.0)
    middles = [(head[:2] + head[2:]) / 2 for head in heads]
    scales = [lowest / float(head[3] - head[1]) for head in heads]
    return [
        ((points - middle) * scale + middle).astype(np.float32) if scale < 1 else points
        for points, middle, scale in zip(faces, middles, scales, strict=True)
    ]


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
