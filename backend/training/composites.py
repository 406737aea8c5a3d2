"""Canvases with several, one or no drawn faces for training and measuring the detector.

The drawn pictures all show one face of about the same size in the middle; a detector has to find faces anywhere, from 20 to 150 pixels,
and to keep silent where there is none. So pictures are scaled, turned and put onto canvases, and pictures whose face is taken away or
scrambled teach silence.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .crops import Picture, cover, roughen
from .people import People

F32 = NDArray[np.float32]
SMALLEST, LARGEST = 18.0, 190.0
_BIT = {"black": 0.2, "flat": 0.5, "slope": 0.7, "clouds": 0.85}


@dataclass(frozen=True)
class Canvas:
    """A picture (H, W, 3) and its faces: boxes (F, 4), keypoints (F, 5, 2), and ignored (F,): too much cut off to demand or to forbid."""

    picture: Picture
    boxes: F32
    keypoints: F32
    ignored: NDArray[np.bool_]


def ground(rng: np.random.Generator, side: int) -> Picture:
    """A canvas without anything in it: black, flat, a slope, clouds, noise or shapes."""
    kind = rng.random()
    if kind < _BIT["black"]:
        return np.zeros((side, side, 3), np.uint8)
    if kind < _BIT["flat"]:
        return np.broadcast_to(rng.integers(0, 256, 3).astype(np.uint8), (side, side, 3)).copy()
    cells = 2 if kind < _BIT["slope"] else int(rng.integers(3, 9)) if kind < _BIT["clouds"] else side // int(rng.integers(1, 6))
    small = rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8)
    canvas = np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    for _ in range(int(rng.integers(0, 8))):
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        centre = (int(rng.integers(0, side)), int(rng.integers(0, side)))
        axes = (int(rng.integers(2, side // 3)), int(rng.integers(2, side // 3)))
        cv2.ellipse(canvas, centre, axes, float(rng.integers(0, 180)), 0, 360, colour, int(rng.choice([-1, -1, 2])), cv2.LINE_AA)
    return canvas


def faceless(picture: Picture, box: F32, rng: np.random.Generator) -> Picture:
    """The picture with its face smoothed away, or cut into tiles and shuffled: clothes, hair and background stay."""
    out = picture.copy()
    x0, y0, x1, y1 = (int(v) for v in np.clip(box, 0, picture.shape[0]))
    face = out[y0:y1, x0:x1]
    if rng.random() < 0.5:
        mask = np.zeros(face.shape[:2], np.float32)
        cv2.ellipse(mask, ((face.shape[1] / 2, face.shape[0] / 2), (face.shape[1] * 0.95, face.shape[0] * 0.95), 0), 1.0, -1, cv2.LINE_AA)
        plain = np.broadcast_to(np.median(face.reshape(-1, 3), 0), face.shape)
        out[y0:y1, x0:x1] = (face * (1 - mask[..., None]) + plain * mask[..., None]).astype(np.uint8)
        return out
    count = int(rng.integers(3, 6))
    high, wide = (y1 - y0) // count, (x1 - x0) // count
    places = [(y0 + high * i, x0 + wide * j) for i in range(count) for j in range(count)]
    tiles = [out[y : y + high, x : x + wide].copy() for y, x in places]
    for (y, x), index in zip(places, rng.permutation(len(tiles)), strict=True):
        out[y : y + high, x : x + wide] = tiles[index]
    return out


def _moved(points: F32, matrix: F32) -> F32:
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def _corners(box: F32) -> F32:
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)


def _placement(box: F32, height: float, goal: tuple[float, float], degrees: float) -> F32:
    """The matrix that makes the box's face `height` pixels high and brings its middle to `goal`."""
    centre = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    matrix = cv2.getRotationMatrix2D(centre, degrees, height / float(box[3] - box[1])).astype(np.float32)
    matrix[:, 2] += np.array(goal, np.float32) - np.array(centre, np.float32)
    return matrix


