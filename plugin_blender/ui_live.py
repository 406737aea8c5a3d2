"""The panel "Live" and its switch: while it is on, small pictures follow the rig, in an image that an Image Editor shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import bpy

from . import scene_actions
from .protocol.errors import LikenessError
from .scene import SceneProblem
from .scene_live import SceneEyes, Watch, ended, rendering, switch
from .scene_pictures import LIVE, show_live
from .settings import session
from .ui_operators import Answer, can_ask, told
from .ui_panels import SidePanel, sentence, thumbnail
from .wish import Kind

SCALE = 9.0
"""Of the picture in the panel, in heights of a button: as wide as a sidebar of the usual width."""


def register() -> None:
    """The switch. It belongs to the window manager, not to the scene: it is not saved, and undo does not turn it."""
    manager = bpy.types.WindowManager
    manager.likeness_watch = watch = Watch(ended)
    manager.likeness_screen = Screen(watch)
    manager.likeness_live = bpy.props.BoolProperty(
        name="Live",
        description="Small, quick pictures that follow while you pose the rig or move the camera. Depth and normals are left out of them",
        get=lambda manager: session().is_open and session().presenter.live.on,
        set=lambda manager, on: _switched(bool(on)),
        options={"SKIP_SAVE"},
    )


def unregister() -> None:
    """Leaves no handler."""
    manager = bpy.types.WindowManager
    manager.likeness_watch.end()
    del manager.likeness_live, manager.likeness_watch, manager.likeness_screen


class Screen:
    """Where the newest picture is seen: the image, the editors that show it, the panel."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._shown: object = None
        self._undone = 0
        self._areas: set[int] = set()
        """The editors that showed it last."""

    def show(self, presenter: Any) -> bool:
        """Show the newest picture, also again after an undo; whether there was one to show. Says what goes wrong, and does not raise."""
        picture, before, undone = presenter.live.picture, self._shown, self._undone != self._watch.undone
        if (picture is before and not undone) or (picture is not None and rendering()):
            return False
        self._shown, self._undone = picture, self._watch.undone
        if picture is None:
            return True
        try:
            image = show_live(picture.plane)
            bpy.types.WindowManager.likeness_thumbnails.show_live(picture.plane)
        except (LikenessError, RuntimeError) as error:
            presenter.say(f"The live picture cannot be shown: {error}")
            return True
        areas: set[int] = set()
        for space, area in _image_editors():
            # An editor that shows nothing may as well show this; and one that undo took it from is given it back.
            if space.image is None and (before is None or (undone and area.as_pointer() in self._areas)):
                space.image = image
            if space.image == image:
                areas.add(area.as_pointer())
                area.tag_redraw()
        self._areas = areas
        return True


def _switched(on: bool) -> None:
    try:
        switch(on)
    except LikenessError as error:
        session().presenter.say(str(error))


def _image_editors() -> Iterator[tuple[Any, Any]]:
    """Spaces and areas of all windows."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "IMAGE_EDITOR":
                yield area.spaces.active, area


class LIKENESS_OT_live_full(bpy.types.Operator):
    """One picture of this pose with all its steps and maps, in full size, with the seed and the settings of the live one"""

    bl_idname = "likeness.live_full"
    bl_label = "Make It in Full"

    @classmethod
    def poll(cls, context: Any) -> bool:
        """With a live picture, and a backend."""
        if not (session().is_open and session().presenter.live.on):
            cls.poll_message_set("Switch Live on first.")
            return False
        return can_ask(cls, context)

    def execute(self, context: Any) -> Answer:
        """Ask for it; live pictures wait for it."""
        return told(self, lambda: make_in_full(context))


def make_in_full(context: Any) -> int:
    """The ordinary job of the panel's settings, with the seed of the live pictures; the number of the press."""
    if elsewhere := _elsewhere(context):
        raise SceneProblem(elsewhere)
    return scene_actions.ask(context, Kind.PORTRAIT, seed=context.scene.likeness.seed, count=1)


def _elsewhere(context: Any) -> str:
    """The sentence for a window that shows another scene than the one that is followed; "" in that scene."""
    eyes = session().presenter.live.eyes
    try:
        scene = eyes.scene if isinstance(eyes, SceneEyes) else context.scene
    except SceneProblem as error:
        return str(error)
    return "" if scene == context.scene else f"Live follows the scene {scene.name}. Go there, or switch it off and on again here."


class LIKENESS_OT_live_editor(bpy.types.Operator):
    """Show the live pictures in an Image Editor; in a new window when there is no such editor"""

    bl_idname = "likeness.live_editor"
    bl_label = "Show in Image Editor"

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Once there is a picture."""
        return any(LIVE in image for image in bpy.data.images)

    def execute(self, context: Any) -> Answer:
        """In the first editor of the screen."""
        return told(self, _in_editor)


def _in_editor() -> None:
    image = next(image for image in bpy.data.images if LIVE in image)
    found = next(_image_editors(), None)
    if found is None:
        if bpy.app.background:
            raise SceneProblem("There is no Image Editor, and without a window none can be opened.")
        bpy.ops.wm.window_new()
        area = max(bpy.context.window_manager.windows[-1].screen.areas, key=lambda area: area.width * area.height)
        area.type = "IMAGE_EDITOR"
        found = (area.spaces.active, area)
    found[0].image = image


class LIKENESS_PT_live(SidePanel, bpy.types.Panel):
    """Pictures that follow."""

    bl_label = "Live"
    bl_options: ClassVar[set[str]] = set()

    def draw_header(self, context: Any) -> None:
        """The switch, as Blender's own panels have it."""
        self.layout.prop(context.window_manager, "likeness_live", text="")

    def draw(self, context: Any) -> None:
        """The newest picture, what is to be known of it, and what can be made of it."""
        layout, live = self.layout, session().presenter.live
        layout.active = live.on
        if live.picture is not None:
            thumbnail(layout, bpy.types.WindowManager.likeness_thumbnails.live_icon(), SCALE)
            alike = "" if live.picture.similarity is None else f"{live.picture.similarity:.2f} alike · "
            layout.label(text=f"{alike}drawn in {live.picture.seconds:.1f} s", icon="SORTTIME" if live.working else "CHECKMARK")
        elif live.on and not live.sentence:
            layout.label(text="The first picture is coming …", icon="SORTTIME")
        if words := live.sentence or _elsewhere(context):
            sentence(layout, words, "INFO")
        row = layout.row(align=True)
        row.operator("likeness.live_full", icon="RENDER_STILL")
        row.operator("likeness.live_editor", text="", icon="WINDOW")


CLASSES = (LIKENESS_OT_live_full, LIKENESS_OT_live_editor, LIKENESS_PT_live)
