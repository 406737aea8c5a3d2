"""The parts of a face: eyes, brows, nose, mouth, beard, marks, and the glasses before them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .sheet import Head, Sheet, mix, oval, scaled, smooth
from .world import HAIR, IRIS, Colour

_DARK: Colour = (44, 30, 34)


def draw_eyes(sheet: Sheet, head: Head, skin: Colour) -> None:
    """White, iris, pupil, glint, lids; closed to arcs when laughing."""
    who = head.who
    wide = {"surprised": 1.35, "laughing": 0.62, "smiling": 0.92, "sad": 0.85}.get(head.view.expression, 1.0)
    half = 0.185 * who.eye_size
    tall = min(0.125 * who.eye_size * who.eye_open * wide, 0.2)
    for side in (-1, 1):
        x, y, tilt = side * head.eye_x, head.eye_y, 0.05 * who.eye_tilt
        inner, outer = (x - side * half, y + tilt * 0.6), (x + side * half, y - tilt)
        rim = [
            inner,
            (x - side * half * 0.45, y - tall * 0.82),
            (x + side * half * 0.3, y - tall * 0.98),
            outer,
            (x + side * half * 0.35, y + tall * 0.8),
            (x - side * half * 0.4, y + tall * 0.74),
        ]
        lid = smooth(rim, 6)
        shadow = head.on_face(smooth([(px, py - 0.03) for px, py in rim], 6))
        sheet.soft(shadow, scaled(skin, 0.62), 0.55, 0.05 * head.unit)
        shape = sheet.fill(head.on_face(lid), (250, 248, 244), line=0.8)
        gaze = 0.02 * head.view.yaw / 30
        _draw_iris(sheet, head, x + gaze, y - tall * 0.05, 0.118 * (0.85 + 0.15 * who.eye_size), shape)
        upper = head.on_face(smooth(rim, 6)[: 6 * 3 + 1])
        sheet.stroke(upper, _DARK, 0.05 * head.unit)
        lower = head.on_face(smooth(rim, 6)[6 * 3 : 6 * 6])
        sheet.stroke(lower, scaled(skin, 0.6), 0.022 * head.unit, share=0.7)
        if who.age > 0.25:
            bag = [(x - side * half * 0.9, y + tall + 0.07), (x, y + tall + 0.12), (x + side * half * 0.9, y + tall + 0.06)]
            sheet.stroke(head.on_face(bag), scaled(skin, 0.74), 0.025 * head.unit, share=who.age)


def _draw_iris(sheet: Sheet, head: Head, x: float, y: float, radius: float, within: NDArray[np.uint8]) -> None:
    colour = IRIS[head.who.iris]

    def place(dx: float, dy: float, r: float) -> NDArray[np.float32]:
        return head.on_face(oval(x + dx, y + dy, r, r)[:, :2])

    sheet.fill(place(0, 0, radius), scaled(colour, 0.55), within=within, line=0)
    sheet.fill(place(0, 0.008, radius * 0.84), colour, within=within, line=0)
    sheet.fill(place(0, 0, radius * 0.46), (18, 16, 20), within=within, line=0)
    sheet.fill(place(-0.035, -0.04, radius * 0.3), (255, 255, 255), within=within, line=0)


def draw_brows(sheet: Sheet, head: Head) -> None:
    """Two tapered strokes; sad and surprised faces move them."""
    who = head.who
    raised = {"surprised": 0.09, "laughing": 0.03, "sad": 0.02}.get(head.view.expression, 0.0)
    slant = 0.055 * who.brow_angle - (0.09 if head.view.expression == "sad" else 0.0)
    colour = scaled(HAIR[who.hair], 0.72) if who.hair not in ("white", "grey") else scaled(HAIR[who.hair], 0.86)
    for side in (-1, 1):
        x, y = side * head.eye_x, head.eye_y - 0.25 * who.brow_height - raised
        thick = 0.05 * who.brow_thickness
        inner, top, end = x - side * 0.2, x + side * 0.06, x + side * 0.25
        brow = [
            (inner, y + slant + thick),
            (inner, y + slant - thick * 0.5),
            (top, y - 0.04 - thick),
            (end, y + 0.03 - slant * 0.5),
            (top, y - 0.04 + thick * 0.8),
        ]
        sheet.fill(head.on_face(smooth(brow, 5)), colour, line=0)


def draw_nose(sheet: Sheet, head: Head, skin: Colour) -> None:
    """A shaded side, a lit ridge, wings and nostrils around a tip that stands out of the face."""
    who = head.who
    wide, y = 0.135 * who.nose_width, head.nose_y
    lit = -1 if head.view.light > 0 else 1

    def place(points: list[tuple[float, float, float]]) -> NDArray[np.float32]:
        return head.project(np.array(points, np.float32))

    side = place([(0.02 * lit, -0.12, 0.86), (lit * wide * 0.95, y + 0.02, 0.88), (0.0, y + 0.07, 0.95)])
    sheet.soft(side, scaled(skin, 0.66), 0.7, 0.035 * head.unit)
    wings = smooth(
        [
            (-wide, y + 0.03, 0.86),
            (-wide * 0.6, y - 0.05, 0.92),
            (0, y - 0.09, 1.0),
            (wide * 0.6, y - 0.05, 0.92),
            (wide, y + 0.03, 0.86),
            (0, y + 0.09, 0.95),
        ],
        5,
    )
    sheet.fill(head.project(wings), scaled(skin, 0.95), shade=0.1, line=0)
    sheet.stroke(
        place(
            [
                (-wide * 1.02, y, 0.86),
                (-wide * 0.85, y + 0.06, 0.88),
                (0, y + 0.09, 0.94),
                (wide * 0.85, y + 0.06, 0.88),
                (wide * 1.02, y, 0.86),
            ]
        ),
        scaled(skin, 0.6),
        0.035 * head.unit,
        share=0.8,
    )
    tip = head.project(oval(-0.03 * lit, y - 0.02, 0.05, 0.045, z=0.98))
    sheet.soft(tip, scaled(skin, 1.18), 0.6, 0.02 * head.unit)
    if who.age > 0.2:
        for s in (-1, 1):
            fold = head.on_face([(s * wide * 1.5, y + 0.04), (s * 0.3, y + 0.16), (s * 0.34, y + 0.27)])
            sheet.stroke(fold, scaled(skin, 0.72), 0.03 * head.unit, share=who.age)


def draw_mouth(sheet: Sheet, head: Head, skin: Colour) -> None:
    """Lips between the two corner keypoints; open with teeth when laughing, round when surprised."""
    who = head.who
    half, y, lift, full = head.mouth_half, head.mouth_y, head.mouth_lift, 0.055 * who.lips
    lips = mix((196, 84, 88), scaled(skin, 0.62), 0.35)
    left, right = (-half, y - lift), (half, y - lift)
    match head.view.expression:
        case "laughing":
            drop = 0.24
            inside = sheet.fill(
                head.on_face(
                    smooth([left, (0, y + 0.0), right, (half * 0.6, y + drop * 0.75), (0, y + drop), (-half * 0.6, y + drop * 0.75)], 6)
                ),
                (112, 36, 46),
            )
            sheet.fill(
                head.on_face([left, (0, y - 0.01), right, (half * 0.7, y + 0.075), (0, y + 0.1), (-half * 0.7, y + 0.075)]),
                (250, 246, 240),
                within=inside,
                line=0,
            )
            sheet.fill(head.on_face(oval(0, y + drop * 0.95, half * 0.5, 0.08)[:, :2]), (214, 104, 108), within=inside, line=0)
        case "surprised":
            sheet.fill(head.on_face(oval(0, y, half * 1.02, half * 1.05)[:, :2]), lips)
            sheet.fill(head.on_face(oval(0, y, half * 0.72, half * 0.74)[:, :2]), (92, 30, 40), line=0)
        case _:
            bow = smooth(
                [
                    left,
                    (-half * 0.35, y - lift * 0.1 - full),
                    (0, y - full * 0.55),
                    (half * 0.35, y - lift * 0.1 - full),
                    right,
                    (half * 0.5, y + full * 0.9 + lift * 0.3),
                    (0, y + full * 1.35 + lift * 0.55),
                    (-half * 0.5, y + full * 0.9 + lift * 0.3),
                ],
                5,
            )
            sheet.fill(head.on_face(bow), lips, shade=0.12, line=0.8)
            seam = [left, (-half * 0.5, y - lift * 0.15), (0, y + 0.012 + lift * 0.25), (half * 0.5, y - lift * 0.15), right]
            sheet.stroke(head.on_face(seam), scaled(lips, 0.5), 0.035 * head.unit)


def draw_beard(sheet: Sheet, head: Head) -> None:
    """Moustache, goatee or a full beard, in the hair's colour, under the mouth."""
    who = head.who
    if who.beard == "none":
        return
    colour = scaled(HAIR[who.hair], 0.9)
    half, y, chin = 0.27 * who.mouth_width, head.mouth_y, who.chin
    if who.beard == "full":
        w = who.width
        edge = [
            (-w * 0.97, 0.12),
            (-w * 0.78, 0.3),
            (-half * 1.25, y - 0.12),
            (0, y - 0.17),
            (half * 1.25, y - 0.12),
            (w * 0.78, 0.3),
            (w * 0.97, 0.12),
        ]
        power = 2.0 / who.jaw
        a = np.linspace(0.1, np.pi - 0.1, 16)
        rim = [(w * 1.03 * np.sign(np.cos(t)) * abs(np.cos(t)) ** power, chin * 1.09 * np.sin(t) ** power, 0.3) for t in a]
        upper = head.surface(np.array(edge, np.float32))
        upper[[0, -1], 2] = 0.3
        sheet.fill(head.project(np.concatenate([upper, np.array(rim, np.float32)])), colour, shade=0.2)
    if who.beard == "goatee":
        patch = [
            (-half * 0.85, y + 0.12),
            (0, y + 0.1),
            (half * 0.85, y + 0.12),
            (half * 0.6, chin * 1.02),
            (0, chin * 1.1),
            (-half * 0.6, chin * 1.02),
        ]
        sheet.fill(head.on_face(smooth(patch, 5)), colour, shade=0.2)
    tache = [
        (-half * 1.15, y + 0.01),
        (-half * 0.6, y - 0.14),
        (0, y - 0.1),
        (half * 0.6, y - 0.14),
        (half * 1.15, y + 0.01),
        (0, y - 0.035),
    ]
    sheet.fill(head.on_face(smooth(tache, 5)), scaled(colour, 0.92), line=0.8)


