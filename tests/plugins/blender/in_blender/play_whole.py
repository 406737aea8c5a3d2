"""The whole way: the add-on starts the real backend, makes a character, and a posed head becomes portraits, a card, a texture."""

import json
import math
import os
import sys
from pathlib import Path

import bpy
import numpy as np
import stage
from mathutils import Matrix, Vector

PLAN = json.loads(Path(os.environ["LIKENESS_TEST_PLAN"]).read_text(encoding="utf-8"))
stage.empty()

import portrait as studio

import plugin_blender
from plugin_blender import scripting
from plugin_blender.bones import FACE_POINTS
from plugin_blender.scene import FACE_NAMES, camera_of, figure_of

UNIT = 0.12
"""Half a face's height in metres; the plan's numbers are in these units, x to the viewer's right, y down, z to the viewer."""
HEIGHT = 1.65


def in_the_world(point):
    x, y, z = point
    return Vector((x * UNIT, -z * UNIT, HEIGHT - y * UNIT))


def a_person():
    """A head of the size and with the five points of the people that the built-in model knows, turned by one bone."""
    rig = stage.linked("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    stage.bone(rig, "head", (0, 0, HEIGHT), (0, 0, HEIGHT + UNIT))
    for side, sign in (("_l", 1), ("_r", -1)):
        stage.bone(rig, "upperarm" + side, (0.17 * sign, 0, 1.42), (0.42 * sign, 0, 1.3))
        stage.bone(rig, "thigh" + side, (0.09 * sign, 0, 0.95), (0.09 * sign, 0, 0.5))
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.mesh.primitive_uv_sphere_add(segments=96, ring_count=64, radius=1.0)
    head = bpy.context.object
    head.name = "Head"
    across, up, deep = PLAN["radii"]
    places = np.array([vertex.co for vertex in head.data.vertices]) * np.array([across, deep, up]) * UNIT + np.array([0, 0, HEIGHT])
    head.data.vertices.foreach_set("co", places.astype(np.float32).ravel())
    head.data.update()
    head.vertex_groups.new(name="head").add(range(len(head.data.vertices)), 1.0, "REPLACE")
    moved = head.modifiers.new("Armature", "ARMATURE")
    moved.object = rig
    for part, place in zip(FACE_POINTS, PLAN["points"], strict=True):
        empty = stage.linked(FACE_NAMES[part])
        empty.parent, empty.parent_type, empty.parent_bone = rig, "BONE", "head"
        bpy.context.view_layer.update()
        empty.matrix_world = Matrix.Translation(in_the_world(place))
    return rig, head


def pose(rig, yaw, pitch, roll):
    """Degrees, as in the drawn world: to the viewer's right, down, clockwise."""
    bone = rig.pose.bones["head"]
    turn = (
        Matrix.Rotation(math.radians(roll), 4, "Y")
        @ Matrix.Rotation(math.radians(pitch), 4, "X")
        @ Matrix.Rotation(math.radians(yaw), 4, "Z")
    )
    rest = bone.bone.matrix_local
    around = Matrix.Translation((0, 0, HEIGHT))
    bone.matrix = around @ turn @ around.inverted() @ rest
    stage.depsgraph()


plugin_blender.register()
rig, head = a_person()
camera = stage.camera((0, -2, HEIGHT), PLAN["side"], PLAN["side"], type="ORTHO", ortho_scale=UNIT / PLAN["scale"])
settings = bpy.context.scene.likeness
settings.rig, settings.head, settings.prompt = rig, head, PLAN["prompt"]
scripting.start_backend(PLAN["patience"])
models = [model.id for model in bpy.types.WindowManager.likeness_session.presenter.models]
scripting.character(PLAN["name"], PLAN["photos"], timeout_s=PLAN["patience"])
told, best = {}, {}
settings.seed, settings.count = PLAN["seed"], 2
for name, turn in PLAN["poses"].items():
    pose(rig, *turn)
    graph = stage.depsgraph()
    figure = figure_of(bpy.context.scene, graph, camera_of(bpy.context.scene, graph), rig, head)
    if name == "front":  # as the README has it; installed, the add-on has this name
        sys.modules["bl_ext.user_default.likeness"] = plugin_blender
        exec(PLAN["readme"], {})
    else:
        bpy.ops.likeness.portrait(character=PLAN["name"], seed=PLAN["seed"], count=1, wait=True, timeout_s=PLAN["patience"])
    results = bpy.types.WindowManager.likeness_session.presenter.results[: 2 if name == "front" else 1]
    best[name] = results[0]
    told[name] = {
        "asked": [[mark.x, mark.y] for mark in figure.face],
        "bits": figure.bits,
        "pictures": [str(one.path) for one in results],
        "similarities": [one.similarity for one in results],
    }

# The portrait from the front as a card behind the head, and then a texture on the head itself; each rendered from the same camera.
pose(rig, 0, 0, 0)
[card] = (one for one in bpy.data.objects if "likeness_card" in one)
studio.plain()
head.hide_render = True
studio.rendered("card")
bpy.data.objects.remove(card)
head.hide_render = False
head.select_set(True)
texture = scripting.texture(character=PLAN["name"], seed=PLAN["seed"], count=1, timeout_s=PLAN["patience"])[0]
scripting.project(texture)
studio.rendered("texture")
pose(rig, 15, 0, 0)
studio.rendered("texture-turned")
plugin_blender.unregister()
stage.answer(told=told, models=models, card=str(best["front"].path), texture=str(texture.path))
