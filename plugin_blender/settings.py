"""What is kept in the .blend file for each scene, and the add-on's preferences.

Blender reads the annotations of these classes, so they are no strings: there is no `from __future__ import annotations` here.
"""

from collections.abc import Iterator
from typing import Any

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty

from .protocol.desk.loras import MOST
from .scene_shot import Setup
from .session import Session
from .wish import Kind, LoraRow, Wish

SIZES = (
    ("RENDER", "Render size", "The size that the scene renders"),
    ("MODEL", "Model's size", "The size that the model was trained for"),
    ("CUSTOM", "Own size", "Width and height in pixels"),
)
AREAS = (
    ("ALL", "Whole picture", "Everything changes a little, by the strength"),
    ("SELECTED", "Selected objects", "Only what shows the selected objects is painted anew"),
    ("HEAD", "Head", "Only what shows the head is painted anew"),
)
RENDERS = (
    ("LAST", "Last render", "The picture of the last F12"),
    ("FRESH", "New render", "Render the scene now, with its own settings"),
    ("IMAGE", "Image", "An image of this file"),
)
BATCHES = (
    ("ONE", "One picture", "What the camera sees now"),
    ("FRAMES", "Frames", "One for every so many frames of the range"),
    ("MARKERS", "Markers", "One for every marker of the timeline, with its camera"),
    ("CAMERAS", "Cameras", "One for each selected camera, or for all of them"),
)


def session() -> Session:
    """The one that `register` made."""
    found: Session = bpy.types.WindowManager.likeness_session
    return found


def _command_changed(self: Any, context: Any) -> None:
    session().presenter.command_changed()


def _characters(self: Any, context: Any, typed: str) -> Iterator[str]:
    return (card.name for card in session().presenter.characters)


def _models(self: Any, context: Any, typed: str) -> Iterator[str]:
    return (model.id for model in session().presenter.models)


def _is_rig(self: Any, thing: Any) -> bool:
    return thing.type == "ARMATURE"


def _is_mesh(self: Any, thing: Any) -> bool:
    return thing.type == "MESH"


def _is_camera(self: Any, thing: Any) -> bool:
    return thing.type == "CAMERA"


def _scale(name: str, default: float, description: str) -> Any:
    return FloatProperty(name=name, default=default, min=0.0, max=1.5, subtype="FACTOR", description=description)


class LikenessLora(bpy.types.PropertyGroup):
    """One LoRA of `scene.likeness.loras`; `name` is Blender's own property of every item."""

    weight: FloatProperty(
        name="Weight",
        default=1.0,
        min=-MOST,
        max=MOST,
        subtype="FACTOR",
        description="How strongly this LoRA acts: 0 not at all, 1 as it was trained, below 0 against that",
    )


class LikenessSettings(bpy.types.PropertyGroup):
    """`scene.likeness`."""

    character: StringProperty(name="Character", description="Whose face it is; empty: nobody's in particular", search=_characters)
    likeness: _scale("Likeness", 0.8, "How strongly the face is this person's")
    rig: PointerProperty(name="Rig", type=bpy.types.Object, poll=_is_rig, description="The armature whose pose is drawn")
    head: PointerProperty(name="Head", type=bpy.types.Object, poll=_is_mesh, description="The mesh of the head; empty: the rig's meshes")
    camera: PointerProperty(name="Camera", type=bpy.types.Object, poll=_is_camera, description="Empty: the scene's camera")
    size: EnumProperty(name="Size", items=SIZES)
    width: IntProperty(name="Width", default=832, min=64, max=4096, subtype="PIXEL")
    height: IntProperty(name="Height", default=1216, min=64, max=4096, subtype="PIXEL")
    use_skeleton: BoolProperty(name="Pose", default=True, description="The OpenPose skeleton of the rig")
    skeleton: _scale("Pose", 0.8, "Weight of the skeleton")
    use_depth: BoolProperty(name="Depth", default=True, description="How far everything is")
    depth: _scale("Depth", 0.45, "Weight of the depth map")
    use_normals: BoolProperty(name="Normals", default=False, description="Where surfaces look")
    normals: _scale("Normals", 0.4, "Weight of the normal map")
    use_face: BoolProperty(name="Face", default=True, description="The face's five points: where it is and how it is turned")
    face: _scale("Face", 0.8, "Weight of the face's points")
    prompt: StringProperty(name="Prompt", description="What the picture shows, in words")
    negative: StringProperty(name="Not", description="What it must not show; empty: the model's own")
    seed: IntProperty(name="Seed", default=0, min=0, max=2**31 - 65)
    seed_locked: BoolProperty(name="Keep the seed", default=False, description="Otherwise every press takes a new one")
    count: IntProperty(name="Pictures", default=2, min=1, max=16)
    strength: FloatProperty(name="Strength", default=0.6, min=0.05, max=1.0, subtype="FACTOR", description="How much a repaint changes")
    model: StringProperty(name="Model", description="Empty: the backend's first", search=_models)
    steps: IntProperty(name="Steps", default=0, min=0, max=1000, description="0: the model's own number")
    guidance_scale: FloatProperty(name="Guidance", default=0.0, min=0.0, max=30.0, description="0: the model's own")
    loras: CollectionProperty(type=LikenessLora)
    lora_index: IntProperty(name="LoRA", default=0, min=0)
    source: EnumProperty(name="Picture", items=RENDERS, description="What is repainted")
    image: PointerProperty(name="Image", type=bpy.types.Image)
    area: EnumProperty(name="Area", items=AREAS, description="What of it is repainted")
    grow: IntProperty(name="Grow", default=8, min=0, max=256, subtype="PIXEL", description="By how much the area is drawn out")
    batch: EnumProperty(name="Shots", items=BATCHES)
    first: IntProperty(name="First", default=1)
    last: IntProperty(name="Last", default=48)
    step: IntProperty(name="Every", default=8, min=1)


