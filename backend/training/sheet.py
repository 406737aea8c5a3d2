"""The sheet that the world is drawn on, and the head that turns in front of it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .world import Colour, Person, Shot

F32 = NDArray[np.float32]
Mask = NDArray[np.uint8]
_SHIFT = 4  # fractional bits of OpenCV's polygon coordinates: a sixteenth of a pixel


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with `share` (0 to 1) of `b`."""
    return (round(a[0] + (b[0] - a[0]) * share), round(a[1] + (b[1] - a[1]) * share), round(a[2] + (b[2] - a[2]) * share))


def scaled(colour: Colour, factor: float) -> Colour:
    """The colour, darker (factor below 1) or lighter."""
    return (min(255, round(colour[0] * factor)), min(255, round(colour[1] * factor)), min(255, round(colour[2] * factor)))


def oval(x: float, y: float, rx: float, ry: float, z: float = 0.0, n: int = 28) -> F32:
    """An ellipse as (n, 3) points in the head's units."""
    a = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return np.stack([x + rx * np.cos(a), y + ry * np.sin(a), np.full(n, z)], 1).astype(np.float32)


def smooth(points: ArrayLike, n: int = 8) -> F32:
    """A closed Catmull-Rom curve through the points (m, d) -> (m * n, d)."""
    p = np.asarray(points, np.float32)
    p0, p1, p2, p3 = np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0)
    t = (np.arange(n, dtype=np.float32) / n)[None, :, None]
    a, b, c, d = (q[:, None] for q in (p0, p1, p2, p3))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return curve.reshape(-1, p.shape[1]).astype(np.float32)


class Head:
    """Turns the head's coordinates (x right, y down, z to the viewer; half a face's height is 1) into pixels of the sheet."""

    def __init__(self, who: Person, view: Shot, side: int) -> None:
        self.who = who
        self.view = view
        self.side = side
        self.unit = view.scale * side
        self.centre = np.array([view.x * side, view.y * side], np.float32)
        yaw, pitch, roll = (np.deg2rad(v) for v in (view.yaw, view.pitch, view.roll))
        ry = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        rx = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
        rz = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        self.turn = (rz @ rx @ ry).astype(np.float32)

    def project(self, points: F32) -> F32:
        """(n, 3) -> (n, 2) pixels, orthographically."""
        return (points @ self.turn.T)[:, :2] * self.unit + self.centre

    def surface(self, points: F32) -> F32:
        """Lift points (n, 2 or 3) of the front view onto the face's ellipsoid -> (n, 3)."""
        x, y = points[:, 0], points[:, 1]
        z = 0.84 * np.sqrt(np.clip(1 - (x / (self.who.width * 1.12)) ** 2 - (y / 1.22) ** 2, 0.05, 1))
        return np.stack([x, y, z], 1).astype(np.float32)

    def on_face(self, points: ArrayLike) -> F32:
        """Points (n, 2) of the front view, lifted and projected -> (n, 2) pixels."""
        return self.project(self.surface(np.asarray(points, np.float32)))

    def neck(self) -> F32:
        """Where the neck meets the chin, in pixels: it follows the head's place, not its turn."""
        return self.centre + np.array([0.0, self.who.chin * 0.86 * self.unit], np.float32)

    @property
    def eye_x(self) -> float:
        """Distance of an eye's centre from the middle."""
        return 0.335 * self.who.eye_distance * (0.6 + 0.4 * self.who.width / 0.76)

    @property
    def eye_y(self) -> float:
        """Height of the eyes."""
        return -0.05

    @property
    def nose_y(self) -> float:
        """Height of the nose's tip."""
        return 0.1 + 0.23 * self.who.nose_length

    @property
    def mouth_y(self) -> float:
        """Height of the mouth."""
        return 0.57 * (0.5 + 0.5 * self.who.chin) + 0.04 * (self.who.nose_length - 1)

    @property
    def mouth_half(self) -> float:
        """Half the mouth's width; it grows with a smile."""
        grow = {"smiling": 1.15, "laughing": 1.2, "surprised": 0.62, "sad": 0.95}.get(self.view.expression, 1.0)
        return 0.27 * self.who.mouth_width * grow

    @property
    def mouth_lift(self) -> float:
        """How far the mouth's corners rise."""
        return {"smiling": 0.1, "laughing": 0.11, "sad": -0.09}.get(self.view.expression, 0.0)

    def keypoints(self) -> F32:
        """(5, 2) pixels of the sheet: eyes, nose tip, corners of the mouth; viewer's left first."""
        flat = [(-self.eye_x, self.eye_y), (self.eye_x, self.eye_y)]
        mouth = [(-self.mouth_half, self.mouth_y - self.mouth_lift), (self.mouth_half, self.mouth_y - self.mouth_lift)]
        nose = self.project(np.array([[0.0, self.nose_y, 1.0]], np.float32))
        return np.concatenate([self.on_face(flat), nose, self.on_face(mouth)]).astype(np.float32)


