"""The materials of a projection: copies of the user's own ones that show pictures over them. The own ones are never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import bpy

from .projecting import SHARPNESS
from .scene_paint import alpha_of

OVER = "likeness_over"
"""A custom property of our materials: the user's material below, missing where there was none."""
OURS = "likeness_projection"
"""A custom property of our materials that says that they are ours."""
_STEP = 200


class Shading(Enum):
    """How a projected picture is lit."""

    FLAT = "flat"
    """It shines by itself: the picture's own light and shade, exactly its colours (with the view transform “Standard”)."""
    LIT = "lit"
    """It is the colour of the skin, lit by the scene like the material below."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One projected picture, as a material needs it. The name is that of the UV map and of the colour attribute's beginning."""

    name: str
    image: Any
    stencil: Any | None
    exact: bool


def mask_name(layer: str) -> str:
    """The colour attribute that says where a picture is seen; black hides it, and it can be painted in vertex paint mode.

    Its alpha is the cosine of the angle to the camera.
    """
    return f"{layer} mask"


def exact_name(layer: str) -> str:
    """The attribute with homogeneous coordinates, where faces are coarse."""
    return f"{layer} exact"


def below(material: Any) -> Any | None:
    """The user's material under one of ours; any other material is its own."""
    return material.get(OVER) if material is not None and OURS in material else material


def show(thing: Any, layers: Sequence[Layer], shading: Shading, made: dict[Any, Any]) -> None:
    """Put the layers over every material of an object, or (without layers) give the user's own ones back.

    `made` keeps what is shared by objects that show the same layers: one material of ours for each of the user's.
    """
    for slot in thing.material_slots:
        own = below(slot.material)
        if not layers:
            slot.material = own
            continue
        key = own.name_full if own else None
        if key not in made:
            made[key] = _over(own, layers, shading)
        slot.material = made[key]


def remove_unused() -> None:
    """Remove those of our materials that nothing shows any more, and that the user does not keep by a fake user."""
    bpy.data.batch_remove([material for material in bpy.data.materials if OURS in material and not material.users])


def _over(own: Any, layers: Sequence[Layer], shading: Shading) -> Any:
    """A copy of a material (None: Blender's grey) that shows pictures over it."""
    material = own.copy() if own else bpy.data.materials.new("Material")
    material.name = f"{own.name if own else 'Material'} + {layers[-1].name}"
    material[OURS] = True
    if own:
        material[OVER] = own
    if material.node_tree is None:  # before 5.0, where every material has nodes
        material.use_nodes = True
        _principled(material).inputs["Base Color"].default_value = material.diffuse_color
    tree = material.node_tree
    factor, colour = pictures(tree, layers)
    outputs = {node.name: node for engine in ("ALL", "CYCLES", "EEVEE") if (node := tree.get_output_node(engine))}
    for output in outputs.values() or [tree.nodes.new("ShaderNodeOutputMaterial")]:
        holes = alpha_of(material)
        shown = calculate(tree, "MULTIPLY", factor, holes) if holes and shading is Shading.FLAT else factor
        if shading is Shading.LIT and (shader := shader_of(output)):
            mix_colour(tree, shader.inputs["Base Color"], factor, colour)
        else:
            _mix_shader(tree, output, shown, colour, "Emission" if shading is Shading.FLAT else "BsdfDiffuse")
    return material


def shader_of(output: Any) -> Any | None:
    """The Principled BSDF behind a material's output, with whatever else is mixed in between left aside; None when there is none."""
    open_ends = [output.inputs["Surface"]]
    for _ in range(32):
        if not open_ends:
            return None
        socket = open_ends.pop(0)
        if socket.is_linked:
            node = socket.links[0].from_node
            if node.type == "BSDF_PRINCIPLED":
                return node
            open_ends.extend(one for one in node.inputs if one.type == "SHADER")
    return None


def pictures(tree: Any, layers: Sequence[Layer]) -> tuple[Any, Any]:
    """Nodes that blend all layers: a socket that says how much of them is seen, and one with their colour.

    One picture alone counts by its mask. Of several, the one that looks at a place most directly counts most, and where one is hidden
    or ends, the others take over.
    """
    row = {"x": -1400, "y": 900}
    parts = []
    for layer in layers:
        seen, cosine, colour = _picture(tree, layer, row)
        weight = seen
        if len(layers) > 1:
            weight = calculate(tree, "MULTIPLY", seen, calculate(tree, "POWER", cosine, SHARPNESS))
        parts.append((seen, weight, colour))
        row["y"] += 400
    factor, total, colour = parts[0]
    for seen, weight, other in parts[1:]:
        factor = calculate(tree, "MAXIMUM", factor, seen)
        total = calculate(tree, "ADD", total, weight)
        share = calculate(tree, "DIVIDE", weight, calculate(tree, "MAXIMUM", total, 1e-9))
        colour = _mixed(tree, share, colour, other)
    return factor, colour


