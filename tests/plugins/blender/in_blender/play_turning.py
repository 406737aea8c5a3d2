"""A head that turns: its five points from bones, vertex groups, empties and estimates, and which of them are seen."""

import math

import bpy
import stage
from mathutils import Matrix, Vector

from plugin_blender.bones import FACE_POINTS, Spot
from plugin_blender.drawing import draw_face_keypoints, draw_skeleton
from plugin_blender.scene import CORRECTIONS, FACE_NAMES, camera_of, figure_of, forget_correction, put_right, rig_of

TURNS = (0, 25, -50, 90, -90, 180)
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


def turned(rig, degrees):
    pose = rig.pose.bones["head"]
    pose.rotation_mode = "XYZ"
    pose.rotation_euler = (0, math.radians(degrees), 0)
    graph = stage.depsgraph()
    return figure_of(bpy.context.scene, graph, camera_of(bpy.context.scene, graph), rig)


told, drawn = {}, {}
for face in ("bone", "group", "empty", "estimate"):
    rig, head = a_person(face)
    told[face] = {}
    for turn in TURNS:
        figure = turned(rig, turn)
        told[face][turn] = {
            "bits": figure.bits,
            "sources": [mark.source for mark in figure.face],
            "points": [[mark.x, mark.y] for mark in figure.face],
            "keypoints": len(figure.keypoints),
            "why": figure.why_no_face,
            "head": [figure.skeleton[joint] is not None for joint in (0, 14, 15, 16, 17)],
        }
        if face == "group" and figure.keypoints:
            drawn[f"face{turn}"] = draw_face_keypoints([(point.x, point.y) for point in figure.keypoints], 256, 256)
        if face == "group":
            drawn[f"skeleton{turn}"] = draw_skeleton(figure.skeleton, 256, 256)

rig, head = a_person("group")
plain = turned(rig, 0)
subdivided = head.modifiers.new("Subdivision", "SUBSURF")
subdivided.levels = 1
head.modifiers.move(1, 0)
smooth = turned(rig, 0)

bpy.ops.mesh.primitive_cube_add(size=0.05, location=(-0.032, -0.5, 1.665))
covered = turned(rig, 0).bits
bpy.context.object.hide_render = True
hidden = turned(rig, 0).bits

graph = stage.depsgraph()
without_rig = figure_of(bpy.context.scene, graph, camera_of(bpy.context.scene, graph), None, head)

put_right(rig, "nose", None)
left_out = turned(rig, 0)
kept = rig[CORRECTIONS]
forget_correction(rig, "nose")

stage.save("drawn", **drawn)
stage.answer(
    told=told,
    moved=max(abs(a.x - b.x) + abs(a.y - b.y) for a, b in zip(plain.face, smooth.face, strict=True)),
    covered=covered,
    hidden=hidden,
    without_rig={"bits": without_rig.bits, "joints": [mark is not None for mark in without_rig.joints]},
    left_out={"why": left_out.why_no_face, "kept": kept, "forgotten": CORRECTIONS not in rig},
    found=list(rig_of(rig).found),
    order=list(FACE_POINTS),
)
