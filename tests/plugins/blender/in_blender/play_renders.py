"""The picture to repaint: the last render, a fresh one, and masks of objects; and a file in which nothing has changed."""

import math
import tempfile
from pathlib import Path

import bpy
import numpy as np
import portrait
import stage
from everything import lines

from plugin_blender.scene import SceneProblem, camera_of
from plugin_blender.scene_render import fresh_render, joined_mask, last_render, object_masks

SIZE = (96, 64)
kept, told = {}, {}


def array(plane):
    return np.frombuffer(plane.data, np.uint8).reshape(plane.extent.height, plane.extent.width, -1)


def temporary():
    return sorted(path.name for path in Path(tempfile.gettempdir()).glob("likeness-*"))


stage.empty()
portrait.plain()
stage.camera((0, -4, 0), *SIZE, lens=50)
scene = bpy.context.scene
try:
    last_render(scene)
except SceneProblem as problem:
    told["none yet"] = str(problem)
bpy.ops.mesh.primitive_uv_sphere_add(radius=0.7, location=(-0.4, 0, 0))
ball = bpy.context.object
portrait.shining(ball, (0.8, 0.1, 0.1, 1))
bpy.ops.mesh.primitive_cube_add(size=0.9, location=(0.4, -1, 0))
cube = bpy.context.object
portrait.shining(cube, (0.1, 0.1, 0.8, 1))
ball.keyframe_insert("location", frame=1)
ball.location.z = 0.1  # moved without a key
kept["render"] = {"plain": portrait.rendered("plain")}

# The user's own settings: a movie's format, a border, a compositor that must be rendered along.
render = scene.render
if hasattr(render.image_settings, "media_type"):
    render.image_settings.media_type = "IMAGE"
render.image_settings.file_format, render.image_settings.color_depth = "OPEN_EXR", "16"
render.filepath = "//mine-"
heard = []
for name in ("render_init", "render_pre", "render_complete", "frame_change_post"):
    getattr(bpy.app.handlers, name).append(lambda *words: heard.append(1))
second = bpy.data.cameras.new("Aside")
aside = stage.linked("Aside", second)
aside.location, aside.rotation_euler = (4, 0, 0), (math.pi / 2, 0, math.pi / 2)
graph = stage.depsgraph()
camera = camera_of(scene, graph)
lines()
was, files = lines(), temporary()
heard.clear()
kept["render"]["last"] = array(last_render(scene))
masks = object_masks(scene, graph, camera, [cube, ball])
kept["render"] |= {"cube": array(masks[0])[..., 0], "ball": array(masks[1])[..., 0], "grown": array(joined_mask(masks, 2))[..., 0]}
kept["render"]["fresh"] = array(fresh_render(scene))
kept["render"]["larger"] = array(fresh_render(scene, size=(192, 128)))
kept["render"]["aside"] = array(fresh_render(scene, camera=aside))
told["changed"] = [line for line in sorted(set(was) ^ set(lines())) if ".has_data" not in line][:20]
told["heard"], told["files"] = len(heard), sorted(set(temporary()) - set(files))
kept["render"]["last again"] = array(last_render(scene))
for name in ("render_init", "render_pre", "render_complete", "frame_change_post"):
    getattr(bpy.app.handlers, name).clear()

# The unsafe twin: rendering the scene itself writes over the last render, and the list sees what it takes to get the file.
scene.camera = aside
render.filepath = str(stage.FOLDER / "careless")
bpy.ops.render.render(write_still=True)
told["careless"] = [line for line in sorted(set(was) ^ set(lines())) if "filepath" in line or ".camera" in line][:5]
kept["render"]["last careless"] = array(last_render(scene))

scene.camera = None
try:
    fresh_render(scene)
except SceneProblem as problem:
    told["no camera"] = str(problem)
for name, arrays in kept.items():
    stage.save(name, **arrays)
stage.answer(**told)
