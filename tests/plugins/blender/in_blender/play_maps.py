"""Distances and normals of a small scene with everything that a scene can hold, and a z-buffer of our own beside them."""

import math

import bpy
import numpy as np
import stage

from plugin_blender.maps import depth_picture, normals_picture
from plugin_blender.scene import SceneProblem, camera_of
from plugin_blender.scene_maps import render_surfaces

SIZE = (160, 128)


def a_scene():
    """A head with a modifier, a wall, instances, a text, a posed shape; and what must not be seen."""
    stage.empty()
    bpy.ops.mesh.primitive_uv_sphere_add(segments=48, ring_count=32, radius=0.5, location=(0.1, 0, 1.2))
    ball = bpy.context.object
    ball.modifiers.new("Wave", "DISPLACE").strength = 0.1
    for polygon in ball.data.polygons:
        polygon.use_smooth = True
    bpy.ops.mesh.primitive_plane_add(size=9, location=(0, 3.5, 1), rotation=(math.pi / 2, 0, 0.1))
    bpy.ops.mesh.primitive_cube_add(size=0.5, location=(-0.9, 0.2, 0.8), rotation=(0.3, 0.2, 0.5))
    cube = bpy.context.object
    cube.scale = (1, 0.6, -1.2)
    many = bpy.data.collections.new("Many")
    many.objects.link(bpy.data.objects.new("Part", cube.data))
    for place in ((1.1, 0.4, 0.9), (1.0, 0.9, 1.8)):
        instance = stage.linked("Instance")
        instance.instance_type, instance.instance_collection, instance.location = "COLLECTION", many, place
    text = stage.linked("Text", bpy.data.curves.new("Text", "FONT"))
    text.data.body, text.data.extrude, text.location, text.rotation_euler = "L", 0.1, (-0.2, -0.9, 0.35), (math.pi / 2, 0, 0)
    for name, hide in (("Switched off", "hide_render"), ("Not shown", "hide_viewport")):
        bpy.ops.mesh.primitive_cube_add(size=0.6, location=(0, -1.2, 1.2))
        bpy.context.object.name = name
        setattr(bpy.context.object, hide, True)
    hidden = bpy.data.collections.new("Hidden")
    hidden.hide_render = True
    bpy.context.scene.collection.children.link(hidden)
    hidden.objects.link(bpy.data.objects.new("In a hidden collection", cube.data))
    hidden.objects[0].location = (0, -1.2, 1.2)


def triangles(graph):
    """Every rendered triangle in the world: (n, 3, 3)."""
    out = []
    for instance in graph.object_instances:
        thing = instance.object
        if thing.hide_render or thing.type not in {"MESH", "FONT"} or thing.original.name == "In a hidden collection":
            continue
        mesh = thing.to_mesh()
        mesh.calc_loop_triangles()
        places = np.array([vertex.co for vertex in mesh.vertices])
        places = places @ np.array(instance.matrix_world)[:3, :3].T + np.array(instance.matrix_world)[:3, 3]
        out.append(places[np.array([triangle.vertices for triangle in mesh.loop_triangles])])
        thing.to_mesh_clear()
    return np.concatenate(out)


def z_buffer(corners, camera):
    """The nearest triangle through the middle of every pixel: distances (0: none) and normals that look at the camera, in camera space."""
    width, height = camera.frame.width, camera.frame.height
    seen = camera.project(corners.reshape(-1, 3)).reshape(-1, 3, 3)
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) @ camera.placement[:3, :3]
    nearest = np.full((height, width), np.inf)
    normals = np.zeros((height, width, 3))
    for (a, b, c), normal in zip(seen, facing, strict=True):
        area = (b[1] - c[1]) * (a[0] - c[0]) + (c[0] - b[0]) * (a[1] - c[1])
        left, right = max(0, int(min(a[0], b[0], c[0]) - 1)), min(width, int(max(a[0], b[0], c[0]) + 2))
        top, bottom = max(0, int(min(a[1], b[1], c[1]) - 1)), min(height, int(max(a[1], b[1], c[1]) + 2))
        if left >= right or top >= bottom or abs(area) < 1e-12 or min(a[2], b[2], c[2]) <= 0:
            continue
        x, y = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
        one = ((b[1] - c[1]) * (x - c[0]) + (c[0] - b[0]) * (y - c[1])) / area
        two = ((c[1] - a[1]) * (x - c[0]) + (a[0] - c[0]) * (y - c[1])) / area
        three = 1 - one - two
        # Without perspective the distance is linear over the picture, with it its inverse is.
        flat = camera.lens.orthographic
        depth = one * a[2] + two * b[2] + three * c[2] if flat else 1 / (one / a[2] + two / b[2] + three / c[2])
        part = nearest[top:bottom, left:right]
        won = (one >= 0) & (two >= 0) & (three >= 0) & (depth < part)
        part[won] = depth[won]
        length = np.linalg.norm(normal)
        normals[top:bottom, left:right][won] = normal / length if length else 0
    return np.where(np.isfinite(nearest), nearest, 0), normals


kept = {}
for name, lens in {
    "perspective": {"lens": 40.0, "shift_x": 0.05},
    "orthographic": {"type": "ORTHO", "ortho_scale": 3.0, "shift_y": 0.04},
}.items():
    a_scene()
    stage.camera((0.1, -3.2, 1.15), *SIZE, **lens)
    scene, graph = bpy.context.scene, stage.depsgraph()
    camera = camera_of(scene, graph)
    surfaces = render_surfaces(scene, graph, camera, normals=True)
    nearest, flat = z_buffer(triangles(graph), camera)
    kept[name] = {"distance": surfaces.distance, "covered": surfaces.covered, "normals": surfaces.normals, "nearest": nearest, "flat": flat}

# A user who looks on while it is drawn: a size of one's own, a thin sky, and no picture of the scene's own size.
a_scene()
bpy.data.objects.remove(bpy.data.objects["Plane"])
stage.camera((0.1, -3.2, 1.15), 640, 480, lens=40.0)
scene, graph = bpy.context.scene, stage.depsgraph()
surfaces = render_surfaces(scene, graph, camera_of(scene, graph, size=(96, 144)), normals=True)
kept["pictures"] = {
    "depth": depth_picture(surfaces.distance, surfaces.covered),
    "normals": normals_picture(surfaces.normals, surfaces.covered),
}

refused = {}
stage.empty()
try:
    camera_of(bpy.context.scene, stage.depsgraph())
except SceneProblem as problem:
    refused["none"] = str(problem)
made = stage.camera()
made.data.type = "PANO"
try:
    camera_of(bpy.context.scene, stage.depsgraph())
except SceneProblem as problem:
    refused["panoramic"] = str(problem)
made.data.type = "PERSP"
nothing = render_surfaces(bpy.context.scene, stage.depsgraph(), camera_of(bpy.context.scene, stage.depsgraph(), size=(32, 32)))

for name, arrays in kept.items():
    stage.save(name, **arrays)
stage.answer(refused=refused, nothing=int(nothing.covered.sum()))
