"""The saved characters' buttons. Blender reads these annotations, so they are no strings."""

from pathlib import Path
from typing import Any, ClassVar

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, IntProperty, StringProperty

from . import scene_actions
from .protocol.errors import InvalidRequest
from .protocol.limits import PHOTOS
from .settings import session
from .ui_operators import Answer, told


def _connected(cls: Any, context: Any) -> bool:
    if not session().presenter.connected:
        cls.poll_message_set("The backend is not connected. It keeps the characters.")
        return False
    return True


class _NeedsBackend:
    @classmethod
    def poll(cls, context: Any) -> bool:
        """The characters are kept by the backend."""
        return _connected(cls, context)


class _NeedsCharacter:
    @classmethod
    def poll(cls, context: Any) -> bool:
        """The backend keeps the characters, and one must be chosen."""
        if not _connected(cls, context):
            return False
        if not context.scene.likeness.character:
            cls.poll_message_set("No character is chosen. Choose one in the panel.")
            return False
        return True


class LIKENESS_OT_character_pick(bpy.types.Operator):
    """Draw this person"""

    bl_idname = "likeness.character_pick"
    bl_label = "Character"
    bl_options: ClassVar[Answer] = {"REGISTER", "UNDO"}

    name: StringProperty(name="Name", description="Empty: nobody in particular")

    def execute(self, context: Any) -> Answer:
        """Choose it."""
        context.scene.likeness.character = self.name
        return {"FINISHED"}