class LikenessPreferences(bpy.types.AddonPreferences):
    """Where the backend is."""

    bl_idname = __package__

    command: StringProperty(
        name="Backend command",
        description="The words that start the backend, when `likeness` is not on the PATH: /path/to/likeness serve --detach",
        update=_command_changed,
    )

    def draw(self, context: Any) -> None:
        """In Blender's preferences."""
        self.layout.prop(self, "command")
        self.layout.label(text="Empty: what LIKENESS_COMMAND says, or `likeness` on the PATH.")


def wish_of(settings: Any, kind: Kind) -> Wish:
    """What the panel says, with `use_…` taken into the weights."""
    guides = ("skeleton", "depth", "normals", "face")
    weights = {name: getattr(settings, name) if getattr(settings, f"use_{name}") else 0.0 for name in guides}
    same = ("prompt", "negative", "character", "likeness", "strength", "seed", "count", "model", "steps", "guidance_scale")
    return Wish(kind).changed(**weights, loras=rows_of(settings), **{name: getattr(settings, name) for name in same})


def rows_of(settings: Any) -> tuple[LoraRow, ...]:
    """The LoRAs of the list."""
    return tuple(LoraRow(one.name, one.weight) for one in settings.loras if one.name)


def put_rows(settings: Any, rows: tuple[LoraRow, ...]) -> None:
    """Show these LoRAs in the list."""
    settings.loras.clear()
    for row in rows:
        one = settings.loras.add()
        one.name, one.weight = row.name, row.weight
    settings.lora_index = min(settings.lora_index, max(0, len(rows) - 1))


def put_wish(settings: Any, wish: Wish) -> None:
    """A result's seed and settings into the panel; the seed stays from now on."""
    for name in ("prompt", "negative", "character", "likeness", "strength", "seed", "model", "steps", "guidance_scale"):
        setattr(settings, name, getattr(wish, name))
    for name in ("skeleton", "depth", "normals", "face"):
        setattr(settings, f"use_{name}", getattr(wish, name) > 0)
        if getattr(wish, name) > 0:
            setattr(settings, name, getattr(wish, name))
    put_rows(settings, wish.lora_rows)
    settings.seed_locked = True


def setup_of(scene: Any) -> Setup:
    """What the panel chooses of the scene. Objects that were deleted from it do not count, though Blender still has them."""
    settings = scene.likeness

    def there(thing: Any) -> Any:
        return thing if thing is not None and scene.objects.get(thing.name) == thing else None

    return Setup(there(settings.camera), there(settings.rig), there(settings.head), _size(settings))


def _size(settings: Any) -> tuple[int, int] | None:
    match settings.size:
        case "CUSTOM":
            return settings.width, settings.height
        case "MODEL":
            model = session().presenter.model(settings.model)
            return (model.extent.width, model.extent.height) if model else None
        case _:
            return None
