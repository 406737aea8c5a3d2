"""What every scene played in Blender needs: the add-on's source, an empty file, a camera, an answer. In Blender's own Python."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

FOLDER = Path(sys.argv[1])
os.environ["BLENDER_USER_RESOURCES"] = str(FOLDER / "resources")  # before the import: nothing of the user's own Blender is read or written
ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT))

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view


def empty() -> None:
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    import addon_utils

    if not addon_utils.check("cycles")[1]:
        addon_utils.enable("cycles")
    bpy.context.scene.render.threads_mode = "FIXED"
    bpy.context.scene.render.threads = 1


def linked(name, data=None):
    made = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(made)
    return made


def camera(place=(0.0, -3.0, 1.2), width=256, height=256, **lens):
    """A camera that looks along +y."""
    made = linked("Camera", bpy.data.cameras.new("Camera"))
    made.location, made.rotation_euler = place, (math.pi / 2, 0, 0)
    for name, value in lens.items():
        setattr(made.data, name, value)
    scene = bpy.context.scene
    scene.camera = made
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = width, height, 100
    return made


def metarig():
    import addon_utils

    addon_utils.enable("rigify", default_set=True)
    bpy.ops.object.armature_human_metarig_add()
    return bpy.context.object


def bone(armature, name, head, tail, parent=None):
    """Only in edit mode."""
    made = armature.data.edit_bones.new(name)
    made.head, made.tail, made.parent = head, tail, parent
    return made


def depsgraph():
    bpy.context.view_layer.update()
    return bpy.context.evaluated_depsgraph_get()


def blender_says(place):
    """Blender's own projection, in pixels from the upper left corner."""
    scene = bpy.context.scene
    share = scene.render.resolution_percentage / 100
    width, height = int(scene.render.resolution_x * share), int(scene.render.resolution_y * share)
    seen = world_to_camera_view(scene, scene.camera, place)
    return [seen.x * width, (1 - seen.y) * height, seen.z]


def save(name: str, **arrays) -> None:
    np.savez(FOLDER / f"{name}.npz", **arrays)


def answer(**words) -> None:
    """The end of a scene. Blender 4.5 hangs when a class is still registered at exit, so it is left at once."""
    (FOLDER / "answer.json").write_text(json.dumps({"version": bpy.app.version_string, **words}), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)
