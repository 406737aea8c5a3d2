"""Checkpoints in one file, as CompVis' and Stability's code names their tensors, written from modules of diffusers and transformers.

The names are those of openaimodel.py and model.py of CompVis/latent-diffusion, transformers' CLIPTextModel before 5.6 and open_clip's text
tower; this is the way back of what a loader does, written without one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

State = dict[str, torch.Tensor]
RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}  # fmt: skip
OPEN_CLIP = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip


def unet_state(unet: Any) -> State:
    """`model.diffusion_model.…`"""
    layers = unet.config.layers_per_block
    state: State = {}
    for key, value in unet.state_dict().items():
        state["model.diffusion_model." + _unet_name(key, layers, len(unet.config.block_out_channels), unet)] = value.clone()
    return state


def _unet_name(key: str, layers: int, blocks: int, unet: Any) -> str:
    part, *rest = key.split(".")
    tail = rest[-1]
    match part:
        case "conv_in":
            return f"input_blocks.0.0.{tail}"
        case "conv_norm_out":
            return f"out.0.{tail}"
        case "conv_out":
            return f"out.2.{tail}"
        case "time_embedding":
            return f"time_embed.{0 if rest[0] == 'linear_1' else 2}.{tail}"
        case "add_embedding":
            return f"label_emb.0.{0 if rest[0] == 'linear_1' else 2}.{tail}"
        case "mid_block":
            place = f"middle_block.{1 if rest[0] == 'attentions' else 0 if rest[1] == '0' else 2}"
            return f"{place}.{_inner(rest[0], rest[2:])}"
        case "down_blocks":
            number = int(rest[0]) * (layers + 1) + 1
            if rest[1] == "downsamplers":
                return f"input_blocks.{number + layers}.0.op.{tail}"
            return f"input_blocks.{number + int(rest[2])}.{1 if rest[1] == 'attentions' else 0}.{_inner(rest[1], rest[3:])}"
        case _:
            number = int(rest[0]) * (layers + 1)
            if rest[1] == "upsamplers":
                attends = hasattr(unet.up_blocks[int(rest[0])], "attentions")
                return f"output_blocks.{number + layers}.{2 if attends else 1}.conv.{tail}"
            return f"output_blocks.{number + int(rest[2])}.{1 if rest[1] == 'attentions' else 0}.{_inner(rest[1], rest[3:])}"


def _inner(kind: str, rest: list[str]) -> str:
    return ".".join(rest) if kind == "attentions" else ".".join([RESNET[rest[0]], *rest[1:]])


def vae_state(vae: Any, prefix: str = "first_stage_model.") -> State:
    """`encoder.…`, `decoder.…`, `quant_conv.…`; attention's linear layers are 1 x 1 convolutions there."""
    count = len(vae.config.block_out_channels)
    return {prefix + _vae_name(key, count): _as_convolution(key, value).clone() for key, value in vae.state_dict().items()}


def _vae_name(key: str, count: int) -> str:
    half, *rest = key.split(".")
    if half not in ("encoder", "decoder"):
        return key
    tail = rest[-1]
    match rest[0]:
        case "conv_norm_out":
            return f"{half}.norm_out.{tail}"
        case "mid_block" if rest[1] == "attentions":
            parts = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}
            return f"{half}.mid.attn_1.{parts[rest[3]]}.{tail}"
        case "mid_block":
            return f"{half}.mid.block_{int(rest[2]) + 1}.{_vae_resnet(rest[3:])}"
        case "down_blocks" | "up_blocks":
            side = rest[0].removesuffix("_blocks")
            number = int(rest[1]) if side == "down" else count - 1 - int(rest[1])
            if rest[2] in ("downsamplers", "upsamplers"):
                return f"{half}.{side}.{number}.{side}sample.conv.{tail}"
            return f"{half}.{side}.{number}.block.{rest[3]}.{_vae_resnet(rest[4:])}"
        case _:
            return key


def _vae_resnet(rest: list[str]) -> str:
    return ".".join(["nin_shortcut" if rest[0] == "conv_shortcut" else rest[0], *rest[1:]])


def _as_convolution(key: str, value: torch.Tensor) -> torch.Tensor:
    return value[:, :, None, None] if ".attentions." in key and value.ndim == 2 else value


def clip_state(encoder: Any, prefix: str) -> State:
    """transformers' CLIPTextModel, as it was when checkpoints were made: everything under `text_model.`."""
    state = {f"{prefix}text_model.{key.removeprefix('text_model.')}": value.clone() for key, value in encoder.state_dict().items()}
    return state | {f"{prefix}text_model.embeddings.position_ids": torch.arange(77)[None]}


def open_clip_state(encoder: Any, prefix: str) -> State:
    """open_clip's text tower: queries, keys and values in one matrix, the projection the other way round."""
    state: State = {f"{prefix}logit_scale": torch.tensor(4.6)}
    plain = {key.removeprefix("text_model."): value for key, value in encoder.state_dict().items()}
    fixed = {
        "embeddings.token_embedding.weight": "token_embedding.weight", "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias",
    }  # fmt: skip
    for key, value in plain.items():
        if key == "text_projection.weight":
            state[f"{prefix}text_projection"] = value.T.contiguous().clone()
        elif key in fixed:
            state[prefix + fixed[key]] = value.clone()
        elif ".q_proj." in key:
            whole = torch.cat([plain[key.replace("q_proj", f"{part}_proj")] for part in "qkv"])
            name = key.replace("encoder.layers", "transformer.resblocks").replace("self_attn.q_proj.", "attn.in_proj_")
            state[prefix + name] = whole
        elif ".k_proj." not in key and ".v_proj." not in key:
            for new, old in OPEN_CLIP.items():
                key = key.replace(new, old)
            state[prefix + key.replace("encoder.layers", "transformer.resblocks")] = value.clone()
    return state


def checkpoint_state(parts: dict[str, Any]) -> State:
    """Everything of a pipeline (`backend.models.parts.Parts.base`), SDXL where there are two text encoders, with what else lies about."""
    state = unet_state(parts["unet"]) | vae_state(parts["vae"])
    if "text_encoder_2" in parts:
        state |= clip_state(parts["text_encoder"], "conditioner.embedders.0.transformer.")
        state |= open_clip_state(parts["text_encoder_2"], "conditioner.embedders.1.model.")
    else:
        state |= clip_state(parts["text_encoder"], "cond_stage_model.transformer.")
        state |= {"betas": torch.zeros(4), "alphas_cumprod": torch.zeros(4), "model_ema.decay": torch.tensor(1.0)}
    return state


def write_checkpoint(path: Path, parts: dict[str, Any], notes: dict[str, str] | None = None, **more: torch.Tensor) -> Path:
    """One file, in safetensors or as a pickle with `state_dict` around it."""
    state = checkpoint_state(parts) | more
    if path.suffix == ".safetensors":
        save_file(state, path, metadata=notes)
    else:
        torch.save({"state_dict": state, "global_step": 1}, path)
    return path


def keep_configs(folder: Path) -> None:
    """Take the weights out of a model folder, and leave the configurations of its base."""
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        for file in (folder / part).glob("*"):
            if file.name != "config.json":
                file.unlink()


def card(folder: Path, **values: object) -> None:
    """Add lines to model.toml, at its top."""
    text = (folder / "model.toml").read_text(encoding="utf-8")
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    (folder / "model.toml").write_text(lines + text, encoding="utf-8")
