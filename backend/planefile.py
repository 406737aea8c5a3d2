"""A file of planes behind each other, as the server and its workers exchange them: written privately; mapped, or read where another
program may still have the file open."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pathlib import Path

from protocol.handover import read_exactly

Buffer = bytes | bytearray | memoryview


def write_planes(path: Path, planes: Sequence[Buffer]) -> None:
    """All planes behind each other in one file for this user alone."""
    descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        for plane in planes:
            rest = memoryview(plane).cast("B")
            while rest:
                rest = rest[file.write(rest) :]


def map_planes(path: Path, lengths: Sequence[int]) -> list[memoryview]:
    """The planes of a file; they stay readable after the file is deleted."""
    if not sum(lengths):
        return [memoryview(b"") for _ in lengths]
    with path.open("rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    return [view[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def read_planes(path: Path, lengths: Sequence[int]) -> list[bytes]:
    """The planes of a file that somebody else can make shorter: then this raises `OSError`, where looking at a map ends the process."""
    if not sum(lengths):
        return [b"" for _ in lengths]
    with path.open("rb", buffering=0) as file:
        return [read_exactly(file.fileno(), length) for length in lengths]
