"""Projections baked into a texture: the same head afterwards, and a file in which nothing else has changed."""

import bpy
import numpy as np
import portrait
import stage
from everything import lines
from portrait import turned

from plugin_blender import scene_bake, scene_views
from plugin_blender.scene import SceneProblem, camera_of
from plugin_blender.scene_bake import TEXTURE_MAP, bake, use_texture
from plugin_blender.scene_layers import Shading
from plugin_blender.scene_pictures import image_of
from plugin_blender.scene_project import project_now, projections_of
from plugin_blender.scene_render import last_render

scene_views.LOOKED_AT = 512
SIZE = (256, 192)
kept, told = {}, {}


def begin():
    portrait.begin(size=SIZE)
    portrait.sun()


def skin(thing):
    made = bpy.data.materials.new("Skin")
    if made.node_tree is None:
        made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (0.5, 0.3, 0.2, 1.0)
    shader.inputs["Roughness"].default_value = 1.0
    thing.data.materials.append(made)


def project_onto(thing, shading):
    graph = stage.depsgraph()
    picture = image_of(portrait.plane_of(portrait.grid(*SIZE, step=64)), "Picture")
    project_now(bpy.context.scene, graph, camera_of(bpy.context.scene, graph), [thing], picture, shading)


def compared(name, thing, size=512):
    """Renders of both sides before and after the texture takes the place of the picture."""
    before = {turn: portrait.rendered("before") for turn in (0, 60) if not turned(turn)}
    image = bake(thing, size)
    use_texture(thing, image)
    after = {turn: portrait.rendered("after") for turn in (0, 60) if not turned(turn)}
    turned(0)
    kept[name] = {f"before{turn}": before[turn] for turn in before} | {f"after{turn}": after[turn] for turn in after}
    kept[name]["texture"] = portrait.pixels_of(image)
    told[name] = {
        "layers": len(projections_of(thing)),
        "maps": thing.data.uv_layers.keys(),
        "size": list(image.size),
        "packed": image.packed_file is not None,
        "materials": sorted(one.name for one in bpy.data.materials),
    }


for name, shading in (("flat", Shading.FLAT), ("lit", Shading.LIT)):
    begin()
    head = portrait.head()
    if shading is Shading.LIT:
        skin(head)
    else:
        portrait.shining(head)
    project_onto(head, shading)
    compared(name, head)

begin()
head = portrait.head()
portrait.shining(head)
while head.data.uv_layers:
    head.data.uv_layers.remove(head.data.uv_layers[0])
project_onto(head, Shading.FLAT)
compared("without UVs", head)
told["own map"] = head.data.uv_layers.active.name == TEXTURE_MAP and head.data.uv_layers[TEXTURE_MAP].active_render

# Subdivided, and with two materials.
begin()
head = portrait.head(20, 14)
portrait.shining(head)
portrait.shining(head, (0.1, 0.4, 0.1, 1.0), "Second")
head.data.polygons.foreach_set("material_index", [index % 2 for index in range(len(head.data.polygons))])
head.modifiers.new("Subdivision", "SUBSURF").levels = 2
head.modifiers["Subdivision"].render_levels = 2
project_onto(head, Shading.FLAT)
compared("subdivided", head)

# Nothing else is touched: a scene with settings of its own, another object in edit mode, something selected, a last render.
begin()
head = portrait.head(32, 24)
portrait.shining(head)
project_onto(head, Shading.FLAT)
bpy.ops.mesh.primitive_cube_add(location=(3, 0, 0))
posed = bpy.context.object
posed.keyframe_insert("location", frame=1)
posed.location.x = 5  # posed on, without a key
bpy.ops.object.mode_set(mode="EDIT")
scene = bpy.context.scene
portrait.rendered("last")
told["a render's pose"] = posed.location.x
posed.location.x = 5
last = bytes(last_render(scene).data)
scene.render.engine, scene.cycles.samples, scene.render.bake.margin = "BLENDER_WORKBENCH", 77, 3
scene.render.bake.use_clear, scene.render.bake.target = False, "VERTEX_COLORS"
heard = []
for name in ("render_init", "depsgraph_update_post", "render_complete"):
    getattr(bpy.app.handlers, name).append(lambda *words: heard.append(1))
stage.depsgraph()
lines()
heard.clear()
PASSING = ("images[Render Result].has_data", "images has", "images[Head texture]")


def changed(before):
    return [line for line in sorted(set(before) ^ set(lines())) if not line.startswith(PASSING)][:20]


was = lines()
image = bake(head, 64)
told["untouched"] = changed(was)
told["pose"] = posed.location.x
told["mode"] = [bpy.context.mode, bpy.context.view_layer.objects.active.name]
told["heard"] = len(heard)
told["last render kept"] = bytes(last_render(scene).data) == last

really = scene_bake._bake


def breaks(*words):
    really(*words)
    raise SceneProblem("broken by the test")


scene_bake._bake = breaks
images = len(bpy.data.images)
try:
    bake(head, 32)
except SceneProblem as problem:
    told["broken"] = str(problem)
scene_bake._bake = really
told["after breaking"] = changed(was)
told["images left"] = len(bpy.data.images) - images
for name in ("render_init", "depsgraph_update_post", "render_complete"):
    getattr(bpy.app.handlers, name).clear()

for name, arrays in kept.items():
    stage.save(name, **{key: np.asarray(value) for key, value in arrays.items()})
stage.answer(**told)
