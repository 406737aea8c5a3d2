"""The user's scene, read and never changed: cameras, posed rigs, heads, and what can be seen of them.

Everything is read from an evaluated depsgraph, so constraints, drivers, shape keys and poses without keys count as they look now.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

from .bones import FACE_POINTS, JOINTS, RigMap, Spot, corrections_from_text, corrections_to_text, find_joints
from .camera import Camera, Frame, Lens
from .figure import HEAD_JOINTS, Figure, Mark
from .head import HeadFrame, head_frame
from .protocol.errors import LikenessError
from .scene_groups import Groups

Floats = NDArray[np.float64]

CORRECTIONS = "likeness_joints"
"""The custom property of an armature object that keeps what was put right by hand."""
FACE_NAMES = {
    "right_eye": "likeness_eye.R",
    "left_eye": "likeness_eye.L",
    "nose": "likeness_nose",
    "right_mouth": "likeness_mouth.R",
    "left_mouth": "likeness_mouth.L",
}
"""Vertex groups and empties that mark face points; with Blender's own ending for sides, so that its mirror tools know them."""
REACH = 0.15
"""How far from a bone or an estimate its skin is looked for, in distances between the shoulders: five centimetres."""
LAYERS = 16
"""Hidden surfaces that a line of sight passes through before it gives up."""
_COPY = re.compile(r"\.\d{3,}$")


class SceneProblem(LikenessError):  # noqa: N818 - named like the rest of the tree
    """The scene does not allow this."""

    code = "scene"
    cure = "Choose a camera and a rig in the panel."


def camera_of(scene: Any, depsgraph: Any, camera: Any = None, size: tuple[int, int] | None = None) -> Camera:
    """A camera object (or the scene's own) for a picture of `size` in pixels, or of the size that the scene renders.

    Raises `SceneProblem` without a camera, or with one whose picture is no plane projection.
    """
    camera = camera or scene.camera
    if camera is None or camera.type != "CAMERA":
        raise SceneProblem("The scene has no camera. Add one, or choose one in the panel.")
    placed = camera.evaluated_get(depsgraph)
    data = placed.data
    if data.type not in {"PERSP", "ORTHO"}:
        raise SceneProblem(
            f"The camera {camera.name} is panoramic, and no pose can be drawn for that. Make it perspective or orthographic."
        )
    render = scene.render
    if size is None:
        share = render.resolution_percentage / 100
        size = (max(1, int(render.resolution_x * share)), max(1, int(render.resolution_y * share)))
    lens = Lens(
        orthographic=data.type == "ORTHO",
        focal_mm=data.lens,
        sensor_width_mm=data.sensor_width,
        sensor_height_mm=data.sensor_height,
        fit=data.sensor_fit,
        shift_x=data.shift_x,
        shift_y=data.shift_y,
        ortho_scale=data.ortho_scale,
        clip_start=data.clip_start,
        clip_end=data.clip_end,
    )
    # A camera's own scale does not count, as in Blender.
    return Camera(lens, Frame(*size, render.pixel_aspect_x, render.pixel_aspect_y), _array(placed.matrix_world.normalized()))


def rig_of(armature: Any) -> RigMap:
    """The joints of an armature object by the names of its bones and by what was put right by hand.

    Raises `InvalidRequest` when the custom property with the corrections holds something else.
    """
    return find_joints([bone.name for bone in armature.data.bones], corrections_from_text(armature.get(CORRECTIONS, "")))


def put_right(armature: Any, part: str, spot: Spot | None) -> None:
    """Keep a correction on the armature object: a joint or face point lies there, or (None) is left out."""
    armature[CORRECTIONS] = corrections_to_text({**corrections_from_text(armature.get(CORRECTIONS, "")), part: spot})


def forget_correction(armature: Any, part: str) -> None:
    """Find this joint by its name again."""
    kept = corrections_from_text(armature.get(CORRECTIONS, ""))
    kept.pop(part, None)
    if kept:
        armature[CORRECTIONS] = corrections_to_text(kept)
    elif CORRECTIONS in armature:
        del armature[CORRECTIONS]


