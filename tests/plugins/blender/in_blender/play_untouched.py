"""A scene full of what a careless map render breaks: a compositor, an animation, a frame, colours, handlers, a half-posed rig."""

import hashlib
import math
import tempfile
from pathlib import Path

import bpy
import stage
from everything import lines

from plugin_blender import scene_maps
from plugin_blender.scene import SceneProblem, camera_of, figure_of
from plugin_blender.scene_maps import render_surfaces

HEARD = []


def heard(*_words):
    HEARD.append(1)


def a_busy_scene():
    stage.empty()
    scene = bpy.context.scene
    rig = stage.metarig()
    rig.pose.bones["upper_arm.L"].rotation_mode = "XYZ"
    for frame, degrees in ((1, 0), (40, -60)):
        rig.pose.bones["upper_arm.L"].rotation_euler.z = math.radians(degrees)
        rig.pose.bones["upper_arm.L"].keyframe_insert("rotation_euler", frame=frame)
    bpy.ops.mesh.primitive_cube_add(size=0.3, location=(0.3, 0, 1.2))
    bpy.context.object.parent = rig
    bpy.context.object.data.materials.append(bpy.data.materials.new("Skin"))
    driver = bpy.context.object.driver_add("location", 2).driver
    driver.expression = "1 + frame / 100"
    curve = stage.linked("Curve", bpy.data.curves.new("Text", "FONT"))
    curve.data.body = "A"
    made = stage.camera((0, -4, 1.1), 300, 200, lens=60.0)
    made.data.dof.use_dof = True
    made.keyframe_insert("location", frame=1)
    second = bpy.data.scenes.new("Second")
    second.collection.objects.link(made)
    scene.frame_set(17, subframe=0.25)
    rig.pose.bones["forearm.L"].rotation_mode = "XYZ"
    rig.pose.bones["forearm.L"].rotation_euler.x = 0.7  # posed, not keyed
    render = scene.render
    render.engine, render.filepath = "BLENDER_WORKBENCH", "//mine-"
    render.resolution_percentage, render.use_border, render.film_transparent = 50, True, False
    scene.view_settings.view_transform, scene.view_settings.exposure, scene.view_settings.gamma = "Standard", 0.7, 1.2
    scene.view_layers[0].material_override = bpy.data.materials.new("Mine")
    scene.view_layers.new("Another")
    a_compositor(scene)
    scene.timeline_markers.new("here", frame=9)
    scene["note"] = "keep"
    for name in ("render_pre", "render_complete", "frame_change_post", "depsgraph_update_post"):
        getattr(bpy.app.handlers, name).append(heard)
    return scene, rig


def a_compositor(scene):
    """From 5.0 on the tree is a datablock of its own."""
    if hasattr(scene, "compositing_node_group"):
        tree = bpy.data.node_groups.new("Compositor", "CompositorNodeTree")
        scene.compositing_node_group = tree
    else:
        scene.use_nodes = True
        tree = scene.node_tree
    tree.nodes.new("CompositorNodeBlur").location = (100, 200)


def temporary():
    return sorted(path.name for path in Path(tempfile.gettempdir()).glob("likeness-*"))


scene, rig = a_busy_scene()
graph = stage.depsgraph()
lines()  # looking at a mesh for the first time lays out its numbers
HEARD.clear()
before, files = lines(), temporary()
figure = figure_of(scene, graph, camera_of(scene, graph, size=(64, 64)), rig)
surfaces = render_surfaces(scene, graph, camera_of(scene, graph, size=(64, 64)), normals=True)
after, left = lines(), temporary()
noise = len(HEARD)

# When Blender cannot write, or stops half-way, everything is as before, too.
again = []
render = scene_maps._render


def breaks(*words):
    render(*words)
    raise SceneProblem("broken by the test")


scene_maps._render = breaks
try:
    render_surfaces(scene, stage.depsgraph(), camera_of(scene, graph, size=(32, 32)))
except SceneProblem as problem:
    again = [str(problem)]
scene_maps._render = render
after_breaking = lines()

# The unsafe twin: a map render as it is often done, which the same list must see.
scene.render.engine, scene.frame_current = "CYCLES", 1
careless = lines()

bpy.app.handlers.render_pre.clear()
for name in ("render_complete", "frame_change_post", "depsgraph_update_post"):
    getattr(bpy.app.handlers, name).clear()


def difference(one, other):
    return sorted(set(one) ^ set(other))[:500]


stage.answer(
    before=hashlib.sha256("\n".join(before).encode()).hexdigest(),
    after=hashlib.sha256("\n".join(after).encode()).hexdigest(),
    count=len(before),
    difference=difference(before, after),
    difference_after_breaking=difference(before, after_breaking),
    broken=again,
    careless=difference(before, careless),
    files=sorted(set(left) - set(files)),
    heard=noise,
    covered=float(surfaces.covered.mean()),
    seen=sum(place is not None for place in figure.skeleton),
)
