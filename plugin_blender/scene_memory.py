"""What live pictures are made from while the artist poses: the same points as for any other picture, read in a few milliseconds.

Lines of sight through a mesh that moves are what takes long: Blender sorts its faces anew for each pose. So where the skin lies before the
bones is measured once, and moves along with the head from then on; and which side of the head the camera sees is told by the way it looks.
What stands before a face is only noticed by the picture that is made in full.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from .bones import RigMap
from .camera import Camera
from .figure import Figure
from .head import HeadFrame
from .scene import CORRECTIONS, Floats, Groups, Parts, Sight, figure_from, parts_of
from .scene_shot import Setup

AT_WORK = frozenset({"EDIT", "SCULPT", "WEIGHT_PAINT"})
"""Modes in which a mesh changes with every stroke; it is measured anew afterwards."""


@dataclass(frozen=True, eq=False)
class _Known:
    """What was measured of a person. Objects by name and number: none is held from one call to the next."""

    key: Hashable
    meshes_changed: int
    rig: RigMap
    meshes: tuple[tuple[str, int], ...]
    empties: tuple[tuple[str, int], ...]
    groups: Groups
    skins: Mapping[str, Floats]
    """From a bone or an estimate to its skin: to the left, up, forward, in distances between the shoulders (3,)."""


class Memory:
    """A figure in few milliseconds, of what was measured when it, or the choice of rig and head, last changed."""

    def __init__(self) -> None:
        self._known: _Known | None = None

    def figure(self, scene: Any, graph: Any, camera: Camera, setup: Setup, meshes_changed: int) -> Figure:
        """The person as the camera sees them now; measures first where something else than the pose has changed.

        `meshes_changed` is a number that grows with each mesh whose own vertices or weights changed.
        """
        armature, known = setup.armature, self._known
        key = _key(armature, setup.head)
        meshes, empties = (_found(known.meshes), _found(known.empties)) if known else (None, None)
        if known is None or known.key != key or meshes is None or empties is None or _is_old(known, graph, meshes_changed):
            return self._measured(scene, graph, camera, setup, key, meshes_changed)
        parts = Parts(armature, known.rig, meshes, empties, known.groups)

        def looking(frame: HeadFrame | None) -> Sight:
            return Sight(scene, graph, camera, None) if frame is None else _Carried(scene, graph, camera, frame, known.skins)

        return figure_from(parts, graph, looking)

    def _measured(
        self,
        scene: Any,
        graph: Any,
        camera: Camera,
        setup: Setup,
        key: Hashable,
        meshes_changed: int,
    ) -> Figure:
        parts = parts_of(setup.armature, setup.head)
        skins: dict[str, Floats] = {}

        def looking(frame: HeadFrame | None) -> Sight:
            return Sight(scene, graph, camera, None) if frame is None else _Measuring(scene, graph, camera, frame, skins)

        figure = figure_from(parts, graph, looking)
        meshes, empties = (tuple((thing.name, thing.session_uid) for thing in things) for things in (parts.meshes, parts.empties))
        self._known = _Known(key, meshes_changed, parts.rig, meshes, empties, parts.groups, skins)
        return figure


def _is_old(known: _Known, graph: Any, meshes_changed: int) -> bool:
    """Whether a mesh has changed since; not while one is still worked on."""
    active = graph.view_layer.objects.active
    return known.meshes_changed != meshes_changed and (active is None or active.mode not in AT_WORK)


def _key(armature: Any, head: Any) -> Hashable:
    """Another one when something is to be measured anew."""
    bones = tuple(bone.name for bone in armature.data.bones) if armature else ()
    uids = tuple(thing and thing.session_uid for thing in (armature, head))
    return uids, bones, str(armature.get(CORRECTIONS, "")) if armature else "", len(bpy.data.objects)


class _Carried(Sight):
    """Casts no rays: the skin moves with the head as it was measured, and nothing stands before it."""

    def __init__(self, scene: Any, graph: Any, camera: Camera, frame: HeadFrame, skins: Mapping[str, Floats]) -> None:
        super().__init__(scene, graph, camera, frame)
        self._axes, self._skins = _axes(frame), skins

    def skin(self, part: str, place: Floats, source: str) -> Floats:
        """As it was measured."""
        if self.frame is None or part not in self._skins or source not in {"bone", "estimate"}:
            return place
        return place + self.frame.size * (self._skins[part] @ self._axes)

    def is_clear(self, part: str, place: Floats) -> bool:
        """Always."""
        return True


class _Measuring(_Carried):
    """Looks for the skin as for any picture, and writes down how it lies to the head."""

    def __init__(self, scene: Any, graph: Any, camera: Camera, frame: HeadFrame, skins: dict[str, Floats]) -> None:
        super().__init__(scene, graph, camera, frame, skins)
        self._written = skins

    def skin(self, part: str, place: Floats, source: str) -> Floats:
        """As `Sight`."""
        found = Sight.skin(self, part, place, source)
        if self.frame is not None and source in {"bone", "estimate"}:
            self._written[part] = self._axes @ (found - place) / self.frame.size
        return found


def _axes(frame: HeadFrame) -> Floats:
    """(3, 3): left, up and forward of a head, in the world."""
    return np.stack([frame.left, frame.up, frame.forward])


def _found(things: Sequence[tuple[str, int]]) -> list[Any] | None:
    """Objects by name and number; None when one of them is not there any more, or is called something else."""
    found = [bpy.data.objects.get(name) for name, _ in things]
    same = all(thing is not None and thing.session_uid == uid for thing, (_, uid) in zip(found, things, strict=True))
    return found if same else None