class LIKENESS_OT_character_new(_NeedsBackend, bpy.types.Operator):
    """A new character from one or more photos of a person"""

    bl_idname = "likeness.character_new"
    bl_label = "New Character"
    bl_options: ClassVar[Answer] = {"UNDO"}  # it is chosen in the panel, and stays so when what comes after is undone

    name: StringProperty(name="Name", description="Empty: the first file's", options={"SKIP_SAVE"})
    face: IntProperty(name="Face", min=0, max=127, description="Where a photo shows several: 0 is the largest", options={"SKIP_SAVE"})
    replace: BoolProperty(name="Replace", description="A character of that name", options={"SKIP_SAVE"})
    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    directory: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE"})
    filter_image: BoolProperty(default=True, options={"HIDDEN"})
    filter_folder: BoolProperty(default=True, options={"HIDDEN"})
    display_type: EnumProperty(items=[("THUMBNAIL", "Thumbnails", "", 3)], options={"HIDDEN"})  # what Blender calls its pictures of files

    def invoke(self, context: Any, event: Any) -> Answer:
        """Ask for the files."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Any) -> Answer:
        """Send the photos; the character is in the list when the backend has read the face."""
        return told(self, lambda: self._make(context))

    def _make(self, context: Any) -> None:
        paths = [str(Path(self.directory) / one.name) for one in self.files if one.name] or [self.filepath]
        if not paths[0] or Path(bpy.path.abspath(paths[0])).is_dir():  # what the file browser gives when nothing is chosen in it
            raise InvalidRequest("No file is chosen. Choose one or more photos.")
        name = self.name or Path(paths[0]).stem
        photos = [scene_actions.photo_of_file(path) for path in paths[: PHOTOS + 1]]
        session().presenter.people.make(name, photos, self.face, self.replace, context.scene.likeness.model)
        context.scene.likeness.character = name


class LIKENESS_OT_character_from_image(_NeedsBackend, bpy.types.Operator):
    """A new character from an image of this file"""

    bl_idname = "likeness.character_from_image"
    bl_label = "New Character from Image"
    bl_options: ClassVar[Answer] = {"UNDO"}  # it is chosen in the panel, and stays so when what comes after is undone

    image: StringProperty(name="Image", options={"SKIP_SAVE"})
    name: StringProperty(name="Name", description="Empty: the image's", options={"SKIP_SAVE"})
    face: IntProperty(name="Face", min=0, max=127, description="Where the image shows several: 0 is the largest", options={"SKIP_SAVE"})
    replace: BoolProperty(name="Replace", description="A character of that name", options={"SKIP_SAVE"})

    def invoke(self, context: Any, event: Any) -> Answer:
        """Ask which."""
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, context: Any) -> None:
        """The dialog."""
        self.layout.prop_search(self, "image", bpy.data, "images")
        for name in ("name", "face", "replace"):
            self.layout.prop(self, name)

    def execute(self, context: Any) -> Answer:
        """Send it."""
        return told(self, lambda: self._make(context))

    def _make(self, context: Any) -> None:
        image = bpy.data.images.get(self.image)
        if image is None:
            raise InvalidRequest("No image is chosen. Choose one of this file.")
        name = self.name or Path(image.name).stem
        photos = [scene_actions.photo_of_image(image)]
        session().presenter.people.make(name, photos, self.face, self.replace, context.scene.likeness.model)
        context.scene.likeness.character = name


class LIKENESS_OT_character_rename(_NeedsCharacter, bpy.types.Operator):
    """Give this character another name, for Krita and scripts too"""

    bl_idname = "likeness.character_rename"
    bl_label = "Rename Character"

    new_name: StringProperty(name="New name", options={"SKIP_SAVE"})

    def invoke(self, context: Any, event: Any) -> Answer:
        """Ask for the name."""
        self.new_name = context.scene.likeness.character
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: Any) -> Answer:
        """Ask the backend to."""
        return told(self, lambda: session().presenter.people.rename(_chosen(context), self.new_name))


class LIKENESS_OT_character_delete(_NeedsCharacter, bpy.types.Operator):
    """Delete this character with its photos, for Krita and scripts too; this cannot be undone"""

    bl_idname = "likeness.character_delete"
    bl_label = "Delete Character"

    def invoke(self, context: Any, event: Any) -> Answer:
        """Ask once more."""
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: Any) -> Answer:
        """Ask the backend to."""
        return told(self, lambda: session().presenter.people.delete(_chosen(context)))


class LIKENESS_OT_character_export(_NeedsCharacter, bpy.types.Operator):
    """Write this character as one file, for another computer"""

    bl_idname = "likeness.character_export"
    bl_label = "Export Character"

    photos: BoolProperty(
        name="With its photos",
        description="Needed where no installed model has the recogniser that read them; the file then shows the person",
        options={"SKIP_SAVE"},
    )
    consent: StringProperty(name="Consent", description="What the person agreed to, for whoever imports the file", options={"SKIP_SAVE"})
    licence: StringProperty(name="Licence", description="How the character may be used", options={"SKIP_SAVE"})
    filepath: StringProperty(subtype="FILE_PATH")
    filter_glob: StringProperty(default="*.likeness", options={"HIDDEN"})

    def invoke(self, context: Any, event: Any) -> Answer:
        """Ask where."""
        self.filepath = bpy.path.clean_name(context.scene.likeness.character or "character") + ".likeness"
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Any) -> Answer:
        """Ask the backend for what it keeps; the file is there when the panel says so."""
        presenter, path = session().presenter, bpy.path.abspath(self.filepath)
        return told(self, lambda: presenter.export_character(_chosen(context), path, self.photos, self.consent, self.licence))


class LIKENESS_OT_character_import(_NeedsBackend, bpy.types.Operator):
    """Make a character from a file that Likeness exported"""

    bl_idname = "likeness.character_import"
    bl_label = "Import Character"

    name: StringProperty(name="Name", description="Empty: as in the file", options={"SKIP_SAVE"})
    replace: BoolProperty(name="Replace", description="A character of that name", options={"SKIP_SAVE"})
    filepath: StringProperty(subtype="FILE_PATH")
    filter_glob: StringProperty(default="*.likeness;*.zip", options={"HIDDEN"})

    def invoke(self, context: Any, event: Any) -> Answer:
        """Ask which."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: Any) -> Answer:
        """Read it; the character is in the list when the backend has it."""
        presenter = session().presenter
        return told(self, lambda: presenter.import_character(bpy.path.abspath(self.filepath), self.name, self.replace))


def _chosen(context: Any) -> str:
    name: str = context.scene.likeness.character
    if not name:
        raise InvalidRequest("No character is chosen. Choose one in the panel.")
    return name


CLASSES = (
    LIKENESS_OT_character_pick,
    LIKENESS_OT_character_new,
    LIKENESS_OT_character_from_image,
    LIKENESS_OT_character_rename,
    LIKENESS_OT_character_delete,
    LIKENESS_OT_character_export,
    LIKENESS_OT_character_import,
)
