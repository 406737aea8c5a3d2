"""Cameras of every kind, and the posed human meta-rig, in our pixels and in Blender's own."""

import itertools
import math

import bpy
import numpy as np
import stage
from mathutils import Vector

from plugin_blender.scene import camera_of, figure_of, rig_of

KINDS = {
    "plain": {},
    "portrait": {"size": (208, 304)},
    "landscape": {"size": (304, 208)},
    "percentage": {"size": (512, 300), "percentage": 50},
    "shift": {"shift_x": 0.21, "shift_y": -0.13},
    "shift of a portrait": {"size": (208, 304), "shift_x": -0.3, "shift_y": 0.12},
    "vertical fit": {"size": (304, 208), "sensor_fit": "VERTICAL", "sensor_height": 19.0, "shift_x": 0.1},
    "horizontal fit": {"size": (208, 304), "sensor_fit": "HORIZONTAL", "sensor_width": 23.0},
    "wide pixels": {"size": (200, 210), "aspect": (2.0, 1.0), "shift_y": 0.1},
    "tall pixels": {"size": (300, 200), "aspect": (1.0, 1.7), "shift_x": 0.1},
    "orthographic": {"type": "ORTHO", "ortho_scale": 3.3},
    "orthographic, portrait, shifted": {"type": "ORTHO", "ortho_scale": 2.7, "size": (208, 304), "shift_x": 0.2, "shift_y": -0.1},
    "orthographic, vertical fit, tall pixels": {"type": "ORTHO", "sensor_fit": "VERTICAL", "size": (300, 200), "aspect": (1.0, 1.7)},
    "scaled and turned": {"scale": (2.0, 0.5, 3.0), "roll": 0.7},
    "under a parent": {"parent": True},
}
PLACES = [Vector(place) for place in itertools.product((-0.7, 0.3), (-0.4, 0.8), (0.4, 1.9))]


def a_camera(size=(256, 256), percentage=100, aspect=(1.0, 1.0), scale=(1, 1, 1), roll=0.0, parent=False, **lens):
    made = stage.camera((0.4, -4.0, 1.0), *size, **lens)
    made.rotation_euler.rotate_axis("Z", roll)
    made.rotation_euler.rotate_axis("Y", 0.08)
    made.scale = scale
    render = bpy.context.scene.render
    render.resolution_percentage, render.pixel_aspect_x, render.pixel_aspect_y = percentage, *aspect
    if parent:
        made.parent = stage.linked("Parent")
        made.parent.location, made.parent.rotation_euler, made.parent.scale = (0.3, 0.2, 0.1), (0.1, 0.05, 0.2), (1.5, 1.5, 1.5)
    return made


def apart(place, start, way):
    """How far a place is from a ray."""
    return float(np.linalg.norm(place - start - ((place - start) @ way) * way))


differences, back = {}, {}
for name, kind in KINDS.items():
    stage.empty()
    a_camera(**kind)
    seen = camera_of(bpy.context.scene, stage.depsgraph())
    ours = seen.project([tuple(place) for place in PLACES])
    theirs = [stage.blender_says(place) for place in PLACES]
    differences[name] = max(abs(a - b) for one, other in zip(ours.tolist(), theirs, strict=True) for a, b in zip(one, other, strict=True))
    back[name] = max(apart(np.array(place), *ray) for place, ray in zip(PLACES, zip(*seen.rays(ours[:, :2]), strict=True), strict=True))

stage.empty()
rig = stage.metarig()
stage.camera((0.5, -4.5, 1.05), 256, 384, lens=45.0)
rig.location, rig.rotation_euler, rig.scale = (0.2, 0.3, -0.1), (0, 0, 0.3), (0.9, 0.9, 0.9)
for name, axis, degrees in (("upper_arm.L", 2, -60), ("forearm.L", 0, -50), ("thigh.R", 0, -40), ("shin.R", 0, 60), ("spine.006", 1, 30)):
    posed = rig.pose.bones[name]
    posed.rotation_mode = "XYZ"
    posed.rotation_euler[axis] = math.radians(degrees)
graph = stage.depsgraph()
figure = figure_of(bpy.context.scene, graph, camera_of(bpy.context.scene, graph), rig)
found = rig_of(rig)
world = rig.evaluated_get(graph)
known = {}
for joint, spot in found.spots.items():
    pose = world.pose.bones[spot.bone]
    known[joint] = stage.blender_says(world.matrix_world @ (pose.head + (pose.tail - pose.head) * spot.along))
left, right = (world.matrix_world @ world.pose.bones[f"upper_arm.{side}"].head for side in "LR")
known["neck"] = stage.blender_says((left + right) / 2)
stage.answer(
    differences=differences,
    back=back,
    found=list(found.found),
    family=found.family,
    joints=[mark and [mark.x, mark.y, mark.depth, mark.seen, mark.source] for mark in figure.joints],
    known=known,
    skeleton=figure.skeleton,
    bones=len(rig.data.bones),
    names=[bone.name for bone in rig.data.bones],
)
