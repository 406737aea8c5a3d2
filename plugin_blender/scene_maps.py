"""Distances and normals of what the camera sees, rendered by Cycles in a scene of our own that is gone afterwards.

The user's scene, compositor, frame and colours are never touched: the evaluated meshes are copied as they look now, so neither animation
nor drivers run again, and other add-ons' handlers do not hear of our render.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from .camera import Camera
from .maps import Floats, Mask
from .scene import SceneProblem
from .scene_paint import NAME, Paint
from .scene_quiet import quiet, render_to

MESH_LIKE = frozenset({"MESH", "CURVE", "SURFACE", "META", "FONT"})
HAIR_LIKE = frozenset({"CURVES", "POINTCLOUD"})
"""Rendered as they are; what becomes a mesh is above. Particle hair and volumes are left out."""


@dataclass(frozen=True, eq=False)
class Surfaces:
    """What is seen at the middle of every pixel, top row first."""

    distance: Floats
    """(height, width) along the viewing axis, in scene units; 0 where nothing is."""
    covered: Mask
    """(height, width): a surface is there."""
    normals: Floats | None
    """(height, width, 3) in camera space (x right, y up, z to the viewer), of length 1; None when not asked for."""
    owner: NDArray[np.uint16] | None = None
    """(height, width): 1 where the first of the objects asked for is seen, 2 for the second, … and 0 elsewhere; None when not asked for."""


def render_surfaces(
    scene: Any,
    depsgraph: Any,
    camera: Camera,
    normals: bool = False,
    owners: Sequence[Any] = (),
) -> Surfaces:
    """What the camera sees of a scene: everything that is shown in the viewport and not switched off for rendering.

    With `owners`, objects of the scene, also which of them is seen where; what they instance counts as theirs.

    Raises `SceneProblem` when Blender is rendering already, Cycles is switched off, or nothing is there to be seen.
    """
    if bpy.app.is_job_running("RENDER"):
        raise SceneProblem("Blender is rendering at the moment. Wait until it is done, or stop it.")
    if not hasattr(scene, "cycles"):
        raise SceneProblem("The maps are rendered by Cycles, which is switched off. Switch it on in the preferences, under add-ons.")
    facing = None
    with _stage(scene, depsgraph, camera, owners) as (stage, paint), tempfile.TemporaryDirectory(prefix="likeness-") as folder:
        paint.show_distance()
        distance = _render(stage, Path(folder) / "distance.exr")
        if normals:
            paint.show_normals()
            facing = _render(stage, Path(folder) / "normals.exr")[..., :3] * 2 - 1
            facing = facing / np.maximum(np.linalg.norm(facing, axis=2, keepdims=True), 1e-6)
    covered = distance[..., 3] > 0.5
    owner = np.where(covered, np.rint(distance[..., 1]), 0).astype(np.uint16) if owners else None
    return Surfaces(np.where(covered, distance[..., 0], np.float32(0)), covered, facing, owner)


@contextmanager
def _stage(scene: Any, depsgraph: Any, camera: Camera, owners: Sequence[Any]) -> Iterator[tuple[Any, Paint]]:
    """A scene with copies of everything that is seen and with the camera, and the paint on all of it.

    All of that is taken away again, whatever happens; so is the picture in which Blender keeps a render's result, where there was none.
    """
    with quiet() as made:
        stage = bpy.data.scenes.new(NAME)
        made.append(stage)
        _settings(stage, camera)
        paint = Paint(made)
        copies = _seen(scene, depsgraph, made)
        for data in {data.session_uid: data for data, _, _ in copies}.values():
            paint.over(data)
        stage.camera = _camera(camera, made)
        stage.collection.objects.link(stage.camera)
        for data, matrix, owner in copies:
            copy = _placed(data, matrix, made)
            copy.pass_index = 1 + owners.index(owner) if owner in owners else 0
            stage.collection.objects.link(copy)
        yield stage, paint


def _seen(scene: Any, depsgraph: Any, made: list[Any]) -> list[tuple[Any, Matrix, Any]]:
    """A copy of every evaluated mesh and hair, with every place in the world where it is instanced, and the user's object it is of."""
    rendered = set(_rendered(scene.collection))
    copies: dict[int, Any] = {}
    places: list[tuple[Any, Matrix, Any]] = []
    for instance in depsgraph.object_instances:
        thing = instance.object
        owner = (instance.parent or thing).original
        if not instance.show_self or owner not in rendered or owner.hide_render or thing.hide_render or not thing.visible_camera:
            continue
        if thing.type not in MESH_LIKE | HAIR_LIKE:
            continue
        key = thing.as_pointer() if thing.type in MESH_LIKE - {"MESH"} else thing.data.as_pointer()
        if key not in copies:
            hair = thing.type in HAIR_LIKE
            copies[key] = thing.data.copy() if hair else bpy.data.meshes.new_from_object(thing, depsgraph=depsgraph)
            made.append(copies[key])
        places.append((copies[key], instance.matrix_world.copy(), owner))
    return places


