"""A VAE that overflows in half precision, made to fit: what grows too large in it is made smaller, and comes out the same.

SDXL's own VAE has numbers within it that are too large for half precision, so diffusers decodes in single precision, with twice the memory
and at a lower speed. But what grows there is only ever read through norms, which do not care how large it is: every convolution that writes
into it is made smaller by a power of two, and each norm's epsilon by its square. In single precision that changes no bit
(`tests/models/test_half_vae.py`); in half precision what is left is the rounding of any half-precision decoder. Nothing is trained anew, as
it was for "sdxl-vae-fp16-fix".

How large the numbers are depends on the picture, so whoever decodes still looks whether they came out as numbers (`pipelines.decoding`).
"""

from __future__ import annotations

from typing import cast

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn

from .adapters import Untyped

SMALLER = 2.0**-6
"""Half precision then reaches to 4 million within the VAE. Smaller still, and weights of a hundredth would lose digits at the lower end."""


def fit_half_precision(vae: Untyped) -> bool:
    """Make an AutoencoderKL in half precision fit, once; False, and nothing changed, if it is built in a way that is not known here."""
    halves = (vae.encoder, vae.decoder)
    if not all(_is_known(half) for half in halves):
        return False
    with torch.no_grad():
        for half in halves:
            _shrink(half)
    vae.register_to_config(force_upcast=False)
    return True


def _shrink(half: Untyped) -> None:
    """What is written into the stream of numbers is made smaller; so is a residual block's inside, which a norm reads as well."""
    _scale(half.conv_in)
    _tolerate(half.conv_norm_out)
    for part in half.modules():
        match part:
            case ResnetBlock2D():
                _tolerate(part.norm1, part.norm2)
                _scale(part.conv1, part.conv2)
                _scale_bias(part.conv_shortcut)
            case Attention():
                _tolerate(part.group_norm)
                _scale(cast("Untyped", part).to_out[0])
            case Upsample2D() | Downsample2D():
                _scale_bias(part.conv)
            case _:
                pass


def _is_known(half: Untyped) -> bool:
    """Whether each parameter is one whose place in the arithmetic is known."""
    known = {id(part) for name in ("conv_in", "conv_norm_out", "conv_out") for part in getattr(half, name).parameters()}
    norms: list[Untyped] = [half.conv_norm_out]
    for part in half.modules():
        match part:
            case ResnetBlock2D():
                if part.time_emb_proj is not None:
                    return False
                norms += [part.norm1, part.norm2]
            case Attention():
                if part.spatial_norm is not None or not part.residual_connection:
                    return False
                norms.append(part.group_norm)
            case Upsample2D() | Downsample2D():
                if cast("Untyped", part).norm is not None:
                    return False
            case _:
                continue
        known |= {id(inner) for inner in part.parameters()}
    return all(isinstance(norm, nn.GroupNorm) for norm in norms) and all(id(part) in known for part in half.parameters())


def _scale(*layers: Untyped) -> None:
    for layer in layers:
        layer.weight.mul_(SMALLER)
        _scale_bias(layer)


def _scale_bias(layer: Untyped) -> None:
    """Of a layer that reads the stream and writes into it."""
    bias = getattr(layer, "bias", None)
    if bias is not None:
        bias.mul_(SMALLER)


def _tolerate(*norms: Untyped) -> None:
    for norm in norms:
        norm.eps *= SMALLER**2
