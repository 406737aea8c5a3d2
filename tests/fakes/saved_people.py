"""Readings and exported characters of numbers that can be told apart, for tests that compute nothing."""

from __future__ import annotations

import array
from collections.abc import Sequence

from protocol.geometry import Extent, Point
from protocol.jobs import About, Reading
from protocol.messages import CharacterPhotos
from protocol.planes import Layout, Plane

EXTENT = Extent(40, 30)


def reading(value: float = 0.5, photos: int = 1, recogniser: str = "antelopev2", digit: str = "a") -> Reading:
    """Row r of the numbers has `value` + r everywhere; `digit` fills the sha256."""
    rows = b"".join(array.array("f", [value + row] * 512).tobytes() for row in range(1 + photos))
    points = tuple(Point(float(i), value) for i in range(5 * photos))
    return Reading(recogniser, digit * 64, Plane(Layout.A8, Extent(2048, 1 + photos), rows), points, (EXTENT,) * photos)


def thumbnail(value: int = 7) -> Plane:
    return Plane(Layout.RGB8, Extent(4, 4), bytes([value, value + 1, value + 2] * 16))


def kept(
    name: str = "Anna", photos: Sequence[Plane] = (), readings: Sequence[Reading] | None = None, about: About | None = None
) -> CharacterPhotos:
    """What a backend answers to `ExportCharacter`."""
    found = (reading(),) if readings is None else tuple(readings)
    return CharacterPhotos(1, name, tuple(photos), thumbnail(), found, (0.5,) * len(photos), about or About(), "0.1.0")
