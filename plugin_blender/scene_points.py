"""The five face points placed by hand: empties on the skin that follow the head's bone."""

from __future__ import annotations

from typing import Any

import bpy
from mathutils import Matrix, Vector

from .bones import FACE_POINTS
from .camera import Floats
from .scene import FACE_NAMES, LAYERS, SceneProblem, is_named, rig_of

DISPLAY = 0.02
"""The size of an empty's cross, in heights of the head's bone or of the head's mesh; small, as five stand in one face."""


def place_on_ray(
    scene: Any,
    depsgraph: Any,
    begin: Floats,
    way: Floats,
    point: str,
    armature: Any = None,
    head: Any = None,
) -> Any:
    """The empty of a face point ("left_eye", …), new or moved to the first skin on a ray (both (3,), in the world).

    With a head's mesh object only that is hit, without it whatever is seen first. The empty is parented to the head's bone, or to the
    mesh where there is no rig. Raises `SceneProblem` when the ray meets nothing, or when there is nothing to follow.
    """
    owner = _owner(armature, head)
    place = _hit(scene, depsgraph, Vector(begin), Vector(way).normalized(), head)
    if place is None:
        raise SceneProblem(f"There is no skin at that place for the {point.replace('_', ' ')}. Click on the head itself.")
    empty = point_of(point, armature, head) or _new(point, owner, scene)
    _follow(empty, depsgraph, armature, head, place)
    return empty


def point_of(point: str, armature: Any = None, head: Any = None) -> Any | None:
    """The empty that marks a face point of this person, or None."""
    for parent in (armature, head):
        for thing in parent.children_recursive if parent else ():
            if thing.type == "EMPTY" and is_named(thing, FACE_NAMES[point]):
                return thing
    return None


def points_of(armature: Any = None, head: Any = None) -> dict[str, Any]:
    """The empties that were placed, by face point."""
    found = {point: point_of(point, armature, head) for point in FACE_POINTS}
    return {point: empty for point, empty in found.items() if empty is not None}


def remove_points(armature: Any = None, head: Any = None) -> int:
    """Take this person's empties away; how many there were."""
    found = list(points_of(armature, head).values())
    bpy.data.batch_remove(found)
    return len(found)


def _owner(armature: Any, head: Any) -> Any:
    owner = armature or head
    if owner is None:
        raise SceneProblem("Neither a rig nor a head is chosen, so a face point has nothing to follow. Choose one in the panel.")
    return owner


def _hit(scene: Any, depsgraph: Any, begin: Vector, way: Vector, head: Any) -> Vector | None:
    """The first surface on the ray that is seen in the viewport; other things than the head are looked through."""
    for _ in range(LAYERS):
        found, place, _, _, thing, _ = scene.ray_cast(depsgraph, begin, way)
        if not found:
            return None
        if head is None or thing.original == head:
            return place
        begin = place + way * 1e-4 * max(1.0, place.length)
    return None


def _new(point: str, owner: Any, scene: Any) -> Any:
    empty = bpy.data.objects.new(FACE_NAMES[point], None)
    empty.empty_display_type, empty.show_in_front = "PLAIN_AXES", True
    home = next((one for one in owner.users_collection if one.library is None), scene.collection)
    home.objects.link(empty)
    return empty


def _follow(empty: Any, depsgraph: Any, armature: Any, head: Any, place: Vector) -> None:
    """Hang the empty onto the head at a place in the world. The inverse is set by hand: the bone may be posed."""
    rig = rig_of(armature) if armature else None
    bone = rig.head if rig else ""
    if bone:
        posed = armature.evaluated_get(depsgraph)
        pose = posed.pose.bones[bone]
        # A child of a bone hangs at its tail.
        parent = posed.matrix_world @ pose.matrix @ Matrix.Translation((0, pose.bone.length, 0))
        size = pose.bone.length * parent.median_scale
    else:
        owner = _owner(head, armature)
        parent, size = owner.evaluated_get(depsgraph).matrix_world.copy(), max(owner.dimensions)
    empty.parent, empty.parent_type = (armature, "BONE") if bone else (_owner(head, armature), "OBJECT")
    if bone:
        empty.parent_bone = bone
    empty.matrix_parent_inverse = parent.inverted_safe()
    empty.location, empty.rotation_euler, empty.scale = place, (0, 0, 0), (1, 1, 1)
    empty.empty_display_size = max(DISPLAY * size, 1e-4)
