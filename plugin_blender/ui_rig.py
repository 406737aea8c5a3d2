"""Correcting joints by picking bones, and placing face points by clicking. Blender reads these annotations, so they are no strings."""

from typing import Any, ClassVar

import bpy
import numpy as np
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, StringProperty
from bpy_extras import view3d_utils

from .bones import FACE_POINTS, JOINTS, Spot
from .protocol.errors import InvalidRequest, LikenessError
from .scene import FACE_NAMES, SceneProblem, forget_correction, put_right
from .scene_points import place_on_ray, point_of, remove_points
from .settings import setup_of
from .ui_operators import Answer, told

PARTS = tuple((part, part.replace("_", " ").capitalize(), "") for part in dict.fromkeys((*JOINTS, *FACE_POINTS)))


class LIKENESS_OT_joint(bpy.types.Operator):
    """Put this joint onto a bone; the one that is active in pose mode is offered first"""

    bl_idname = "likeness.joint"
    bl_label = "Joint"
    bl_options: ClassVar[Answer] = {"REGISTER", "UNDO"}

    part: EnumProperty(name="Joint", items=PARTS)
    bone: StringProperty(name="Bone", options={"SKIP_SAVE"})
    along: FloatProperty(name="Along", min=0.0, max=1.0, subtype="FACTOR", description="0: the bone's head, 1: its tail")
    left_out: BoolProperty(name="Leave out", description="Do not draw this joint", options={"SKIP_SAVE"})
    by_name: BoolProperty(name="Find by name", description="Forget the correction", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: Any) -> bool:
        """With a rig."""
        if setup_of(context.scene).armature is None:
            cls.poll_message_set("Choose a rig first.")
            return False
        return True

    def invoke(self, context: Any, event: Any) -> Answer:
        """Ask which bone."""
        rig = setup_of(context.scene).armature
        active = context.active_pose_bone
        if active is not None and active.id_data == rig:
            self.bone = active.name
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, context: Any) -> None:
        """The dialog."""
        self.layout.prop(self, "part")
        self.layout.prop_search(self, "bone", setup_of(context.scene).armature.data, "bones")
        for name in ("along", "left_out", "by_name"):
            self.layout.prop(self, name)

    def execute(self, context: Any) -> Answer:
        """Keep it on the armature."""
        return told(self, lambda: self._keep(setup_of(context.scene).armature))

    def _keep(self, rig: Any) -> None:
        if self.by_name:
            forget_correction(rig, self.part)
        elif self.left_out:
            put_right(rig, self.part, None)
        elif self.bone in rig.data.bones:
            put_right(rig, self.part, Spot(self.bone, self.along))
        else:
            raise InvalidRequest(f"{rig.name} has no bone called {self.bone!r}. Choose one of its bones.")


class LIKENESS_OT_place_points(bpy.types.Operator):
    """Click the face onto the mesh: the person's right eye, left eye, nose, right and left corner of the mouth"""

    bl_idname = "likeness.place_points"
    bl_label = "Place Face Points"
    bl_options: ClassVar[Answer] = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        """With a rig or a head."""
        setup = setup_of(context.scene)
        if setup.armature is None and setup.head is None:
            cls.poll_message_set("Choose a rig or a head first.")
            return False
        return True

    def invoke(self, context: Any, event: Any) -> Answer:
        """Begin; clicks are taken in the 3D view."""
        if context.area is None or context.area.type != "VIEW_3D":
            self.report({"ERROR"}, "Face points are placed in a 3D view.")
            return {"CANCELLED"}
        self.number, self.area = 0, context.area
        context.window.cursor_modal_set("CROSSHAIR")
        context.window_manager.modal_handler_add(self)
        self._ask(context)
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> Answer:
        """One click, one point; turning the view goes on working."""
        if event.type in {"ESC", "RIGHTMOUSE"}:
            return self._end(context, {"FINISHED"} if self.number else {"CANCELLED"})
        if event.type == "BACK_SPACE" and event.value == "PRESS":
            self.number = max(0, self.number - 1)
        elif event.type == "LEFTMOUSE" and event.value == "PRESS" and (click := _click_in_view(context, event)) is not None:
            try:
                place_by_click(context, FACE_POINTS[self.number], *click)
                self.number += 1
            except LikenessError as error:
                self.report({"WARNING"}, str(error))
        else:
            return {"PASS_THROUGH"}
        if self.number == len(FACE_POINTS):
            return self._end(context, {"FINISHED"})
        self._ask(context)
        return {"RUNNING_MODAL"}

    def _ask(self, context: Any) -> None:
        part = FACE_POINTS[self.number].replace("_", " ")
        words = f"Click the person's own {part} ({self.number + 1} of {len(FACE_POINTS)}). Backspace: one back. Esc: stop."
        self._say(context, words)

    def _end(self, context: Any, answer: Answer) -> Answer:
        self._say(context, None)
        context.window.cursor_modal_restore()
        return answer

    def _say(self, context: Any, words: str | None) -> None:
        """In the status bar and, where the eyes are, in the header of the view; None: what Blender has there."""
        context.workspace.status_text_set(words)
        if self.area in context.screen.areas[:]:
            self.area.header_text_set(words)


