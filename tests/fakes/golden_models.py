"""Model folders whose weights follow the recipe of tests/goldens/README.md: every tensor is made from its name."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import official_layouts as layouts
import torch
import transformers
from clip_tokenizer import write_tokenizer
from safetensors.torch import save_file

GOLDENS = Path(__file__).parent.parent / "goldens"
CONFIGS = GOLDENS / "configs"


def tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Steps 1 to 3 of the recipe."""
    numbers = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape, dtype=np.float32)
    if len(shape) >= 2:
        numbers *= np.float32(np.prod(shape[1:], dtype=np.float64) ** -0.5)
    else:
        numbers = (np.float32(1) + np.float32(0.1) * numbers) if name.endswith("weight") else np.float32(0.1) * numbers
    return torch.from_numpy(np.ascontiguousarray(numbers))


def half(prefix: str, shapes: layouts.Shapes) -> dict[str, torch.Tensor]:
    return {key: tensor(prefix + key, shape) for key, shape in shapes.items()}


def fill(module: Any, prefix: str, rename: Callable[[str], str] = lambda key: key) -> Any:
    state = module.state_dict()
    made = {key: tensor(prefix + rename(key), tuple(value.shape)) for key, value in state.items() if value.is_floating_point()}
    module.load_state_dict(state | made)
    return module


def model(kind: Any, config: str, prefix: str, folder: Path) -> Any:
    made = fill(kind.from_config(json.loads((CONFIGS / f"{config}.json").read_text())), prefix)
    made.save_pretrained(folder)
    return made


def text_encoder(kind: Any, config: str, prefix: str, folder: Path) -> None:
    def classic(key: str) -> str:
        return key if key.startswith(("text_model.", "text_projection")) else f"text_model.{key}"

    fill(kind(transformers.CLIPTextConfig.from_pretrained(CONFIGS / f"{config}.json")), prefix, classic).save_pretrained(folder)


def common(folder: Path) -> None:
    model(diffusers.AutoencoderKL, "vae", "vae.", folder / "vae")
    config = transformers.CLIPVisionConfig.from_pretrained(CONFIGS / "image_encoder.json")
    fill(transformers.CLIPVisionModelWithProjection(config), "image_encoder.").save_pretrained(folder / "image_encoder")
    (folder / "scheduler").mkdir()
    scheduler = json.loads((CONFIGS / "scheduler.json").read_text()) | {"_class_name": "EulerDiscreteScheduler"}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    write_tokenizer(folder / "tokenizer")
    (folder / "ip_adapter").mkdir()


def adapter_bin(path: Path, prefix: str, projection: layouts.Shapes, attention: layouts.Shapes) -> None:
    halves = {"image_proj": half(f"{prefix}.image_proj.", projection), "ip_adapter": half(f"{prefix}.ip_adapter.", attention)}
    if path.suffix == ".bin":
        torch.save(halves, path)
    else:
        save_file({f"{name}.{key}": value for name, state in halves.items() for key, value in state.items()}, path)


def write_sdxl(folder: Path) -> Path:
    folder.mkdir()
    common(folder)
    unet = model(diffusers.UNet2DConditionModel, "unet", "unet.", folder / "unet")
    model(diffusers.ControlNetModel, "identitynet", "identitynet.", folder / "identitynet")
    model(diffusers.ControlNetModel, "identitynet", "posenet.", folder / "controlnets" / "skeleton")
    text_encoder(transformers.CLIPTextModel, "text_encoder", "te1.", folder / "text_encoder")
    text_encoder(transformers.CLIPTextModelWithProjection, "text_encoder_2", "te2.", folder / "text_encoder_2")
    write_tokenizer(folder / "tokenizer_2", pad="!")
    face = layouts.resampler(1280, 20, 512, 64)
    adapter_bin(folder / "instantid.bin", "instantid", face, layouts.attention(unet))
    adapter_bin(folder / "ip_adapter" / "ip_xl.safetensors", "ip_xl", layouts.base(40, 64), layouts.attention(unet))
    adapter_bin(folder / "ip_adapter" / "faceid_xl.bin", "faceid_xl", layouts.faceid(64), layouts.attention(unet, rank=16))
    (folder / "model.toml").write_text('id = "golden-xl"\nfamily = "sdxl"\nsize = [256, 256]\n')
    return folder


def write_sd15(folder: Path) -> Path:
    folder.mkdir()
    common(folder)
    unet = model(diffusers.UNet2DConditionModel, "unet15", "unet15.", folder / "unet")
    text_encoder(transformers.CLIPTextModel, "text_encoder15", "te15.", folder / "text_encoder")
    plus = layouts.resampler(64, 12, 48, 64)
    adapter_bin(folder / "ip_adapter" / "ip_plus_sd15.bin", "ip_plus_sd15", plus, layouts.attention(unet))
    (folder / "model.toml").write_text('id = "golden-15"\nfamily = "sd15"\nsize = [256, 256]\n')
    return folder


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
