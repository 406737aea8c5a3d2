"""A union ControlNet with random weights for the tiny model, in diffusers' layout, which is that of the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import ControlNetUnionModel, UNet2DConditionModel


def write_union(model: Path, types: int = 8, said: int | None = None) -> Path:
    """Into the folder of a tiny model; `said` is how many control types its config tells of."""
    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        like = ControlNetUnionModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 32))
        width = like.config.block_out_channels[0]
        net = ControlNetUnionModel.from_config(
            like.config, num_control_type=types, num_trans_channel=width, num_trans_head=4, num_proj_channel=width
        )
        for parameter in net.parameters():  # what begins at zero would hide mistakes
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.2)
    folder = model / "controlnets" / "union"
    net.save_pretrained(folder)
    if said is not None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"num_control_type": said}))
    return folder
