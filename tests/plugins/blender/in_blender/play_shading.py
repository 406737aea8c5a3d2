"""Pictures over materials of all kinds: lit ones, ones with holes, ones without a Principled BSDF, and none at all."""

import bpy
import numpy as np
import portrait
import stage

from plugin_blender import scene_views
from plugin_blender.scene import camera_of
from plugin_blender.scene_layers import Shading
from plugin_blender.scene_pictures import image_of
from plugin_blender.scene_project import project_now, shading_of

scene_views.LOOKED_AT = 512
SIZE = (160, 120)
COLOUR = (200, 120, 80)
kept, told = {}, {}


def begin():
    portrait.begin(size=SIZE)
    portrait.sun()
    return portrait.head(48, 32)


def principled(thing, colour=(0.1, 0.5, 0.1, 1.0)):
    made = bpy.data.materials.new("Skin")
    if made.node_tree is None:
        made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value, shader.inputs["Roughness"].default_value = colour, 0.35
    thing.data.materials.append(made)
    return made.node_tree, shader


def project_onto(thing, shading):
    graph = stage.depsgraph()
    picture = image_of(portrait.plane_of(np.full((SIZE[1], SIZE[0], 3), COLOUR, np.uint8)), "Picture")
    project_now(bpy.context.scene, graph, camera_of(bpy.context.scene, graph), [thing], picture, shading)


# Lit: as if the skin itself had the picture's colour, gloss and all.
head = begin()
principled(head)
project_onto(head, Shading.LIT)
told["shading"] = shading_of(head).value
lit = portrait.rendered("lit")
head = begin()
linear = [((level / 255 + 0.055) / 1.055) ** 2.4 for level in COLOUR]
principled(head, (*linear, 1.0))
kept["lit"] = {"came": lit, "known": portrait.rendered("known")}

# Lit over a shader that has no base colour, and over no material.
for name in ("glossy", "none"):
    head = begin()
    if name == "glossy":
        tree, _ = principled(head)
        glossy = tree.nodes.new("ShaderNodeBsdfAnisotropic")
        tree.links.new(glossy.outputs[0], tree.get_output_node("ALL").inputs["Surface"])
    project_onto(head, Shading.LIT)
    kept[name] = {"came": portrait.rendered(name)}

# Holes stay holes: lashes, hair cards.
for shading in Shading:
    head = begin()
    tree, shader = principled(head)
    place, split, under = (tree.nodes.new(f"ShaderNode{kind}") for kind in ("TexCoord", "SeparateXYZ", "Math"))
    under.operation, under.inputs[1].default_value = "LESS_THAN", 0.0
    tree.links.new(place.outputs["Object"], split.inputs[0])
    tree.links.new(split.outputs["X"], under.inputs[0])
    tree.links.new(under.outputs[0], shader.inputs["Alpha"])
    before = portrait.rendered("before")
    project_onto(head, shading)
    kept[f"holes {shading.value}"] = {"before": before, "came": portrait.rendered("holes")}

for name, arrays in kept.items():
    stage.save(name, **arrays)
stage.answer(**told)
