"""Projections, and what is seen below them, baked into one texture on a mesh's own UV map: Cycles on copies, in a scene of our own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy
import numpy as np

from .scene import SceneProblem
from .scene_layers import OVER, Shading, below, calculate, mix_colour, pictures, remove_unused, shader_of
from .scene_paint import alpha_of
from .scene_project import RECORD, UV_MAPS, projections_of, remove_projection, shading_of
from .scene_quiet import quiet
from .scene_views import numbers, why_not

STAGE = "Likeness bake"
TEXTURE_MAP = "Likeness texture"
"""The UV map that a mesh without one of its own gets."""
MARGIN = 8
"""Texels by which every island is drawn out over its edge, per 1024, so that no seam shows what is beside it."""
SAMPLES = 4
"""Rays per texel: a texel of the edge between two pictures is a little of both."""
ANGLE, GAP = np.radians(66.0), 0.005
"""Of smart projection: Blender's own default angle, and the gap between islands as a share of the texture."""


def bake(thing: Any, size: int = 1024, name: str = "", depsgraph: Any = None) -> Any:
    """A new packed image, `size` texels a side, with the colours that an object shows: its pictures over its materials' base colours.

    Light and shadow of the scene are left out. The image fits the mesh's own UV map; a mesh without one gets `TEXTURE_MAP` by smart
    projection. Nothing else of the file is changed. Raises `SceneProblem` when the object cannot be baked.
    """
    reason = why_not(thing) or ("" if hasattr(bpy.context.scene, "cycles") else "Baking needs Cycles. Switch it on in the preferences.")
    if bpy.app.is_job_running("RENDER"):
        reason = "Blender is rendering at the moment. Wait until it is done, or stop it."
    if reason:
        raise SceneProblem(reason)
    depsgraph = depsgraph or bpy.context.evaluated_depsgraph_get()
    target = own_uv_map(thing) or _unwrapped(thing, depsgraph)
    image = bpy.data.images.new(name or f"{thing.name} texture", size, size, alpha=False)
    try:
        with _stage() as (stage, made):
            copy = _copy(thing, depsgraph, target, stage, made)
            for slot in copy.material_slots:
                slot.material = _paint(slot.material, thing, image, made)
            _bake(copy, stage, max(1, round(MARGIN * size / 1024)))
    except SceneProblem:
        bpy.data.images.remove(image)
        raise
    image.pack()
    image.use_fake_user = True
    return image


def own_uv_map(thing: Any) -> str:
    """The UV map of a mesh that its textures use, leaving out those of projections; "" without one."""
    ours = {layer.name for layer in projections_of(thing)}
    maps = [one for one in thing.data.uv_layers if one.name not in ours]
    return next((one.name for one in sorted(maps, key=lambda one: not one.active_render)), "")


def use_texture(thing: Any, image: Any) -> None:
    """Take an object's projections off and show a baked texture instead: copies of its own materials with the texture as their colour.

    Lit projections become the base colour, flat ones go on shining. `remove_projection` no longer brings the old materials back, but they
    are still in the file.
    """
    reason = why_not(thing)
    if reason:
        raise SceneProblem(reason)
    target, shading = own_uv_map(thing), shading_of(thing)
    if not target:
        raise SceneProblem(f"{thing.name} has no UV map of its own for the texture. Bake it first.")
    own = [below(slot.material) for slot in thing.material_slots] or [None]
    remove_projection([thing])
    if not thing.material_slots:
        thing.data.materials.append(None)
    made: dict[str, Any] = {}
    for slot, material in zip(thing.material_slots, own, strict=True):
        key = material.name_full if material else ""
        if key not in made:
            made[key] = _textured(material, image, target, shading)
        slot.material = made[key]
    remove_unused()