class LIKENESS_OT_place_point(bpy.types.Operator):
    """Place one face point where a ray meets the mesh: for scripts"""

    bl_idname = "likeness.place_point"
    bl_label = "Place Face Point"
    bl_options: ClassVar[Answer] = {"REGISTER", "UNDO"}

    part: EnumProperty(name="Point", items=[item for item in PARTS if item[0] in FACE_POINTS])
    begin: FloatVectorProperty(name="From", subtype="XYZ", unit="LENGTH")
    way: FloatVectorProperty(name="Direction", subtype="XYZ", default=(0.0, 1.0, 0.0))

    def execute(self, context: Any) -> Answer:
        """Make or move its empty."""
        return told(self, lambda: _place(context, self.part, np.array(self.begin), np.array(self.way)))


class LIKENESS_OT_remove_points(bpy.types.Operator):
    """Take the face points away that were placed by clicking"""

    bl_idname = "likeness.remove_points"
    bl_label = "Remove Face Points"
    bl_options: ClassVar[Answer] = {"REGISTER", "UNDO"}

    def execute(self, context: Any) -> Answer:
        """Bones, groups and estimates count again."""
        setup = setup_of(context.scene)
        return told(self, lambda: remove_points(setup.armature, setup.head))


def place_by_click(context: Any, part: str, region: Any, space: Any, at: tuple[int, int]) -> Any:
    """The empty of a face point, where a click at these pixels of a 3D view's window region meets the mesh."""
    begin = view3d_utils.region_2d_to_origin_3d(region, space, at)
    return _place(context, part, np.array(begin), np.array(view3d_utils.region_2d_to_vector_3d(region, space, at)))


def _place(context: Any, part: str, begin: Any, way: Any) -> Any:
    setup = setup_of(context.scene)
    if not np.linalg.norm(way) > 0:
        raise SceneProblem("A ray needs a direction. Give one that is not zero.")
    return place_on_ray(context.scene, context.evaluated_depsgraph_get(), begin, way, part, setup.armature, setup.head)


def _click_in_view(context: Any, event: Any) -> tuple[Any, Any, tuple[int, int]] | None:
    """The region, its 3D view, and the click's place in it; None: elsewhere, such as the panel's own buttons."""
    for area in context.window.screen.areas:
        if area.type != "VIEW_3D":
            continue
        over = [region for region in area.regions if _inside(region, event)]
        if any(region.type != "WINDOW" for region in over):
            return None  # sidebars lie over the window region
        for region in over:
            return region, area.spaces.active.region_3d, (event.mouse_x - region.x, event.mouse_y - region.y)
    return None


def _inside(region: Any, event: Any) -> bool:
    inside_x = region.x <= event.mouse_x < region.x + region.width
    return inside_x and region.y <= event.mouse_y < region.y + region.height


def face_sources(armature: Any, head: Any, known: Any) -> dict[str, str]:
    """For each face point where it comes from ("empty", "group", "bone"), "" when it is estimated; cheap enough for a panel."""
    found = dict.fromkeys(FACE_POINTS, "")
    for point in FACE_POINTS:
        if known is not None and point in known.face:
            found[point] = "bone"
        if point_of(point, armature, head) is not None:
            found[point] = "empty"
        if head is not None and FACE_NAMES[point] in head.vertex_groups:
            found[point] = "group"
    return found


CLASSES = (LIKENESS_OT_joint, LIKENESS_OT_place_points, LIKENESS_OT_place_point, LIKENESS_OT_remove_points)