def _upright_box(box: F32, matrix: F32, degrees: float) -> F32:
    """The moved box as an upright one of the same size: a turned face's box does not grow by its corners."""
    corners = _moved(_corners(box), matrix)
    middle, scale = corners.mean(0), float(np.hypot(matrix[0, 0], matrix[0, 1]))
    half = np.array([box[2] - box[0], box[3] - box[1]], np.float32) * scale / 2
    grow = abs(np.sin(np.deg2rad(degrees))) * 0.3
    half = half * (1 - grow) + half[::-1] * grow
    return np.concatenate([middle - half, middle + half]).astype(np.float32)


def _shown(box: F32, side: int) -> float:
    """Share of the box's area that lies on the canvas."""
    inside = np.clip(box, 0, side)
    area = float((box[2] - box[0]) * (box[3] - box[1]))
    return float((inside[2] - inside[0]) * (inside[3] - inside[1])) / max(area, 1e-6)


def _share_covered(box: F32, by: NDArray[np.uint8]) -> float:
    x0, y0, x1, y1 = (max(0, round(float(v))) for v in box)
    part = by[y0:y1, x0:x1]
    return float((part > 0).mean()) if part.size else 0.0


def compose(people: People, rows: NDArray[np.int64], rng: np.random.Generator, side: int, *, rough: bool = True) -> Canvas:
    """One square canvas of `side` pixels with zero to three of the people in `rows`."""
    canvas = ground(rng, side)
    boxes, points = np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32)
    filling = rng.random() < 0.5
    for _ in range(1 if filling else int(rng.choice([0, 1, 2, 3], p=[0.1, 0.4, 0.3, 0.2]))):
        row = int(rng.choice(rows))
        picture, box, own = np.asarray(people.pictures[row]), people.boxes[row], people.keypoints[row]
        silent = rng.random() < 0.2
        if silent:
            picture = faceless(picture, box, rng)
        elif rng.random() < 0.1:
            picture = cover(picture, rng, 0.3)
        matrix, degrees = _fill(picture, rng, side) if filling else _scatter(box, rng, side)
        placed = np.full(picture.shape[:2], 255, np.uint8)
        mask = np.asarray(cv2.warpAffine(placed, matrix, (side, side)), np.uint8)
        method = cv2.INTER_AREA if matrix[0, 0] < 0.7 else cv2.INTER_LINEAR
        if method == cv2.INTER_AREA:  # warpAffine has no area filter: blur first, as the filter would
            picture = cv2.GaussianBlur(picture, (0, 0), 0.35 / max(float(matrix[0, 0]), 0.1))
        layer = cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR)
        np.copyto(canvas, layer.astype(np.uint8), where=(mask > 127)[..., None])
        kept = np.array([_share_covered(b, mask) < 0.25 for b in boxes], bool)
        boxes, points = boxes[kept], points[kept]
        if not silent:
            boxes = np.concatenate([boxes, _upright_box(box, matrix, degrees)[None]])
            points = np.concatenate([points, _moved(own, matrix)[None]])
    ignored = np.array([_shown(b, side) < 0.75 or (b[3] - b[1]) < SMALLEST or (b[3] - b[1]) > LARGEST for b in boxes], bool)
    return Canvas(roughen(canvas, rng, 0.6) if rough else canvas, boxes, points, ignored)


def _fill(picture: Picture, rng: np.random.Generator, side: int) -> tuple[F32, float]:
    """The whole picture on the whole canvas, a little nearer or farther, as when a portrait is analysed."""
    size = picture.shape[0]
    zoom = side / size * (1.0 if rng.random() < 0.4 else rng.uniform(0.6, 1.35))
    degrees = float(rng.normal(0, 7))
    matrix = cv2.getRotationMatrix2D((size / 2, size / 2), degrees, zoom).astype(np.float32)
    matrix[:, 2] += side / 2 - size / 2 + rng.normal(0, 0.06, 2).astype(np.float32) * side
    return matrix, degrees


def _scatter(box: F32, rng: np.random.Generator, side: int) -> tuple[F32, float]:
    """Somewhere on the canvas, faces of 20 to 150 pixels, small ones as frequent as large ones."""
    height = math.exp(rng.uniform(math.log(20.0), math.log(min(150.0, 0.8 * side))))
    margin = 0.4 * height
    goal = (float(rng.uniform(margin, side - margin)), float(rng.uniform(margin, side - margin)))
    degrees = float(rng.normal(0, 8))
    return _placement(box, height, goal, degrees), degrees