def _textured(own: Any, image: Any, target: str, shading: Shading) -> Any:
    material = own.copy() if own else bpy.data.materials.new(image.name)
    if own:
        own.use_fake_user = own.use_fake_user or own.users == 0  # nothing shows it any more, and it is the user's
        material.name = f"{own.name} + {image.name}"
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    colour = _picture_node(tree, image, target).outputs["Color"]
    output = tree.get_output_node("ALL") or tree.nodes.new("ShaderNodeOutputMaterial")
    shader = shader_of(output)
    if shading is Shading.LIT and shader:
        tree.links.new(colour, shader.inputs["Base Color"])
        return material
    light = tree.nodes.new("ShaderNodeEmission" if shading is Shading.FLAT else "ShaderNodeBsdfDiffuse")
    tree.links.new(colour, light.inputs["Color"])
    surface, holes = light.outputs[0], alpha_of(material)
    if holes:
        mix = tree.nodes.new("ShaderNodeMixShader")
        tree.links.new(holes, mix.inputs[0])
        tree.links.new(tree.nodes.new("ShaderNodeBsdfTransparent").outputs[0], mix.inputs[1])
        tree.links.new(surface, mix.inputs[2])
        surface = mix.outputs[0]
    tree.links.new(surface, output.inputs["Surface"])
    return material


def _picture_node(tree: Any, image: Any, target: str) -> Any:
    picture, uv = tree.nodes.new("ShaderNodeTexImage"), tree.nodes.new("ShaderNodeUVMap")
    picture.image, uv.uv_map = image, target
    tree.links.new(uv.outputs["UV"], picture.inputs["Vector"])
    return picture


@contextmanager
def _stage() -> Iterator[tuple[Any, list[Any]]]:
    """A scene to bake in, and a list of what is to be taken away with it."""
    with quiet() as made:
        stage = bpy.data.scenes.new(STAGE)
        made.append(stage)
        stage.render.engine, stage.cycles.device, stage.cycles.samples = "CYCLES", "CPU", SAMPLES
        stage.cycles.use_denoising = stage.cycles.use_adaptive_sampling = False
        yield stage, made


def _copy(thing: Any, depsgraph: Any, target: str, stage: Any, made: list[Any]) -> Any:
    """The evaluated mesh with all UV maps and attributes, where it is in the world, alone in the stage."""
    shown = thing.evaluated_get(depsgraph)
    mesh = bpy.data.meshes.new_from_object(shown, preserve_all_data_layers=True, depsgraph=depsgraph)
    made.append(mesh)
    if target not in mesh.uv_layers:
        raise SceneProblem(f"The modifiers of {thing.name} drop its UV map {target}. Apply or switch off the one that does.")
    mesh.uv_layers.active = mesh.uv_layers[target]
    mesh.uv_layers[target].active_render = True
    if not mesh.materials:
        mesh.materials.append(None)
    copy = bpy.data.objects.new(STAGE, mesh)
    made.append(copy)
    copy.matrix_world = shown.matrix_world.copy()
    for slot, own in zip(copy.material_slots, thing.material_slots, strict=False):
        slot.material = own.material  # those that are linked to the object, not to the mesh
    stage.collection.objects.link(copy)
    return copy


def _paint(shown: Any, thing: Any, image: Any, made: list[Any]) -> Any:
    """A copy of the user's own material that shines with its base colour and the pictures over it, and bakes into the image."""
    own = below(shown)
    material = own.copy() if own else bpy.data.materials.new(STAGE)
    made.append(material)
    if OVER in material:
        del material[OVER]
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    output = tree.get_output_node("CYCLES") or tree.nodes.new("ShaderNodeOutputMaterial")
    light = tree.nodes.new("ShaderNodeEmission")
    _base_colour(tree, output, light.inputs["Color"], tuple(material.diffuse_color))
    layers = projections_of(thing)
    if layers:
        factor, colour = pictures(tree, layers)
        mix_colour(tree, light.inputs["Color"], calculate(tree, "MINIMUM", factor, 1.0), colour)
    tree.links.new(light.outputs[0], output.inputs["Surface"])
    target = tree.nodes.new("ShaderNodeTexImage")
    target.image = image
    for node in tree.nodes:
        node.select = False
    target.select = True
    tree.nodes.active = target
    return material


