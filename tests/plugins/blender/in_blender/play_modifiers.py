"""Projections onto meshes that modifiers, bones and shape keys change; onto what moved since."""

import math

import bpy
import portrait
import stage
from portrait import SIZE, begin, picture, seen

from plugin_blender.scene_project import look, project, project_now

kept, told = {"picture": {"pixels": portrait.grid(*SIZE)}}, {}


def put(thing):
    scene, graph, camera = seen()
    return project_now(scene, graph, camera, [thing], picture()).shift


def subdivided(thing):
    made = thing.modifiers.new("Subdivision", "SUBSURF")
    made.levels, made.render_levels = 2, 3


def waved(thing):
    made = thing.modifiers.new("Wave", "SIMPLE_DEFORM")
    made.deform_method, made.angle, made.deform_axis = "TWIST", 0.6, "Z"


def keyed(thing):
    thing.shape_key_add(name="Basis")
    key = thing.shape_key_add(name="Wide")
    for point in key.data:
        point.co.x *= 1.3
    key.value = 0.8


def posed(thing, degrees=25):
    """A bone that turns the head, with the weights that every importer makes."""
    rig = stage.linked("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    stage.bone(rig, "head", (0, 0, -0.12), (0, 0, 0.1))
    bpy.ops.object.mode_set(mode="OBJECT")
    thing.vertex_groups.new(name="head").add(range(len(thing.data.vertices)), 1.0, "REPLACE")
    thing.modifiers.new("Armature", "ARMATURE").object = rig
    turn(rig, degrees)
    return rig


def turn(rig, degrees):
    pose = rig.pose.bones["head"]
    pose.rotation_mode = "XYZ"
    pose.rotation_euler = (0, math.radians(degrees), 0)


KINDS = {
    "twisted": ((48, 32), [waved]),
    "shape keys": ((48, 32), [keyed]),
    "posed": ((48, 32), [posed]),
    "subdivided": ((20, 14), [subdivided]),
    "posed, then subdivided": ((20, 14), [posed, subdivided]),
    "subdivided, then twisted": ((20, 14), [subdivided, waved]),
    "thickened": ((48, 32), [lambda thing: setattr(thing.modifiers.new("Solidify", "SOLIDIFY"), "thickness", 0.004)]),
    "triangulated": ((48, 32), [lambda thing: thing.modifiers.new("Triangulate", "TRIANGULATE")]),
}
told["shifts"] = {}
for name, (detail, changes) in KINDS.items():
    begin()
    head = portrait.head(*detail)
    portrait.shining(head)
    for change in changes:
        change(head)
    told["shifts"][name] = put(head)
    kept[name] = {"after": portrait.rendered(name)}

# What comes back later: the pose has changed, the object was renamed, and the picture still belongs to the pose it was made for.
begin()
head = portrait.head(48, 32)
portrait.shining(head)
rig = posed(head, 0)
scene, graph, camera = seen()
view = look(scene, graph, camera, [head])
turn(rig, 40)
head.name = "Renamed"
stage.depsgraph()
told["later"] = project(view, picture(), graph).objects
kept["later, turned"] = {"after": portrait.rendered("turned")}
turn(rig, 0)
kept["later"] = {"after": portrait.rendered("later")}

for name, arrays in kept.items():
    stage.save(name, **arrays)
stage.answer(**told)
