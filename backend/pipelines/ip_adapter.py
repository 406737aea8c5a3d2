"""IP-Adapter (Ye et al. 2023, arXiv:2308.06721): pictures as prompts. From a reference picture to the tokens of one lane.

Tokens and their unconditional halves follow `ip_adapter/ip_adapter.py` and `ip_adapter_faceid.py` of tencent-ailab/IP-Adapter: base
adapters project zeros, Plus adapters what the image encoder says of zeros after normalisation, FaceID adapters a zero embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from protocol.errors import ModelError
from protocol.jobs import Lends

from ..models.adapters import AdapterKind, ImageAdapter, Untyped
from ..models.bundle import AdapterEntry, Family, Model
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


def picture_tokens(parts: Parts, entry: AdapterEntry, reference: Pixels, guided: bool) -> Tensor:
    """Tokens (2, T, cross_attention_dim), unconditional first, of a reference (H, W, 3) for an adapter that reads an image encoder."""
    adapter, encoder = parts.adapter(entry), parts.image_encoder(entry.encoder)
    check_encoder(adapter, encoder.config)
    pixels = _encoder_pixels(parts, encoder, reference)
    with torch.no_grad():
        if adapter.kind is AdapterKind.BASE:
            features = encoder(pixels).image_embeds
            empty = torch.zeros_like(features)
        else:
            features = encoder(pixels, output_hidden_states=True).hidden_states[-2]
            empty = encoder(torch.zeros_like(pixels), output_hidden_states=True).hidden_states[-2]
        tokens = adapter.projection(features)
        return torch.cat([adapter.projection(empty), tokens]) if guided else tokens


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


def lent_layers(names: Sequence[str], family: Family, lends: Lends) -> dict[int, float] | None:
    """Which attention layers an image prompt acts on, as factors by index; None for all of them.

    InstantStyle (Wang et al. 2024, arXiv:2404.02733) found style in `up_blocks.0.attentions.1` and composition in
    `down_blocks.2.attentions.1` of SDXL: the deepest blocks that attend to the text. For SD 1.5 these blocks as a whole are used,
    composition with the middle block.
    """
    match lends:
        case Lends.STYLE:
            deepest, chosen = _deepest(names, "up_blocks"), "1"
        case Lends.COMPOSITION:
            deepest, chosen = _deepest(names, "down_blocks"), "1"
        case Lends.ALL | Lends.FACE:
            return None
    prefixes = [f"{deepest}.attentions.{chosen}." if family is Family.SDXL else f"{deepest}."]
    if family is Family.SD15 and lends is Lends.COMPOSITION:
        prefixes.append("mid_block.")
    return {index: 1.0 for index, name in enumerate(names) if name.startswith(tuple(prefixes))}


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


def _deepest(names: Sequence[str], side: str) -> str:
    """The deepest block of a side that attends to the text: the last one down, the first one up."""
    blocks = sorted({".".join(name.split(".")[:2]) for name in names if name.startswith(side)}, key=lambda block: int(block.split(".")[1]))
    return blocks[-1] if side == "down_blocks" else blocks[0]


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
