"""A picture projected onto a head, a cube and a wall: where it lands, where it does not, and what is there afterwards."""

import math

import bpy
import numpy as np
import portrait
import stage
from portrait import SIZE, begin, picture, seen, turned

from plugin_blender.scene_maps import render_surfaces
from plugin_blender.scene_project import exact_name, project_now

kept, told = {}, {}


# A head from the front, and what is seen of it from elsewhere.
begin()
head = portrait.head()
portrait.shining(head)
before = {turn: portrait.rendered("before") for turn in (0, 90, 180) if not turned(turn)}
turned(0)
scene, graph, camera = seen()
surfaces = render_surfaces(scene, graph, camera, normals=True)
image = picture()
projection = project_now(scene, graph, camera, [head], image)
after = {turn: portrait.rendered("after") for turn in (0, 90, 180) if not turned(turn)}
kept["head"] = {f"before{turn}": before[turn] for turn in before} | {f"after{turn}": after[turn] for turn in after}
kept["head"] |= {"picture": portrait.grid(*SIZE), "normals": surfaces.normals, "covered": surfaces.covered}
told["head"] = {"layer": projection.layer, "shift": projection.shift, "maps": [one.name for one in head.data.uv_layers]}

# Where Blender's own projection says that a vertex is, there is its texture coordinate.
turned(0)
stage.depsgraph()
uv = {}
for loop, corner in zip(head.data.loops, head.data.uv_layers[projection.layer].data, strict=True):
    uv[loop.vertex_index] = corner.uv.copy()
places = {index: stage.blender_says(head.matrix_world @ head.data.vertices[index].co) for index in uv}
told["corners"] = max(abs(uv[i].x * SIZE[0] - x) + abs((1 - uv[i].y) * SIZE[1] - y) for i, (x, y, _) in places.items())

# One face of four corners, seen steeply: true to perspective, and what plain texture coordinates would make of it.
begin((0, -1.9, 0), lens=50)
bpy.ops.mesh.primitive_cube_add(size=0.7, rotation=(0, 0, 0.6))
cube = bpy.context.object
portrait.shining(cube)
scene, graph, camera = seen()
cube_before = portrait.rendered("cube_before")
layer = project_now(scene, graph, camera, [cube], picture()).layer
kept["cube"] = {"picture": portrait.grid(*SIZE), "before": cube_before, "after": portrait.rendered("cube")}
told["cube exact"] = exact_name(layer) in cube.data.attributes
plain = cube.active_material.node_tree
texture = next(node for node in plain.nodes if node.type == "TEX_IMAGE")
map_node = plain.nodes.new("ShaderNodeUVMap")
map_node.uv_map = layer
plain.links.new(map_node.outputs[0], texture.inputs["Vector"])
kept["cube"]["bent"] = portrait.rendered("bent")

# A wall of one face with a ball before it: the ball's pixels are not on the wall.
begin((0, -3, 0), lens=50)
bpy.ops.mesh.primitive_plane_add(size=4, location=(0, 1, 0), rotation=(math.pi / 2, 0, 0))
wall = bpy.context.object
portrait.shining(wall)
bpy.ops.mesh.primitive_uv_sphere_add(radius=0.35, location=(0.2, -0.5, 0.1))
ball = bpy.context.object
portrait.shining(ball, (0.0, 0.0, 1.0, 1.0))
scene, graph, camera = seen()
wall_with = portrait.rendered("wall_with")
project_now(scene, graph, camera, [wall], picture())
kept["wall"] = {"picture": portrait.grid(*SIZE), "with_before": wall_with, "with_after": portrait.rendered("wall_with_after")}
ball.hide_render = True
kept["wall"]["without"] = portrait.rendered("wall_without")

# The wall is larger than the picture: nothing is beside it.
begin((0, -3, 0), lens=50)
bpy.ops.mesh.primitive_plane_add(size=8, location=(0, 1, 0), rotation=(math.pi / 2, 0, 0))
wall = bpy.context.object
portrait.shining(wall)
scene, graph, camera = seen()
project_now(scene, graph, camera, [wall], picture())
scene.camera.data.lens = 25  # twice as much is seen
kept["beside"] = {"picture": portrait.grid(*SIZE), "after": portrait.rendered("beside")}

# Clear pixels of a picture show what is below.
begin()
head = portrait.head()
portrait.shining(head)
half = np.concatenate([portrait.grid(*SIZE), np.full((SIZE[1], SIZE[0], 1), 255, np.uint8)], axis=2)
half[:, : SIZE[0] // 2, 3] = 0
scene, graph, camera = seen()
clear_before = portrait.rendered("clear_before")
project_now(scene, graph, camera, [head], picture(half))
kept["clear"] = {"before": clear_before, "after": portrait.rendered("clear")}

for name, arrays in kept.items():
    stage.save(name, **arrays)
stage.answer(**told)
