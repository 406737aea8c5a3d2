"""A head that turns: its five points from bones, vertex groups, empties and estimates, and which of them are seen."""

import bpy
import stage
from mannequin import a_person, turn

from plugin_blender.bones import FACE_POINTS
from plugin_blender.drawing import draw_face_keypoints, draw_skeleton
from plugin_blender.scene import CORRECTIONS, camera_of, figure_of, forget_correction, put_right, rig_of

TURNS = (0, 25, -50, 90, -90, 180)


def turned(rig, degrees):
    graph = turn(rig, degrees)
    return figure_of(bpy.context.scene, graph, camera_of(bpy.context.scene, graph), rig)


told, drawn = {}, {}
for face in ("bone", "group", "empty", "estimate"):
    rig, head = a_person(face)
    told[face] = {}
    for degrees in TURNS:
        figure = turned(rig, degrees)
        told[face][degrees] = {
            "bits": figure.bits,
            "sources": [mark.source for mark in figure.face],
            "points": [[mark.x, mark.y] for mark in figure.face],
            "keypoints": len(figure.keypoints),
            "why": figure.why_no_face,
            "head": [figure.skeleton[joint] is not None for joint in (0, 14, 15, 16, 17)],
        }
        if face == "group" and figure.keypoints:
            drawn[f"face{degrees}"] = draw_face_keypoints([(point.x, point.y) for point in figure.keypoints], 256, 256)
        if face == "group":
            drawn[f"skeleton{degrees}"] = draw_skeleton(figure.skeleton, 256, 256)

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
