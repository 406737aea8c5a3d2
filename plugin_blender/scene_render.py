"""The picture to repaint: the last render, or a fresh one of the scene as the user has set it up; and which pixels show which objects."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .camera import Camera
from .protocol.geometry import Extent
from .protocol.planes import Layout, Plane
from .scene import SceneProblem
from .scene_maps import render_surfaces
from .scene_pictures import plane_of_image
from .scene_quiet import quiet, render_to

STAGE = "Likeness render"


def last_render(scene: Any) -> Plane:
    """What the last render of this scene shows, with its view transform, RGB8 or RGBA8.

    Blender does not hand out these pixels, but it saves them: as a PNG in a temporary folder, which is read back. Raises `SceneProblem`
    when nothing was rendered yet.
    """
    result = next((image for image in bpy.data.images if image.type == "RENDER_RESULT"), None)
    missing = SceneProblem("There is no render of this scene yet. Press F12 first, or let a fresh one be made.")
    if result is None:
        raise missing
    with tempfile.TemporaryDirectory(prefix="likeness-") as folder:
        path = Path(folder) / "render.png"
        try:
            with _as_png(scene.render.image_settings):
                result.save_render(str(path), scene=scene)
        except RuntimeError as error:
            raise missing from error
        return _read(path)


def fresh_render(scene: Any, camera: Any = None, size: tuple[int, int] | None = None) -> Plane:
    """Render the scene with the user's own engine and settings, to a picture of `size` pixels or of the scene's own size.

    The scene is copied and the copy is rendered, from `camera` (an object; else the scene's own): settings, the last render and the file
    stay as they are. Other add-ons' handlers do not hear of it. It takes as long as a render takes. Raises `SceneProblem` when there is
    no camera or Blender does not render.
    """
    if bpy.app.is_job_running("RENDER"):
        raise SceneProblem("Blender is rendering at the moment. Wait until it is done, or stop it.")
    if camera is None and scene.camera is None:
        raise SceneProblem("The scene has no camera. Add one, or choose one in the panel.")
    with quiet() as made, tempfile.TemporaryDirectory(prefix="likeness-") as folder:
        stage = scene.copy()
        stage.name = STAGE
        made.append(stage)
        stage.camera = camera or scene.camera
        render = stage.render
        if size is not None:
            render.resolution_x, render.resolution_y, render.resolution_percentage = *size, 100
        render.use_border = render.use_crop_to_border = render.use_multiview = render.use_sequencer = False
        render.use_file_extension = False
        _png_settings(render.image_settings)
        path = Path(folder) / "render.png"
        render_to(stage, path, "the scene")
        return _read(path)


def object_masks(scene: Any, depsgraph: Any, camera: Camera, objects: Sequence[Any]) -> tuple[Plane, ...]:
    """For each object an A8 plane of the camera's size: 255 where it is what is seen, 0 elsewhere. Changes nothing.

    Raises `SceneProblem` where `render_surfaces` does.
    """
    if not objects:
        return ()
    owner = render_surfaces(scene, depsgraph, camera, owners=list(objects)).owner
    height, width = owner.shape
    return tuple(
        Plane(Layout.A8, Extent(width, height), np.where(owner == number, 255, 0).astype(np.uint8).tobytes())
        for number in range(1, len(objects) + 1)
    )


def joined_mask(masks: Sequence[Plane], grow: int = 0) -> Plane:
    """One mask of several of the same size, drawn out by `grow` pixels: a repaint needs a little room around a head."""
    if not masks:
        raise SceneProblem("No object is chosen to be repainted. Select one.")
    extent = masks[0].extent
    joined = np.max([np.frombuffer(mask.data, np.uint8).reshape(extent.height, extent.width) for mask in masks], axis=0)
    for _ in range(grow):
        padded = np.pad(joined, 1)
        joined = np.max([padded[1:-1, 1:-1], padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]], axis=0)
    return Plane(Layout.A8, extent, np.ascontiguousarray(joined).tobytes())


@contextmanager
def _as_png(settings: Any) -> Iterator[None]:
    """A scene's image settings as PNG for a moment: `save_render` takes the render of the scene that it takes the settings from."""
    names = [one for one in ("media_type", "file_format", "color_mode", "color_depth", "compression", "quality") if hasattr(settings, one)]
    before = {name: getattr(settings, name) for name in names}
    managed = settings.color_management
    try:
        _png_settings(settings)
        yield
    finally:
        settings.color_management = managed
        for name, value in before.items():
            setattr(settings, name, value)


def _png_settings(settings: Any) -> None:
    if hasattr(settings, "media_type"):  # from 5.0 on, and to be set first
        settings.media_type = "IMAGE"
    settings.file_format = "PNG"
    settings.color_mode, settings.color_depth, settings.compression = "RGBA", "8", 0
    settings.color_management = "FOLLOW_SCENE"


def _read(path: Path) -> Plane:
    image = bpy.data.images.load(str(path))
    try:
        return plane_of_image(image)
    finally:
        bpy.data.images.remove(image)