@dataclass(frozen=True, eq=False)
class Parts:
    """What a person is read from: objects of the file, held for one call only. `armature` is None without a rig."""

    armature: Any
    rig: RigMap
    meshes: Sequence[Any]
    empties: Sequence[Any]
    groups: Groups


def parts_of(armature: Any, head: Any) -> Parts:
    """An armature object and a head's mesh object, either of which may be None, and what belongs to them."""
    if armature is None and head is None:
        raise SceneProblem("Neither a rig nor a head is chosen. Choose an armature in the panel, or a head with its five face points.")
    rig = rig_of(armature) if armature else RigMap("", {})
    meshes = [head] if head else list(_meshes_of(armature))
    empties = [thing for thing in _below(armature, head) if thing.type == "EMPTY"]
    return Parts(armature, rig, meshes, empties, Groups(tuple(FACE_NAMES.values())))


def figure_of(scene: Any, depsgraph: Any, camera: Camera, armature: Any = None, head: Any = None) -> Figure:
    """The person of an armature object and a head's mesh object, either of which may be missing, as the camera sees them now."""
    return figure_from(parts_of(armature, head), depsgraph, lambda frame: Sight(scene, depsgraph, camera, frame))


def figure_from(parts: Parts, depsgraph: Any, looking: Callable[[HeadFrame | None], Sight]) -> Figure:
    """The same, by lines of sight that `looking` makes for the head's frame; None where the rig names no head."""
    rig = parts.rig
    posed = parts.armature.evaluated_get(depsgraph) if parts.armature else None
    frame = _head_frame(posed, rig) if posed else None
    eyes = looking(frame)
    joints: dict[str, tuple[Floats, str]] = {}
    for joint in JOINTS:
        place = _on_rig(posed, rig, joint) if posed else None
        if place is not None:
            joints[joint] = (place, "bone")
        elif frame and joint in HEAD_JOINTS and joint not in rig.left_out:
            joints[joint] = (frame.place(joint), "estimate")
    joints = {joint: (eyes.skin(joint, *found) if joint in HEAD_JOINTS else found[0], found[1]) for joint, found in joints.items()}
    face = {point: _face_point(point, depsgraph, eyes, posed, parts) for point in FACE_POINTS}
    # What was placed by hand on the face is the better eye and nose for the skeleton, too.
    joints.update({p: found for p, found in face.items() if found and p in joints and found[1] in {"group", "empty"}})
    marks = {joint: eyes.mark(joint, *found, looked_for=joint in HEAD_JOINTS) for joint, found in joints.items()}
    return Figure(
        eyes.camera.frame.width,
        eyes.camera.frame.height,
        tuple(marks.get(joint) for joint in JOINTS),
        tuple(eyes.mark(point, *found) if found else None for point, found in face.items()),
    )


def is_named(thing: Any, name: str) -> bool:
    """Whether an object has this name, or is a copy of one that has: Blender puts ".001" behind the second."""
    return _COPY.sub("", thing.name) == name


