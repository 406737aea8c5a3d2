"""What one raw pixel frame means, and its exact length in bytes."""

from __future__ import annotations

from dataclasses import field
from enum import Enum

from .errors import BadPicture, TooLarge
from .frozen import frozen
from .geometry import Extent
from .limits import PIXELS, SIDE


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


@frozen
class Plane:
    """One picture as raw bytes with a declared size: 1 to 16384 pixels a side, at most 8192 x 8192 pixels.

    `data` is any contiguous buffer of exactly `extent.area * layout.channels` bytes; it is never copied on its way.
    """

    layout: Layout
    extent: Extent
    data: bytes | bytearray | memoryview = field(repr=False)

    @property
    def byte_length(self) -> int:
        """The length that `data` must have."""
        return self.extent.area * self.layout.channels

    def check(self) -> None:
        """Raise `TooLarge` or `BadPicture` unless the size is allowed and `data` has exactly the length that it says.

        Nothing is allocated by the declared size.
        """
        width, height = self.extent.width, self.extent.height
        if width < 1 or height < 1:
            raise BadPicture(f"A picture of {width} x {height} pixels has no pixels. Select an area first.")
        if width > SIDE or height > SIDE or self.extent.area > PIXELS:
            raise TooLarge(
                f"The picture has {width} x {height} pixels; at most {SIDE} a side and {PIXELS // 1024**2} megapixels can be sent. "
                "Select a smaller area."
            )
        view = memoryview(self.data)
        if not view.contiguous or view.nbytes != self.byte_length:
            raise BadPicture(
                f"A picture of {width} x {height} pixels as {self.layout.value} has {self.byte_length} bytes, but {view.nbytes} came. "
                "This is a mistake of the program that sent it."
            )
