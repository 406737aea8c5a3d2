"""What one raw pixel frame means, and its exact length in bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from .geometry import Extent


class Layout(Enum):
    """Byte order of a pixel; rows follow each other without padding, top row first."""

    RGB8 = "RGB8"
    RGBA8 = "RGBA8"
    BGRA8 = "BGRA8"
    """What Krita's `pixelData` gives for an 8-bit RGBA document."""
    A8 = "A8"
    """A mask: 0 keeps the canvas, 255 is repainted."""

    @property
    def channels(self) -> int:
        """Bytes per pixel."""
        return {"RGB8": 3, "RGBA8": 4, "BGRA8": 4, "A8": 1}[self.value]


@dataclass(frozen=True, slots=True)
class Plane:
    """One picture as raw bytes with a declared size.

    `data` is any contiguous buffer of exactly `extent.area * layout.channels` bytes; it is never copied on its way.
    """

    layout: Layout
    extent: Extent
    data: bytes | bytearray | memoryview = field(repr=False)

    @property
    def byte_length(self) -> int:
        """The length that `data` must have."""
        return self.extent.area * self.layout.channels