class Sight:
    """Lines of sight from a camera through the evaluated scene. Objects that are not rendered hide nothing."""

    def __init__(self, scene: Any, depsgraph: Any, camera: Camera, frame: HeadFrame | None) -> None:
        self._scene, self._depsgraph, self.camera, self.frame = scene, depsgraph, camera, frame

    def mark(self, part: str, place: Floats, source: str, looked_for: bool = True) -> Mark:
        """A place (3,) in the world as a point of the picture; a joint of the body is not `looked_for`, it always lies inside something."""
        x, y, depth = self.camera.project(place)[0]
        seen = depth > 0
        if seen and looked_for:
            facing = self.frame is None or self.frame.faces(part, self.camera.backward(place))
            seen = facing and self.is_clear(part, place)
        return Mark(float(x), float(y), float(depth), bool(seen), source)

    def skin(self, part: str, place: Floats, source: str) -> Floats:
        """The surface (3,) before a bone or an estimate, looked for from outside of the head; what was placed by hand stays where it is."""
        if self.frame is None or source not in {"bone", "estimate"}:
            return place
        out, reach = self.frame.outward(part), REACH * self.frame.size
        hit = self._hit(place + reach * out, -out, 2 * reach)
        return place if hit is None else hit

    def is_clear(self, part: str, place: Floats) -> bool:
        """Whether nothing but the point's own skin is between it (3,) and the camera's near clip."""
        back = self.camera.backward(place)
        start, _ = self.camera.rays(self.camera.project(place)[:, :2])
        distance = float((start[0] - place) @ back)
        near = self.frame.near(part) if self.frame else 0.005 * distance
        return distance <= near or self._hit(start[0], -back, distance - near) is None

    def _hit(self, start: Floats, way: Floats, distance: float) -> Floats | None:
        """The first rendered surface on a line, (3,) in the world."""
        for _ in range(LAYERS):
            found, place, _, _, thing, _ = self._scene.ray_cast(self._depsgraph, Vector(start), Vector(way), distance=distance)
            if not found:
                return None
            if not thing.hide_render and thing.visible_camera:
                return np.array(place)
            gone = float(np.linalg.norm(np.array(place) - start)) + 1e-4 * max(1.0, distance)
            start, distance = start + gone * way, distance - gone
            if distance <= 0:
                return None
        return None


def _head_frame(posed: Any, rig: RigMap) -> HeadFrame | None:
    """The frame of an evaluated armature's head; None where the rig names no head or no shoulders."""
    bone = posed.pose.bones.get(rig.head) if rig.head else None
    if bone is None:
        return None
    rest = {joint: _at_rest(posed, spot) for joint, spot in rig.spots.items() if spot.bone in posed.data.bones}
    moved = posed.matrix_world @ bone.matrix @ bone.bone.matrix_local.inverted()
    crown = _at_rest(posed, rig.crown) if rig.crown else None
    return head_frame(rest, np.array(bone.bone.head_local), crown, _array(moved))


def _at_rest(armature: Any, spot: Spot) -> Floats:
    bone = armature.data.bones[spot.bone]
    return np.array(bone.head_local.lerp(bone.tail_local, spot.along))


def _on_rig(posed: Any, rig: RigMap, part: str) -> Floats | None:
    """A joint or face point on the posed bones, in the world; the neck is between the shoulders."""
    if part == "neck" and "neck" in rig.found and "neck" not in rig.spots:
        return (_on_rig(posed, rig, "left_shoulder") + _on_rig(posed, rig, "right_shoulder")) / 2
    spot = rig.face.get(part) or rig.spots.get(part)
    bone = posed.pose.bones.get(spot.bone) if spot else None
    return None if bone is None else np.array(posed.matrix_world @ bone.head.lerp(bone.tail, spot.along))


def _face_point(point: str, depsgraph: Any, eyes: Sight, posed: Any, parts: Parts) -> tuple[Floats, str] | None:
    """Where a face point is and where from: a vertex group, an empty, a bone, an estimate; the first that there is."""
    if point in parts.rig.left_out:
        return None
    name = FACE_NAMES[point]
    for mesh in parts.meshes:
        place = parts.groups.middle(mesh, depsgraph, name)
        if place is not None:
            return place, "group"
    for empty in parts.empties:
        if is_named(empty, name):
            return np.array(empty.evaluated_get(depsgraph).matrix_world.translation), "empty"
    place = _on_rig(posed, parts.rig, point) if posed else None
    source = "bone"
    if place is None:
        if eyes.frame is None:
            return None
        place, source = eyes.frame.place(point), "estimate"
    return eyes.skin(point, place, source), source


def _meshes_of(armature: Any) -> Iterator[Any]:
    """The meshes that an armature moves."""
    for thing in bpy.data.objects if armature else ():
        if thing.type == "MESH" and any(mod.type == "ARMATURE" and mod.object == armature for mod in thing.modifiers):
            yield thing


def _below(*parents: Any) -> Iterator[Any]:
    for parent in parents:
        yield from parent.children_recursive if parent else ()


def _array(matrix: Any) -> Floats:
    return np.array(matrix, dtype=np.float64)
