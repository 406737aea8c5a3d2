"""Which layer of which module a name in a LoRA file means.

The same layer goes by three kinds of names: diffusers' and PEFT's own (`down_blocks.1.attentions.0.….attn1.to_q`), kohya's, which are those
with every dot made an underscore (`lora_unet_down_blocks_1_…`), and kohya's for SDXL, which are the names of the original code
(`input_blocks.4.1.…`, of Stability-AI/generative-models `sgm/modules/diffusionmodules/openaimodel.py`). All are looked up in one table,
made from the layers that the module really has: a name is found there, or the file is for another base.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from .adapters import Untyped

LAYERS = (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.GroupNorm)
"""What a LoRA can act on."""
PARTS = ("unet", "text_encoder", "text_encoder_2")
_FLAT = (
    ("lora_unet_", "unet"), ("lycoris_unet_", "unet"), ("lora_te1_", "text_encoder"), ("lora_te2_", "text_encoder_2"),
    ("lora_te_", "text_encoder"), ("lycoris_te1_", "text_encoder"), ("lycoris_te2_", "text_encoder_2"), ("lycoris_", "unet"),
    ("base_model.model.", "unet"), ("unet.", "unet"), ("text_encoder_2.", "text_encoder_2"), ("text_encoder.", "text_encoder"),
    ("diffusion_model.", "unet"), ("model.diffusion_model.", "unet"),
)  # fmt: skip
"""How names begin, and of which module they speak; what begins with none of them is the UNet's."""
_RESNET = {"conv1": "in_layers.2", "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
           "norm1": "in_layers.0", "norm2": "out_layers.0"}  # fmt: skip
_ENDS = {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0",
         "time_embedding.linear_2": "time_embed.2", "add_embedding.linear_1": "label_emb.0.0",
         "add_embedding.linear_2": "label_emb.0.2"}  # fmt: skip
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)(?:\.(.+))?")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


@dataclass(frozen=True, slots=True)
class Place:
    """One layer: `part` names the module in a pipeline, `layer` the layer in it."""

    part: str
    layer: str


class Names:
    """The layers of a base's UNet and text encoders, by every name that they go by."""

    def __init__(self, modules: Mapping[str, Untyped]) -> None:
        """`modules` are the UNet and the text encoders by their names in a pipeline."""
        self._places: dict[tuple[str, str], Place] = {}
        for part, module in modules.items():
            for layer, child in module.named_modules():
                if isinstance(child, LAYERS) and getattr(child, "weight", None) is not None:
                    for name in _names(part, layer, module):
                        self._places[part, name] = Place(part, layer)

    def place(self, stem: str) -> Place | None:
        """The layer that `stem` (a key without its ending) means, or None."""
        part, name = split(stem)
        return self._places.get((part, name)) or self._places.get((part, f"{name}_0"))  # `to_out` alone is `to_out.0`


def split(stem: str) -> tuple[str, str]:
    """The module that a stem speaks of, and the layer's name with every dot made an underscore."""
    part = "unet"
    changed = True
    while changed:
        changed = False
        for start, named in _FLAT:
            if stem.startswith(start):
                stem, part, changed = stem[len(start) :], named, True
                break
    name = stem.replace(".processor.", ".").replace(".", "_").removesuffix("_base_layer")
    return part, name.removeprefix("text_model_") if part != "unet" else name


def _names(part: str, layer: str, module: Untyped) -> list[str]:
    flat = layer.replace(".", "_")
    if part != "unet":
        return [flat.removeprefix("text_model_")]
    original = _original(layer, module)
    return [flat] if original is None else [flat, original.replace(".", "_")]


def _original(layer: str, unet: Untyped) -> str | None:
    """The name that a layer of diffusers' UNet has in the original code; None where it has no counterpart."""
    if layer in _ENDS:
        return _ENDS[layer]
    if found := _MIDDLE.fullmatch(layer):
        kind, number, rest = found[1], int(found[2]), found[3]
        return f"middle_block.1.{rest}" if kind == "attentions" else f"middle_block.{2 * number}.{_RESNET.get(rest, rest)}"
    if not (found := _BLOCK.fullmatch(layer)):
        return None
    side, block, kind, number, rest = found[1], int(found[2]), found[3], int(found[4]), found[5] or ""
    row = _rows(unet)
    if side == "down":
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * (row + 1)}.0.op"
        return f"input_blocks.{1 + block * (row + 1) + number}.{_inner(kind, rest)}"
    if kind == "upsamplers":
        attends = bool(getattr(unet.up_blocks[block], "attentions", None))
        return f"output_blocks.{block * (row + 1) + row}.{2 if attends else 1}.{rest}"
    return f"output_blocks.{block * (row + 1) + number}.{_inner(kind, rest)}"


def _rows(unet: Untyped) -> int:
    rows = unet.config.layers_per_block
    return int(rows if isinstance(rows, int) else rows[0])


def _inner(kind: str, rest: str) -> str:
    return f"1.{rest}" if kind == "attentions" else f"0.{_RESNET.get(rest, rest)}"
