"""What an adapter file is, once it is read: the modules that turn an image or a face into tokens, and the keys and values that the UNet
gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Untyped = Any
"""An object of diffusers or transformers, which publish no types."""

Factors: TypeAlias = "tuple[Tensor, Tensor]"
"""The two factors of a LoRA: down (rank, in), up (out, rank)."""


class AdapterKind(Enum):
    """The layouts of IP-Adapter's and InstantID's checkpoints (tencent-ailab/IP-Adapter, InstantID/InstantID)."""

    BASE = "base"
    """Linear and layer norm over the image embedding: 4 tokens."""
    PLUS = "plus"
    """Resampler over the image encoder's last but one hidden states: 16 tokens."""
    FULL = "full"
    """MLP over the last but one hidden states: as many tokens as there are (257 for ViT-H)."""
    FACE_ID = "faceid"
    """MLP over a face embedding of unit length: 4 tokens (16 in the portrait version), and mostly a LoRA."""
    FACE_ID_PLUS = "faceid-plus"
    """FaceID, refined by a resampler over the aligned face's hidden states."""
    FACE_ID_PLUS_V2 = "faceid-plusv2"
    """The same file layout; the resampler's output is added to the face tokens. Only the file's name or model.toml tells it from the
    first."""
    INSTANT_ID = "instantid"
    """Resampler over a raw face embedding: 16 tokens."""
    FACE_ID_PORTRAIT_RAW = "faceid-portrait-unnorm"
    """InstantID's layout, trained as a FaceID portrait: 16 tokens for each of several photos, of raw embeddings of another recogniser."""

    @property
    def needs_face(self) -> bool:
        """Whether the adapter reads a face embedding."""
        return self not in {AdapterKind.BASE, AdapterKind.PLUS, AdapterKind.FULL}

    @property
    def needs_picture(self) -> bool:
        """Whether the adapter reads the image encoder's output."""
        return self not in {AdapterKind.FACE_ID, AdapterKind.INSTANT_ID, AdapterKind.FACE_ID_PORTRAIT_RAW}

    @property
    def raw_face(self) -> bool:
        """Whether the face embedding goes in as the recogniser gives it, not brought to unit length."""
        return self in {AdapterKind.INSTANT_ID, AdapterKind.FACE_ID_PORTRAIT_RAW}


class LoraPair(NamedTuple):
    """The low-rank additions of one attention layer, at scale 1 (the official files carry no alpha)."""

    query: Factors
    key: Factors
    value: Factors
    out: Factors


@dataclass(frozen=True, slots=True, eq=False)
class ImageAdapter:
    """One adapter, ready for one UNet.

    `projection` makes tokens (B, T, cross_attention_dim); `layers` holds to_k and to_v, each (hidden, cross_attention_dim), by the index of
    the attention processor; `lora` is empty except for FaceID.
    """

    name: str
    kind: AdapterKind
    projection: Untyped
    layers: Mapping[int, tuple[Tensor, Tensor]]
    lora: Mapping[int, LoraPair]
