"""Sizes, places and boxes in canvas pixels: pure arithmetic, no pictures."""

from __future__ import annotations

from .frozen import frozen
from .limits import Coordinate, Side


@frozen
class Extent:
    """A width and a height in canvas pixels."""

    width: Side
    height: Side

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.width * self.height


@frozen
class Point:
    """A place in canvas pixels; (0, 0) is the upper left corner of the picture."""

    x: Coordinate
    y: Coordinate


@frozen
class Bounds:
    """A box in canvas pixels: its upper left corner and its size."""

    x: int
    y: int
    width: int
    height: int

    @property
    def extent(self) -> Extent:
        """The size of the box."""
        return Extent(self.width, self.height)

    @property
    def right(self) -> int:
        """First column right of the box."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row below the box."""
        return self.y + self.height


@frozen
class Box:
    """A box between pixels, as detectors give it: left < right, top < bottom, in canvas pixels."""

    left: Coordinate
    top: Coordinate
    right: Coordinate
    bottom: Coordinate
