"""The safetensors layout, written and read with the standard library: 8 bytes length, a JSON header, then raw little-endian numbers.

As in huggingface/safetensors (README, "Format"): the header names each tensor's dtype, shape and place; the places cover the data without
gaps and without overlap. What is read is outside data: every length is compared with the file before a byte is taken by it, and nothing is
ever executed. Only what a character file needs is known: F32, I32 and U8.
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..limits import HEADER_BYTES, MESSAGE_BYTES

BYTES = {"F32": 4, "I32": 4, "U8": 1}
MOST_TENSORS = 256
MOST_DIMENSIONS = 4
MOST_BYTES = MESSAGE_BYTES + HEADER_BYTES
"""A character with the most and the largest photos."""
_METADATA = "__metadata__"


class Damaged(ValueError):  # noqa: N818  (a state of the file, not of the program)
    """What is wrong with a file, as the middle of a sentence; it never leaves this folder."""


@dataclass(frozen=True)
class Tensor:
    """Raw numbers: `dtype` F32, I32 or U8, `shape`, and their bytes, little-endian, row by row."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def floats(cls, values: tuple[float, ...], *shape: int) -> Tensor:
        """Numbers as F32."""
        return cls("F32", shape, struct.pack(f"<{len(values)}f", *values))

    @classmethod
    def whole(cls, values: tuple[int, ...], *shape: int) -> Tensor:
        """Whole numbers as I32."""
        return cls("I32", shape, struct.pack(f"<{len(values)}i", *values))

    def as_floats(self) -> tuple[float, ...]:
        """The numbers of an F32 tensor; `Damaged` if one is none (NaN, infinite)."""
        values = struct.unpack(f"<{len(self.data) // 4}f", self.data)
        if not all(map(math.isfinite, values)):
            raise Damaged("it holds numbers that are none (NaN or infinite)")
        return values

    def as_whole(self) -> tuple[int, ...]:
        """The numbers of an I32 tensor."""
        return struct.unpack(f"<{len(self.data) // 4}i", self.data)


def pack(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> bytes:
    """A whole file; the header is filled up with spaces, so that numbers lie at multiples of 8 bytes as the library has them."""
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    place = 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [place, place + len(tensor.data)]}
        place += len(tensor.data)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(tensor.data for tensor in tensors.values())


def unpack(data: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a whole file; raises `Damaged`."""
    length = _header_length(data[:8], len(data))
    metadata, places = _header(data[8 : 8 + length], len(data) - 8 - length)
    return metadata, _tensors(places, memoryview(data)[8 + length :])


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of the file at `path`; raises `Damaged`, and `OSError` if it cannot be read."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Damaged("it is no file")
        if status.st_size > MOST_BYTES:
            raise Damaged(f"it has {status.st_size} bytes, and {MOST_BYTES} are the most")
        length = _header_length(file.read(8), status.st_size)
        metadata, places = _header(file.read(length), status.st_size - 8 - length)
        data = file.read(status.st_size - 8 - length)
    if len(data) != status.st_size - 8 - length:
        raise Damaged("it became shorter while it was read")
    return metadata, _tensors(places, memoryview(data))


def _header_length(first: bytes, size: int) -> int:
    if len(first) < 8:
        raise Damaged("it is cut off")
    length = struct.unpack("<Q", first)[0]
    if length > HEADER_BYTES:
        raise Damaged(f"its header says that it has {length} bytes, and {HEADER_BYTES} are the most")
    if length > size - 8:
        raise Damaged("it is cut off within its header")
    return length


def _header(text: bytes, size: int) -> tuple[dict[str, str], dict[str, tuple[str, tuple[int, ...], int, int]]]:
    """Metadata, and of each tensor dtype, shape, first byte and end, which together cover `size` bytes."""
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, Damaged) else Damaged("its header is no JSON") from error
    if not isinstance(header, dict):
        raise Damaged("its header is no list of tensors")
    entries = cast("dict[str, Any]", header)
    metadata = entries.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in cast("dict[str, Any]", metadata).values()):
        raise Damaged("its header's notes are no texts")
    if len(entries) > MOST_TENSORS:
        raise Damaged(f"it has {len(entries)} tensors, and {MOST_TENSORS} are the most")
    places = {name: _place(name, entry) for name, entry in entries.items()}
    end = 0
    for name, (_, _, start, stop) in sorted(places.items(), key=lambda item: item[1][2:]):
        if start != end:
            raise Damaged(f"its tensor {name!r} begins at {start}, and the one before ends at {end}")
        end = stop
    if end != size:
        raise Damaged(f"its header speaks of {end} bytes of numbers, and {size} are there")
    return cast("dict[str, str]", metadata), places


def _place(name: str, entry: object) -> tuple[str, tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or cast("dict[str, Any]", entry).keys() != {"dtype", "shape", "data_offsets"}:
        raise Damaged(f"its tensor {name[:40]!r} does not say its type, shape and place")
    fields = cast("dict[str, Any]", entry)
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BYTES:
        raise Damaged(f"its tensor {name[:40]!r} is of the type {str(dtype)[:20]!r}; a character has {', '.join(BYTES)}")
    if not _numbers(shape) or len(shape) > MOST_DIMENSIONS or not _numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise Damaged(f"its tensor {name[:40]!r} has no usable shape or place")
    if math.prod(shape) * BYTES[dtype] != offsets[1] - offsets[0]:
        raise Damaged(f"its tensor {name[:40]!r} has another length than its shape says")
    return dtype, tuple(shape), offsets[0], offsets[1]


def _numbers(value: object) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one <= MOST_BYTES for one in cast("list[object]", value))


def _tensors(places: Mapping[str, tuple[str, tuple[int, ...], int, int]], data: memoryview) -> dict[str, Tensor]:
    return {name: Tensor(dtype, shape, bytes(data[start:end])) for name, (dtype, shape, start, end) in places.items()}


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Damaged("its header names something twice")
    return found


def _no_constant(name: str) -> object:
    raise Damaged(f"its header holds {name}")
