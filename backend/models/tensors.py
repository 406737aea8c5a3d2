"""Files of tensors, read as numbers only: `.safetensors`, and through the door of `pickles` what checkpoints used to be. Damaged ones are
refused with a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from protocol.errors import ModelError

from .pickles import as_safetensors

State = dict[str, Tensor]
MIB, GIB = 2**20, 2**30


def read_tensors(path: Path, what: str, most_bytes: int) -> tuple[State, dict[str, str]]:
    """The tensors of `path` by name (nested names joined by dots), on the processor, and the file's own notes.

    `what` names the kind of file in sentences ("LoRA"), `most_bytes` is the size above which it cannot be one. Raises ModelError when it is
    missing, too large, damaged, or holds anything but finite numbers.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(f"The {what} {path} is missing. Install the model again, or take its name out.") from error
    if size > most_bytes:
        raise ModelError(f"{path.name} has {size / MIB:,.0f} MiB, more than any {what}. Choose another file.")
    state, notes = _safetensors(path, as_safetensors(path), what)
    for key, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise ModelError(f"{path.name} is broken: {key} holds numbers that are none (NaN or infinite). Download it again.")
    return state, notes


def first_line(error: BaseException) -> str:
    """What a library said, as the beginning of a sentence."""
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).rstrip(".:") + "."


def _safetensors(path: Path, copy: Path, what: str) -> tuple[State, dict[str, str]]:
    from safetensors import SafetensorError

    opened: Any = getattr(safetensors, "safe_open")  # it publishes no types
    try:
        with opened(copy, "pt", "cpu") as file:  # it refuses headers that are longer than the file, and offsets outside of it
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path.name} is damaged, or no {what}: {first_line(error)} Download it again.") from error
