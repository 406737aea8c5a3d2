"""The same PNGs as `png_of`, made in steps of a millisecond or two, so that Blender's window goes on meanwhile."""

from __future__ import annotations

from .chores import Steps
from .png import png_chunks
from .protocol.planes import Plane


def png_in_steps(plane: Plane, level: int = 1) -> Steps[bytes]:
    """The plane as an 8-bit PNG, not compressed with level 0. Raises `TooLarge` or `BadPicture` when its bytes are not what it says."""
    chunks: list[bytes] = []
    for chunk in png_chunks(plane, level):
        chunks.append(chunk)
        yield
    return b"".join(chunks)
