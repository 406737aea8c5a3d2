"""LoRAs with random numbers, made by PEFT for a real module, and written as the programs of the field write them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

UNET = [
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "proj_in",
    "proj_out",
    "ff.net.0.proj",
    "ff.net.2",
    "conv1",
    "conv2",
    "time_emb_proj",
    "conv_in",
]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
KOHYA = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}

State = dict[str, torch.Tensor]


def peft_state(module: Any, seed: int, targets: list[str], rank: int = 4, **options: Any) -> State:
    """The tensors of a LoRA for `module`, by PEFT's names (`….lora_A.weight`); the module itself stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        copied = copy.deepcopy(module)
        config = LoraConfig(r=rank, lora_alpha=rank, init_lora_weights=False, target_modules=targets, **options)
        if hasattr(copied, "attn_processors"):
            copied.add_adapter(config)
        else:
            from peft import inject_adapter_in_model

            copied = inject_adapter_in_model(config, copied)
        return {key: value.clone() * 0.3 for key, value in get_peft_model_state_dict(copied).items()}


def diffusers_file(path: Path, states: dict[str, State]) -> Path:
    """As `save_lora_weights` writes it."""
    save_file({f"{part}.{key}": value.contiguous() for part, state in states.items() for key, value in state.items()}, path)
    return path


def kohya_file(path: Path, states: dict[str, State], alpha: float = 2.0) -> Path:
    """As kohya's scripts write it, with diffusers' names for the layers."""
    out: State = {}
    for part, state in states.items():
        for key, value in state.items():
            stem, _, role = key.rpartition(".lora_")
            layer = stem if part == "unet" or stem.startswith(("text_model.", "text_projection")) else f"text_model.{stem}"
            name = KOHYA[part] + layer.replace(".", "_")
            out[f"{name}.lora_{'down' if role.startswith('A') else 'up'}.weight"] = value.contiguous()
            out[f"{name}.alpha"] = torch.tensor(alpha)
    save_file(out, path)
    return path
