"""Trained adapters in the official file layouts.

IP-Adapter's and InstantID's files are {"image_proj": {...}, "ip_adapter": {...}} as a torch pickle (`.bin`), or the same flat with the
prefixes `image_proj.` and `ip_adapter.` as safetensors (tencent-ailab/IP-Adapter, ip_adapter/ip_adapter.py). The numbers in `ip_adapter`
count the UNet's attention processors: self attention even, cross attention odd.
"""

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from .untyped import Untyped, projections, safetensors

Weights = dict[str, Tensor]

# diffusers' names of the resampler's parts and the official ones; to_k and to_v lie in one matrix officially.
_RESAMPLER = (
    (r"^layers\.(\d+)\.ln0\.", r"layers.\1.0.norm1."),
    (r"^layers\.(\d+)\.ln1\.", r"layers.\1.0.norm2."),
    (r"^layers\.(\d+)\.attn\.to_q\.", r"layers.\1.0.to_q."),
    (r"^layers\.(\d+)\.attn\.to_out\.0\.", r"layers.\1.0.to_out."),
    (r"^layers\.(\d+)\.ff\.0\.", r"layers.\1.1.0."),
    (r"^layers\.(\d+)\.ff\.1\.net\.0\.proj\.", r"layers.\1.1.1."),
    (r"^layers\.(\d+)\.ff\.1\.net\.2\.", r"layers.\1.1.3."),
)


def official_projection(projection: nn.Module) -> Weights:
    """The `image_proj` part for diffusers' Linear + LayerNorm or resampler."""
    state = projection.state_dict()
    match projection:
        case projections.ImageProjection():
            return {key.replace("image_embeds.", "proj."): value for key, value in state.items()}
        case projections.IPAdapterPlusImageProjection():
            return _official_resampler(state)
        case _:
            raise TypeError(f"A projection of type {type(projection).__name__} has no official layout here.")


def _official_resampler(state: Weights) -> Weights:
    out: Weights = {}
    for key, value in state.items():
        if ".attn.to_v." in key:
            continue
        if ".attn.to_k." in key:
            layer = key.split(".")[1]
            out[f"layers.{layer}.0.to_kv.weight"] = torch.cat([value, state[key.replace("to_k", "to_v")]])
            continue
        out[_official_name(key)] = value
    return out


def _official_name(key: str) -> str:
    for pattern, name in _RESAMPLER:
        key = re.sub(pattern, name, key)
    return key


@torch.no_grad()
def read_adapter(unet: Untyped, projection: nn.Module, path: Path) -> None:
    """Take what `write_adapter` wrote (`path`, safetensors) into an attached UNet's processors and its resampler: training goes on from it.

    Raises:
        KeyError, RuntimeError: the file belongs to another form of adapter.
    """
    kept = safetensors.load_file(path)
    for key, value in projection.state_dict().items():
        if ".attn.to_k." in key or ".attn.to_v." in key:
            both = kept[f"image_proj.layers.{key.split('.')[1]}.0.to_kv.weight"].chunk(2)
            value.copy_(both[0 if ".to_k." in key else 1])
        else:
            value.copy_(kept[f"image_proj.{_official_name(key)}"])
    for index, processor in enumerate(unet.attn_processors.values()):
        if hasattr(processor, "to_k_ip"):
            processor.to_k_ip[0].weight.copy_(kept[f"ip_adapter.{index}.to_k_ip.weight"])
            processor.to_v_ip[0].weight.copy_(kept[f"ip_adapter.{index}.to_v_ip.weight"])


def official_adapter(unet: Untyped, projection: nn.Module) -> dict[str, Weights]:
    """Projection and the keys and values of the UNet's attached processors, in half precision and the official layout."""
    attention: Weights = {}
    for index, processor in enumerate(unet.attn_processors.values()):
        if hasattr(processor, "to_k_ip"):
            attention[f"{index}.to_k_ip.weight"] = processor.to_k_ip[0].weight
            attention[f"{index}.to_v_ip.weight"] = processor.to_v_ip[0].weight
    return {"image_proj": _half(official_projection(projection)), "ip_adapter": _half(attention)}


def _half(weights: Weights) -> Weights:
    return {key: value.detach().to("cpu", torch.float16).contiguous().clone() for key, value in weights.items()}


def write_adapter(weights: dict[str, Weights], path: Path) -> None:
    """Write `path`.safetensors and `path`.bin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.save_file(
        {f"{part}.{key}": value for part, state in weights.items() for key, value in state.items()}, path.with_suffix(".safetensors")
    )
    torch.save(weights, path.with_suffix(".bin"))
