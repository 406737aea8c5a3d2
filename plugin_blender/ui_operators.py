"""The buttons that ask for pictures and look after the backend. Blender reads these annotations, so they are no strings."""

from collections.abc import Callable
from typing import Any, ClassVar

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from . import scene_actions, scripting
from .protocol.errors import LikenessError
from .settings import BATCHES, session
from .wish import Kind

Answer = set[str]


def told(operator: Any, act: Callable[[], object]) -> Answer:
    """Do it; Blender shows a problem's sentence beside the pointer and in the status bar, and a script gets it as its error."""
    try:
        act()
    except LikenessError as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    return {"FINISHED"}


def can_ask(cls: Any, context: Any) -> bool:
    """Whether there is a backend; the tooltip says why not. Without a window there is no timer that looks for one: a job waits for it."""
    why = "" if bpy.app.background else session().presenter.why_not
    if why:
        cls.poll_message_set(why)
    return not why


class LIKENESS_OT_backend_start(bpy.types.Operator):
    """Start the backend, which draws the pictures on this computer"""

    bl_idname = "likeness.backend_start"
    bl_label = "Start"

    def execute(self, context: Any) -> Answer:
        """Start it; the state line says how it goes."""
        return told(self, session().presenter.start_backend)


class LIKENESS_OT_cancel(bpy.types.Operator):
    """Stop the pictures under way"""

    bl_idname = "likeness.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Only while something is under way."""
        return session().is_open and session().presenter.progress is not None

    def execute(self, context: Any) -> Answer:
        """All jobs of one press."""
        return told(self, session().presenter.cancel)


class LIKENESS_OT_dismiss(bpy.types.Operator):
    """Take this message away"""

    bl_idname = "likeness.dismiss"
    bl_label = "Dismiss"

    def execute(self, context: Any) -> Answer:
        """Say nothing any more."""
        return told(self, lambda: session().presenter.say(""))


class LIKENESS_OT_preview_maps(bpy.types.Operator):
    """Draw the maps as they would be sent, as images of this file; needs no backend"""

    bl_idname = "likeness.preview_maps"
    bl_label = "Preview Maps"
    bl_options: ClassVar[Answer] = {"REGISTER", "UNDO"}

    def execute(self, context: Any) -> Answer:
        """Make the images."""
        return told(self, lambda: scene_actions.preview_maps(context))


class _Ask:
    """What the three buttons have in common. Properties that a script sets stand for the panel's; the others are the panel's."""

    kind: ClassVar[Kind]

    prompt: StringProperty(name="Prompt", options={"SKIP_SAVE"})
    negative: StringProperty(name="Not", options={"SKIP_SAVE"})
    character: StringProperty(name="Character", options={"SKIP_SAVE"})
    model: StringProperty(name="Model", options={"SKIP_SAVE"})
    seed: IntProperty(name="Seed", min=0, max=2**31 - 65, options={"SKIP_SAVE"})
    count: IntProperty(name="Pictures", default=1, min=1, max=16, options={"SKIP_SAVE"})
    steps: IntProperty(name="Steps", min=0, max=1000, options={"SKIP_SAVE"})
    strength: FloatProperty(name="Strength", default=0.6, min=0.05, max=1.0, options={"SKIP_SAVE"})
    likeness: FloatProperty(name="Likeness", default=0.8, min=0.0, max=1.5, options={"SKIP_SAVE"})
    batch: EnumProperty(name="Shots", items=BATCHES, options={"SKIP_SAVE"})
    wait: BoolProperty(name="Wait", description="For scripts: return when the pictures are there", options={"SKIP_SAVE"})
    timeout_s: FloatProperty(name="Longest", default=600.0, min=1.0, unit="TIME_ABSOLUTE", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: Any) -> bool:
        """With a backend."""
        return can_ask(cls, context)

    def execute(self, context: Any) -> Answer:
        """Take what the camera sees, send it, and return; with `wait` return when the pictures are there."""
        return told(self, lambda: self._ask(context))

    def _ask(self, context: Any) -> None:
        settings = context.scene.likeness
        names = ("prompt", "negative", "character", "model", "seed", "count", "steps", "strength", "likeness")
        values = {name: getattr(self, name) for name in names if self.properties.is_property_set(name)}
        batch = self.batch if self.properties.is_property_set("batch") else "ONE" if self.kind is Kind.REPAINT else settings.batch
        if "seed" not in values and not settings.seed_locked:
            settings.seed = values["seed"] = session().new_seed()
        press = scene_actions.ask(context, self.kind, batch, **values)
        if self.wait:
            scripting.wait_for(press, self.timeout_s)


class LIKENESS_OT_portrait(_Ask, bpy.types.Operator):
    """A new picture of the character in this pose"""

    bl_idname = "likeness.portrait"
    bl_label = "Portrait"
    kind = Kind.PORTRAIT


class LIKENESS_OT_repaint(_Ask, bpy.types.Operator):
    """Change a render, all of it or what shows some objects"""

    bl_idname = "likeness.repaint"
    bl_label = "Repaint Render"
    kind = Kind.REPAINT


class LIKENESS_OT_texture(_Ask, bpy.types.Operator):
    """A picture for the selected meshes, or the head, to be projected onto what the camera sees of them"""

    bl_idname = "likeness.texture"
    bl_label = "Texture"
    kind = Kind.TEXTURE


CLASSES = (
    LIKENESS_OT_backend_start,
    LIKENESS_OT_cancel,
    LIKENESS_OT_dismiss,
    LIKENESS_OT_preview_maps,
    LIKENESS_OT_portrait,
    LIKENESS_OT_repaint,
    LIKENESS_OT_texture,
)
