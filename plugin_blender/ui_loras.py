"""The LoRAs that the picture is drawn with: a list of names and weights, and a menu of those that the model has.

Blender reads the annotations of these classes, so they are no strings.
"""

from typing import Any, ClassVar

import bpy
from bpy.props import IntProperty, StringProperty

from .protocol.desk.loras import added, beyond, gone, label_of, missing_words, offered, with_words
from .protocol.errors import InvalidRequest
from .protocol.limits import LORAS
from .protocol.results import ModelInfo
from .settings import put_rows, rows_of, session
from .ui_operators import Answer, told
from .ui_panels import SidePanel, sentence
from .wish import LoraRow


def model_of(settings: Any) -> ModelInfo | None:
    """The model that will draw; None while it is not known."""
    return session().presenter.model(settings.model)


class LIKENESS_OT_lora_add(bpy.types.Operator):
    """Draw with this LoRA, at the weight that is suggested for it"""

    bl_idname = "likeness.lora_add"
    bl_label = "Add LoRA"
    bl_options: ClassVar[Answer] = {"REGISTER", "UNDO", "INTERNAL"}

    name: StringProperty(name="Name")

    def execute(self, context: Any) -> Answer:
        """To the end of the list; one that is there already stays as it is."""
        settings = context.scene.likeness

        def act() -> None:
            rows = rows_of(settings)
            if len(rows) >= LORAS:
                raise InvalidRequest(f"A picture takes {LORAS} LoRAs at most. Take one out first.")
            put_rows(settings, added(rows, self.name, model_of(settings)))
            settings.lora_index = len(settings.loras) - 1

        return told(self, act)


class LIKENESS_OT_lora_remove(bpy.types.Operator):
    """Draw without this LoRA"""

    bl_idname = "likeness.lora_remove"
    bl_label = "Remove LoRA"
    bl_options: ClassVar[Answer] = {"REGISTER", "UNDO", "INTERNAL"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Only where there is one."""
        return len(context.scene.likeness.loras) > 0

    def execute(self, context: Any) -> Answer:
        """The chosen line goes."""
        settings = context.scene.likeness
        settings.loras.remove(min(settings.lora_index, len(settings.loras) - 1))
        settings.lora_index = min(settings.lora_index, max(0, len(settings.loras) - 1))
        return {"FINISHED"}


class LIKENESS_OT_lora_words(bpy.types.Operator):
    """Put this LoRA's trigger words at the end of the prompt: it was trained with them"""

    bl_idname = "likeness.lora_words"
    bl_label = "Add Trigger Words"
    bl_options: ClassVar[Answer] = {"REGISTER", "UNDO", "INTERNAL"}

    index: IntProperty(name="Line", min=0)

    def execute(self, context: Any) -> Answer:
        """Those that the prompt lacks."""
        settings = context.scene.likeness
        rows = rows_of(settings)
        if self.index < len(rows):
            settings.prompt = with_words(settings.prompt, missing_words(rows[self.index], model_of(settings), settings.prompt))
        return {"FINISHED"}


class LIKENESS_MT_loras(bpy.types.Menu):
    """The model's LoRAs; typing searches among them."""

    bl_label = "Add a LoRA"
    bl_options: ClassVar[Answer] = {"SEARCH_ON_KEY_PRESS"}

    def draw(self, context: Any) -> None:
        """One line each."""
        settings = context.scene.likeness
        others = offered(rows_of(settings), model_of(settings))
        for info in others:
            self.layout.operator("likeness.lora_add", text=label_of(info)).name = info.name
        if not others:
            self.layout.label(text="There are no others.")


class LIKENESS_UL_loras(bpy.types.UIList):
    """A line for each LoRA: its name and its weight."""

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: int, active_data: Any, active_property: str, index: int
    ) -> None:
        """One that the model has not is marked."""
        missing = bool(gone(LoraRow(item.name), model_of(data)))
        row = layout.row(align=True)
        row.label(text=item.name, icon="ERROR" if missing else "NONE")
        row.prop(item, "weight", text="", slider=True)


class LIKENESS_PT_loras(SidePanel, bpy.types.Panel):
    """Which LoRAs change how the model draws."""

    bl_label = "LoRAs"
    bl_options: ClassVar[Answer] = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Only with a model that has any, or while there is one to take out."""
        settings = context.scene.likeness
        model = model_of(settings)
        return len(settings.loras) > 0 or (model is not None and len(model.loras) > 0)

    def draw(self, context: Any) -> None:
        """The list with its buttons; below it what is wrong or missing."""
        layout, settings = self.layout, context.scene.likeness
        row = layout.row()
        row.template_list("LIKENESS_UL_loras", "", settings, "loras", settings, "lora_index", rows=3)
        buttons = row.column(align=True)
        buttons.menu("LIKENESS_MT_loras", text="", icon="ADD")
        buttons.operator("likeness.lora_remove", text="", icon="REMOVE")
        model = model_of(settings)
        for number, lora in enumerate(rows_of(settings)):
            if problem := gone(lora, model):
                sentence(layout, problem, "ERROR")
            if words := missing_words(lora, model, settings.prompt):
                layout.operator("likeness.lora_words", text=f"Add: {', '.join(words)}", icon="ADD").index = number
        if more := beyond(model):
            sentence(layout, more, "INFO")


CLASSES = (
    LIKENESS_OT_lora_add,
    LIKENESS_OT_lora_remove,
    LIKENESS_OT_lora_words,
    LIKENESS_MT_loras,
    LIKENESS_UL_loras,
    LIKENESS_PT_loras,
)
