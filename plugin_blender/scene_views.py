"""What a camera sees of mesh objects, as numbers: taken when a picture is asked for, used when it comes back, whatever moves meanwhile.

The numbers belong to the corners of the object's own mesh, but they are measured on the evaluated one: modifiers, bones, shape keys and
subdivision count as they look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .camera import Camera, Floats
from .maps import Mask
from .projecting import LEAST, Ints, Shape, bent_by, fading, homogeneous, is_clear, smoothed, texture_coordinates, towards
from .protocol.geometry import Extent
from .protocol.planes import Layout, Plane
from .scene import SceneProblem
from .scene_maps import Surfaces, render_surfaces

LOOKED_AT = 1024
"""Pixels of the longer side, at least, at which a scene is looked at, whatever the size of the picture."""
BEND = 0.25
"""Pixels by which texture coordinates may miss perspective before exact ones are kept beside them."""


@dataclass(frozen=True, eq=False)
class Target:
    """Where modifiers make another mesh of it: what the evaluated one should show, to be compared with what the modifiers make of ours."""

    corners: Ints
    """(evaluated corners,) their vertices."""
    uv: Floats
    """(evaluated corners, 2)."""
    shown: Mask
    """(evaluated corners,) of faces that the camera sees."""


@dataclass(frozen=True, eq=False)
class SeenMesh:
    """One object as one camera sees it."""

    uid: int
    """`session_uid` of the object: it survives renaming and undo."""
    name: str
    uv: Floats
    """(corners, 2) texture coordinates in the picture."""
    mask: Floats
    """(corners,) 1: shows the picture, 0: does not."""
    cosine: Floats
    """(corners,) of the angle between the line of sight and the smoothed normal: by it, several cameras share a surface."""
    exact: Floats | None
    """(corners, 3) homogeneous coordinates, where faces are so large that `uv` alone would bend the picture."""
    stencil: Plane | None
    """A8 over the whole picture: 0 where something else is before the object; None when nothing is."""
    target: Target | None


@dataclass(frozen=True, eq=False)
class View:
    """What a camera sees of some objects."""

    camera: Camera
    meshes: tuple[SeenMesh, ...]


def look(scene: Any, depsgraph: Any, camera: Camera, objects: Sequence[Any]) -> View:
    """Look at mesh objects with a camera. Renders two maps, changes nothing.

    Raises `SceneProblem` when an object cannot take a picture (`why_not` says why), or when no face of any of them is seen.
    """
    for thing in objects:
        reason = why_not(thing)
        if reason:
            raise SceneProblem(reason)
    if not objects:
        raise SceneProblem("No mesh is chosen to project onto. Select the meshes that shall show the picture.")
    larger = math.ceil(LOOKED_AT / max(camera.frame.width, camera.frame.height))
    close = replace(camera, frame=replace(camera.frame, width=camera.frame.width * larger, height=camera.frame.height * larger))
    surfaces = render_surfaces(scene, depsgraph, close, owners=list(objects))
    meshes = tuple(_seen(thing, depsgraph, close, surfaces, 1 + index) for index, thing in enumerate(objects))
    if not any((mesh.mask > 0).any() for mesh in meshes):
        names = ", ".join(thing.name for thing in objects)
        raise SceneProblem(
            f"The camera sees no face of {names} from its front. Turn the camera to it, show it in renders, or recalculate its normals."
        )
    return View(camera, meshes)


def why_not(thing: Any) -> str:
    """Why an object cannot take a projection, as a sentence; "" when it can."""
    if thing.type != "MESH":
        return f"{thing.name} is no mesh. Convert it to one (Object, Convert, Mesh)."
    mesh = thing.data
    if thing.library or mesh.library or mesh.override_library:
        return f"{thing.name} is linked from another file, where it has to be changed. Make it local (Object, Relations, Make Local)."
    users = mesh.users - mesh.use_fake_user
    if users > 1:
        return (
            f"{users} objects share the mesh of {thing.name}, and the picture would be on all of them. "
            "Make it single user first (Object, Relations, Make Single User, Object & Data)."
        )
    if thing.mode in {"EDIT", "SCULPT"}:
        return f"{thing.name} is in {thing.mode.lower()} mode, where its faces are still changing. Go back to object mode."
    return "" if len(mesh.polygons) else f"{thing.name} has no faces."


def _seen(thing: Any, depsgraph: Any, camera: Camera, surfaces: Surfaces, owner: int) -> SeenMesh:
    shape, same = evaluated(thing, depsgraph)
    own_corners = numbers(thing.data.loops, "vertex_index", np.int32).astype(np.intp)
    own_begins = numbers(thing.data.polygons, "loop_start", np.int32).astype(np.intp)
    mask, cosine = _shown(camera, shape, surfaces)
    values = homogeneous(camera, shape.places)
    uv = texture_coordinates(values)
    stencil = _stencil(camera, shape, surfaces, owner)
    known = {"uid": thing.session_uid, "name": thing.name, "stencil": stencil}
    if surfaces.owner is None or not (surfaces.owner == owner).any():  # hidden altogether, or not rendered
        own = np.zeros(len(own_corners))
        return SeenMesh(**known, uv=np.zeros((len(own), 2)), mask=own, cosine=own, exact=None, target=None)
    if same:
        exact = values[own_corners] if bent_by(camera, shape, mask > 0) > BEND else None
        return SeenMesh(**known, uv=uv[own_corners], mask=mask, cosine=cosine, exact=exact, target=None)
    # Modifiers keep a mesh's own vertices first; whether these did is measured when the picture is put on.
    count = len(thing.data.vertices)
    if len(shape.places) < count:
        raise SceneProblem(rebuilt(thing))
    own = Shape(shape.places[:count], own_corners, own_begins, _at_vertices(shape, shape.normals)[own_corners], shape.mirrored)
    mask, cosine = _shown(camera, own, surfaces)
    shown = _shown(camera, shape, surfaces)[0] > 0
    target = Target(shape.corners, uv[shape.corners], shown)
    return SeenMesh(**known, uv=uv[:count][own_corners], mask=mask, cosine=cosine, exact=None, target=target)


def rebuilt(thing: Any) -> str:
    """The sentence for a mesh whose modifiers leave too little of it."""
    names = ", ".join(modifier.name for modifier in thing.modifiers if modifier.show_viewport)
    return (
        f"The modifiers of {thing.name} ({names}) make another mesh of it, on which a picture cannot be kept. Apply the one that rebuilds, "
        "mirrors or repeats its faces, or switch it off, and project again."
    )


def evaluated(thing: Any, depsgraph: Any) -> tuple[Shape, bool]:
    """An object's mesh as it looks now, and whether its faces are still the same as the mesh's own."""
    shown = thing.evaluated_get(depsgraph)
    mesh = shown.to_mesh()
    try:
        matrix = np.array(shown.matrix_world, dtype=np.float64)
        places = numbers(mesh.vertices, "co", np.float32, 3) @ matrix[:3, :3].T + matrix[:3, 3]
        corners = numbers(mesh.loops, "vertex_index", np.int32).astype(np.intp)
        begins = numbers(mesh.polygons, "loop_start", np.int32).astype(np.intp)
        normals = numbers(mesh.corner_normals, "vector", np.float32, 3) @ np.linalg.pinv(matrix[:3, :3])
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    finally:
        shown.to_mesh_clear()
    own = thing.data
    same = len(places) == len(own.vertices) and len(begins) == len(own.polygons) and len(corners) == len(own.loops)
    same = same and bool((corners == numbers(own.loops, "vertex_index", np.int32)).all())
    return Shape(places, corners, begins, normals, bool(np.linalg.det(matrix[:3, :3]) < 0)), same


def _shown(camera: Camera, shape: Shape, surfaces: Surfaces) -> tuple[Floats, Floats]:
    """How much of the picture every corner gets, and the smoothed cosine at which it is seen: (corners,) each."""
    if not len(shape.begins):
        return np.zeros(0), np.zeros(0)
    to_camera = towards(camera, shape.places)
    cosine = np.clip((shape.normals * to_camera[shape.corners]).sum(axis=1), 0.0, 1.0)
    facing = (shape.face_normals() * towards(camera, shape.face_middles())).sum(axis=1) > 0
    clear = is_clear(camera, surfaces.distance, surfaces.covered, shape.places, _at_vertices(shape, cosine[:, None])[:, 0])
    mask = fading(cosine) * clear[shape.corners] * facing[shape.faces]
    # A face that is not in the picture at all is not shown; one that is in part is cut off by the picture's edge.
    u, v = texture_coordinates(homogeneous(camera, shape.places))[shape.corners].T
    beside = [np.logical_and.reduceat(side, shape.begins) for side in (u < 0, u > 1, v < 0, v > 1)]
    mask = mask * ~np.any(beside, axis=0)[shape.faces]
    broad = (smoothed(shape.places, _at_vertices(shape, shape.normals)) * to_camera).sum(axis=1)
    return mask, np.clip(broad, LEAST, 1.0)[shape.corners]


def _at_vertices(shape: Shape, values: Floats) -> Floats:
    """The mean of corners' values at every vertex: (corners, n) -> (vertices, n); vectors get back their length 1."""
    count = len(shape.places)
    total = np.stack([np.bincount(shape.corners, column, count) for column in values.T], axis=1)
    if values.shape[1] == 3:
        return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
    return total / np.maximum(np.bincount(shape.corners, minlength=count), 1)[:, None]


