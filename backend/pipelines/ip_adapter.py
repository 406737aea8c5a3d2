"""IP-Adapter (Ye et al. 2023, arXiv:2308.06721): pictures as prompts. From a reference picture to the tokens of one lane.

Tokens and their unconditional halves follow `ip_adapter/ip_adapter.py` and `ip_adapter_faceid.py` of tencent-ailab/IP-Adapter: base
adapters project zeros, Plus adapters what the image encoder says of zeros after normalisation, FaceID adapters a zero embedding.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from protocol.errors import ModelError
from protocol.jobs import Lends

from ..models.adapters import AdapterKind, ImageAdapter, Untyped
from ..models.bundle import AdapterEntry, Model
from ..models.parts import Parts
from .identity import face_tokens

Pixels = NDArray[np.uint8]


def entry_for(model: Model, name: str | None, lends: Lends) -> AdapterEntry:
    """The adapter that `name` chooses; without a name the model's first, and for a face the first that is made for faces."""
    if name is None and lends is Lends.FACE:
        for entry in model.adapters:
            if "face" in (entry.kind.value if entry.kind else entry.name).lower():
                return entry
    return model.adapter(name)


def picture_tokens(parts: Parts, entry: AdapterEntry, reference: Pixels, guided: bool, negative: Pixels | None = None) -> Tensor:
    """Tokens (2, T, cross_attention_dim), unconditional first, of a reference (H, W, 3) for an adapter that reads an image encoder.

    The unconditional half is nothing (see above), or a picture of what is not wanted, `negative` (H, W, 3).
    """
    adapter, encoder = parts.adapter(entry), parts.image_encoder(entry.encoder)
    check_encoder(adapter, encoder.config)
    pixels = _encoder_pixels(parts, encoder, reference)
    with torch.no_grad():
        features = _features(adapter, encoder, pixels)
        tokens = adapter.projection(features)
        if not guided:
            return tokens
        if negative is not None:
            empty = _features(adapter, encoder, _encoder_pixels(parts, encoder, negative))
        elif adapter.kind is AdapterKind.BASE:
            empty = torch.zeros_like(features)
        else:
            empty = _features(adapter, encoder, torch.zeros_like(pixels))
        return torch.cat([adapter.projection(empty), tokens])


def face_prompt_tokens(parts: Parts, entry: AdapterEntry, embeddings: NDArray[np.float32], crop: Pixels | None, guided: bool) -> Tensor:
    """Tokens for a FaceID adapter: `embeddings` (n, 512) raw, brought to unit length here where the adapter wants that; `crop` the aligned
    face, for FaceID-Plus."""
    adapter = parts.adapter(entry)
    if adapter.kind.raw_face:
        return face_tokens(adapter, embeddings, guided)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    if adapter.kind is AdapterKind.FACE_ID:
        return face_tokens(adapter, unit, guided)
    if crop is None:
        raise ModelError(f"The adapter {entry.name!r} needs the aligned face beside its embedding, and none was given.")
    encoder = parts.image_encoder(entry.encoder)
    check_encoder(adapter, encoder.config)
    pixels = _encoder_pixels(parts, encoder, crop)
    faces = torch.as_tensor(unit).to(pixels)[:1, None]
    with torch.no_grad():
        tokens = _refined(adapter, faces, encoder(pixels, output_hidden_states=True).hidden_states[-2])
        if not guided:
            return tokens
        empty = encoder(torch.zeros_like(pixels), output_hidden_states=True).hidden_states[-2]
        return torch.cat([_refined(adapter, torch.zeros_like(faces), empty), tokens])


def check_encoder(adapter: ImageAdapter, config: Untyped) -> None:
    """Refuse an image encoder whose features are not as many as the adapter reads; ViT-H and bigG adapters look alike otherwise."""
    projection = adapter.projection
    match adapter.kind:
        case AdapterKind.BASE:
            wanted, given = projection.image_embeds.in_features, config.projection_dim
        case AdapterKind.FULL:
            wanted, given = projection.ff.net[0].proj.in_features, config.hidden_size
        case _:
            wanted, given = projection.proj_in.in_features, config.hidden_size
    if wanted != given:
        raise ModelError(
            f"The adapter {adapter.name!r} reads {wanted} features, and the image encoder gives {given}. "
            "Name the encoder that it was made for in model.toml."
        )


def _features(adapter: ImageAdapter, encoder: Untyped, pixels: Tensor) -> Tensor:
    """What the adapter reads of the encoder: one vector (1, D) for base adapters, the last layer but one (1, N, D) for the others."""
    if adapter.kind is AdapterKind.BASE:
        return encoder(pixels).image_embeds
    return encoder(pixels, output_hidden_states=True).hidden_states[-2]


def _encoder_pixels(parts: Parts, encoder: Untyped, reference: Pixels) -> Tensor:
    """(1, 3, side, side), normalised. A picture that is not square is squeezed, as IP-Adapter's README advises: a centre crop would lose
    the ends."""
    picture = Image.fromarray(reference)
    if picture.width != picture.height:
        side = encoder.config.image_size
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
    pixels = parts.image_processor(images=picture, return_tensors="pt").pixel_values
    return pixels.to(device=parts.device, dtype=parts.dtype)


def _refined(adapter: ImageAdapter, faces: Tensor, hidden: Tensor) -> Tensor:
    adapter.projection.clip_embeds = hidden[:, None]
    try:
        return adapter.projection(faces)
    finally:
        adapter.projection.clip_embeds = None
