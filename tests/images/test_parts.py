"""A part of a picture is a picture: cut out byte for byte, of whatever kind the picture is, or refused with its size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.images import cropped, to_plane, to_rgb
from backend.pictures import Part, mask_plane, picture_plane
from protocol.errors import BadPicture
from protocol.geometry import Bounds, Extent
from protocol.planes import Layout, Plane

PICTURE = np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8)
BOX = (4, 5, 17, 12)
CUT = PICTURE[5:12, 4:17]


@pytest.mark.parametrize("kind", ["array", "pillow", "file", "plane", "part of a part"])
def test_a_part_of_any_kind_of_picture_has_its_pixels(kind: str, tmp_path: Path) -> None:
    Image.fromarray(PICTURE).save(tmp_path / "picture.png")
    pictures = {
        "array": PICTURE,
        "pillow": Image.fromarray(PICTURE),
        "file": tmp_path / "picture.png",
        "plane": to_plane(PICTURE),
        "part of a part": Part(PICTURE, (0, 0, 20, 15)),
    }
    plane = picture_plane(Part(pictures[kind], BOX))
    plane.check()
    assert plane.extent == Extent(13, 7)
    assert np.array_equal(to_rgb(plane), CUT)


def test_a_canvas_in_the_byte_order_of_krita_keeps_it() -> None:
    canvas = np.dstack([PICTURE[..., ::-1], np.full(PICTURE.shape[:2], 255, np.uint8)])
    plane = cropped(Plane(Layout.BGRA8, Extent(30, 20), canvas.data), Bounds(4, 5, 13, 7))
    assert plane.layout is Layout.BGRA8
    assert np.array_equal(to_rgb(plane), CUT)


def test_a_part_of_a_mask_is_a_mask() -> None:
    plane = mask_plane(Part(PICTURE[..., 0], BOX))
    assert plane.layout is Layout.A8
    assert bytes(plane.data) == CUT[..., 0].tobytes()


def test_the_whole_is_a_part() -> None:
    assert np.array_equal(to_rgb(picture_plane(Part(PICTURE, (0, 0, 30, 20)))), PICTURE)


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (0, 0, 31, 5), (0, 0, 5, 21), (5, 5, 5, 9), (9, 9, 3, 12)])
def test_a_box_that_does_not_lie_within_the_picture_is_refused_with_the_size(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(BadPicture, match="30 x 20"):
        picture_plane(Part(PICTURE, box))
