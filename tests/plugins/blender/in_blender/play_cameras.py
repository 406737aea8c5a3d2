"""Several cameras and several meshes; and everything as it was, once the pictures are taken off again."""

import bpy
import numpy as np
import portrait
import stage
from everything import lines
from portrait import SIZE, begin, picture, seen, turned

from plugin_blender.scene_project import look, project, project_now, projections_of, remove_projection

kept, told = {}, {}


# Three cameras with one colour each.
begin()
head = portrait.head()
portrait.shining(head)
for turn, colour in ((0, (250, 0, 0)), (-70, (0, 250, 0)), (70, (0, 0, 250))):
    turned(turn)
    scene, graph, camera = seen()
    project_now(scene, graph, camera, [head], picture(np.full((SIZE[1], SIZE[0], 3), colour, np.uint8)))
told["layers"] = [one.name for one in projections_of(head)]
for turn in (0, 35, 70, -70, 180):
    turned(turn)
    kept[f"cameras{turn}"] = {"after": portrait.rendered("cameras")}
remove_projection([head], told["layers"][1])
told["two left"] = [one.name for one in projections_of(head)]
turned(-70)
kept["without the second"] = {"after": portrait.rendered("two")}

# Three pictures of a head whose paint is known, put together on a bare one: seen from between, it is that head.
begin()
head = portrait.head()
known = portrait.shining(head, name="Known")
nodes, links = known.node_tree.nodes, known.node_tree.links
noise, place = nodes.new("ShaderNodeTexNoise"), nodes.new("ShaderNodeTexCoord")
noise.inputs["Scale"].default_value = 30.0
links.new(place.outputs["Object"], noise.inputs["Vector"])
contrast = nodes.new("ShaderNodeGamma")
contrast.inputs["Gamma"].default_value = 4.0
links.new(noise.outputs["Color"], contrast.inputs["Color"])
links.new(contrast.outputs["Color"], nodes["Emission"].inputs["Color"])
paints = {}
for turn in (0, -60, 60, 30):
    turned(turn)
    paints[turn] = portrait.rendered("known")
head.data.materials[0] = None
for turn in (0, -60, 60):
    turned(turn)
    scene, graph, camera = seen()
    project_now(scene, graph, camera, [head], picture(paints[turn]))
turned(30)
kept["put together"] = {"after": portrait.rendered("together"), "known": paints[30]}

# Everything comes back as it was.
begin()
head, bare = portrait.head(), portrait.head(16, 12, name="Bare")
bare.location.x, bare.scale = 0.15, (0.3, 0.3, -0.3)
portrait.shining(head)
portrait.shining(head, name="Second")
head.data.polygons.foreach_set("material_index", [index % 2 for index in range(len(head.data.polygons))])
head.material_slots[1].link = "OBJECT"
head.material_slots[1].material = bpy.data.materials["Below"]
while bare.data.uv_layers:
    bare.data.uv_layers.remove(bare.data.uv_layers[0])
head.data.color_attributes.new("Paint", "BYTE_COLOR", "CORNER")
image = picture()
scene, graph, camera = seen()
lines()
was = lines()
view = look(scene, graph, camera, [head, bare])
told["looking"] = sorted(set(was) ^ set(lines()))[:20]
first = project(view, image, graph)
second = project(view, image, graph)
told["both"] = {
    "layers": [first.layer, second.layer],
    "objects": first.objects,
    "materials": len(bpy.data.materials),
    "active": head.data.uv_layers.active.name,
    "slots": [slot.material.name for slot in head.material_slots],
    "bare": [slot.material.name for slot in bare.material_slots],
}
kept["mirrored"] = {"after": portrait.rendered("mirrored"), "picture": portrait.grid(*SIZE)}
for leftover in [one for one in bpy.data.images if one.type == "RENDER_RESULT"]:
    bpy.data.images.remove(leftover)
scene.render.filepath = ""
told["removed"] = remove_projection([head, bare])
now = [line for line in lines() if not line.startswith("images[Picture] uid")]
was = [line for line in was if not line.startswith("images[Picture] uid")]
ignored = (".render.filepath", "image_settings")
told["after removing"] = [line for line in sorted(set(was) ^ set(now)) if not any(word in line for word in ignored)][:20]

for name, arrays in kept.items():
    stage.save(name, **arrays)
stage.answer(**told)
