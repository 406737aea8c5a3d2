"""What cannot take a picture and says so, what was changed meanwhile; undo, redo, and saving."""

import bpy
import portrait
import stage
from everything import lines
from portrait import SIZE, begin, picture, seen

from plugin_blender import scene_views
from plugin_blender.scene import SceneProblem
from plugin_blender.scene_project import look, project, project_now, projections_of, remove_projection

scene_views.LOOKED_AT = 256  # nothing is measured here
kept, told = {"picture": {"pixels": portrait.grid(*SIZE)}}, {}


# Refused, each with its sentence, and nothing changed.
refused, untouched = {}, {}


def refuse(name, things, make=None):
    scene, graph, camera = seen()
    lines()
    was = lines()
    try:
        project_now(scene, graph, camera, things, make)
    except SceneProblem as problem:
        refused[name] = str(problem)
    stage.depsgraph()
    untouched[name] = sorted(set(was) ^ set(lines()))[:10]


begin()
head = portrait.head(24, 16)
image = picture()
mirror = head.modifiers.new("Mirror", "MIRROR")
mirror.use_bisect_axis[0] = True
head.data.polygons[0].use_smooth = True
refuse("mirror", [head], image)
head.modifiers.clear()
head.modifiers.new("Remesh", "REMESH").voxel_size = 0.01
refuse("remesh", [head], image)
head.modifiers.clear()
twin = stage.linked("Twin", head.data)
refuse("shared", [head], image)
bpy.data.objects.remove(twin)
bpy.context.view_layer.objects.active = head
bpy.ops.object.mode_set(mode="EDIT")
refuse("edit mode", [head], image)
bpy.ops.object.mode_set(mode="OBJECT")
refuse("no mesh", [bpy.context.scene.camera], image)
refuse("nothing chosen", [], image)
head.location.y = -5
refuse("behind the camera", [head], image)
head.location.y, head.hide_render = 0, True
refuse("not rendered", [head], image)
head.hide_render = False
for _ in range(7):
    head.data.uv_layers.new()
refuse("eight maps", [head], image)

library = stage.FOLDER / "library.blend"
bpy.data.libraries.write(str(library), {head})
begin()
with bpy.data.libraries.load(str(library), link=True) as (_, into):
    into.objects = ["Head"]
linked = bpy.data.objects["Head"]
bpy.context.scene.collection.objects.link(linked)
refuse("linked", [linked], picture())

# A mesh that was changed, or deleted, while the picture was being made.
begin()
head, other = portrait.head(24, 16), portrait.head(24, 16, name="Other")
other.location.x = 0.2
image = picture()
scene, graph, camera = seen()
view = look(scene, graph, camera, [head, other])
bpy.data.objects.remove(other)
told["one deleted"] = project(view, image, stage.depsgraph()).objects
remove_projection([head])
bpy.context.view_layer.objects.active = head
bpy.ops.object.mode_set(mode="EDIT")
bpy.ops.mesh.subdivide()
bpy.ops.object.mode_set(mode="OBJECT")
try:
    project(view, image, stage.depsgraph())
except SceneProblem as problem:
    refused["changed"] = str(problem)

# One apply is one undo: everything is gone with it, and comes back with redo. Without a window, Blender's undo is a memory file.
begin()
head = portrait.head(24, 16)
portrait.shining(head)
image = picture()
bpy.context.preferences.edit.use_global_undo = True
bpy.ops.ed.undo_push(message="before")
scene, graph, camera = seen()
project_now(scene, graph, camera, [head], image)
bpy.ops.ed.undo_push(message="Project picture")
told["done"] = [one.name for one in projections_of(bpy.data.objects["Head"])]
bpy.ops.ed.undo()
head = bpy.data.objects["Head"]
told["undone"] = {
    "layers": [one.name for one in projections_of(head)],
    "maps": head.data.uv_layers.keys(),
    "material": head.active_material.name,
    "attributes": [name for name in head.data.attributes.keys() if "Likeness" in name],  # noqa: SIM118 - bpy
}
bpy.ops.ed.redo()
head = bpy.data.objects["Head"]
told["redone"] = [[one.name for one in projections_of(head)], head.active_material.name]
told["removed after redo"] = remove_projection([head])

# The layers are in the file.
scene, graph, camera = seen()
project_now(scene, graph, camera, [head], next(one for one in bpy.data.images if one.name == "Picture"))
blend = str(stage.FOLDER / "saved.blend")
bpy.ops.wm.save_as_mainfile(filepath=blend)
bpy.ops.wm.open_mainfile(filepath=blend)
portrait.plain()
kept["saved"] = {"after": portrait.rendered("saved")}
told["saved"] = [one.name for one in projections_of(bpy.data.objects["Head"])]
told["removed after loading"] = [remove_projection([bpy.data.objects["Head"]]), bpy.data.objects["Head"].active_material.name]

for name, arrays in kept.items():
    stage.save(name, **arrays)
stage.answer(refused=refused, untouched=untouched, **told)
