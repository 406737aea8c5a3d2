"""The sample faces that ship with the built-in model: drawn people whom no training has seen, and a scene with two of them."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .drawing import draw
from .world import FIRST_EVALUATION_PERSON, Shot, person

SAMPLES = {"ada": 7, "bruno": 26, "chidi": 46, "dora": 39, "emil": 6, "farah": 50}
"""Names for the files, and the persons' numbers counted from `FIRST_SAMPLE`."""
FIRST_SAMPLE = FIRST_EVALUATION_PERSON + 900_000
"""Far from the persons that `likeness evaluate` measures on."""
SCENE = (71, 86)
"""The two people of the scene; the right one's face is painted anew."""

_PHOTO = Shot(
    yaw=0, pitch=0, roll=0, scale=0.27, x=0.5, y=0.5, expression="neutral", hat="none", hat_colour="red", glasses="none", clothes="shirt",
    clothes_colour="white", background="grey", light=-0.4, warmth=0.1,
)  # fmt: skip
_LEFT = Shot(
    yaw=14, pitch=0, roll=3, scale=0.26, x=0.52, y=0.51, expression="smiling", hat="straw hat", hat_colour="yellow", glasses="none",
    clothes="sweater", clothes_colour="red", background="blue", light=0.2, warmth=0.2,
)  # fmt: skip
_RIGHT = Shot(
    yaw=-14, pitch=0, roll=-4, scale=0.26, x=0.48, y=0.5, expression="laughing", hat="none", hat_colour="red", glasses="none",
    clothes="jacket", clothes_colour="green", background="blue", light=0.2, warmth=0.2,
)  # fmt: skip


def photo(name: str, size: int = 128) -> NDArray[np.uint8]:
    """The sample photo of one of `SAMPLES`: (size, size, 3)."""
    return draw(person(FIRST_SAMPLE + SAMPLES[name]), _PHOTO, size).picture


def scene(size: int = 128) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Two people beside each other (size, 2 * size, 3), and the mask (size, 2 * size) of the right one's head."""
    left = draw(person(FIRST_SAMPLE + SCENE[0]), _LEFT, size)
    right = draw(person(FIRST_SAMPLE + SCENE[1]), _RIGHT, size)
    x0, y0, x1, y1 = (float(value) for value in right.box)
    mask = np.zeros((size, 2 * size), np.uint8)
    centre = (round((x0 + x1) / 2) + size, round(y0 + (y1 - y0) * 0.42))
    cv2.ellipse(mask, centre, (round((x1 - x0) * 0.85), round((y1 - y0) * 0.76)), 0, 0, 360, 255, -1)
    return np.concatenate([left.picture, right.picture], axis=1), mask


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `likeness train samples`."""
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures, such as backend/sketch/samples")
    parser.add_argument("--size", type=int, default=128, help="side in pixels (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Draw all of them."""
    args.out.mkdir(parents=True, exist_ok=True)
    picture, mask = scene(args.size)
    pictures = {**{name: photo(name, args.size) for name in SAMPLES}, "scene": picture, "scene-mask": mask}
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(args.out / f"{name}.png", optimize=True)