def _base_colour(tree: Any, output: Any, socket: Any, otherwise: tuple[float, ...]) -> None:
    """Lead a material's own colour to a socket: of its Principled BSDF, or of the first other shader that has one."""
    shader = shader_of(output) or next((one for one in _shaders(output) if "Color" in one.inputs), None)
    source = shader and (shader.inputs.get("Base Color") or shader.inputs.get("Color"))
    if source is None:
        socket.default_value = otherwise
    elif source.is_linked:
        tree.links.new(source.links[0].from_socket, socket)
    else:
        socket.default_value = tuple(source.default_value)


def _shaders(output: Any) -> Iterator[Any]:
    """The shaders behind an output, the nearest first; transparent ones have no colour of the skin."""
    open_ends = [output.inputs["Surface"]]
    for _ in range(32):
        if not open_ends:
            return
        socket = open_ends.pop(0)
        if socket.is_linked:
            node = socket.links[0].from_node
            if node.type != "BSDF_TRANSPARENT":
                yield node
            open_ends.extend(one for one in node.inputs if one.type == "SHADER")


def _bake(copy: Any, stage: Any, margin: int) -> None:
    layer = stage.view_layers[0]
    layer.objects.active = copy
    copy.select_set(True, view_layer=layer)
    layer.update()
    chosen = {"active_object": copy, "object": copy, "selected_objects": [copy], "selected_editable_objects": [copy]}
    try:
        with bpy.context.temp_override(scene=stage, view_layer=layer, **chosen):
            done = bpy.ops.object.bake(type="EMIT", margin=margin, margin_type="EXTEND", use_clear=True, target="IMAGE_TEXTURES")
    except RuntimeError as error:
        raise SceneProblem(f"Blender could not bake the texture: {str(error).strip()}") from error
    if "FINISHED" not in done:
        raise SceneProblem("Blender did not bake the texture. Is a render running?")


def _unwrapped(thing: Any, depsgraph: Any) -> str:
    """Give a mesh without UVs a map by smart projection, made on a copy in the stage; the name of the map."""
    mesh = thing.data
    if len(mesh.uv_layers) >= UV_MAPS:
        raise SceneProblem(
            f"{thing.name} has {UV_MAPS} UV maps, all of them of projections. Remove one, so that a texture can have its own."
        )
    with _stage() as (stage, made):
        flat = mesh.copy()
        made.append(flat)
        if RECORD in flat:
            del flat[RECORD]
        while flat.uv_layers:
            flat.uv_layers.remove(flat.uv_layers[0])
        copy = bpy.data.objects.new(STAGE, flat)
        made.append(copy)
        stage.collection.objects.link(copy)
        layer = stage.view_layers[0]
        layer.objects.active = copy
        layer.update()
        with bpy.context.temp_override(scene=stage, view_layer=layer, active_object=copy, object=copy, edit_object=copy):
            bpy.ops.object.mode_set(mode="EDIT")
            bpy.ops.mesh.reveal(select=False)
            bpy.ops.mesh.select_all(action="SELECT")
            bpy.ops.uv.smart_project(angle_limit=ANGLE, island_margin=GAP)
            bpy.ops.object.mode_set(mode="OBJECT")
        uv = numbers(flat.uv_layers[0].data, "uv", np.float32, 2)
    first = not mesh.uv_layers
    made_map = mesh.uv_layers.new(name=TEXTURE_MAP, do_init=False)
    made_map.data.foreach_set("uv", uv.ravel())
    if first or all(one.name == made_map.name or one.name in {layer.name for layer in projections_of(thing)} for one in mesh.uv_layers):
        mesh.uv_layers.active = made_map
        made_map.active_render = True
    mesh.update()
    depsgraph.update()
    return made_map.name
