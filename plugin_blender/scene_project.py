"""A picture projected from a camera onto meshes: new UV maps, masks and materials beside the user's own, which come back exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from .camera import Camera, Floats
from .projecting import Ints
from .scene import SceneProblem
from .scene_layers import Layer, Shading, exact_name, mask_name, remove_unused, show
from .scene_pictures import image_of
from .scene_views import SeenMesh, View, look, numbers, rebuilt, why_not

RECORD = "likeness_projections"
"""A custom property of a mesh: its layers by name, each with its image, and what is needed to take it away again."""
NAME = "Likeness"
UV_MAPS = 8
"""Blender's limit for one mesh."""
ROUNDS = 6
"""How often texture coordinates are put right where subdivision smooths them, at most."""
MISSES = 4.0
"""Pixels of 1024 by which modifiers may shift a picture where it is seen (95 of 100 corners), before it is refused."""


@dataclass(frozen=True, slots=True)
class Projection:
    """What was made. `shift` is by how many of 1024 pixels the modifiers bend the picture at most places; 0 without any."""

    layer: str
    objects: tuple[str, ...]
    shift: float


def project_now(
    scene: Any,
    depsgraph: Any,
    camera: Camera,
    objects: Sequence[Any],
    image: Any,
    shading: Shading = Shading.FLAT,
) -> Projection:
    """Look and project at once: for a picture of the scene as it is now."""
    return project(look(scene, depsgraph, camera, objects), image, depsgraph, shading)


def project(view: View, image: Any, depsgraph: Any, shading: Shading = Shading.FLAT) -> Projection:
    """Put a picture onto the meshes of a view: one more layer over those that are there, blended with them by angle.

    The objects may have been moved, posed and renamed since the view was taken; where one was deleted or its faces were changed, the
    others still get the picture. Every layer of an object is shaded as the last one. Raises `SceneProblem` with nothing changed when no
    object is left, one of them cannot take it (`why_not`), or its modifiers bend the picture too much.
    """
    pairs = [(thing, seen) for seen in view.meshes if (thing := _still(seen)) is not None and (seen.mask > 0).any()]
    if not pairs:
        raise SceneProblem("The meshes that this picture was made for are gone, or their faces were changed since. Make a new picture.")
    for thing, _ in pairs:
        _refuse(thing)
    layer = _free_name([thing.data for thing, _ in pairs])
    shifts: list[float] = []
    put: list[Any] = []
    try:
        for thing, seen in pairs:
            put.append(thing)
            shifts.append(_put(thing, seen, layer, image, depsgraph))
            if shifts[-1] > MISSES:
                raise SceneProblem(rebuilt(thing))
    except SceneProblem:
        for thing in put:
            _take(thing.data, layer)
        _repaint(put)
        depsgraph.update()
        raise
    for thing, _ in pairs:
        thing.data[RECORD]["shading"] = shading.value
    _repaint([thing for thing, _ in pairs])
    return Projection(layer, tuple(thing.name for thing, _ in pairs), max(shifts))


def projections_of(thing: Any) -> tuple[Layer, ...]:
    """The pictures on an object, the oldest first; those whose UV map or image the user has deleted are left out."""
    record = thing.data.get(RECORD) if thing.type == "MESH" else None
    if record is None:
        return ()
    return tuple(
        Layer(name, kept["image"], kept.get("stencil"), bool(kept["exact"]))
        for name, kept in record["layers"].items()
        if name in thing.data.uv_layers and kept.get("image") is not None
    )


def remove_projection(objects: Sequence[Any], layer: str | None = None) -> int:
    """Take one picture (or all of them) off objects again; how many were taken.

    With the last one, materials, UV maps and attributes are as they were before the first.
    """
    found = [thing for thing in objects if thing.type == "MESH" and RECORD in thing.data and not why_not(thing)]
    count = 0
    for thing in found:
        for name in [layer] if layer else list(thing.data[RECORD]["layers"].keys()):
            if name in thing.data[RECORD]["layers"]:
                _take(thing.data, name)
                count += 1
    _repaint(found)
    return count


def shading_of(thing: Any) -> Shading:
    """How the pictures on an object are lit."""
    record = thing.data.get(RECORD)
    return Shading(record["shading"]) if record is not None and "shading" in record else Shading.FLAT


def _still(seen: SeenMesh) -> Any | None:
    """The object that was looked at, if its mesh has as many corners as then."""
    thing = next((one for one in bpy.data.objects if one.session_uid == seen.uid), None)
    return thing if thing is not None and thing.type == "MESH" and len(thing.data.loops) == len(seen.uv) else None


def _refuse(thing: Any) -> None:
    reason = why_not(thing)
    if not reason and len(thing.data.uv_layers) >= UV_MAPS:
        reason = (
            f"{thing.name} has {UV_MAPS} UV maps, which is all that Blender allows. Bake its projections into one texture, or remove one."
        )
    if reason:
        raise SceneProblem(reason)


def _free_name(meshes: Sequence[Any]) -> str:
    taken = {name for mesh in meshes for name in (*mesh.attributes.keys(), *mesh.uv_layers.keys())}
    return next(name for number in range(1, 1000) if (name := f"{NAME} {number}") not in taken)


