"""Pictures as images of the file and back, cards before a camera, and face points placed on the skin."""

import math

import bpy
import numpy as np
import portrait
import stage
from plugin_blender.protocol.errors import LikenessError
from plugin_blender.protocol.geometry import Extent
from plugin_blender.protocol.planes import Layout, Plane

from plugin_blender.bones import FACE_POINTS, Spot
from plugin_blender.png import png_of
from plugin_blender.scene import FACE_NAMES, SceneProblem, camera_of, figure_of, put_right
from plugin_blender.scene_card import card_before
from plugin_blender.scene_pictures import JOB, PROMPT, SEED, SIMILARITY, Origin, image_by_job, image_of, plane_of_image
from plugin_blender.scene_points import place_on_ray, points_of, remove_points

kept, told = {}, {}
random = np.random.default_rng(3)
stage.empty()

# Every layout there and back, and through a file.
told["layouts"] = {}
for layout in Layout:
    pixels = random.integers(0, 256, (7, 12, layout.channels), dtype=np.uint8)
    image = image_of(Plane(layout, Extent(12, 7), pixels.tobytes()), layout.value)
    came = portrait.pixels_of(image)
    kept[f"layout {layout.value}"] = {"sent": pixels, "came": came}
png = png_of(portrait.plane_of(portrait.grid(30, 20)))
image = image_of(png, "Made", Origin("a person", 2**53, 0.71, "job-1"))
image.name = "Renamed by the user"
told["origin"] = [image[PROMPT], int(image[SEED]), image[SIMILARITY], image_by_job("job-1").name]
told["another's"] = [JOB not in bpy.data.images.new("Other", 4, 4), image_by_job("job-2") is None]
told["kept without users"] = image.use_fake_user
noise = np.random.default_rng(9).integers(0, 256, (350, 600, 3), dtype=np.uint8)  # many chunks, compressed and not
for level in (0, 1):
    image_of(png_of(portrait.plane_of(noise), level), f"Chunks {level}", Origin(job=f"chunks-{level}"))
bpy.ops.wm.save_as_mainfile(filepath=str(stage.FOLDER / "cards.blend"))
bpy.ops.wm.open_mainfile(filepath=str(stage.FOLDER / "cards.blend"))
for level in (0, 1):
    kept[f"chunks {level}"] = {"sent": noise, "came": portrait.pixels_of(image_by_job(f"chunks-{level}"))}
kept["reloaded"] = {"sent": portrait.grid(30, 20), "came": portrait.pixels_of(image_by_job("job-1"))}

# What characters are made of: other people's images. Light in floats, 16 bits, greys, painted ones, and those that are none.
levels = np.linspace(0, 255, 16).round()
linear = np.where(levels / 255 <= 0.04045, levels / 255 / 12.92, ((levels / 255 + 0.055) / 1.055) ** 2.4)
light = bpy.data.images.new("Light", 16, 2, float_buffer=True, alpha=False)
light.pixels.foreach_set(np.repeat(np.stack([linear, linear, linear, np.ones(16)], 1)[None], 2, 0).astype(np.float32).ravel())
kept["light"] = {"levels": levels, "came": portrait.pixels_of(light)}
written = bpy.context.scene.copy()
written.view_settings.view_transform = "Standard"
settings = written.render.image_settings
settings.file_format, settings.color_depth = "OPEN_EXR", "32"
light.save_render(str(stage.FOLDER / "light.exr"), scene=written)
kept["light from a file"] = {"levels": levels, "came": portrait.pixels_of(bpy.data.images.load(str(stage.FOLDER / "light.exr")))}
settings.file_format, settings.color_depth = "PNG", "16"
light.save_render(str(stage.FOLDER / "deep.png"), scene=written)
sixteen = bpy.data.images.load(str(stage.FOLDER / "deep.png"))
kept["sixteen bits"] = {"levels": levels, "came": portrait.pixels_of(sixteen), "depth": np.array(sixteen.depth)}
half = np.zeros((2, 2, 4), np.uint8)
half[:] = (200, 100, 50, 128)
clear = image_of(portrait.plane_of(half), "Half clear")
told["alpha"] = [plane_of_image(clear).layout.value, plane_of_image(image_by_job("job-1")).layout.value]
wide = image_of(portrait.plane_of(portrait.grid(600, 90)), "Wide")
told["shrunk"] = [[one.extent.width, one.extent.height] for one in (plane_of_image(wide, longest) for longest in (None, 600, 300, 250, 7))]
refused = {}
lost = bpy.data.images.new("Lost", 4, 4)
lost.source, lost.filepath = "FILE", str(stage.FOLDER / "nowhere.png")
for name, action in {
    "lost": lambda: plane_of_image(lost),
    "no PNG": lambda: image_of(b"GIF89a" + bytes(60), "Wrong"),
    "cut off": lambda: image_of(png[:20], "Wrong"),
    "wrong size": lambda: image_of(Plane(Layout.RGB8, Extent(4, 4), bytes(5)), "Wrong"),
    "behind": lambda: card_before(clear, None, -1.0, bpy.context.scene.collection),
}.items():
    images = len(bpy.data.images)
    try:
        action()
    except LikenessError as problem:
        refused[name] = [str(problem), len(bpy.data.images) - images]

