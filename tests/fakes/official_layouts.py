"""The official checkpoint layouts of IP-Adapter and InstantID, as names and shapes, to make files of any size with any numbers."""

from __future__ import annotations

from typing import Any

Shapes = dict[str, tuple[int, ...]]


def base(features: int, width: int, tokens: int = 4) -> Shapes:
    return {"proj.weight": (tokens * width, features), "proj.bias": (tokens * width,), "norm.weight": (width,), "norm.bias": (width,)}


def faceid(width: int, tokens: int = 4, features: int = 512) -> Shapes:
    hidden = features * 2
    return {
        "proj.0.weight": (hidden, features), "proj.0.bias": (hidden,),
        "proj.2.weight": (tokens * width, hidden), "proj.2.bias": (tokens * width,),
        "norm.weight": (width,), "norm.bias": (width,),
    }  # fmt: skip


def full(features: int, width: int) -> Shapes:
    return {
        "proj.0.weight": (features, features), "proj.0.bias": (features,), "proj.2.weight": (width, features), "proj.2.bias": (width,),
        "proj.3.weight": (width,), "proj.3.bias": (width,),
    }  # fmt: skip


def resampler(dim: int, heads: int, features: int, width: int, *, queries: int = 16, depth: int = 4, ff_mult: int = 4) -> Shapes:
    inner = heads * 64
    shapes: Shapes = {"latents": (1, queries, dim)} if queries else {}
    shapes |= {"proj_in.weight": (dim, features), "proj_in.bias": (dim,), "proj_out.weight": (width, dim), "proj_out.bias": (width,)}
    shapes |= {"norm_out.weight": (width,), "norm_out.bias": (width,)}
    for layer in range(depth):
        name = f"layers.{layer}"
        shapes |= {f"{name}.0.{norm}.{part}": (dim,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
        shapes |= {f"{name}.0.to_q.weight": (inner, dim), f"{name}.0.to_kv.weight": (inner * 2, dim)}
        shapes |= {f"{name}.0.to_out.weight": (dim, inner)}
        shapes |= {f"{name}.1.0.weight": (dim,), f"{name}.1.0.bias": (dim,)}
        shapes |= {f"{name}.1.1.weight": (dim * ff_mult, dim), f"{name}.1.3.weight": (dim, dim * ff_mult)}
    return shapes


def faceid_plus(width: int, heads: int, features: int, tokens: int = 4) -> Shapes:
    inner = {f"perceiver_resampler.{key}": shape for key, shape in resampler(width, heads, features, width, queries=0).items()}
    return faceid(width, tokens) | inner


def attention(unet: Any, rank: int = 0) -> Shapes:
    """`N.to_k_ip.weight`, `N.to_v_ip.weight` of every cross-attention of a diffusers UNet; with `rank` the FaceID LoRA of all attention."""
    shapes: Shapes = {}
    for index, name in enumerate(unet.attn_processors):
        layer = unet.get_submodule(name.removesuffix(".processor"))
        if rank:
            for part, linear in (("q", layer.to_q), ("k", layer.to_k), ("v", layer.to_v), ("out", layer.to_out[0])):
                shapes[f"{index}.to_{part}_lora.down.weight"] = (rank, linear.in_features)
                shapes[f"{index}.to_{part}_lora.up.weight"] = (linear.out_features, rank)
        if name.endswith("attn2.processor"):
            for part in ("k", "v"):
                shapes[f"{index}.to_{part}_ip.weight"] = (layer.to_q.out_features, layer.to_k.in_features)
    return shapes