def _put(thing: Any, seen: SeenMesh, layer: str, image: Any, depsgraph: Any) -> float:
    """Write a layer onto a mesh; by how much its modifiers shift it, in pixels of 1024."""
    mesh = thing.data
    active = _active(mesh)
    mesh.uv_layers.new(name=layer, do_init=False)
    mask = mesh.color_attributes.new(mask_name(layer), "FLOAT_COLOR", "CORNER")
    mask.data.foreach_set("color", np.stack([seen.mask, seen.mask, seen.mask, seen.cosine], axis=1).astype(np.float32).ravel())
    if seen.exact is not None:
        exact = mesh.attributes.new(exact_name(layer), "FLOAT_VECTOR", "CORNER")
        exact.data.foreach_set("vector", seen.exact.astype(np.float32).ravel())
    kept: dict[str, Any] = {"image": image, "exact": seen.exact is not None}
    if seen.stencil is not None:
        stencil = image_of(seen.stencil, f"{layer} {thing.name}")
        stencil.colorspace_settings.is_data, stencil.use_fake_user = True, False
        kept["stencil"] = stencil
    if RECORD not in mesh:
        mesh[RECORD] = {"layers": {}, "active": active, "slot": not thing.material_slots}
        if not thing.material_slots:
            mesh.materials.append(None)
    mesh[RECORD]["layers"][layer] = kept
    _write(mesh, layer, seen.uv)
    _activate(mesh, active)
    return 0.0 if seen.target is None else _put_right(thing, seen, layer, depsgraph)


def _put_right(thing: Any, seen: SeenMesh, layer: str, depsgraph: Any) -> float:
    """Move texture coordinates until modifiers that smooth them show what they should at the mesh's own vertices; what is left over.

    Subdivision smooths a UV map like the mesh, so what is right at the vertices is right between them, too.
    """
    target, own = seen.target, numbers(thing.data.loops, "vertex_index", np.int32).astype(np.intp)
    uv, best, least = seen.uv, seen.uv, np.inf
    for _ in range(ROUNDS):
        shown = _after_modifiers(thing, layer, depsgraph)
        if target is None or shown is None or len(shown) != len(target.uv):
            return np.inf
        missing = target.uv - shown
        shift = float(np.quantile(np.linalg.norm(missing[target.shown], axis=1), 0.95)) * 1024 if target.shown.any() else 0.0
        if shift >= 0.99 * least:
            break
        best, least = uv, shift
        uv = uv + _mean_at(target.corners, np.clip(missing, -0.1, 0.1), len(thing.data.vertices))[own]
        _write(thing.data, layer, uv)
    _write(thing.data, layer, best)
    depsgraph.update()
    return least


def _after_modifiers(thing: Any, layer: str, depsgraph: Any) -> Floats | None:
    """A UV map as the evaluated mesh has it, (corners, 2), or None where the modifiers drop it."""
    thing.data.update_tag()
    depsgraph.update()
    shown = thing.evaluated_get(depsgraph)
    mesh = shown.to_mesh()
    try:
        found = mesh.uv_layers.get(layer)
        return None if found is None else numbers(found.data, "uv", np.float32, 2).astype(np.float64)
    finally:
        shown.to_mesh_clear()


def _mean_at(vertices: Ints, values: Floats, count: int) -> Floats:
    """The mean of corners' values at the first `count` vertices: (corners, 2) -> (count, 2)."""
    own = vertices < count
    sums = np.stack([np.bincount(vertices[own], values[own, axis], count) for axis in (0, 1)], axis=1)
    return sums / np.maximum(np.bincount(vertices[own], minlength=count), 1)[:, None]


def _write(mesh: Any, layer: str, uv: Floats) -> None:
    mesh.uv_layers[layer].data.foreach_set("uv", uv.astype(np.float32).ravel())
    mesh.update()


def _take(mesh: Any, layer: str) -> None:
    """Take a layer off a mesh, and with the last one everything else of ours except the materials."""
    record = mesh[RECORD]
    active = _active(mesh)
    for found in (mesh.uv_layers.get(layer), mesh.color_attributes.get(mask_name(layer)), mesh.attributes.get(exact_name(layer))):
        if found is not None:
            (mesh.uv_layers if hasattr(found, "active_render") else mesh.attributes).remove(found)
    stencil = record["layers"][layer].get("stencil")
    del record["layers"][layer]
    if stencil is not None and stencil.users <= stencil.use_fake_user:
        bpy.data.images.remove(stencil)
    _activate(mesh, active)


def _active(mesh: Any) -> dict[str, str]:
    """The names of what is active; "" where nothing is."""
    uv, attributes = mesh.uv_layers, mesh.attributes
    shown = next((one.name for one in uv if one.active_render), "")
    colours = (attributes.active_color_name, attributes.default_color_name)
    return {"uv": uv.active.name if uv.active else "", "render": shown, "paint": colours[0] or "", "colour": colours[1] or ""}


def _activate(mesh: Any, names: Any) -> None:
    if names["uv"] in mesh.uv_layers:
        mesh.uv_layers.active = mesh.uv_layers[names["uv"]]
    if names["render"] in mesh.uv_layers:
        mesh.uv_layers[names["render"]].active_render = True
    for name, attribute in (("paint", "active_color_name"), ("colour", "default_color_name")):
        if not names[name] or names[name] in mesh.color_attributes:
            setattr(mesh.attributes, attribute, names[name])


def _repaint(things: Sequence[Any]) -> None:
    """Give every object the materials for the layers that it has now."""
    made: dict[Any, dict[Any, Any]] = {}
    for thing in things:
        layers = projections_of(thing)
        shading = shading_of(thing)
        key = (tuple((one.name, one.image.session_uid, one.stencil and one.stencil.session_uid, one.exact) for one in layers), shading)
        show(thing, layers, shading, made.setdefault(key, {}))
        if RECORD in thing.data and not thing.data[RECORD]["layers"]:
            _activate(thing.data, thing.data[RECORD]["active"])
            if thing.data[RECORD]["slot"] and list(thing.data.materials) == [None]:
                thing.data.materials.clear()  # `pop` would leave the object's slot
            del thing.data[RECORD]
        thing.data.update()
    remove_unused()