def _stencil(camera: Camera, shape: Shape, surfaces: Surfaces, owner: int) -> Plane | None:
    """0 where something else stands before the object. A coarse face has no corner there that could say so."""
    seen = camera.project(shape.places)
    before = seen[seen[:, 2] > 0]
    if not len(before) or surfaces.owner is None:
        return None
    ours = surfaces.owner == owner
    others = surfaces.covered & ~ours & (surfaces.distance < before[:, 2].max())
    # Where the outlines meet, a pixel is the other's but shows half of ours.
    padded = np.pad(ours, 1)
    height, width = ours.shape
    beside = np.any([padded[row : row + height, column : column + width] for row in range(3) for column in range(3)], axis=0)
    hidden = others & ~beside
    left, top = np.floor(before[:, :2].min(axis=0)).clip(0).astype(int)
    right, bottom = np.ceil(before[:, :2].max(axis=0)).clip(0).astype(int) + 1
    if len(before) == len(seen) and not hidden[top:bottom, left:right].any():
        return None
    return Plane(Layout.A8, Extent(width, height), np.where(hidden, 0, 255).astype(np.uint8).tobytes())


def numbers(collection: Any, name: str, kind: type, width: int = 1) -> Any:
    """One property of every item of a collection: (items,) or (items, width)."""
    values = np.empty(len(collection) * width, dtype=kind)
    collection.foreach_get(name, values)
    return values if width == 1 else values.reshape(-1, width)
