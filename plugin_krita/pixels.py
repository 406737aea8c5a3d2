"""Work on whole planes without NumPy: slices, tables and long integers only, in parts between which other threads go on."""

from __future__ import annotations

from collections.abc import Iterator

from .background import PART, breathe
from .protocol.geometry import Bounds, Extent
from .protocol.planes import Layout, Plane

_SHOWN = bytes([0]) + bytes([255]) * 255
_NOT_OPAQUE = bytes([255]) * 255 + bytes([0])
_NEGATIVE = bytes(range(255, -1, -1))


def filled(extent: Extent, value: int) -> Plane:
    """A mask of one value."""
    return Plane(Layout.A8, extent, bytes([value]) * extent.area)


def crop(plane: Plane, box: Bounds) -> Plane:
    """The pixels in `box`, which lies within the plane."""
    if box == Bounds(0, 0, plane.extent.width, plane.extent.height):
        return plane
    size, row = plane.layout.channels, plane.extent.width * plane.layout.channels
    length, view = box.width * size, memoryview(plane.data)
    result = bytearray(length * box.height)
    for number in range(box.height):
        start = (box.y + number) * row + box.x * size
        result[number * length : (number + 1) * length] = view[start : start + length]
        if number * length // PART != (number + 1) * length // PART:
            breathe()
    return Plane(plane.layout, box.extent, result)


def opacity(plane: Plane) -> Plane:
    """The alpha of a BGRA8 or RGBA8 plane, as a mask."""
    result = bytearray(plane.extent.area)
    for start, part in _parts(plane, 4):
        result[start : start + len(part) // 4] = part[3::4]
    return Plane(Layout.A8, plane.extent, result)


def with_opacity(plane: Plane, mask: Plane) -> Plane:
    """A BGRA8 plane whose alpha is the mask, which has its size; the colours stay."""
    result, alpha = bytearray(plane.extent.area * 4), memoryview(mask.data)
    for start, part in _parts(plane, 4):
        pixels = bytearray(part)
        pixels[3::4] = alpha[start : start + len(part) // 4]
        result[start * 4 : start * 4 + len(pixels)] = pixels
    return Plane(Layout.BGRA8, plane.extent, result)


def negative(plane: Plane) -> Plane:
    """A BGRA8 plane with its colours inverted, opaque."""
    result = bytearray(plane.extent.area * 4)
    for start, part in _parts(plane, 4):
        pixels = bytearray(part.translate(_NEGATIVE))
        pixels[3::4] = b"\xff" * (len(pixels) // 4)
        result[start * 4 : start * 4 + len(pixels)] = pixels
    return Plane(Layout.BGRA8, plane.extent, result)


def shown_where(mask: Plane) -> Plane:
    """255 where the mask is above 0, else 0."""
    return _translated(mask, _SHOWN)


def transparent_of(alpha: Plane) -> Plane:
    """255 where an opacity is below 255, else 0."""
    return _translated(alpha, _NOT_OPAQUE)


def is_empty(mask: Plane) -> bool:
    """Whether a mask is 0 everywhere."""
    return all(part.count(0) == len(part) for _, part in _parts(mask, 1))


def mean(plane: Plane) -> float:
    """Mean of the colours of a small BGRA8 plane, 0 … 255."""
    data = bytes(plane.data)
    return (sum(data) - sum(data[3::4])) / (3 * plane.extent.area)


def mask_box(mask: Plane) -> Bounds | None:
    """The smallest box around everything above 0; None: there is nothing."""
    width = mask.extent.width
    columns, first, last = 0, -1, -1
    for number, row in enumerate(_rows(mask)):
        if row:
            columns |= row
            first, last = number if first < 0 else first, number
    if first < 0:
        return None
    line = columns.to_bytes(width, "big")
    left, right = width - len(line.lstrip(b"\0")), len(line.rstrip(b"\0"))
    return Bounds(left, first, right - left, last + 1 - first)


def grown(mask: Plane, pixels: int) -> Plane:
    """A mask of 0 and 255 only, enlarged by some pixels in every direction, corners included."""
    width, height = mask.extent.width, mask.extent.height
    full = (1 << (8 * width)) - 1
    rows = [_widened(row, pixels, full) for row in _rows(mask)]
    done = 0
    while done < pixels:
        step = min(max(done, 1), pixels - done)
        longer = [0] * step + rows + [0] * step
        rows = [rows[y] | longer[y] | longer[y + 2 * step] for y in _breathing(height)]
        done += step
    return _from_rows(rows, mask.extent)


def faded(mask: Plane, pixels: int) -> Plane:
    """A mask of 0 and 255 only, enlarged by some pixels over which it falls to 0, in eight rings at most."""
    rings, width = min(pixels, 8), mask.extent.width
    result, inner = list(_rows(mask)), mask
    for ring in range(rings):
        outer = grown(inner, pixels * (ring + 1) // rings - pixels * ring // rings)
        value = int.from_bytes(bytes([255 - 255 * (ring + 1) // (rings + 1)]) * width, "big")
        steps = zip(_rows(inner), _rows(outer), strict=True)
        result = [row | ((one ^ other) & value) for row, (one, other) in zip(result, steps, strict=True)]
        inner = outer
    return _from_rows(result, mask.extent)


def both(first: Plane, second: Plane) -> Plane:
    """`second` where `first` (0 and 255 only) is 255, else 0."""
    rows = [one & other for one, other in zip(_rows(first), _rows(second), strict=True)]
    return _from_rows(rows, first.extent)


def _widened(row: int, pixels: int, full: int) -> int:
    done = 0
    while row and done < pixels:
        step = min(max(done, 1), pixels - done)
        row = (row | (row << (8 * step)) | (row >> (8 * step))) & full
        done += step
    return row


def _rows(mask: Plane) -> Iterator[int]:
    """Each row as one long integer, its first pixel in the highest byte."""
    width, view = mask.extent.width, memoryview(mask.data)
    for number in _breathing(mask.extent.height):
        yield int.from_bytes(view[number * width : (number + 1) * width], "big")


def _from_rows(rows: list[int], extent: Extent) -> Plane:
    result, width = bytearray(extent.area), extent.width
    for number in _breathing(extent.height):
        result[number * width : (number + 1) * width] = rows[number].to_bytes(width, "big")
    return Plane(Layout.A8, extent, result)


def _breathing(count: int) -> Iterator[int]:
    for number in range(count):
        if number % 32 == 31:
            breathe()
        yield number


def _parts(plane: Plane, channels: int) -> Iterator[tuple[int, bytes]]:
    """Parts of the plane's bytes, each with the number of its first pixel."""
    view = memoryview(plane.data).cast("B")
    for start in range(0, len(view), PART):
        yield start // channels, bytes(view[start : start + PART])
        breathe()


def _translated(mask: Plane, table: bytes) -> Plane:
    result = bytearray(mask.extent.area)
    for start, part in _parts(mask, 1):
        result[start : start + len(part)] = part.translate(table)
    return Plane(Layout.A8, mask.extent, result)
