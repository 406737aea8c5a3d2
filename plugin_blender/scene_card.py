"""A picture as a card: a plane that shines with it, upright before a camera."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from .camera import Camera, Floats
from .scene import SceneProblem

CARD = "likeness_card"
"""The custom property of a card; its value is the name of the picture when the card was made."""


def card_before(
    image: Any,
    camera: Camera,
    distance: float,
    collection: Any,
) -> Any:
    """A card that fills the camera's picture at this distance along its axis (scene units), as much as its own shape allows.

    Raises `SceneProblem` when the distance is not before the camera.
    """
    if not distance > 0:
        raise SceneProblem("A card cannot stand behind the camera. Place it farther away.")
    frame = camera.frame
    corners = _at_distance(camera, np.array([[0, 0], [frame.width, 0], [0, frame.height]], dtype=np.float64), distance)
    width, height = (float(np.linalg.norm(corners[side] - corners[0])) for side in (1, 2))
    middle = _at_distance(camera, np.array([[frame.width / 2, frame.height / 2]]), distance)[0]
    across, up = image.size
    return _card(image, camera.placement[:3, :3], middle, min(height, width * up / max(1, across)), collection)


def card_material(image: Any) -> Any:
    """A new material that shines with an image and is clear where the image is."""
    material = bpy.data.materials.new(image.name)
    if material.node_tree is None:  # before 5.0, where every material has nodes
        material.use_nodes = True
    material.surface_render_method = "BLENDED"
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    kinds = ("TexImage", "BsdfTransparent", "Emission", "MixShader", "OutputMaterial")
    picture, clear, light, mix, output = (nodes.new(f"ShaderNode{kind}") for kind in kinds)
    for index, node in enumerate((picture, clear, light, mix, output)):
        node.location = (220 * index - 440, -160 if node is clear else 160)
    picture.image, picture.extension = image, "EXTEND"
    links.new(picture.outputs["Color"], light.inputs["Color"])
    links.new(picture.outputs["Alpha"], mix.inputs[0])
    links.new(clear.outputs[0], mix.inputs[1])
    links.new(light.outputs[0], mix.inputs[2])
    links.new(mix.outputs[0], output.inputs["Surface"])
    return material


def _card(image: Any, turn: Floats, middle: Floats, height: float, collection: Any) -> Any:
    across, up = image.size
    if not across or not up:
        raise SceneProblem(f"The image {image.name} has no pixels, so no card can show it.")
    wide = across / up / 2
    mesh = bpy.data.meshes.new(image.name)
    mesh.from_pydata([(-wide, -0.5, 0), (wide, -0.5, 0), (wide, 0.5, 0), (-wide, 0.5, 0)], [], [(0, 1, 2, 3)])
    mesh.uv_layers.new(name="UVMap").data.foreach_set("uv", [0, 0, 1, 0, 1, 1, 0, 1])
    mesh.materials.append(card_material(image))
    card = bpy.data.objects.new(image.name, mesh)
    card[CARD] = image.name
    placed = np.eye(4)
    placed[:3, :3], placed[:3, 3] = turn * height, middle
    card.matrix_world = Matrix(placed.tolist())
    collection.objects.link(card)
    return card


def _at_distance(camera: Camera, pixels: Floats, distance: float) -> Floats:
    """Pixels (n, 2) -> the places (n, 3) that they show at this distance along the viewing axis."""
    begin, way = camera.rays(pixels)
    axis = -camera.placement[:3, 2]
    along = (distance - camera.lens.clip_start) / (way @ axis)
    return begin + way * along[:, None]
