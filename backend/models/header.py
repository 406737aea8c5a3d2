"""The header of a safetensors file: which tensors it holds, and what it says of itself. Nothing else of the file is read; no torch."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from protocol.errors import ModelError

Shape = tuple[int, ...]
MOST_BYTES = 100_000_000
"""The format's own bound for a header (huggingface/safetensors, lib.rs); SDXL's has 0.3 million."""

SMALL_BYTES = 64 * 1024
_CROSS_ATTENTION = re.compile(r'"(?P<name>[^"\\]*attn2[^"\\]*to_k[^"\\]*(?:down|lora_A)[^"\\]*)"\s*:\s*(?P<entry>\{[^{}]*\})')


@dataclass(frozen=True, slots=True)
class Header:
    """The shapes of the tensors by name, and the notes (`__metadata__`, texts only)."""

    shapes: Mapping[str, Shape]
    notes: Mapping[str, str]

    def has(self, *beginnings: str) -> bool:
        """Whether any tensor's name begins with one of these."""
        return any(name.startswith(beginnings) for name in self.shapes)


def read_header(path: Path, name: str | None = None) -> Header:
    """The header of the file at `path`, called `name` in sentences. ModelError for a file that is missing, damaged, cut short or of
    another format."""
    name = name or path.name
    try:
        with path.open("rb") as file:
            start = file.read(8)
            size, length = path.stat().st_size, int.from_bytes(start, "little")
            if len(start) < 8 or not 2 <= length <= MOST_BYTES or file.read(1) != b"{":
                raise ModelError(_other_format(name, start))
            text = b"{" + file.read(length - 1) if 8 + length <= size else b""
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error}). Look where it is, and at its rights.") from error
    try:
        table = cast("dict[str, dict[str, Any]]", json.loads(text))
        notes = {str(key): str(value) for key, value in table.pop("__metadata__", {}).items()}
        shapes = {key: tuple(int(side) for side in entry["shape"]) for key, entry in table.items()}
        end = max((int(entry["data_offsets"][1]) for entry in table.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ModelError(f"{name} is damaged: its header cannot be read. Download it again.") from error
    if 8 + length + end != size:
        raise ModelError(f"{name} is not whole: it has {size:,} bytes, and its header tells of {8 + length + end:,}. Download it again.")
    return Header(shapes, notes)


def glance(path: Path) -> Header:
    """The notes of a file, and of its shapes those of the first keys of cross-attention, by which a LoRA's family is told.

    A LoRA for all of SDXL has a header of half a megabyte; to parse all of it takes twenty times as long as this. One of up to 64 KiB is
    read by `read_header`, with its errors; whether a larger one is whole, loading says.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not SMALL_BYTES < length <= MOST_BYTES:
                return read_header(path)
            text = file.read(length).decode("utf-8")
        place = text.find('"__metadata__"')
        start = text.find("{", place) if place >= 0 else -1
        notes = cast("dict[str, Any]", json.JSONDecoder().raw_decode(text, start)[0]) if start >= 0 else {}
        keys = itertools.islice(_CROSS_ATTENTION.finditer(text), 4)
        shapes = {found["name"]: tuple(int(side) for side in json.loads(found["entry"])["shape"]) for found in keys}
        return Header(shapes, {key: str(value) for key, value in notes.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return read_header(path)


def _other_format(name: str, start: bytes) -> str:
    if start[:4] == b"GGUF":
        return f"{name} is a GGUF file, quantised for other programs. Choose a .safetensors version."
    if start[:1] == b"<":
        return f"{name} is a web page, saved in place of the file. Download it again, and log in where the site wants that."
    if start.startswith(b"version "):
        return f"{name} is only git's pointer to a large file. Fetch the file itself, with `git lfs pull` or from its page."
    return f"{name} is no safetensors file. Choose another, or download it again."
