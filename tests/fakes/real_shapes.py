"""SDXL with InstantID in its real shapes and official layouts, with random numbers: 10 GiB on the disk, one part at a time in memory."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import accelerate
import diffusers
import official_layouts as layouts
import torch
import transformers
from ldm_layout import checkpoint_state

from backend.models.tokenizers import STOCK

Shapes = Mapping[str, tuple[int, ...]]
CARD = 'id = "real"\nsize = [{side}, {side}]\nsizes = []\ncheckpoint = "sdxl.safetensors"\n'
NUMBERS = 1 << 16
"""Different numbers in a tensor; it is filled with them again and again, which is quicker than a billion draws."""


def write_sdxl_with_instantid(folder: Path, side: int) -> Path:
    """A model folder: the base in one bf16 checkpoint, IdentityNet as diffusers' folder, the adapter as InstantID's own pickle."""
    folder.mkdir(parents=True)
    parts = base_parts()
    write_tensors(folder / "sdxl.safetensors", {key: tuple(value.shape) for key, value in checkpoint_state(parts).items()})
    net = identity_net(parts["unet"])
    (folder / "identitynet").mkdir()
    (folder / "identitynet" / "config.json").write_text(json.dumps({"_class_name": "ControlNetModel", **dict(net.config)}))
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    write_tensors(folder / "identitynet" / "diffusion_pytorch_model.safetensors", shapes)
    halves = {"image_proj": layouts.resampler(1280, 20, 512, 2048), "ip_adapter": layouts.attention(parts["unet"])}
    state = {half: {key: numbers(key, shape) for key, shape in shapes.items()} for half, shapes in halves.items()}
    torch.save(state, folder / "ip-adapter.bin")
    (folder / "model.toml").write_text(CARD.format(side=side))
    return folder


def base_parts() -> dict[str, Any]:
    """SDXL's modules by our own configurations, without memory for their weights."""

    def words(name: str) -> dict[str, Any]:
        return json.loads((STOCK / "sdxl" / name / "config.json").read_text())

    with accelerate.init_empty_weights():
        return {
            "unet": diffusers.UNet2DConditionModel.from_config(words("unet")),
            "vae": diffusers.AutoencoderKL.from_config(words("vae")),
            "text_encoder": transformers.CLIPTextModel(transformers.CLIPTextConfig(**words("text_encoder"))),
            "text_encoder_2": transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**words("text_encoder_2"))),
        }


def identity_net(unet: Any) -> Any:
    """InstantID's ControlNetModel, by the configuration that it shares with SDXL's UNet."""
    with accelerate.init_empty_weights():
        net = diffusers.ControlNetModel.from_unet(unet, load_weights_from_unet=False)
    return net


def numbers(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Random bf16 numbers of the size that layers of this shape begin with; norms are neutral. The same name gives the same numbers."""
    if len(shape) < 2:
        return torch.full(shape, 1.0 if name.endswith("weight") else 0.0, dtype=torch.bfloat16)
    count, inner = int(torch.Size(shape).numel()), int(torch.Size(shape[1:]).numel())
    block = torch.randn(min(count, NUMBERS), generator=torch.Generator().manual_seed(len(name) * 7919 + count)) * inner**-0.5
    return block.bfloat16().repeat(-(-count // block.numel()))[:count].reshape(shape)


def write_tensors(path: Path, shapes: Shapes) -> None:
    """A safetensors file, written tensor by tensor (the format's own specification: length, JSON header, data)."""
    header: dict[str, Any] = {"__metadata__": {"modelspec.architecture": "stable-diffusion-xl-v1-base", "modelspec.title": "Random"}}
    place = 0
    for name, shape in shapes.items():
        size = 2 * int(torch.Size(shape).numel())
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            out.write(numbers(name, shape).reshape(-1).view(torch.uint8).numpy().tobytes())
