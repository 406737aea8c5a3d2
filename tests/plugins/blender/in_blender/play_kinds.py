"""One kind of thing after the other before the camera: what share of the picture it covers, and what is left in the file afterwards."""

import bpy
import numpy as np
import stage

from plugin_blender.scene import camera_of
from plugin_blender.scene_maps import render_surfaces


def covered():
    scene, graph = bpy.context.scene, stage.depsgraph()
    return float(render_surfaces(scene, graph, camera_of(scene, graph, size=(64, 64)), normals=True).covered.mean())


def begin():
    stage.empty()
    stage.camera((0, -4, 0))


def hair():
    made = bpy.data.hair_curves.new("Hair")
    made.add_curves([8] * 200)
    places = [[(strand - 100) / 100, 0, -1 + 2 * point / 7] for strand in range(200) for point in range(8)]
    made.attributes["position"].data.foreach_set("vector", np.array(places, np.float32).ravel())
    radius = made.attributes.get("radius") or made.attributes.new("radius", "FLOAT", "POINT")
    radius.data.foreach_set("value", np.full(1600, 0.004, np.float32))
    stage.linked("Hair", made)


def edited():
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.mode_set(mode="EDIT")


def not_for_cameras():
    bpy.ops.mesh.primitive_cube_add()
    bpy.context.object.visible_camera = False


def moved_without_a_key():
    """Animated to stand before the camera, and just pulled out of the picture by hand."""
    bpy.ops.mesh.primitive_cube_add()
    bpy.context.object.keyframe_insert("location", frame=1)
    stage.depsgraph()
    bpy.context.object.location.x = 50


def scattered():
    """Cubes on the points of a grid, by geometry nodes."""
    bpy.ops.mesh.primitive_cube_add(rotation=(1.2, 0, 0))
    tree = bpy.data.node_groups.new("Scatter", "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    kinds = ("GeometryNodeMeshGrid", "GeometryNodeInstanceOnPoints", "GeometryNodeMeshCube", "NodeGroupOutput")
    grid, scatter, cube, output = (tree.nodes.new(kind) for kind in kinds)
    cube.inputs[0].default_value = (0.2, 0.2, 0.2)
    tree.links.new(grid.outputs[0], scatter.inputs[0])
    tree.links.new(cube.outputs[0], scatter.inputs["Instance"])
    tree.links.new(scatter.outputs[0], output.inputs[0])
    bpy.context.object.modifiers.new("Scatter", "NODES").node_group = tree


def a_card(shader):
    """A plane across the picture whose right half is transparent."""
    bpy.ops.mesh.primitive_plane_add(size=10, rotation=(np.pi / 2, 0, 0))
    material = bpy.data.materials.new("Card")
    material.use_nodes = True
    tree = material.node_tree
    place, split, under = (tree.nodes.new(f"ShaderNode{kind}") for kind in ("TexCoord", "SeparateXYZ", "Math"))
    under.operation = "LESS_THAN"
    under.inputs[1].default_value = 0.0
    tree.links.new(place.outputs["Object"], split.inputs[0])
    tree.links.new(split.outputs["X"], under.inputs[0])
    shader(tree, under.outputs[0])
    bpy.context.object.data.materials.append(material)


def alpha_in_the_shader(tree, share):
    tree.links.new(share, tree.nodes["Principled BSDF"].inputs["Alpha"])


def alpha_by_mixing(tree, share):
    clear, mix = tree.nodes.new("ShaderNodeBsdfTransparent"), tree.nodes.new("ShaderNodeMixShader")
    tree.links.new(share, mix.inputs[0])
    tree.links.new(clear.outputs[0], mix.inputs[1])
    tree.links.new(tree.nodes["Principled BSDF"].outputs[0], mix.inputs[2])
    tree.links.new(mix.outputs[0], tree.nodes["Material Output"].inputs["Surface"])


KINDS = {
    "hair": hair,
    "metaball": lambda: bpy.ops.object.metaball_add(type="BALL"),
    "empty mesh": lambda: stage.linked("Empty", bpy.data.meshes.new("Empty")),
    "mesh in edit mode": edited,
    "not for cameras": not_for_cameras,
    "moved without a key": moved_without_a_key,
    "geometry nodes": scattered,
    "alpha in the shader": lambda: a_card(alpha_in_the_shader),
    "alpha by mixing": lambda: a_card(alpha_by_mixing),
}
shares, left = {}, {}
for name, make in KINDS.items():
    begin()
    make()
    kinds = ("objects", "meshes", "materials", "scenes", "images", "cameras", "node_groups", "hair_curves", "collections")
    before = {kind: len(getattr(bpy.data, kind)) for kind in kinds}
    shares[name] = covered()
    left[name] = {kind: len(getattr(bpy.data, kind)) - before[kind] for kind in kinds}
stage.answer(shares=shares, left=left)
