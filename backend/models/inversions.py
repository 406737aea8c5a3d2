"""Textual inversion (Gal et al. 2022, arXiv:2208.01618): files of vectors that stand for words. Read, and fitted to a base's text encoders.

Layouts: A1111's `string_to_param`, diffusers' `{"<word>": vector}`, kohya's `emb_params`, and for SDXL `clip_l` and `clip_g` (one set of
vectors for each text encoder).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from protocol.errors import ModelError

from .adapters import Untyped
from .tensors import MIB, read_tensors

EMBEDDING_BYTES = 64 * MIB
"""75 vectors for both encoders of SDXL in single precision are 0.6 MiB; trainers that keep their optimiser's state write a few more."""
MOST_VECTORS = 75
"""As many words as a prompt has room for."""
OF_SDXL = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}
FAMILY_OF_WIDTH = {768: "SD 1.5", 1024: "SD 2", 1280: "SDXL"}


@dataclass(frozen=True, slots=True, eq=False)
class Inversion:
    """One word of one file: `vectors` (n, width) for each text encoder by its name in a pipeline, the same n for all of them."""

    name: str
    vectors: Mapping[str, Tensor]
    stamp: str = ""

    @property
    def count(self) -> int:
        """How many tokens it takes."""
        return next(iter(self.vectors.values())).shape[0]


def load_inversion(name: str, path: Path, encoders: Mapping[str, Untyped]) -> Inversion:
    """The textual inversion of the file `path` for `encoders` (text encoders by their names in a pipeline), called `name`.

    Raises ModelError with a sentence for a damaged file, several words in one, or one that was made for other text encoders.
    """
    state, _ = read_tensors(path, "textual inversion", EMBEDDING_BYTES)
    found = _by_encoder(path, state, encoders)
    facts = path.stat()
    vectors: dict[str, Tensor] = {}
    for part, encoder in encoders.items():
        table = encoder.get_input_embeddings().weight
        vector = found[part].reshape(-1, found[part].shape[-1])
        if vector.shape[-1] != table.shape[-1]:
            made = FAMILY_OF_WIDTH.get(vector.shape[-1], f"text encoders {vector.shape[-1]} wide")
            raise ModelError(f"{path.name} is a textual inversion for {made}, and this base reads words {table.shape[-1]} wide. {_CURE}")
        vectors[part] = vector.to(device=table.device, dtype=table.dtype)
    counts = {vector.shape[0] for vector in vectors.values()}
    if len(counts) != 1 or not 1 <= max(counts) <= MOST_VECTORS:
        many = " and ".join(map(str, sorted(counts)))
        raise ModelError(f"{path.name} holds {many} vectors, and 1 to {MOST_VECTORS} for each text encoder can be read. {_CURE}")
    return Inversion(name, vectors, f"{path}:{facts.st_size}:{facts.st_mtime_ns}")


_CURE = "Choose one for this base."


def _by_encoder(path: Path, state: Mapping[str, Tensor], encoders: Mapping[str, Untyped]) -> dict[str, Tensor]:
    tensors = {key: tensor for key, tensor in state.items() if tensor.is_floating_point() and tensor.ndim in {1, 2}}
    given = {OF_SDXL[key]: tensor for key, tensor in tensors.items() if key in OF_SDXL}
    if given:
        if given.keys() != encoders.keys():
            held = ", ".join(sorted(tensors))
            raise ModelError(f"{path.name} is a textual inversion for SDXL or half of one (it holds {held}), and does not fit. {_CURE}")
        return given
    if len(tensors) != 1:
        what = f"{len(tensors)} words" if tensors else "no vectors"
        raise ModelError(f"{path.name} is no textual inversion of one word: it holds {what}. Choose another file.")
    if len(encoders) > 1:
        raise ModelError(f"{path.name} is a textual inversion for SD 1.5 or 2, and SDXL reads with two text encoders. {_CURE}")
    return {next(iter(encoders)): next(iter(tensors.values()))}


def with_vectors(out: Tensor, ids: Tensor, first: int, vectors: Tensor) -> Tensor:
    """`out` (batch, length, width), an embedding table's answer, with the rows of `vectors` (n, width) where `ids` are `first` and more."""
    chosen = (ids - first).clamp(0, vectors.shape[0] - 1)
    return torch.where((ids >= first)[..., None], vectors.to(out)[chosen], out)
