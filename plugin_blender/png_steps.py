"""The same PNGs as `png_of`, made in steps of a millisecond or two, so that Blender's window goes on meanwhile."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from .chores import Steps
from .png import SIGNATURE
from .protocol.planes import Layout, Plane

PART = 1 << 14
"""Bytes compressed in one step: under a millisecond."""
_COLOUR_TYPES = {Layout.A8: 0, Layout.RGB8: 2, Layout.RGBA8: 6, Layout.BGRA8: 6}


def png_in_steps(plane: Plane) -> Steps[bytes]:
    """The plane as an 8-bit PNG. Raises `TooLarge` or `BadPicture` when its bytes are not what it says."""
    plane.check()
    width, height, channels = plane.extent.width, plane.extent.height, plane.layout.channels
    rows = np.frombuffer(plane.data, dtype=np.uint8).reshape(height, width, channels)
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[plane.layout], 0, 0, 0)
    # Many small chunks of data: one large one would have to be copied and summed in a single step.
    pack, chunks = zlib.compressobj(3), [SIGNATURE, _chunk(b"IHDR", head)]
    count = max(1, PART // (width * channels + 1))
    for start in range(0, height, count):
        part = rows[start : start + count]
        if plane.layout is Layout.BGRA8:
            part = part[..., [2, 1, 0, 3]]
        # Filter 1, "Sub" (W3C PNG, 9.2): each byte less the same channel of the pixel to the left, modulo 256.
        filtered = np.empty((len(part), 1 + width * channels), np.uint8)
        filtered[:, 0] = 1
        shifted = filtered[:, 1:].reshape(len(part), width, channels)
        shifted[:, 0], shifted[:, 1:] = part[:, 0], part[:, 1:] - part[:, :-1]
        if packed := pack.compress(filtered.tobytes()):
            chunks.append(_chunk(b"IDAT", packed))
        yield
    chunks += [_chunk(b"IDAT", pack.flush()), _chunk(b"IEND", b"")]
    yield
    return b"".join(chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
