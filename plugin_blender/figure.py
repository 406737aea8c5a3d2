"""A posed person as a picture sees them: joints and face points in pixels, which of them are seen, and what is drawn of that. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .bones import FACE_POINTS, JOINTS
from .protocol.geometry import Point

FACE_NEEDS = 4
"""Of the five face points. With fewer seen (profile, back of the head), a drawing of them asks IdentityNet for a face where none is."""
HEAD_JOINTS = frozenset({"nose", "right_eye", "left_eye", "right_ear", "left_ear"})
"""Detectors tell front from back by these: they are drawn when seen. Limbs behind the body are drawn too, as detectors guess them."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a person in a picture: pixels from the upper left corner, distance along the viewing axis in scene units."""

    x: float
    y: float
    depth: float
    seen: bool = True
    """Nothing is before it."""
    source: str = "bone"
    """Where it comes from: "bone", "group" (of vertices), "empty", "estimate"."""


@dataclass(frozen=True)
class Figure:
    """One person in one picture of `width` x `height` pixels. None: the rig does not say where."""

    width: int
    height: int
    joints: tuple[Mark | None, ...]
    """18, in the order of `JOINTS`."""
    face: tuple[Mark | None, ...]
    """5, in the order of `FACE_POINTS`."""

    @property
    def skeleton(self) -> tuple[tuple[float, float] | None, ...]:
        """The 18 places to draw: within the picture, before the camera, and for the head only what is seen."""
        return tuple(
            (mark.x, mark.y) if mark and self._inside(mark) and (mark.seen or joint not in HEAD_JOINTS) else None
            for joint, mark in zip(JOINTS, self.joints, strict=True)
        )

    @property
    def keypoints(self) -> tuple[Point, ...]:
        """The five points for IdentityNet, or () where the face is turned away, outside or unknown; `why_no_face` says which."""
        return () if self.why_no_face else tuple(Point(mark.x, mark.y) for mark in self.face if mark)

    @property
    def bits(self) -> str:
        """Which face points are seen, in order: "11111" from the front, "00000" from behind."""
        return "".join("1" if mark and mark.seen else "0" for mark in self.face)

    @property
    def why_no_face(self) -> str:
        """Why there are no keypoints, as a sentence; "" when there are."""
        unknown = [point for point, mark in zip(FACE_POINTS, self.face, strict=True) if mark is None]
        if unknown:
            return f"The rig does not say where the {', '.join(part.replace('_', ' ') for part in unknown)} is. Place the face points."
        marks = [mark for mark in self.face if mark]
        if not all(mark.depth > 0 for mark in marks):
            return "The face is behind the camera."
        if not any(self._inside(mark) for mark in marks):
            return "The face is outside the picture. Turn the camera to it."
        if sum(mark.seen for mark in marks) < FACE_NEEDS:
            return "The face is turned away or covered, so its five points are left out. An image prompt still lends the likeness."
        return ""

    def _inside(self, mark: Mark) -> bool:
        return mark.depth > 0 and 0 <= mark.x < self.width and 0 <= mark.y < self.height