def _picture(tree: Any, layer: Layer, row: dict[str, int]) -> tuple[Any, Any, Any]:
    """One picture: how much of it is seen (mask, alpha and stencil), the cosine to its camera, and its colour."""
    nodes, links = tree.nodes, tree.links
    place = _coordinates(tree, layer)
    mask, picture = nodes.new("ShaderNodeAttribute"), nodes.new("ShaderNodeTexImage")
    mask.attribute_name, mask.attribute_type = mask_name(layer.name), "GEOMETRY"
    picture.image, picture.extension, picture.label = layer.image, "CLIP", layer.name
    links.new(place, picture.inputs["Vector"])
    mask.location, picture.location = (row["x"], row["y"]), (row["x"] + _STEP, row["y"])
    seen = calculate(tree, "MULTIPLY", mask.outputs["Fac"], picture.outputs["Alpha"])
    if layer.stencil is not None:
        stencil = nodes.new("ShaderNodeTexImage")
        stencil.image, stencil.extension, stencil.location = layer.stencil, "EXTEND", (row["x"] + 2 * _STEP, row["y"])
        links.new(place, stencil.inputs["Vector"])
        seen = calculate(tree, "MULTIPLY", seen, stencil.outputs["Color"])
    return seen, mask.outputs["Alpha"], picture.outputs["Color"]


def _coordinates(tree: Any, layer: Layer) -> Any:
    """The UV map of a layer, or on coarse meshes the attribute that is true to perspective, divided by its third number."""
    nodes, links = tree.nodes, tree.links
    if not layer.exact:
        uv = nodes.new("ShaderNodeUVMap")
        uv.uv_map = layer.name
        return uv.outputs["UV"]
    attribute, split, joined = (nodes.new(f"ShaderNode{kind}") for kind in ("Attribute", "SeparateXYZ", "CombineXYZ"))
    attribute.attribute_name, attribute.attribute_type = exact_name(layer.name), "GEOMETRY"
    links.new(attribute.outputs["Vector"], split.inputs[0])
    for axis in ("X", "Y"):
        links.new(calculate(tree, "DIVIDE", split.outputs[axis], split.outputs["Z"]), joined.inputs[axis])
    return joined.outputs[0]


def calculate(tree: Any, operation: str, *values: Any) -> Any:
    """A math node over sockets and numbers; its output."""
    node = tree.nodes.new("ShaderNodeMath")
    node.operation, node.hide = operation, True
    for socket, value in zip(node.inputs, values, strict=False):
        if isinstance(value, (int, float)):
            socket.default_value = value
        else:
            tree.links.new(value, socket)
    return node.outputs[0]


def mix_colour(tree: Any, socket: Any, factor: Any, colour: Any) -> None:
    """Mix a colour over whatever a colour socket has now."""
    mixed = _mixed(tree, factor, socket.links[0].from_socket if socket.is_linked else tuple(socket.default_value), colour)
    tree.links.new(mixed, socket)


def _mixed(tree: Any, factor: Any, under: Any, over: Any) -> Any:
    node = tree.nodes.new("ShaderNodeMix")
    node.data_type, node.clamp_factor = "RGBA", True
    share, first, second = (next(one for one in node.inputs if one.identifier == name) for name in ("Factor_Float", "A_Color", "B_Color"))
    tree.links.new(factor, share)
    if isinstance(under, tuple):
        first.default_value = under
    else:
        tree.links.new(under, first)
    tree.links.new(over, second)
    return next(one for one in node.outputs if one.identifier == "Result_Color")


def _mix_shader(tree: Any, output: Any, factor: Any, colour: Any, kind: str) -> None:
    """Mix a plain shader of that colour over whatever the output shows."""
    surface = output.inputs["Surface"]
    under = surface.links[0].from_socket if surface.is_linked else None
    shader, mix = tree.nodes.new(f"ShaderNode{kind}"), tree.nodes.new("ShaderNodeMixShader")
    shader.location, mix.location = (output.location.x - 2 * _STEP, output.location.y - 200), (output.location.x, output.location.y + 200)
    tree.links.new(colour, shader.inputs["Color"])
    tree.links.new(factor, mix.inputs[0])
    if under is not None:
        tree.links.new(under, mix.inputs[1])
    tree.links.new(shader.outputs[0], mix.inputs[2])
    tree.links.new(mix.outputs[0], surface)


def _principled(material: Any) -> Any:
    return next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
