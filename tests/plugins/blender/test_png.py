"""PNGs written with zlib alone are what Pillow reads, and a size is read from the first bytes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from plugin_blender.protocol.errors import BadPicture
from plugin_blender.protocol.geometry import Extent
from plugin_blender.protocol.planes import Layout, Plane

from plugin_blender.png import png_of, png_size

MODES = {Layout.RGB8: "RGB", Layout.RGBA8: "RGBA", Layout.BGRA8: "RGBA", Layout.A8: "L"}


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (257, 64), (1, 300), (701, 800)])
@pytest.mark.parametrize("level", [0, 1])
def test_another_reader_finds_every_pixel(layout: Layout, size: tuple[int, int], level: int):
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], layout.channels), dtype=np.uint8)
    data = png_of(Plane(layout, Extent(*size), pixels.tobytes()), level)
    with Image.open(io.BytesIO(data)) as read:
        read.load()
        assert (read.mode, read.size) == (MODES[layout], size)
        expected = pixels[..., [2, 1, 0, 3]] if layout is Layout.BGRA8 else pixels
        assert (np.asarray(read).reshape(pixels.shape) == expected).all()
    assert png_size(data) == size


def test_smooth_colours_and_empty_ones_become_small():
    ramp = np.indices((300, 400)).sum(axis=0).astype(np.uint8)
    for rows in (np.dstack([ramp, ramp // 2, 255 - ramp]), np.zeros((300, 400, 3), np.uint8)):
        plane = Plane(Layout.RGB8, Extent(400, 300), rows.tobytes())
        assert len(png_of(plane)) < len(png_of(plane, 0)) / 3


@pytest.mark.parametrize("data", [b"", b"GIF89a" + bytes(40), b"\x89PNG\r\n\x1a\n" + bytes(40), b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_png_has_no_size(data: bytes):
    assert png_size(data) is None


def test_bytes_that_are_missing_are_noticed_before_anything_is_written():
    with pytest.raises(BadPicture):
        png_of(Plane(Layout.RGB8, Extent(4, 4), bytes(47)))