def _placed(data: Any, matrix: Matrix, made: list[Any]) -> Any:
    copy = bpy.data.objects.new(NAME, data)
    made.append(copy)
    copy.matrix_world = matrix
    return copy


def _rendered(collection: Any) -> Iterator[Any]:
    """The objects of a collection and those below it that are not switched off for rendering."""
    if not collection.hide_render:
        yield from collection.objects
        for child in collection.children:
            yield from _rendered(child)


def _camera(camera: Camera, made: list[Any]) -> Any:
    """A camera object like the user's, without focus and animation."""
    lens, data = camera.lens, bpy.data.cameras.new(NAME)
    made.append(data)
    data.type = "ORTHO" if lens.orthographic else "PERSP"
    data.lens, data.ortho_scale, data.sensor_fit = lens.focal_mm, lens.ortho_scale, lens.fit
    data.sensor_width, data.sensor_height = lens.sensor_width_mm, lens.sensor_height_mm
    data.shift_x, data.shift_y = lens.shift_x, lens.shift_y
    data.clip_start, data.clip_end = lens.clip_start, lens.clip_end
    placed = bpy.data.objects.new(NAME, data)
    made.append(placed)
    placed.matrix_world = Matrix(camera.placement.tolist())
    return placed


def _settings(stage: Any, camera: Camera) -> None:
    """One ray through the middle of every pixel, straight to 32-bit floats."""
    render, frame = stage.render, camera.frame
    render.engine = "CYCLES"
    stage.cycles.device = "CPU"  # one sample is done before a GPU has started
    stage.cycles.samples, stage.cycles.max_bounces = 1, 0
    stage.cycles.use_denoising = stage.cycles.use_adaptive_sampling = False
    stage.cycles.pixel_filter_type, stage.cycles.filter_width = "BOX", 0.01
    render.resolution_x, render.resolution_y, render.resolution_percentage = frame.width, frame.height, 100
    render.pixel_aspect_x, render.pixel_aspect_y = frame.aspect_x, frame.aspect_y
    render.film_transparent = True
    render.use_compositing = render.use_sequencer = render.use_file_extension = False
    if hasattr(render.image_settings, "media_type"):  # from 5.0 on, and to be set first
        render.image_settings.media_type = "IMAGE"
    render.image_settings.file_format = "OPEN_EXR"
    render.image_settings.color_mode, render.image_settings.color_depth = "RGBA", "32"


def _render(stage: Any, path: Path) -> NDArray[np.float32]:
    """What everything shines with at the moment: (height, width, 4), top row first."""
    render_to(stage, path, "the maps")
    image = bpy.data.images.load(str(path))
    with suppress(AttributeError):
        image.colorspace_settings.is_data = True
    width, height = image.size
    values = np.empty(width * height * image.channels, dtype=np.float32)
    image.pixels.foreach_get(values)
    bpy.data.images.remove(image)
    return values.reshape(height, width, -1)[::-1]
