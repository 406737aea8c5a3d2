"""Files of tensors, read as numbers only: `.safetensors`, and the pickles that checkpoints used to be. Damaged ones are refused with a
sentence."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import safetensors
import torch
from torch import Tensor

from protocol.errors import ModelError

State = dict[str, Tensor]
GIB = 2**30
WRAPPERS = ("state_dict", "model_state_dict")
"""Under these words some trainers keep the tensors, beside counters that nobody needs again."""


def read_tensors(path: Path, what: str, most_bytes: int) -> tuple[State, dict[str, str]]:
    """The tensors of `path` by name (nested names joined by dots), on the processor, and the file's own notes (safetensors only).

    `what` names the kind of file in sentences ("LoRA"), `most_bytes` is the size above which it cannot be one. Raises ModelError when it is
    missing, too large, damaged, or holds anything but finite numbers.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(f"The {what} {path} is missing. Install the model again, or take its name out.") from error
    if size > most_bytes:
        raise ModelError(f"{path.name} has {size / GIB:.1f} GiB, more than any {what}. Choose another file.")
    state, notes = _safetensors(path, what) if path.suffix == ".safetensors" else (_flat(path, what, _pickle(path, what)), {})
    for key, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
            raise ModelError(f"{path.name} is broken: {key} holds numbers that are none (NaN or infinite). Download it again.")
    return state, notes


def first_line(error: BaseException) -> str:
    """What a library said, as the beginning of a sentence."""
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).rstrip(".:") + "."


def _safetensors(path: Path, what: str) -> tuple[State, dict[str, str]]:
    from safetensors import SafetensorError

    opened: Any = getattr(safetensors, "safe_open")  # noqa: B009  # it publishes no types
    try:
        with opened(path, "pt", "cpu") as file:  # it refuses headers that are longer than the file, and offsets outside of it
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118  # no mapping
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path.name} is damaged, or no {what}: {first_line(error)} Download it again.") from error


def _pickle(path: Path, what: str) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path.name} cannot be read: {first_line(error)} Download it again.") from error


def _flat(path: Path, what: str, nested: object) -> State:
    table = _table(nested)
    for word in WRAPPERS:
        if isinstance(table.get(word), Mapping):
            table = _table(table[word])
    flat: State = {}
    waiting = [(key, value) for key, value in table.items()]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, Tensor):
            flat[key] = value
        elif isinstance(value, Mapping):
            waiting += [(f"{key}.{name}", item) for name, item in _table(cast("object", value)).items()]
        else:
            raise ModelError(f"{path.name} is no {what}: its {key!r} is no tensor. Download it again.")
    return dict(sorted(flat.items()))


def _table(value: object) -> dict[str, object]:
    return {str(key): item for key, item in cast("Mapping[object, object]", value).items()} if isinstance(value, Mapping) else {}