def draw_marks(sheet: Sheet, head: Head, skin: Colour, within: NDArray[np.uint8]) -> None:
    """Freckles and a mole."""
    who = head.who
    if who.freckles:
        spots = [
            (-0.46, 0.16),
            (-0.36, 0.24),
            (-0.26, 0.15),
            (-0.4, 0.33),
            (-0.54, 0.27),
            (0.46, 0.16),
            (0.36, 0.24),
            (0.26, 0.15),
            (0.4, 0.33),
            (0.54, 0.27),
        ]
        for x, y in spots:
            sheet.fill(
                head.on_face(oval(x * who.width / 0.76, y, 0.03, 0.027, n=10)[:, :2]),
                mix(scaled(skin, 0.6), (150, 78, 40), 0.4),
                within=within,
                line=0,
            )
    places = {1: (-0.42, 0.38), 2: (0.42, 0.38), 3: (0.36, 0.62)}
    if who.mole in places:
        x, y = places[who.mole]
        sheet.fill(head.on_face(oval(x, y, 0.042, 0.04, n=14)[:, :2]), scaled(skin, 0.36), within=within, line=0)


def draw_glasses(sheet: Sheet, head: Head) -> None:
    """Round glasses or sunglasses, standing a little before the face."""
    kind = head.view.glasses
    if kind == "none":
        return
    frame: Colour = (36, 34, 44)
    y, gap = head.eye_y + 0.01, head.eye_x
    for side in (-1, 1):
        rim = oval(side * gap, y, 0.275, 0.235 if kind == "glasses" else 0.2, z=0.84)
        arm = np.array([[side * (gap + 0.27), y - 0.04, 0.8], [side * head.who.width * 1.03, y - 0.06, 0.1]], np.float32)
        sheet.stroke(head.project(arm), frame, 0.05 * head.unit)
        if kind == "sunglasses":
            sheet.fill(head.project(rim), (30, 30, 40), shade=0.5)
        else:
            sheet.soft(head.project(rim), (225, 240, 250), 0.16, 0.01 * head.unit)
        sheet.stroke(head.project(np.concatenate([rim, rim[:1]])), frame, 0.065 * head.unit)
    bridge = np.array([[-(gap - 0.27), y - 0.02, 0.86], [0, y - 0.07, 0.92], [gap - 0.27, y - 0.02, 0.86]], np.float32)
    sheet.stroke(head.project(bridge), frame, 0.06 * head.unit)
