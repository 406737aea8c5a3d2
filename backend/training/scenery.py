"""What stands around the face: background, neck and clothes, hat."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .sheet import Head, Mask, Sheet, mix, oval, scaled, smooth
from .world import BACKGROUND_COLOUR, COLOURS, Colour, Shot

F32 = NDArray[np.float32]
_BRIM = {"cap": -0.5, "beanie": -0.46, "top hat": -0.56, "straw hat": -0.52}


def draw_background(sheet: Sheet, view: Shot) -> None:
    """A soft wall in a colour, or one of four scenes."""
    side = sheet.side
    match view.background:
        case "sea":
            _gradient(sheet, (150, 204, 236), (222, 240, 246), 0, 0.62)
            _gradient(sheet, (54, 128, 172), (96, 176, 196), 0.62, 1)
            sheet.fill(oval(0.8 * side, 0.2 * side, 0.09 * side, 0.09 * side)[:, :2], (255, 244, 190), line=0)
        case "hills":
            _gradient(sheet, (164, 212, 240), (238, 240, 220), 0, 1)
            for colour, base, height, phase in (((132, 176, 138), 0.6, 0.1, 0.4), ((94, 150, 92), 0.74, 0.09, 2.2)):
                x = np.linspace(0, 1, 30)
                ridge = np.stack([x * side, (base + height * np.sin(5 * x + phase)) * side], 1)
                sheet.fill(np.concatenate([ridge, [[side, side], [0, side]]]).astype(np.float32), colour)
        case "night":
            _gradient(sheet, (24, 28, 66), (62, 58, 112), 0, 1)
            sheet.fill(oval(0.2 * side, 0.18 * side, 0.08 * side, 0.08 * side)[:, :2], (246, 240, 206), line=0)
            for x, y in ((0.08, 0.5), (0.4, 0.06), (0.62, 0.12), (0.85, 0.3), (0.92, 0.08), (0.9, 0.6), (0.05, 0.32)):
                sheet.fill(oval(x * side, y * side, 0.012 * side, 0.012 * side, n=10)[:, :2], (252, 250, 236), line=0)
        case "room":
            _gradient(sheet, (226, 206, 178), (204, 178, 148), 0, 1)
            window = np.array([[0.08, 0.1], [0.34, 0.1], [0.34, 0.5], [0.08, 0.5]], np.float32) * side
            sheet.fill(window, (250, 248, 240))
            sheet.fill((window - window.mean(0)) * 0.84 + window.mean(0), (160, 206, 234))
            sheet.fill(np.array([[0.0, 0.82], [1, 0.82], [1, 1], [0, 1]], np.float32) * side, (150, 108, 78))
        case _:
            colour = BACKGROUND_COLOUR[view.background]
            _gradient(sheet, scaled(colour, 1.1), scaled(colour, 0.82), 0, 1)


def _gradient(sheet: Sheet, top: Colour, bottom: Colour, start: float, end: float) -> None:
    a, b = round(start * sheet.side), round(end * sheet.side)
    t = np.linspace(0, 1, b - a, dtype=np.float32)[:, None, None]
    if sheet.ink:
        t = np.full_like(t, 0.4)
    sheet.pixels[a:b] = np.asarray(top, np.float32) * (1 - t) + np.asarray(bottom, np.float32) * t


def draw_body(sheet: Sheet, head: Head, skin: Colour) -> Mask:
    """Neck, shoulders and clothes; returns the mask of all of it."""
    unit, side, neck = head.unit, sheet.side, head.neck()
    view = head.view
    width = 0.36 * unit * (0.7 + 0.3 * head.who.width / 0.76)
    base = np.array([(neck[0] + view.x * side) / 2, neck[1] + 0.55 * unit], np.float32)
    top = head.project(np.array([[-0.36, 0.5, -0.1], [0.36, 0.5, -0.1]], np.float32))
    column = np.array(
        [top[0], top[1], [base[0] + width * 1.15, base[1] + 0.3 * unit], [base[0] - width * 1.15, base[1] + 0.3 * unit]], np.float32
    )
    body = sheet.fill(column, scaled(skin, 0.86), shade=0.1)
    shadow = oval(neck[0], neck[1] + 0.12 * unit, 0.5 * unit, 0.24 * unit)[:, :2]
    sheet.soft(shadow, scaled(skin, 0.5), 0.6, 0.09 * unit, body)
    colour = COLOURS[view.clothes_colour]

    def at(points: list[tuple[float, float]]) -> F32:
        return np.array(points, np.float32) * unit + base

    bottom = (side - base[1]) / unit + 0.2
    slope = [
        (-0.42, -0.06),
        (0, 0.22),
        (0.42, -0.06),
        (0.75, 0.1),
        (1.3, 0.32),
        (1.62, bottom),
        (-1.62, bottom),
        (-1.3, 0.32),
        (-0.75, 0.1),
    ]
    torso = sheet.fill(at(slope), colour, shade=0.24)
    match view.clothes:
        case "sweater":
            roll = smooth([(-0.47, -0.16), (0, 0.02), (0.47, -0.16), (0.5, 0.04), (0, 0.3), (-0.5, 0.04)], 6)
            sheet.fill(roll * np.float32(unit) + base, scaled(colour, 0.84), shade=0.15)
        case "shirt":
            for s in (-1, 1):
                sheet.fill(
                    at([(s * 0.46, -0.16), (0, 0.24), (s * 0.24, 0.46), (s * 0.56, 0.1)]), mix(colour, (255, 255, 255), 0.35), shade=0.1
                )
        case _:
            sheet.fill(at([(-0.3, 0.02), (0, 0.2), (0.3, 0.02), (0.16, bottom), (-0.16, bottom)]), (240, 238, 232), within=torso)
            for s in (-1, 1):
                sheet.fill(at([(s * 0.44, -0.12), (s * 0.14, 0.7), (s * 0.52, 0.5), (s * 0.66, 0.12)]), scaled(colour, 0.72), within=torso)
    return np.maximum(body, torso)


def hat_line(head: Head, view: Shot) -> Mask | None:
    """Where a hat leaves room for hair: below its brim. None without a hat."""
    if view.hat == "none":
        return None
    y = _BRIM[view.hat]
    ends = head.project(np.array([[-3, y, 0.2], [3, y, 0.2], [3, 6, 0.2], [-3, 6, 0.2]], np.float32))
    out = np.zeros((head.side, head.side), np.uint8)
    cv2.fillPoly(out, [np.round(ends * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return out


def draw_hat(sheet: Sheet, head: Head) -> Mask | None:
    """One of four hats; returns its mask, None without one."""
    view = head.view
    if view.hat == "none":
        return None
    w, y, colour = head.who.width, _BRIM[view.hat], COLOURS[view.hat_colour]

    def crown(shape: list[tuple[float, float]], z: float = 0.25) -> Mask:
        points = smooth(shape, 5) if len(shape) > 5 else np.array(shape, np.float32)
        return sheet.fill(head.project(np.concatenate([points, np.full((len(points), 1), z, np.float32)], 1)), colour, shade=0.24)

    def band(low: float, high: float, bulge: float, tone: Colour, half: float) -> Mask:
        x = np.linspace(-half, half, 13)
        z = 0.2 + 0.62 * np.sqrt(np.clip(1 - (x / (half * 1.02)) ** 2, 0, 1))
        lower = np.stack([x, low + bulge * (1 - (x / half) ** 2), z], 1)
        upper = np.stack([x, high + bulge * (1 - (x / half) ** 2), z], 1)
        return sheet.fill(head.project(np.concatenate([lower, upper[::-1]]).astype(np.float32)), tone, shade=0.15)

    match view.hat:
        case "cap":
            mask = crown([(-w * 1.1, y + 0.06), (-w * 1.02, -0.9), (0, -1.26), (w * 1.02, -0.9), (w * 1.1, y + 0.06), (0, y + 0.1)])
            peak = np.array(
                [(-0.66, y, 0.7), (-0.4, y + 0.14, 1.12), (0, y + 0.17, 1.25), (0.4, y + 0.14, 1.12), (0.66, y, 0.7), (0, y - 0.1, 0.85)],
                np.float32,
            )
            mask = np.maximum(mask, sheet.fill(head.project(smooth(peak, 5)), scaled(colour, 0.72), shade=0.1))
        case "beanie":
            mask = crown([(-w * 1.1, y + 0.1), (-w * 1.06, -0.85), (-0.3, -1.34), (0.3, -1.34), (w * 1.06, -0.85), (w * 1.1, y + 0.1)])
            mask = np.maximum(mask, band(y + 0.1, y - 0.2, 0.04, scaled(colour, 0.8), w * 1.13))
            mask = np.maximum(mask, sheet.fill(head.project(oval(0, -1.4, 0.2, 0.19, z=0.1)), mix(colour, (255, 255, 255), 0.5), shade=0.2))
        case "top hat":
            mask = crown([(-w * 0.92, y), (-w * 0.98, -1.62), (w * 0.98, -1.62), (w * 0.92, y)])
            mask = np.maximum(mask, band(y + 0.02, y - 0.2, 0.02, mix(colour, (20, 20, 26), 0.65), w * 0.95))
            mask = np.maximum(mask, sheet.fill(head.project(oval(0, y + 0.04, w * 1.5, 0.13, z=0.3)), scaled(colour, 0.84), shade=0.15))
        case _:
            mask = sheet.fill(head.project(oval(0, y - 0.02, w * 1.85, 0.2, z=0.2)), mix(colour, (240, 214, 150), 0.3), shade=0.2)
            mask = np.maximum(
                mask, crown([(-w * 0.95, y), (-w * 0.8, -1.1), (-0.25, -1.24), (0.25, -1.24), (w * 0.8, -1.1), (w * 0.95, y)])
            )
            mask = np.maximum(mask, band(y, y - 0.16, 0.03, scaled(colour, 0.55), w * 0.97))
    return mask
