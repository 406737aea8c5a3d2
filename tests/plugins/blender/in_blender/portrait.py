"""A head to be painted, pictures to paint it with, and plain renders to measure it by. In Blender's own Python, after `stage`."""

from __future__ import annotations

import math

import bpy
import numpy as np
import stage
from plugin_blender.protocol.geometry import Extent
from plugin_blender.protocol.planes import Layout, Plane

from plugin_blender.scene import camera_of
from plugin_blender.scene_pictures import image_of, plane_of_image

GREY = (0.2, 0.2, 0.2, 1.0)
SIZE = (256, 192)


def begin(place=(0, -0.9, 0), size=SIZE, **lens):
    """An empty scene with a camera, in which an emission's colour comes back as it is."""
    stage.empty()
    plain()
    stage.camera(place, *size, **{"lens": 85, **lens})


def seen():
    """The scene, its dependency graph, and what its camera sees."""
    graph = stage.depsgraph()
    return bpy.context.scene, graph, camera_of(bpy.context.scene, graph)


def turned(degrees, distance=0.9):
    """The camera goes around the middle."""
    made, angle = bpy.context.scene.camera, math.radians(degrees)
    made.location, made.rotation_euler = (math.sin(angle) * distance, -math.cos(angle) * distance, 0), (math.pi / 2, 0, angle)


def sun():
    made = stage.linked("Sun", bpy.data.lights.new("Sun", "SUN"))
    made.data.energy, made.data.angle, made.rotation_euler = 2.0, 0.0, (0.9, 0.2, 0.3)


def picture(pixels=None):
    """An image of the file, by default with lines everywhere."""
    return image_of(plane_of(grid(*SIZE) if pixels is None else pixels), "Picture")


def head(segments=96, rings=64, shape=True, name="Head"):
    """A head of 24 cm that looks along -y, with nose, brows, eye sockets, chin and ears; UVs of its own."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=segments, ring_count=rings, radius=0.12)
    made = bpy.context.object
    made.name = name
    places = np.array([vertex.co for vertex in made.data.vertices])
    made.data.vertices.foreach_set("co", (_sculpted(places) if shape else places).astype(np.float32).ravel())
    made.data.polygons.foreach_set("use_smooth", [True] * len(made.data.polygons))
    made.data.update()
    return made


def _sculpted(places):
    x, y, z = places.T.copy()
    front = np.clip(-y / 0.12, 0, 1)
    jaw = 1 - 0.35 * np.clip(-z / 0.12, 0, 1) ** 1.5
    x, y = 0.78 * x * jaw, 0.95 * y * (1 - 0.15 * np.clip(-z / 0.12, 0, 1))

    def bump(at_x, at_z, wide, tall, deep):
        return deep * np.exp(-(((x - at_x) / wide) ** 2) - ((z - at_z) / tall) ** 2) * front**2

    y = y - bump(0, -0.02, 0.014, 0.028, 0.032) - bump(0, -0.035, 0.02, 0.012, 0.012)
    for side in (-1, 1):
        y = y + bump(0.036 * side, 0.018, 0.02, 0.014, 0.012) - bump(0.034 * side, 0.042, 0.03, 0.01, 0.005)
        ear = np.exp(-((y / 0.02) ** 2) - ((z / 0.03) ** 2)) * (side * x > 0)
        x = x + side * 0.02 * ear
    y = y - bump(0, -0.068, 0.03, 0.012, 0.006) - bump(0, -0.1, 0.03, 0.015, 0.01)
    return np.stack([x, y, z], axis=1)


def shining(thing, colour=GREY, name="Below"):
    """A material that shines with one colour, so that every pixel says which material it shows."""
    made = bpy.data.materials.new(name)
    if made.node_tree is None:
        made.use_nodes = True
    nodes = made.node_tree.nodes
    nodes.clear()
    light, output = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    light.inputs[0].default_value = colour
    made.node_tree.links.new(light.outputs[0], output.inputs["Surface"])
    thing.data.materials.append(made)
    return made


def pixels_of(image):
    """An image's pixels as an array (height, width, 4) of bytes, top row first."""
    plane = plane_of_image(image)
    rows = np.frombuffer(plane.data, np.uint8).reshape(plane.extent.height, plane.extent.width, plane.layout.channels)
    opaque = np.full((*rows.shape[:2], 1), 255, np.uint8)
    return rows.copy() if rows.shape[2] == 4 else np.concatenate([rows, opaque], axis=2)


def plane_of(pixels):
    """(height, width, 3 or 4) bytes as a plane."""
    height, width, channels = pixels.shape
    return Plane(Layout.RGB8 if channels == 3 else Layout.RGBA8, Extent(width, height), np.ascontiguousarray(pixels).tobytes())


def grid(width, height, step=16):
    """A picture whose colour says where it is, with lines; smooth between, so that a shift of a tenth of a pixel is seen."""
    rows, columns = np.mgrid[0:height, 0:width]
    made = np.stack([columns * 200 / width + 40, rows * 200 / height + 40, 128 + 100 * np.sin(columns * 2 * math.pi / step)], axis=2)
    return np.rint(made).astype(np.uint8)


def plain(samples=1):
    """Settings of the scene with which an emission's colour comes back as it is: no view transform, one ray per pixel's middle."""
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.device, scene.cycles.samples = "CYCLES", "CPU", samples
    scene.cycles.use_denoising = scene.cycles.use_adaptive_sampling = False
    scene.cycles.pixel_filter_type, scene.cycles.filter_width = ("BOX", 0.01) if samples == 1 else ("GAUSSIAN", 1.5)
    scene.view_settings.view_transform, scene.render.film_transparent = "Standard", True
    scene.render.dither_intensity = 0.0


def rendered(name="render"):
    """The scene as it looks, (height, width, 4) bytes, top row first."""
    scene = bpy.context.scene
    scene.render.filepath = str(stage.FOLDER / f"{name}.png")
    if hasattr(scene.render.image_settings, "media_type"):
        scene.render.image_settings.media_type = "IMAGE"
    scene.render.image_settings.file_format, scene.render.image_settings.color_mode = "PNG", "RGBA"
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath)
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    width, height = image.size
    bpy.data.images.remove(image)
    return np.rint(values.reshape(height, width, 4)[::-1] * 255).astype(np.uint8)
