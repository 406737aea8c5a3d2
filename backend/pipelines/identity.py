"""InstantID (Wang et al. 2024, arXiv:2401.07519): a person's face as tokens beside the text, and IdentityNet.

IdentityNet is a plain SDXL ControlNet whose one difference is what it attends to: the 16 face tokens instead of the text
(`pipeline_stable_diffusion_xl_instantid.py` in InstantID/InstantID). It still gets SDXL's pooled text and sizes, as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..models.adapters import ImageAdapter, Untyped
from .control import GatedControlNet


class IdentityNet(GatedControlNet):
    """A view of InstantID's ControlNet for one subject. Several subjects are several views of the same parameters."""

    tokens: Tensor
    region: Tensor | None

    @classmethod
    def of(cls, net: Untyped, tokens: Tensor, region: Tensor | None = None) -> Self:
        """`tokens` (B, 16, cross_attention_dim), unconditional first; `region` (1, H, W) in 0..1 keeps the residuals to a part of the
        picture."""
        view = cls.over(net)
        # Plain attributes: registering a tensor would put it among the buffers, which the views of a net share.
        object.__setattr__(view, "tokens", tokens)
        object.__setattr__(view, "region", region)
        return view

    def context(self, text: Tensor) -> Tensor:
        """The face tokens (B, 16, width); the text is never seen."""
        return self.tokens

    def placed(self, down: Sequence[Tensor], mid: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """The residuals (B, C, h, w) within the region; scaled bilinearly, as InstantID's `control_mask` is."""
        if self.region is None:
            return down, mid
        region = self.region[None]
        return [_within(region, part) for part in down], _within(region, mid)


def face_tokens(adapter: ImageAdapter, embeddings: NDArray[np.float32], guided: bool) -> Tensor:
    """Face embeddings (n, 512) -> tokens (2, T, cross_attention_dim), or (1, T, …) when not `guided`.

    InstantID takes the raw embedding of one identity (n = 1); its unconditional half is the projection of zeros, not zero tokens. FaceID
    takes unit length, and its portrait version several photos, each with its own tokens.
    """
    weight = next(adapter.projection.parameters())
    faces = torch.as_tensor(np.ascontiguousarray(embeddings)).to(weight)[:, None]
    with torch.no_grad():
        if not guided:
            return adapter.projection(faces).flatten(0, 1)[None]
        # Both in one call, as InstantID and diffusers do it: in batches of one, the last bits would be others.
        both: Tensor = adapter.projection(torch.cat([torch.zeros_like(faces), faces]))
    return both.view(2, -1, both.shape[-1])


def _within(region: Tensor, part: Tensor) -> Tensor:
    return part * F.interpolate(region, size=part.shape[-2:], mode="bilinear").to(part.dtype)
