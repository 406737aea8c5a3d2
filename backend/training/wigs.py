"""Ten hair styles: what lies behind the head, and what lies before it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .sheet import Head, Mask, Sheet, oval, scaled, smooth
from .world import HAIR, Colour, Person

F32 = NDArray[np.float32]


def hair_colour(head: Head) -> Colour:
    """The colour of the person's hair."""
    return HAIR[head.who.hair]


def draw_back_hair(sheet: Sheet, head: Head, clip: Mask | None) -> None:
    """The hair behind neck and face; `clip` is where a hat leaves room for it."""
    who, colour = head.who, scaled(hair_colour(head), 0.8)
    w, v = who.width, who.volume
    match who.hair_style:
        case "curly":
            _cloud(sheet, head, colour, clip)
        case "bob":
            shape = [
                (-w * 1.12, -0.3),
                (0, -1.1 * v),
                (w * 1.12, -0.3),
                (w * 1.3 * v, 0.55),
                (w * 0.9, 0.82),
                (0, 0.7),
                (-w * 0.9, 0.82),
                (-w * 1.3 * v, 0.55),
            ]
            _lay(sheet, head, shape, colour, clip)
        case "long":
            shape = [
                (-w * 1.12, -0.4),
                (0, -1.1 * v),
                (w * 1.12, -0.4),
                (w * 1.28 * v, 0.6),
                (w * 1.2, 1.65),
                (0, 1.75),
                (-w * 1.2, 1.65),
                (-w * 1.28 * v, 0.6),
            ]
            _lay(sheet, head, shape, colour, clip)
        case "wavy":
            right = [(w * 1.15, -0.4), (w * 1.42 * v, 0.1), (w * 1.2 * v, 0.5), (w * 1.55 * v, 0.95), (w * 1.25, 1.5)]
            shape = [(0, -1.1 * v), *right, (0, 1.6), *[(-x, y) for x, y in reversed(right)]]
            _lay(sheet, head, shape, colour, clip)
        case "bun":
            _lay(sheet, head, [tuple(p) for p in oval(0, -1.28, 0.4 * v, 0.36 * v)[:, :2]], colour, clip, curve=False)
        case _:
            pass


def draw_front_hair(sheet: Sheet, head: Head, clip: Mask | None) -> None:
    """The hair on top of the head, down to the hairline."""
    who, colour = head.who, hair_colour(head)
    cap = _cap_of(who)
    if cap is not None:
        _cap(sheet, head, cap[0], cap[1], colour, clip)
    match who.hair_style:
        case "quiff":
            _lay(sheet, head, _tuft(who), colour, clip, z=0.45)
        case "curly":
            for x in np.linspace(-0.85, 0.85, 7):
                y = -who.hairline - 0.1 + 0.42 * x * x
                _lay(sheet, head, [tuple(p) for p in oval(x * who.width / 0.8, y, 0.2, 0.19)[:, :2]], colour, clip, curve=False, z=0.5)
        case "spiky":
            _spikes(sheet, head, colour, clip)
        case _:
            pass


def _cap_of(who: Person) -> tuple[float, list[tuple[float, float]]] | None:
    """How far a style's cap stands off, and its hairline from left to right; None for styles without a cap."""
    w, v, line = who.width, who.volume, -who.hairline
    match who.hair_style:
        case "buzz":
            return 1.02, [(-w * 0.9, -0.32), (-0.35, line), (0.35, line), (w * 0.9, -0.32)]
        case "parted":
            left = [(-w * 0.95, -0.12), (-0.5, line + 0.16), (-0.28, line - 0.16)]
            return 1 + 0.1 * v, [*left, (0.2, line - 0.06), (0.55, line + 0.2), (w * 0.95, -0.1)]
        case "quiff":
            return 1.03, [(-w * 0.93, -0.2), (-0.4, line), (0.4, line), (w * 0.93, -0.2)]
        case "bob":
            left = [(-w * 1.0, 0.35), (-w * 0.86, -0.1), (-0.45, line + 0.22)]
            return 1 + 0.12 * v, [*left, (0.45, line + 0.22), (w * 0.86, -0.1), (w * 1.0, 0.35)]
        case "long":
            left = [(-w * 1.02, 0.7), (-w * 0.84, 0.0), (-0.3, line + 0.02), (0, line - 0.22)]
            return 1 + 0.11 * v, [*left, (0.3, line + 0.02), (w * 0.84, 0.0), (w * 1.02, 0.7)]
        case "wavy":
            left = [(-w * 1.04, 0.5), (-w * 0.8, 0.05), (-0.52, line + 0.26), (0.32, line - 0.2)]
            return 1 + 0.13 * v, [*left, (0.6, line + 0.2), (w * 0.88, 0.1), (w * 1.04, 0.5)]
        case "bun":
            return 1.05, [(-w * 0.96, -0.1), (-0.5, line + 0.06), (0, line - 0.06), (0.5, line + 0.06), (w * 0.96, -0.1)]
        case _:
            return None


