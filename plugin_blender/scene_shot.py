"""What one press of a button takes of the scene: the camera as numbers, the maps, the keypoints. Reads, and changes nothing."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .camera import Camera, Frame, Lens
from .drawing import draw_face_keypoints, draw_skeleton
from .figure import Figure
from .maps import Pixels, depth_picture, normals_picture, plane_of
from .protocol.geometry import Extent
from .protocol.jobs import GuideKind
from .protocol.planes import Plane
from .scene import camera_of, figure_of
from .scene_maps import render_surfaces
from .wish import MAP_KINDS, Shot, Target

FACE_SIDE = 60.0
"""Pixels between the eyes below which InstantID loses the likeness on SDXL's sizes (InstantID/InstantID issue 212)."""

SESSION = uuid.uuid4().hex
"""Blender counts its datablocks anew in every session."""


@dataclass(frozen=True)
class Setup:
    """What the panel chooses of the scene; held for one call only. None: the scene's camera, no rig, no head."""

    camera: Any = None
    armature: Any = None
    head: Any = None
    size: tuple[int, int] | None = None
    """Pixels; None: the size that the scene renders."""
    targets: Sequence[Any] = ()


def take_shot(
    scene: Any,
    depsgraph: Any,
    setup: Setup,
    kinds: Sequence[GuideKind],
    *,
    name: str = "",
    picture: Plane | None = None,
    mask: Plane | None = None,
    view: object = None,
) -> Shot:
    """What the camera sees now. `kinds` are the maps to make, and KEYPOINTS for the face's five points.

    Raises `SceneProblem` for what the scene does not allow.
    """
    camera = camera_of(scene, depsgraph, setup.camera, setup.size)
    maps, figure = take_maps(scene, depsgraph, camera, setup, kinds)
    wants_face = GuideKind.KEYPOINTS in kinds and figure is not None
    return Shot(
        name=name or (setup.camera or scene.camera).name,
        extent=Extent(camera.frame.width, camera.frame.height),
        camera=camera_record(camera),
        maps={kind: plane_of(pixels) for kind, pixels in maps.items() if kind in MAP_KINDS},
        keypoints=figure.keypoints if wants_face and figure else (),
        picture=picture,
        mask=mask,
        targets=tuple(target_of(thing) for thing in setup.targets),
        document=Path(bpy.data.filepath).name,
        sentences=sentences_of(figure) if wants_face and figure else (),
        view=view,
    )


def take_maps(
    scene: Any,
    depsgraph: Any,
    camera: Camera,
    setup: Setup,
    kinds: Sequence[GuideKind],
) -> tuple[dict[GuideKind, Pixels], Figure | None]:
    """The maps of these kinds, RGB (height, width, 3), the face's drawing among them, and the person; None without a rig and a head."""
    maps: dict[GuideKind, Pixels] = {}
    figure = None
    width, height = camera.frame.width, camera.frame.height
    if {GuideKind.SKELETON, GuideKind.KEYPOINTS} & set(kinds) and (setup.armature or setup.head):
        figure = figure_of(scene, depsgraph, camera, setup.armature, setup.head)
        if GuideKind.SKELETON in kinds and setup.armature:
            maps[GuideKind.SKELETON] = draw_skeleton(figure.skeleton, width, height)
        if GuideKind.KEYPOINTS in kinds and figure.keypoints:
            maps[GuideKind.KEYPOINTS] = draw_face_keypoints([(point.x, point.y) for point in figure.keypoints], width, height)
    if {GuideKind.DEPTH, GuideKind.NORMALS} & set(kinds):
        surfaces = render_surfaces(scene, depsgraph, camera, normals=GuideKind.NORMALS in kinds)
        if GuideKind.DEPTH in kinds:
            maps[GuideKind.DEPTH] = depth_picture(surfaces.distance, surfaces.covered)
        if surfaces.normals is not None:
            maps[GuideKind.NORMALS] = normals_picture(surfaces.normals, surfaces.covered)
    return maps, figure


def camera_record(camera: Camera) -> dict[str, Any]:
    """A camera as JSON has it: where it was and how it saw at the moment of pressing."""
    return {"lens": asdict(camera.lens), "frame": asdict(camera.frame), "placement": camera.placement.tolist()}


def camera_from(record: Mapping[str, Any]) -> Camera | None:
    """What `camera_record` gave; None for anything else."""
    try:
        placement = np.array(record["placement"], dtype=np.float64)
        if placement.shape != (4, 4) or not np.isfinite(placement).all():
            return None
        return Camera(Lens(**record["lens"]), Frame(**record["frame"]), placement)
    except (KeyError, TypeError, ValueError):
        return None


def target_of(thing: Any) -> Target:
    """An object, to be found again later."""
    return Target(thing.name, f"{SESSION}:{thing.session_uid}")


def find_targets(targets: Sequence[Target]) -> list[Any]:
    """Those that are still there: by the number that undo and renaming leave alone, and by name in another session of Blender."""
    by_uid = {f"{SESSION}:{thing.session_uid}": thing for thing in bpy.data.objects}
    ours = [target.uid.startswith(SESSION) for target in targets]
    found = [by_uid.get(one.uid) if own else bpy.data.objects.get(one.name) for one, own in zip(targets, ours, strict=True)]
    return [thing for thing in found if thing is not None]


def sentences_of(figure: Figure) -> tuple[str, ...]:
    """What to tell about a face that is turned away, or too small to be anybody's."""
    if figure.why_no_face:
        return (figure.why_no_face,)
    right, left = figure.face[0], figure.face[1]
    if right and left and min(figure.width, figure.height) >= 512 and np.hypot(right.x - left.x, right.y - left.y) < FACE_SIDE:
        return ("The face is small in this picture: little likeness fits into it. Move the camera nearer, or choose a larger size.",)
    return ()
