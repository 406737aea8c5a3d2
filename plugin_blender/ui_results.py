"""What can be done with a finished picture: each one step of undo. Blender reads these annotations, so they are no strings."""

from typing import Any, ClassVar

import bpy
from bpy.props import BoolProperty, FloatProperty, IntProperty, StringProperty

from . import scene_actions
from .settings import put_wish, session
from .shelf import Result
from .ui_operators import Answer, told

UNDO: frozenset[str] = frozenset({"REGISTER", "UNDO"})


def shown(operator: Any, context: Any, answer: Answer, uv_map: bool = False) -> Answer:
    """Tell the artist, whose view shows no textures, why the picture is not seen; `uv_map`: its own is not the active one."""
    shading = getattr(context.space_data, "shading", None)
    textures = shading is None or shading.type not in {"WIREFRAME", "SOLID"}
    if not textures and shading.type == "SOLID" and shading.color_type == "TEXTURE":
        textures = not uv_map  # the solid view puts every texture onto the active UV map
    if not textures and "FINISHED" in answer:
        operator.report({"INFO"}, "To see the picture where it belongs, press Z and choose Material Preview.")
    return answer


class _OfResult:
    """`key` names the picture; empty: the first of the panel, which is the best of the newest press."""

    key: StringProperty(name="Picture", options={"SKIP_SAVE", "HIDDEN"})

    def result(self) -> Result:
        """Raises `InvalidRequest` when it is gone."""
        presenter = session().presenter
        return presenter.result(self.key or (presenter.results[0].key if presenter.results else ""))


class LIKENESS_OT_card(_OfResult, bpy.types.Operator):
    """A card with this picture, that fills what the camera saw"""

    bl_idname = "likeness.card"
    bl_label = "Card"
    bl_options: ClassVar[Answer] = set(UNDO)

    distance: FloatProperty(name="Distance", min=0.0, unit="LENGTH", description="From the camera; 0: behind the head")

    def execute(self, context: Any) -> Answer:
        """Make it."""
        return shown(self, context, told(self, lambda: scene_actions.make_card(context, self.result(), self.distance)))


class LIKENESS_OT_project(_OfResult, bpy.types.Operator):
    """Put this picture onto the meshes that it was made for; their materials and UV maps are kept"""

    bl_idname = "likeness.project"
    bl_label = "Project"
    bl_options: ClassVar[Answer] = set(UNDO)

    whole_press: BoolProperty(name="All cameras", description="The best picture of every shot of this press, blended by angle")

    def execute(self, context: Any) -> Answer:
        """One layer per picture."""
        presenter = session().presenter
        if self.whole_press:
            return shown(self, context, told(self, lambda: scene_actions.project_press(context, presenter, self.result().press)), True)
        return shown(self, context, told(self, lambda: scene_actions.project_result(context, self.result())), True)


class LIKENESS_OT_bake(bpy.types.Operator):
    """Bake what the selected meshes show into one texture each, without light and shadow"""

    bl_idname = "likeness.bake"
    bl_label = "Bake"
    bl_options: ClassVar[Answer] = set(UNDO)

    size: IntProperty(name="Size", default=1024, min=16, max=8192, subtype="PIXEL")
    use: BoolProperty(name="Show it", default=True, description="The meshes show the texture from now on, instead of the projections")

    def execute(self, context: Any) -> Answer:
        """One new image for each."""
        return shown(self, context, told(self, lambda: scene_actions.bake_objects(context, self.size, self.use)))


class LIKENESS_OT_unproject(bpy.types.Operator):
    """Take the projected pictures off the selected meshes; their materials and UV maps are as they were"""

    bl_idname = "likeness.unproject"
    bl_label = "Remove Projections"
    bl_options: ClassVar[Answer] = set(UNDO)

    def execute(self, context: Any) -> Answer:
        """All layers of each."""
        return told(self, lambda: scene_actions.take_projections_off(context))


class LIKENESS_OT_open(_OfResult, bpy.types.Operator):
    """Make this picture an image of the file, and show it in an Image Editor where one is open"""

    bl_idname = "likeness.open"
    bl_label = "Open"
    bl_options: ClassVar[Answer] = set(UNDO)

    def execute(self, context: Any) -> Answer:
        """Show it."""
        return told(self, lambda: self._open(context))

    def _open(self, context: Any) -> None:
        image = scene_actions.image_of_result(self.result())
        for area in context.screen.areas if context.screen else ():
            if area.type == "IMAGE_EDITOR":
                area.spaces.active.image = image
                return


class LIKENESS_OT_save(_OfResult, bpy.types.Operator):
    """Save this picture as a PNG"""

    bl_idname = "likeness.save"
    bl_label = "Save"

    filepath: StringProperty(subtype="FILE_PATH")
    filter_glob: StringProperty(default="*.png", options={"HIDDEN"})

    def invoke(self, context: Any, event: Any) -> Answer:
        """Ask where."""
        found = session().presenter.results
        name = next((one.title for one in found if one.key == self.key), "likeness")
        self.filepath = bpy.path.clean_name(name) + ".png"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Any) -> Answer:
        """Write it."""
        return told(self, lambda: scene_actions.save_result(self.result(), self.filepath))


class LIKENESS_OT_reuse(_OfResult, bpy.types.Operator):
    """Take this picture's prompt, seed and settings into the panel"""

    bl_idname = "likeness.reuse"
    bl_label = "Reuse Settings"
    bl_options: ClassVar[Answer] = set(UNDO)

    def execute(self, context: Any) -> Answer:
        """Set them."""
        return told(self, lambda: put_wish(context.scene.likeness, self.result().wish))


class LIKENESS_OT_discard(_OfResult, bpy.types.Operator):
    """Throw this picture away; what the scene already has of it stays"""

    bl_idname = "likeness.discard"
    bl_label = "Discard"

    def execute(self, context: Any) -> Answer:
        """Delete its files."""
        return told(self, lambda: session().presenter.discard(self.result().key))


CLASSES = (
    LIKENESS_OT_card,
    LIKENESS_OT_project,
    LIKENESS_OT_bake,
    LIKENESS_OT_unproject,
    LIKENESS_OT_open,
    LIKENESS_OT_save,
    LIKENESS_OT_reuse,
    LIKENESS_OT_discard,
)
