"""The tab "Likeness" in the 3D view's sidebar: it shows what the presenter knows and what the scene is set to, and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import bpy

from .bones import FACE_POINTS, JOINTS, RigMap
from .protocol.desk.state_line import Light
from .protocol.errors import LikenessError
from .protocol.planes import Plane
from .scene import rig_of
from .scene_actions import MAP
from .settings import session, setup_of
from .shelf import Result
from .ui_rig import face_sources

ICONS = {Light.OFF: "UNLINKED", Light.WAIT: "SORTTIME", Light.READY: "CHECKMARK", Light.BUSY: "RENDER_STILL", Light.TROUBLE: "ERROR"}
WIDTH, NARROW = 34, 29
"""Characters of a line in a sidebar of the usual width; and beside a small button."""
SHOWN = 12
"""Results in the panel; the others are on the shelf and come up when those are discarded."""


def lines_of(text: str, width: int = WIDTH) -> list[str]:
    """A sentence in lines: Blender's labels do not wrap."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line] if line else lines


def sentence(layout: Any, text: str, icon: str = "NONE", width: int = WIDTH) -> Any:
    """A sentence over as many lines as it needs."""
    column = layout.column(align=True)
    for number, line in enumerate(lines_of(text, width)):
        column.label(text=line, icon=icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE")
    return column


def thumbnail(layout: Any, icon: int, scale: float) -> None:
    """A picture, where there is one."""
    if icon:
        layout.template_icon(icon_value=icon, scale=scale)


class SidePanel:
    """Where all of ours are."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Likeness"
    bl_options: ClassVar[set[str]] = set()


class LIKENESS_PT_backend(SidePanel, bpy.types.Panel):
    """Whether there is a backend, and what the artist must know."""

    bl_label = "Likeness"

    def draw(self, context: Any) -> None:
        """The state line, the last message."""
        layout, presenter = self.layout, session().presenter
        backend = presenter.backend
        sentence(layout, backend.sentence, ICONS[backend.light])
        if backend.can_start:
            # Below the sentence: beside it, a sidebar of the usual width cuts the words off.
            layout.operator("likeness.backend_start", icon="PLAY")
        if presenter.notice:
            box = layout.box().row(align=True)
            sentence(box, presenter.notice, "INFO", NARROW)
            box.operator("likeness.dismiss", text="", icon="X")


class LIKENESS_MT_characters(bpy.types.Menu):
    """All saved characters, with their pictures."""

    bl_label = "Characters"

    def draw(self, context: Any) -> None:
        """One line each, and what can be done with the chosen one."""
        layout = self.layout
        layout.operator("likeness.character_pick", text="Nobody", icon="X").name = ""
        for card in session().presenter.characters:
            layout.operator("likeness.character_pick", text=card.name, icon_value=_plane_icon(card.thumbnail)).name = card.name


class LIKENESS_MT_character(bpy.types.Menu):
    """What can be done with characters."""

    bl_label = "Character"

    def draw(self, context: Any) -> None:
        """New ones, and the chosen one."""
        layout = self.layout
        layout.operator("likeness.character_new", text="New Character from Files", icon="FILE_IMAGE")
        layout.operator("likeness.character_from_image", icon="IMAGE_DATA")
        layout.operator("likeness.character_import", icon="IMPORT")
        layout.separator()
        layout.operator("likeness.character_rename", icon="GREASEPENCIL")
        layout.operator("likeness.character_export", icon="EXPORT")
        layout.operator("likeness.character_delete", icon="TRASH")


class LIKENESS_PT_character(SidePanel, bpy.types.Panel):
    """Who is drawn."""

    bl_label = "Character"

    def draw(self, context: Any) -> None:
        """The picker, the picture, the likeness."""
        layout, settings, presenter = self.layout, context.scene.likeness, session().presenter
        row = layout.row(align=True)
        row.menu("LIKENESS_MT_characters", text="", icon="COMMUNITY")
        row.prop(settings, "character", text="")
        row.menu("LIKENESS_MT_character", text="", icon="DOWNARROW_HLT")
        card = next((card for card in presenter.characters if card.name == settings.character), None)
        if card is not None:
            thumbnail(layout, _plane_icon(card.thumbnail), 4.0)
            layout.prop(settings, "likeness", slider=True)
        elif settings.character and presenter.people.making == settings.character:
            layout.label(text="The photos are being read …", icon="SORTTIME")
        elif settings.character and presenter.connected:
            sentence(layout, f"There is no character called {settings.character!r}. Choose one, or make it.", "ERROR")


class LIKENESS_PT_rig(SidePanel, bpy.types.Panel):
    """Whose pose is drawn."""

    bl_label = "Rig and Head"

    def draw(self, context: Any) -> None:
        """Rig, joints found, head, face points."""
        layout, settings = self.layout, context.scene.likeness
        setup = setup_of(context.scene)
        layout.prop(settings, "rig")
        rig: RigMap | None = None
        if setup.armature is not None:
            try:
                rig = rig_of(setup.armature)
            except LikenessError as error:
                sentence(layout, str(error), "ERROR")
            else:
                row = layout.row()
                row.label(text=rig.sentence, icon="CHECKMARK" if len(rig.found) == len(JOINTS) else "INFO")
                row.operator("likeness.joint", text="Correct", icon="BONE_DATA")
                if rig.missing:
                    sentence(layout, "Without: " + ", ".join(part.replace("_", " ") for part in rig.missing))
        layout.prop(settings, "head")
        if setup.armature is not None or setup.head is not None:
            sources = face_sources(setup.armature, setup.head, rig)
            count = sum(bool(source) for source in sources.values())
            row = layout.row(align=True)
            row.label(text=f"{count}/{len(FACE_POINTS)} Face", icon="CHECKMARK" if count == len(FACE_POINTS) else "INFO")
            row.operator("likeness.place_points", text="Place", icon="CURSOR")
            if "empty" in sources.values():
                row.operator("likeness.remove_points", text="", icon="X")
            if count < len(FACE_POINTS) and setup.armature is not None:
                layout.label(text="The others are estimated.")


class LIKENESS_PT_shot(SidePanel, bpy.types.Panel):
    """What the camera sends along."""

    bl_label = "Shot"

    def draw(self, context: Any) -> None:
        """Camera, size, the four guides, preview."""
        layout, settings = self.layout, context.scene.likeness
        layout.prop(settings, "camera")
        layout.prop(settings, "size")
        if settings.size == "CUSTOM":
            row = layout.row(align=True)
            row.prop(settings, "width")
            row.prop(settings, "height")
        for name in ("skeleton", "depth", "normals", "face"):
            row = layout.row(align=True)
            row.prop(settings, f"use_{name}", text="")
            slider = row.row()
            slider.enabled = getattr(settings, f"use_{name}")
            slider.prop(settings, name, slider=True)
        layout.operator("likeness.preview_maps", icon="HIDE_OFF")
        grid = layout.grid_flow(columns=2, even_columns=True)
        for image in bpy.data.images:
            if MAP in image and (preview := image.preview) is not None:
                thumbnail(grid, preview.icon_id, 4.0)


class LIKENESS_PT_prompt(SidePanel, bpy.types.Panel):
    """What is asked for, and the buttons."""

    bl_label = "Picture"

    def draw(self, context: Any) -> None:
        """Prompt, seed, count, what the buttons take, and what is under way."""
        layout, settings, presenter = self.layout, context.scene.likeness, session().presenter
        column = layout.column(align=True)
        column.prop(settings, "prompt", text="", placeholder="Prompt")
        column.prop(settings, "negative", text="", placeholder="Not")
        row = layout.row(align=True)
        row.prop(settings, "seed")
        row.prop(settings, "seed_locked", text="", icon="LOCKED" if settings.seed_locked else "UNLOCKED")
        layout.prop(settings, "count")
        layout.prop(settings, "batch")
        if settings.batch == "FRAMES":
            row = layout.row(align=True)
            for name in ("first", "last", "step"):
                row.prop(settings, name)
        if presenter.why_not:
            sentence(layout, presenter.why_not, "INFO")
        row = layout.row()
        row.scale_y = 1.4
        row.operator("likeness.portrait", icon="USER")
        layout.operator("likeness.texture", icon="TEXTURE")
        # Below the buttons, which stay where they are under the pointer.
        progress = presenter.progress
        if progress is not None:
            row = layout.row(align=True)
            more = f" (+{progress.waiting})" if progress.waiting else ""
            row.progress(factor=progress.share, text=progress.words + more)
            row.operator("likeness.cancel", text="", icon="CANCEL")
        if presenter.preview is not None:
            thumbnail(layout, _plane_icon(presenter.preview), 6.0)


class LIKENESS_PT_repaint(SidePanel, bpy.types.Panel):
    """A render, changed."""

    bl_label = "Repaint"
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        """Which picture, which part, how much."""
        layout, settings = self.layout, context.scene.likeness
        layout.prop(settings, "source")
        if settings.source == "IMAGE":
            layout.prop(settings, "image")
        layout.prop(settings, "area")
        if settings.area != "ALL":
            layout.prop(settings, "grow")
        layout.prop(settings, "strength", slider=True)
        layout.operator("likeness.repaint", icon="BRUSH_DATA")


class LIKENESS_PT_advanced(SidePanel, bpy.types.Panel):
    """What is seldom changed."""

    bl_label = "Advanced"
    bl_options: ClassVar[set[str]] = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        """Model, steps, guidance."""
        layout, settings = self.layout, context.scene.likeness
        layout.prop(settings, "model")
        model = session().presenter.model(settings.model)
        if model is not None:
            layout.label(text=f"{model.title}, {model.extent.width} × {model.extent.height}")
        layout.prop(settings, "steps")
        layout.prop(settings, "guidance_scale")


class LIKENESS_PT_results(SidePanel, bpy.types.Panel):
    """The finished pictures, best first."""

    bl_label = "Results"

    def draw(self, context: Any) -> None:
        """Thumbnails, and under each what can be done with it."""
        layout, found = self.layout, session().presenter.results
        if not found:
            layout.label(text="No pictures yet.")
        for result in found[:SHOWN]:
            self._result(layout.box(), result)
        if len(found) > SHOWN:
            layout.label(text=f"{len(found) - SHOWN} older ones are kept.")
        row = layout.row(align=True)
        row.operator("likeness.bake", icon="RENDER_RESULT")
        row.operator("likeness.unproject", text="", icon="X")

    def _result(self, box: Any, result: Result) -> None:
        thumbnail(box, _file_icon(result.path), 6.0)
        alike = "" if result.similarity is None else f"{result.similarity:.2f} alike · "
        box.label(text=f"{alike}seed {result.seed} · {result.shot}")
        row = box.row(align=True)
        buttons = (
            *(("card", "Card", "IMAGE_PLANE"), ("project", "Project", "MOD_UVPROJECT"), ("open", "", "IMAGE_DATA")),
            *(("save", "", "FILE_TICK"), ("reuse", "", "RECOVER_LAST"), ("discard", "", "TRASH")),
        )
        for name, text, icon in buttons:
            row.operator(f"likeness.{name}", text=text, icon=icon).key = result.key


def _file_icon(path: Path) -> int:
    return int(bpy.types.WindowManager.likeness_thumbnails.of_file(path))


def _plane_icon(plane: Plane) -> int:
    return int(bpy.types.WindowManager.likeness_thumbnails.of_plane(plane))


CLASSES = (
    LIKENESS_MT_characters,
    LIKENESS_MT_character,
    LIKENESS_PT_backend,
    LIKENESS_PT_character,
    LIKENESS_PT_rig,
    LIKENESS_PT_shot,
    LIKENESS_PT_prompt,
)
LATER = (LIKENESS_PT_repaint, LIKENESS_PT_advanced, LIKENESS_PT_results)
"""Below what other files put between them."""
