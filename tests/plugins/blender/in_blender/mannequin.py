"""A mannequin's bones and an ellipsoid for a head, whose face is marked in each of the ways that there are."""

from __future__ import annotations

import math

import bpy
import stage
from mathutils import Matrix, Vector

from plugin_blender.bones import Spot
from plugin_blender.scene import FACE_NAMES, put_right

# A head of 24 cm that looks along -y; the person's left is +x.
MARKS = {
    "left_eye": (0.032, -0.092, 1.67),
    "right_eye": (-0.032, -0.092, 1.67),
    "nose": (0, -0.125, 1.635),
    "left_mouth": (0.025, -0.09, 1.595),
    "right_mouth": (-0.025, -0.09, 1.595),
}
BODY = {"upperarm": ((0.17, 0, 1.42), (0.42, 0, 1.3)), "thigh": ((0.09, 0, 0.95), (0.09, 0, 0.5))}


def a_person(face):
    """A mannequin's bones, and an ellipsoid for a head; `face` says what marks its points."""
    stage.empty()
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=48, radius=0.12)
    head = bpy.context.object
    for vertex in head.data.vertices:
        vertex.co = (vertex.co.x * 0.75, vertex.co.y * 0.9, vertex.co.z + 1.65)
    rig = stage.linked("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    neck = stage.bone(rig, "head", (0, 0, 1.58), (0, 0, 1.77))
    for name, (start, end) in BODY.items():
        for side, sign in (("_l", 1), ("_r", -1)):
            stage.bone(rig, name + side, (sign * start[0], *start[1:]), (sign * end[0], *end[1:]))
    if face == "bone":
        for part, place in MARKS.items():
            stage.bone(rig, part, on_the_skin(head, place), Vector(place) + Vector((0, -0.02, 0)), neck)
    bpy.ops.object.mode_set(mode="OBJECT")
    moved = head.modifiers.new("Armature", "ARMATURE")
    moved.object, head.parent = rig, rig
    head.vertex_groups.new(name="head").add(range(len(head.data.vertices)), 1.0, "REPLACE")
    for part, place in MARKS.items():
        place = on_the_skin(head, place)
        if face == "bone":
            put_right(rig, part, Spot(part))
        if face == "group":
            nearest = min(head.data.vertices, key=lambda vertex: (vertex.co - place).length)
            head.vertex_groups.new(name=FACE_NAMES[part]).add([nearest.index], 1.0, "REPLACE")
        if face == "empty":
            empty = stage.linked(FACE_NAMES[part])
            empty.parent, empty.parent_type, empty.parent_bone = rig, "BONE", "head"
            bpy.context.view_layer.update()
            empty.matrix_world = Matrix.Translation(place)
    stage.camera((0, -1.2, 1.64), 256, 256, lens=85)
    return rig, head


def on_the_skin(head, place):
    """The nearest vertex, so that all sources mean the same place."""
    return min((vertex.co for vertex in head.data.vertices), key=lambda found: (found - Vector(place)).length).copy()


def turn(rig, degrees):
    """The head, to its side."""
    pose = rig.pose.bones["head"]
    pose.rotation_mode = "XYZ"
    pose.rotation_euler = (0, math.radians(degrees), 0)
    return stage.depsgraph()