def _tuft(who: Person) -> list[tuple[float, float]]:
    """What stands up above the forehead."""
    v, line = who.volume, -who.hairline
    rising = [(-0.5, line + 0.02), (-0.62, -0.95), (-0.25, -1.32 * v)]
    return [*rising, (0.35, -1.38 * v), (0.66, -1.0), (0.5, line + 0.04), (0.1, line - 0.08)]


def _cap(sheet: Sheet, head: Head, outset: float, hairline: list[tuple[float, float]], colour: Colour, clip: Mask | None) -> None:
    """Hair between the skull's outline, `outset` times as large, and a hairline given from left to right."""
    w = head.who.width
    outset = max(outset, 1.03)  # never inside the skull
    start, end = hairline[0], hairline[-1]
    a = np.linspace(np.pi - 0.05, 2 * np.pi + 0.05, 22)
    arc = np.stack([w * 1.03 * outset * np.cos(a), np.minimum(1.02 * outset * np.sin(a), 0.1), np.full(22, 0.14)], 1)
    arc = np.concatenate([[[start[0] * 1.1, start[1], 0.16]], arc, [[end[0] * 1.1, end[1], 0.16]]])
    front = head.surface(smooth_open(np.array(hairline, np.float32)))
    front[[0, -1], 2] = 0.2
    polygon = head.project(np.concatenate([arc.astype(np.float32), front[::-1]]))
    _paint(sheet, polygon, colour, clip)
    a = np.linspace(np.pi + 0.6, 2 * np.pi - 0.6, 12)
    shine = np.stack([w * 0.62 * np.cos(a), 0.86 * outset * np.sin(a), np.full(12, 0.5)], 1).astype(np.float32)
    band = np.concatenate([shine, shine[::-1] * np.array([0.95, 0.9, 1], np.float32)])
    sheet.soft(head.project(band), scaled(colour, 1.5), 0.55, 0.04 * head.unit, sheet.hair)


def _spikes(sheet: Sheet, head: Head, colour: Colour, clip: Mask | None) -> None:
    w, v, line = head.who.width, head.who.volume, -head.who.hairline
    rim: list[tuple[float, float]] = []
    for i, t in enumerate(np.linspace(np.pi - 0.1, 2 * np.pi + 0.1, 15)):
        r = 1.34 * v if i % 2 else 1.04
        rim.append((w * 1.04 * r * np.cos(t) * 0.96, 1.0 * r * np.sin(t)))
    front = [(0.62, line + 0.22), (0.3, line - 0.02), (0.1, line + 0.16), (-0.12, line - 0.04), (-0.34, line + 0.14), (-0.62, line + 0.22)]
    lifted = head.surface(np.array(front, np.float32))
    outer = np.array([(x, y, 0.15) for x, y in rim], np.float32)
    _paint(sheet, head.project(np.concatenate([outer, lifted])), colour, clip)


def _cloud(sheet: Sheet, head: Head, colour: Colour, clip: Mask | None) -> None:
    w, v = head.who.width, head.who.volume
    for t in np.linspace(np.pi * 0.86, np.pi * 2.14, 11):
        x, y = w * 1.12 * v * np.cos(t), 0.95 * v * np.sin(t) - 0.08
        _lay(sheet, head, [tuple(p) for p in oval(x, y, 0.34, 0.34)[:, :2]], colour, clip, curve=False)
    _lay(sheet, head, [tuple(p) for p in oval(0, -0.35, w * 1.15, 0.85)[:, :2]], colour, clip, curve=False)


def _lay(
    sheet: Sheet, head: Head, shape: list[tuple[float, float]], colour: Colour, clip: Mask | None, *, curve: bool = True, z: float = -0.25
) -> None:
    points = smooth(shape, 6) if curve else np.array(shape, np.float32)
    solid = np.concatenate([points, np.full((len(points), 1), z, np.float32)], 1)
    _paint(sheet, head.project(solid), colour, clip)


def _paint(sheet: Sheet, polygon: F32, colour: Colour, clip: Mask | None) -> None:
    mask = sheet.fill(polygon, colour, shade=0.22, within=clip)
    sheet.hair = np.maximum(sheet.hair, mask)


def smooth_open(points: F32, n: int = 5) -> F32:
    """An open Catmull-Rom curve through the points (m, 2), its ends kept."""
    padded = np.concatenate([points[:1] * 2 - points[1:2], points, points[-1:] * 2 - points[-2:-1]])
    curve = smooth(padded, n)
    return np.concatenate([curve[n : n * len(points)], points[-1:]]).astype(np.float32)
