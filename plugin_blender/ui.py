"""Registration: classes, the scene's settings, the session, the thumbnails, and the timer that lets the presenter go on."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import bpy
import bpy.utils.previews

from . import settings, ui_live, ui_loras, ui_operators, ui_panels, ui_people, ui_results, ui_rig
from .chores import Steps
from .png_steps import png_in_steps
from .protocol.planes import Plane
from .scene_actions import photo_of_png
from .session import Session
from .thumbnails import Thumbnails

HURRY_S, BUSY_S, IDLE_S = 0.02, 0.05, 0.5
"""Between two ticks: while a live picture is made ready, with something under way, and without."""
CLASSES = (
    settings.LikenessLora,
    settings.LikenessSettings,
    settings.LikenessPreferences,
    *ui_operators.CLASSES,
    *ui_people.CLASSES,
    *ui_rig.CLASSES,
    *ui_results.CLASSES,
    *ui_panels.CLASSES,
    *ui_loras.CLASSES,
    *ui_live.CLASSES,
    *ui_panels.LATER,
)


class BlenderPictures:
    """PNGs in steps, and files opened by Blender itself."""

    def png(self, plane: Plane, level: int = 1) -> Steps[bytes]:
        """A plane as PNG; with level 0 it is not compressed."""
        return png_in_steps(plane, level)

    def open_png(self, data: bytes) -> Plane:
        """A PNG as a plane."""
        return photo_of_png(data)


def register() -> None:
    """Everything that Blender is told of us; `unregister` takes all of it back."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.likeness = bpy.props.PointerProperty(type=settings.LikenessSettings)
    made = Session(_folder, _command, BlenderPictures(), rename_everywhere, f"Blender {bpy.app.version_string}"[:60])
    bpy.types.WindowManager.likeness_session = made
    bpy.types.WindowManager.likeness_thumbnails = Thumbnails(bpy.utils.previews.new(), _folder() / "thumbnails")
    ui_live.register()
    # The timer is kept where it is found again: what is not unregistered before Blender ends makes it crash or hang.
    bpy.types.WindowManager.likeness_timer = timer = functools.partial(_beat, made)
    bpy.app.timers.register(timer, first_interval=IDLE_S, persistent=True)


def unregister() -> None:
    """In the opposite order. Accepted jobs go on at the backend and are found again."""
    manager = bpy.types.WindowManager
    if bpy.app.timers.is_registered(manager.likeness_timer):
        bpy.app.timers.unregister(manager.likeness_timer)
    ui_live.unregister()
    manager.likeness_session.close()
    manager.likeness_thumbnails.close()
    del manager.likeness_timer, manager.likeness_session, manager.likeness_thumbnails
    del bpy.types.Scene.likeness
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)


def _beat(made: Session) -> float:
    """One tick; how long until the next. Never raises: Blender would take the timer away."""
    presenter = made.presenter
    changed = presenter.tick()
    if bpy.types.WindowManager.likeness_screen.show(presenter) or changed:
        _redraw()
    return HURRY_S if presenter.live.reading else BUSY_S if presenter.busy else IDLE_S


def rename_everywhere(old: str, new: str) -> None:
    """A character has another name ("": it is gone): the scenes of this file that draw it follow."""
    for scene in bpy.data.scenes:
        if scene.likeness.character == old:
            scene.likeness.character = new


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()


def _folder() -> Path:
    """The add-on's own folder; an add-on that is no extension has one beside Blender's other data."""
    try:
        return Path(bpy.utils.extension_path_user(__package__, create=True))
    except ValueError:
        return Path(bpy.utils.user_resource("DATAFILES", path="likeness", create=True))


def _command() -> str:
    found: Any = bpy.context.preferences.addons.get(__package__)
    return found.preferences.command if found and found.preferences else ""