# Cards: in the frame, cut to the picture's shape; drawn with its own colours and holes.
stage.empty()
portrait.plain()
stage.camera((0.3, -4.0, 1.0), 200, 120, lens=45, shift_x=0.1)
bpy.context.scene.camera.rotation_euler = (1.4, 0.1, 0.2)
graph = stage.depsgraph()
camera = camera_of(bpy.context.scene, graph)
told["corners"] = {}
pictures = {"same": (200, 120), "tall": (60, 120), "wide": (400, 120)}
for name, size in pictures.items():
    card = card_before(image_of(portrait.plane_of(portrait.grid(*size)), name), camera, 2.5, bpy.context.scene.collection)
    stage.depsgraph()
    told["corners"][name] = [stage.blender_says(card.matrix_world @ vertex.co) for vertex in card.data.vertices]
    if name == "same":
        kept["card"] = {"sent": portrait.grid(*size), "came": portrait.rendered("card")}
    bpy.data.objects.remove(card)
holes = np.concatenate([portrait.grid(200, 120), np.full((120, 200, 1), 255, np.uint8)], axis=2)
holes[:60, :, 3] = 0
card = card_before(image_of(portrait.plane_of(holes), "Holes"), camera, 2.5, bpy.context.scene.collection)
kept["holes"] = {"came": portrait.rendered("holes")}
bpy.data.objects.remove(card)

# Face points on a head that a bone turns.
stage.empty()
head = portrait.head(48, 32)
rig = stage.linked("Rig", bpy.data.armatures.new("Rig"))
bpy.context.view_layer.objects.active = rig
bpy.ops.object.mode_set(mode="EDIT")
stage.bone(rig, "head", (0, 0, -0.12), (0, 0, 0.1))
for side, sign in (("_l", 1), ("_r", -1)):
    stage.bone(rig, "upperarm" + side, (sign * 0.17, 0, -0.25), (sign * 0.42, 0, -0.35))
    stage.bone(rig, "thigh" + side, (sign * 0.09, 0, -0.75), (sign * 0.09, 0, -1.2))
bpy.ops.object.mode_set(mode="OBJECT")
head.vertex_groups.new(name="head").add(range(len(head.data.vertices)), 1.0, "REPLACE")
head.modifiers.new("Armature", "ARMATURE").object = rig
rig.location, rig.rotation_euler, rig.scale = (0.02, 0.01, 0.03), (0.05, 0, 0.1), (1.1, 1.1, 1.1)
head.parent = rig
stage.camera((0, -1.0, 0), 256, 256, lens=85)
SPOTS = {"right_eye": (106, 108), "left_eye": (150, 108), "nose": (128, 130), "right_mouth": (112, 160), "left_mouth": (144, 160)}


def turn(degrees):
    pose = rig.pose.bones["head"]
    pose.rotation_mode = "XYZ"
    pose.rotation_euler = (0, math.radians(degrees), 0)
    return stage.depsgraph()


def mark_at(camera, pixel, point, armature=None, skin=None):
    """A face point where a pixel of the camera's picture shows the skin."""
    begin, way = camera.rays(np.array([pixel], dtype=np.float64))
    place_on_ray(scene, graph, begin[0], way[0], point, armature, skin)


graph = turn(8)  # placed in a pose, not at rest
scene = bpy.context.scene
camera = camera_of(scene, graph)
for point, pixel in SPOTS.items():
    mark_at(camera, pixel, point, rig, head)
graph = stage.depsgraph()
marks = figure_of(scene, graph, camera, rig, head).face
told["points"] = {point: [mark.x, mark.y, mark.source, mark.seen] for point, mark in zip(FACE_POINTS, marks, strict=True)}
nearest = {}
for degrees in (8, -20):
    graph = turn(degrees)
    skin = head.evaluated_get(graph)
    inverse = skin.matrix_world.inverted()
    nearest[degrees] = {}
    for point, empty in points_of(rig, head).items():
        found, place, _, _ = skin.closest_point_on_mesh(inverse @ empty.evaluated_get(graph).matrix_world.translation)
        away = (skin.matrix_world @ place - empty.evaluated_get(graph).matrix_world.translation).length
        nearest[degrees][point] = away if found else None
told["on the skin"] = nearest
told["parents"] = sorted({(one.parent.name, one.parent_type, one.parent_bone) for one in points_of(rig, head).values()})
told["names"] = sorted(one.name for one in points_of(rig, head).values())
graph = turn(0)
mark_at(camera, (128, 140), "nose", rig, head)  # once more: moved, not doubled
graph = stage.depsgraph()
nose = figure_of(scene, graph, camera, rig, head).face[FACE_POINTS.index("nose")]
told["moved"] = [nose.x, nose.y, len(points_of(rig, head)), len([one for one in bpy.data.objects if one.type == "EMPTY"])]
try:
    mark_at(camera, (3, 3), "nose", rig, head)
except SceneProblem as problem:
    refused["beside the head"] = [str(problem), 0]
try:
    mark_at(camera, (128, 128), "nose")
except SceneProblem as problem:
    refused["nobody"] = [str(problem), 0]
put_right(rig, "nose", Spot("head"))
told["taken away"] = [remove_points(rig, head), len(points_of(rig, head))]
mark_at(camera, (128, 130), "nose", None, head)
told["without a rig"] = [points_of(None, head)["nose"].parent.name, points_of(None, head)["nose"].name == FACE_NAMES["nose"]]

for name, arrays in kept.items():
    stage.save(name, **arrays)
stage.answer(refused=refused, **told)
