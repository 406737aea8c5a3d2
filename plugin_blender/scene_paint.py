"""Materials that shine with a distance or a direction, with holes where the user's own materials have them: hair cards, lashes, lace."""

from __future__ import annotations

from typing import Any

import bpy

NAME = "Likeness maps"
OPAQUE = 0.5
"""Alpha from which a surface is there: half a distance is no distance."""


class Paint:
    """One light for all materials of a stage. Everything that is made goes onto the list that is handed in."""

    def __init__(self, made: list[Any]) -> None:
        self._made = made
        self._light = bpy.data.node_groups.new(NAME, "ShaderNodeTree")
        made.append(self._light)
        self._light.interface.new_socket("Light", in_out="OUTPUT", socket_type="NodeSocketVector")
        self._painted: dict[str, Any] = {}

    def over(self, mesh: Any) -> None:
        """Paint a mesh or hair that is ours, slot by slot."""
        own = [material.original if material else None for material in mesh.materials] or [None]
        for index, material in enumerate(own):
            painted = self._paint(material)
            if index < len(mesh.materials):
                mesh.materials[index] = painted
            else:
                mesh.materials.append(painted)

    def show_distance(self) -> None:
        """From now on everything shines with its distance along the viewing axis in red and the index of its object in green."""
        nodes, links = self._light.nodes, self._light.links
        nodes.clear()
        both = nodes.new("ShaderNodeCombineXYZ")
        links.new(nodes.new("ShaderNodeCameraData").outputs["View Z Depth"], both.inputs["X"])
        links.new(nodes.new("ShaderNodeObjectInfo").outputs["Object Index"], both.inputs["Y"])
        links.new(both.outputs[0], nodes.new("NodeGroupOutput").inputs[0])

    def show_normals(self) -> None:
        """From now on everything shines with its normal in camera space, moved to 0 … 1, as light is never negative."""
        nodes, links = self._light.nodes, self._light.links
        nodes.clear()
        turn, scale = nodes.new("ShaderNodeVectorTransform"), nodes.new("ShaderNodeVectorMath")
        turn.vector_type, turn.convert_from, turn.convert_to = "NORMAL", "WORLD", "CAMERA"
        links.new(nodes.new("ShaderNodeNewGeometry").outputs["Normal"], turn.inputs[0])
        # A shader's camera looks along +z, ours along -z.
        scale.operation = "MULTIPLY_ADD"
        scale.inputs[1].default_value, scale.inputs[2].default_value = (0.5, 0.5, -0.5), (0.5, 0.5, 0.5)
        links.new(turn.outputs[0], scale.inputs[0])
        links.new(scale.outputs[0], nodes.new("NodeGroupOutput").inputs[0])

    def _paint(self, material: Any) -> Any:
        """The same holes, but shining: a copy of a material with alpha, else the plain one."""
        holes = material is not None and alpha_of(material) is not None
        key = material.name_full if holes else ""
        if key not in self._painted:
            self._painted[key] = self._shine(material.copy() if holes else bpy.data.materials.new(NAME))
        return self._painted[key]

    def _shine(self, painted: Any) -> Any:
        self._made.append(painted)
        painted.animation_data_clear()
        if painted.node_tree is None:  # before 5.0, where every material has nodes
            painted.use_nodes = True
        painted.node_tree.animation_data_clear()
        nodes, links = painted.node_tree.nodes, painted.node_tree.links
        alpha = alpha_of(painted)
        if alpha is None:
            nodes.clear()
        output = painted.node_tree.get_output_node("CYCLES") or nodes.new("ShaderNodeOutputMaterial")
        light, group = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeGroup")
        group.node_tree = self._light
        links.new(group.outputs[0], light.inputs["Color"])
        if alpha is None:
            links.new(light.outputs[0], output.inputs["Surface"])
            return painted
        there, mix = nodes.new("ShaderNodeMath"), nodes.new("ShaderNodeMixShader")
        there.operation = "GREATER_THAN"
        there.inputs[1].default_value = OPAQUE
        links.new(alpha, there.inputs[0])
        links.new(there.outputs[0], mix.inputs[0])
        links.new(nodes.new("ShaderNodeBsdfTransparent").outputs[0], mix.inputs[1])
        links.new(light.outputs[0], mix.inputs[2])
        links.new(mix.outputs[0], output.inputs["Surface"])
        for name in ("Volume", "Displacement"):
            for link in list(output.inputs[name].links):
                links.remove(link)
        return painted


def alpha_of(material: Any) -> Any:
    """The socket that says how opaque a material is, or None: the alpha of its shader, or what mixes it with a transparent one."""
    if material.node_tree is None:
        return None
    output = material.node_tree.get_output_node("CYCLES")
    shader = _before(output.inputs["Surface"]) if output else None
    if shader is None:
        return None
    if shader.type == "MIX_SHADER":
        first = _before(shader.inputs[1])
        share = shader.inputs[0]
        return share.links[0].from_socket if first and first.type == "BSDF_TRANSPARENT" and share.is_linked else None
    alpha = shader.inputs.get("Alpha")
    return alpha.links[0].from_socket if alpha and alpha.is_linked else None


def _before(socket: Any) -> Any:
    return socket.links[0].from_node if socket.is_linked else None