class Sheet:
    """A square of float RGB, painted from back to front with filled polygons in pixels."""

    def __init__(self, side: int, light: float, *, ink: bool = False) -> None:
        self.side = side
        self.light = light
        self.ink = ink
        self.pixels = np.zeros((side, side, 3), np.float32)
        self.hair: Mask = np.zeros((side, side), np.uint8)

    def mask(self, polygon: F32) -> Mask:
        """The polygon's anti-aliased coverage, 0 to 255."""
        out = np.zeros((self.side, self.side), np.uint8)
        fixed = np.round(polygon * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(out, [fixed], 255, cv2.LINE_AA, _SHIFT)
        return out

    def fill(self, polygon: F32, colour: Colour, *, shade: float = 0.0, line: float = 1.0, within: Mask | None = None) -> Mask:
        """Fill a polygon (n, 2); `shade` darkens it away from the light and downwards; `within` clips it. Returns its mask."""
        mask = self.mask(polygon)
        if within is not None:
            mask = np.minimum(mask, within)
        self.paint(mask, colour, shade=0.0 if self.ink else shade)
        if self.ink and line > 0:
            self._outline(polygon, line, within)
        return mask

    def paint(self, mask: Mask, colour: Colour, *, shade: float = 0.0, share: float = 1.0) -> None:
        """Lay a colour over the sheet where the mask is."""
        x0, y0, w, h = cv2.boundingRect(mask)
        if w == 0 or h == 0:
            return
        part = self.pixels[y0 : y0 + h, x0 : x0 + w]
        cover = (mask[y0 : y0 + h, x0 : x0 + w].astype(np.float32) * (share / 255))[..., None]
        tone = np.asarray(colour, np.float32)
        if shade:
            across = np.linspace(-1, 1, w, dtype=np.float32)[None, :] * self.light
            down = np.linspace(-1, 1, h, dtype=np.float32)[:, None]
            tone = tone * (1 + shade * (0.75 * across - 0.6 * down) - 0.12 * shade)[..., None]
        part += cover * (tone - part)

    def soft(self, polygon: F32, colour: Colour, share: float, blur: float, within: Mask | None = None) -> None:
        """A polygon with a soft edge (`blur` pixels), `share` opaque; left out in ink drawings."""
        if self.ink:
            return
        mask = cv2.GaussianBlur(self.mask(polygon), (0, 0), max(blur, 0.5))
        if within is not None:
            mask = np.minimum(np.asarray(mask, np.uint8), within)
        self.paint(np.asarray(mask, np.uint8), colour, share=share)

    def stroke(self, line: F32, colour: Colour, width: float, *, share: float = 1.0) -> None:
        """An open line (n, 2) of a width in pixels."""
        mask = np.zeros((self.side, self.side), np.uint8)
        fixed = np.round(line * (1 << _SHIFT)).astype(np.int32)
        cv2.polylines(mask, [fixed], False, 255, max(1, round(width)), cv2.LINE_AA, _SHIFT)
        self.paint(mask, colour, share=share)

    def _outline(self, polygon: F32, line: float, within: Mask | None) -> None:
        mask = np.zeros((self.side, self.side), np.uint8)
        fixed = np.round(polygon * (1 << _SHIFT)).astype(np.int32)
        cv2.polylines(mask, [fixed], True, 255, max(1, round(line * self.side / 110)), cv2.LINE_AA, _SHIFT)
        self.paint(mask if within is None else np.minimum(mask, within), (34, 28, 38))
