"""Draws the people of `world`: layers of smooth filled curves on a head that turns in three dimensions, shaded by one light.

Drawn at twice the size with OpenCV's anti-aliasing and scaled down by area, so edges are clean. A picture takes a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .features import draw_beard, draw_brows, draw_eyes, draw_glasses, draw_marks, draw_mouth, draw_nose
from .scenery import draw_background, draw_body, draw_hat, hat_line
from .sheet import Head, Sheet, mix, oval, scaled
from .wigs import draw_back_hair, draw_front_hair
from .world import SKIN, Colour, Person, Shot, caption

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawn picture and what is known of it; pixels, keypoints and box share the picture's coordinates."""

    picture: NDArray[np.uint8]
    """(S, S, 3) RGB."""
    caption: str
    keypoints: F32
    """(5, 2): viewer's left eye, right eye, nose tip, left and right corner of the mouth."""
    box: F32
    """(4,) x0, y0, x1, y1 of the face from hairline to chin."""
    depth: NDArray[np.uint8]
    """(S, S): 255 near, 0 the background."""
    skeleton: F32
    """(18, 3) in OpenPose's order: x, y, 1 where shown else 0."""


def skin_colour(who: Person) -> Colour:
    """The person's skin, between the two nearest of the palette's tones."""
    place = who.skin * (len(SKIN) - 1)
    low = min(int(place), len(SKIN) - 2)
    return mix(SKIN[low], SKIN[low + 1], place - low)


def face_outline(who: Person, n: int = 48) -> F32:
    """The face from the front: (n, 3), an ellipse above the eyes and a superellipse of exponent `jaw` below."""
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    power = np.where(s > 0, 2.0 / who.jaw, 1.0)
    x = who.width * np.sign(c) * np.abs(c) ** power
    y = np.where(s > 0, who.chin * np.abs(s) ** power, -1.02 * np.abs(s))
    z = np.where(s > 0, 0.22 + 0.2 * np.abs(s) ** 2, 0.22)
    return np.stack([x, y, z], 1).astype(np.float32)


def draw(who: Person, view: Shot, size: int = 128, style: str = "soft") -> Drawing:
    """Draw one person in one shot.

    `style` is "soft" (shaded, no lines) or "ink" (flat colours in dark outlines). `size` is the picture's side in pixels.
    """
    sheet = Sheet(size * 2, view.light, ink=style == "ink")
    head = Head(who, view, size * 2)
    skin = skin_colour(who)
    draw_background(sheet, view)
    wig = hat_line(head, view)
    draw_back_hair(sheet, head, wig)
    body = draw_body(sheet, head, skin)
    face = _draw_face(sheet, head, skin)
    draw_front_hair(sheet, head, wig)
    draw_beard(sheet, head)
    draw_mouth(sheet, head, skin)
    draw_nose(sheet, head, skin)
    draw_brows(sheet, head)
    draw_glasses(sheet, head)
    hat = draw_hat(sheet, head)
    keypoints = (head.keypoints() / 2).astype(np.float32)
    outline = head.project(face_outline(who)) / 2
    box = np.concatenate([outline.min(0), outline.max(0)]).astype(np.float32)
    return Drawing(
        _finish(sheet, view, size), caption(view), keypoints, box, _depth(sheet, body, face, hat, head, size), _skeleton(head, keypoints)
    )


def _draw_face(sheet: Sheet, head: Head, skin: Colour) -> NDArray[np.uint8]:
    who = head.who
    for side in (-1, 1):
        ear = oval(side * who.width * 1.0, 0.05, 0.13 * who.ears, 0.24 * who.ears, z=-0.02)
        sheet.fill(head.project(ear), scaled(skin, 0.93))
        sheet.fill(head.project(oval(side * who.width * 1.01, 0.06, 0.07 * who.ears, 0.14 * who.ears, z=0.0)), scaled(skin, 0.78))
    mask = sheet.fill(head.project(face_outline(who)), skin, shade=0.16)
    glow = mix(skin, (226, 92, 84), 0.55)
    for side in (-1, 1):
        cheek = head.project(head.surface(oval(side * 0.42 * who.width / 0.76, 0.3, 0.2, 0.14)))
        sheet.soft(cheek, glow, 0.15 + 0.4 * who.blush, 0.1 * head.unit, mask)
    draw_marks(sheet, head, skin, mask)
    draw_eyes(sheet, head, skin)
    return mask


def _finish(sheet: Sheet, view: Shot, size: int) -> NDArray[np.uint8]:
    tint = np.array([1 + 0.035 * view.warmth, 1.0, 1 - 0.045 * view.warmth], np.float32)
    small = cv2.resize(sheet.pixels, (size, size), interpolation=cv2.INTER_AREA)
    return np.clip(small * tint + 0.5, 0, 255).astype(np.uint8)


def _depth(
    sheet: Sheet, body: NDArray[np.uint8], face: NDArray[np.uint8], hat: NDArray[np.uint8] | None, head: Head, size: int
) -> NDArray[np.uint8]:
    """A relief: the body's plane, the head's ellipsoid before it, the hat as far as the head's middle."""
    side = sheet.side
    yy, xx = np.mgrid[0:side, 0:side].astype(np.float32)
    centre = head.project(np.array([[0.0, 0.0, 0.3]], np.float32))[0]
    r2 = ((xx - centre[0]) / (0.95 * head.unit)) ** 2 + ((yy - centre[1]) / (1.2 * head.unit)) ** 2
    dome = 150 + 100 * np.sqrt(np.clip(1 - r2, 0, 1))
    depth = np.where(body > 127, 120.0, 0.0)
    depth = np.where(sheet.hair > 127, 140.0, depth)
    depth = np.where(face > 127, dome, depth)
    if hat is not None:
        depth = np.where(hat > 127, 185.0, depth)
    return cv2.resize(depth.astype(np.uint8), (size, size), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _skeleton(head: Head, keypoints: F32) -> F32:
    """OpenPose-18 of a bust: nose, neck, shoulders, eyes, ears; everything below the picture's edge is not shown."""
    out = np.zeros((18, 3), np.float32)
    points: dict[int, Sequence[float]] = {0: keypoints[2], 14: keypoints[0], 15: keypoints[1]}
    neck = head.neck() / 2
    unit = head.unit / 2
    points |= {
        1: (neck[0], neck[1] + 0.55 * unit),
        2: (neck[0] - 1.25 * unit, neck[1] + 0.85 * unit),
        5: (neck[0] + 1.25 * unit, neck[1] + 0.85 * unit),
    }
    ears = head.project(np.array([[-head.who.width, 0.05, -0.02], [head.who.width, 0.05, -0.02]], np.float32)) / 2
    points |= {16: ears[0], 17: ears[1]}
    for index, place in points.items():
        out[index] = (place[0], place[1], 1)
    return out
