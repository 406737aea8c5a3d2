"""Rendering and baking that nobody hears of, and that leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy

from .scene import SceneProblem

_QUIET = (
    *("render_init", "render_pre", "render_post", "render_write", "render_stats", "render_complete", "render_cancel"),
    *("frame_change_pre", "frame_change_post", "depsgraph_update_pre", "depsgraph_update_post"),
)


@contextmanager
def quiet() -> Iterator[list[Any]]:
    """While it lasts, other add-ons' handlers do not run. Gives a list; datablocks that are put on it are removed at the end.

    So is every image that came meanwhile, such as the one in which Blender keeps a render's result where there was none before.
    """
    before = {image.session_uid for image in bpy.data.images}
    handlers = {name: list(getattr(bpy.app.handlers, name)) for name in _QUIET}
    made: list[Any] = []
    try:
        for name in _QUIET:
            getattr(bpy.app.handlers, name).clear()
        yield made
    finally:
        bpy.data.batch_remove(made)
        bpy.data.batch_remove([image for image in bpy.data.images if image.session_uid not in before])
        for name, kept in handlers.items():
            getattr(bpy.app.handlers, name)[:] = kept


def render_to(stage: Any, path: Path, what: str) -> None:
    """Render a scene of our own into a file; `what` is its name in sentences. Raises `SceneProblem` when Blender does not."""
    stage.render.filepath = str(path)
    try:
        # When it is done, Blender brings the context's scene to its frame once more, which would take back every pose without a key.
        with bpy.context.temp_override(scene=stage, view_layer=stage.view_layers[0]):
            done = bpy.ops.render.render(write_still=True, scene=stage.name)
    except RuntimeError as error:
        raise SceneProblem(f"Blender could not render {what}: {str(error).strip()}") from error
    if "FINISHED" not in done or not path.is_file():
        raise SceneProblem(f"Blender did not render {what}. Is another render running, or the disk of the temporary folder full?")
