"""A head in space: which way it looks, where a face's points lie that no bone marks, and from where they can be seen. Without Blender.

Bones' own axes say nothing about a face: importers turn them as they like. So the frame is built from the body at rest (people are modelled
upright, looking forward) and carried along by the head's bone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PROPORTIONS: Mapping[str, tuple[float, float, float]] = {
    "eye": (0.088, 0.322, 0.254),
    "nose": (0.0, 0.435, 0.36),
    "mouth": (0.074, 0.538, 0.274),
    "ear": (0.22, 0.38, 0.0),
}
"""To the side, below the crown, before the neck's axis, in distances between the shoulder joints: MakeHuman's average person, measured."""
NECK_TO_CROWN = 0.56
"""From the head bone's root to the crown, same unit, where the rig marks no crown: Mixamo's and Unreal's human."""

OUTWARD: Mapping[str, tuple[float, float]] = {"eye": (0.33, 0.94), "nose": (0.0, 1.0), "mouth": (0.33, 0.94), "ear": (1.0, 0.0)}
"""Which way the skin looks there: to the side and forward."""
TURNED_AWAY: Mapping[str, float] = {"eye": 0.0, "nose": -0.25, "mouth": 0.0, "ear": -0.35}
"""The cosine between that and the way to the camera below which a point is not seen: a nose still stands out in profile, and both ears of
a face from the front are seen, though they look aside.
"""

NEAR: Mapping[str, float] = {"eye": 0.04, "nose": 0.04, "mouth": 0.04, "ear": 0.12}
"""13 mm on a grown person, in distances between the shoulders: lashes and lips are no cover. Ears stand out from the spot between them and
the skull, and hair over them is no reason to think of another side of the head.
"""


@dataclass(frozen=True, eq=False)
class HeadFrame:
    """A head in the world: `crown` (3,), directions of length 1 (left is the person's own), and the distance between the shoulders."""

    crown: Floats
    left: Floats
    up: Floats
    forward: Floats
    size: float

    def place(self, part: str) -> Floats:
        """Where "left_eye", "nose", "right_mouth", "left_ear" … lie on an average person, in the world (3,)."""
        side, below, before = PROPORTIONS[_kind(part)]
        return self.crown + self.size * (_sign(part) * side * self.left - below * self.up + before * self.forward)

    def outward(self, part: str) -> Floats:
        """The direction (3,) in which the skin looks at that point."""
        side, before = OUTWARD[_kind(part)]
        return _unit(_sign(part) * side * self.left + before * self.forward)

    def faces(self, part: str, to_camera: Floats) -> bool:
        """Whether that point is on the side of the head that is turned to the camera; `to_camera` (3,) has length 1."""
        return float(self.outward(part) @ to_camera) > TURNED_AWAY[_kind(part)]

    def near(self, part: str) -> float:
        """How far before a point something may be that still counts as its own skin, in scene units."""
        return NEAR[_kind(part)] * self.size


def head_frame(rest: Mapping[str, Floats], root: Floats, crown: Floats | None, moved: Floats) -> HeadFrame | None:
    """The head's frame, or None for a rig without both shoulders.

    `rest` holds joints, `root` the head bone's root and `crown` the top of the head, all (3,) and at rest in one space; `moved` (4, 4)
    takes that space, as the head's bone moved it, to the world.
    """
    shoulders = [rest.get(f"{side}_shoulder") for side in ("left", "right")]
    if any(shoulder is None for shoulder in shoulders):
        return None
    left = shoulders[0] - shoulders[1]
    size = float(np.linalg.norm(left))
    if not size > 0:
        return None
    middle = (shoulders[0] + shoulders[1]) / 2
    hips = [rest[f"{side}_hip"] for side in ("left", "right") if f"{side}_hip" in rest]
    up = middle - sum(hips) / 2 if len(hips) == 2 else root - middle
    left = left / size
    up = up - (up @ left) * left
    if not np.linalg.norm(up) > 0:
        return None
    up = _unit(up)
    top = root + NECK_TO_CROWN * size * up if crown is None else crown
    linear = moved[:3, :3]
    turned = [_unit(linear @ axis) for axis in (left, up, np.cross(left, up))]
    return HeadFrame(linear @ top + moved[:3, 3], *turned, size=size * float(abs(np.linalg.det(linear)) ** (1 / 3)))


def _kind(part: str) -> str:
    return part.split("_")[-1]


def _sign(part: str) -> float:
    return -1.0 if part.startswith("right_") else 1.0


def _unit(vector: Floats) -> Floats:
    return vector / np.linalg.norm(vector)
