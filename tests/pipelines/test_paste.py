"""Painting into a part of a picture: whatever the sizes, places and masks, outside the mask not one byte changes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from backend.pipelines.paste import default_feather, fade, grow_mask, mask_bounds, plan_crop, put_back, take_mask
from backend.pipelines.sizes import SDXL_BUCKETS, buckets
from protocol.errors import BadPicture, InvalidRequest
from protocol.geometry import Bounds, Extent

SKETCH = buckets(128, 16)
SIZES = [(1, 4000), (4000, 1), (1, 1), (128, 128), (127, 131), (333, 517), (640, 90), (1000, 701), (7, 9)]


def some_mask(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Rectangles, ellipses, single pixels, borders, everything; hard and soft."""
    kind = rng.integers(6)
    mask = np.zeros((height, width), np.uint8)
    left, right = np.sort(rng.integers(0, width, 2))
    top, bottom = np.sort(rng.integers(0, height, 2))
    box = (slice(top, bottom + 1), slice(left, right + 1))
    match kind:
        case 0:
            mask[rng.integers(height), rng.integers(width)] = 255
        case 1:
            mask[:] = 255
        case 2:
            mask[: height // 3 + 1] = 255
        case 3:
            mask[box] = rng.integers(0, 256, mask[box].shape)
            mask[top, left] = 200
        case 4:
            y, x = np.mgrid[:height, :width]
            inside = ((x - (left + right) / 2) / (right - left + 1)) ** 2 + ((y - (top + bottom) / 2) / (bottom - top + 1)) ** 2 <= 0.25
            mask[inside] = 255
            mask[top, left] = 255
        case _:
            mask[box] = 255
    return mask


def noise(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


CASES = [*itertools.product(SIZES, range(4))]


@pytest.mark.parametrize(("size", "seed"), CASES)
def test_outside_the_mask_not_one_byte_changes(size: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng([seed, *size])
    picture, mask = noise(rng, *size), some_mask(rng, *size)
    frame = plan_crop(mask, SKETCH if seed % 2 else SDXL_BUCKETS)
    before = picture.copy()
    result = put_back(picture, frame, noise(rng, frame.extent.width, frame.extent.height), mask, feather=int(rng.integers(0, 20)))
    assert np.array_equal(picture, before), "the picture itself is left alone"
    assert np.array_equal(result[mask == 0], picture[mask == 0])
    assert result.shape == picture.shape
    assert result.dtype == np.uint8


def test_a_feather_that_goes_outwards_would_change_bytes_outside() -> None:
    """The unsafe twin: the usual blurred mask."""
    from PIL import Image, ImageFilter

    rng = np.random.default_rng(0)
    picture, mask = noise(rng, 200, 150), np.zeros((150, 200), np.uint8)
    mask[40:90, 60:140] = 255
    blurred = np.array(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(6)))
    frame = plan_crop(mask, SKETCH)
    result = put_back(picture, frame, noise(rng, frame.extent.width, frame.extent.height), blurred)
    assert not np.array_equal(result[mask == 0], picture[mask == 0])


@pytest.mark.parametrize(("size", "seed"), CASES)
def test_the_frame_contains_the_mask_and_has_one_of_the_models_sizes(size: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng([seed, *size])
    mask = some_mask(rng, *size)
    for sizes in (SKETCH, SDXL_BUCKETS):
        frame = plan_crop(mask, sizes)
        box, shown = mask_bounds(mask), frame.bounds
        assert frame.extent in sizes
        assert (shown.x <= box.x, shown.y <= box.y, shown.right >= box.right, shown.bottom >= box.bottom) == (True,) * 4
        assert abs(shown.width - shown.height * frame.extent.width / frame.extent.height) <= 1.5, "nothing is stretched, but for rounding"
        assert max(frame.extent.width / frame.extent.height, frame.extent.height / frame.extent.width) <= 2
        for start, end, length in ((shown.x, shown.right, size[0]), (shown.y, shown.bottom, size[1])):
            assert (start >= 0 and end <= length) or (start <= 0 and end >= length), "it sticks out only where the canvas is too narrow"


@pytest.mark.parametrize(("size", "seed"), CASES)
def test_everything_of_the_mask_reaches_the_model(size: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng([seed, *size])
    mask = some_mask(rng, *size)
    frame = plan_crop(mask, SKETCH)
    seen = take_mask(mask, frame)
    assert seen.shape == (frame.extent.height, frame.extent.width)
    assert set(np.unique(seen)) <= {0, 255}
    rows, columns = np.nonzero(mask)
    x = ((columns + 0.5 - frame.bounds.x) * frame.extent.width / frame.bounds.width).astype(int)
    y = ((rows + 0.5 - frame.bounds.y) * frame.extent.height / frame.bounds.height).astype(int)
    assert (seen[y, x] == 255).all()


def test_one_pixel_of_a_large_canvas_is_still_seen_by_the_model() -> None:
    mask = np.zeros((3000, 3000), np.uint8)
    mask[5, 5] = mask[2990, 2990] = 1
    frame = plan_crop(mask, SKETCH)
    assert frame.bounds.extent == Extent(3000, 3000)
    assert (take_mask(mask, frame) > 0).sum() >= 2
    assert np.array(frame.cut_and_scale(mask)).max() == 0, "the unsafe twin: resizing loses it"


def test_at_full_opacity_the_painting_arrives_byte_for_byte() -> None:
    rng = np.random.default_rng(4)
    picture, mask = noise(rng, 300, 280), np.zeros((280, 300), np.uint8)
    mask[100:150, 90:160] = 255
    frame = plan_crop(mask, SKETCH)
    assert frame.bounds.extent == frame.extent, "near the model's size, the frame is enlarged to it and nothing is resized"
    painted = noise(rng, frame.extent.width, frame.extent.height)
    result = put_back(picture, frame, painted, mask)
    expected = picture.copy()
    expected[100:150, 90:160] = painted[100 - frame.bounds.y : 150 - frame.bounds.y, 90 - frame.bounds.x : 160 - frame.bounds.x]
    assert np.array_equal(result, expected)


def test_a_one_pixel_mask_changes_that_pixel_whatever_the_feather() -> None:
    picture = np.zeros((90, 90, 3), np.uint8)
    mask = np.zeros((90, 90), np.uint8)
    mask[40, 50] = 255
    frame = plan_crop(mask, SKETCH)
    result = put_back(picture, frame, np.full((frame.extent.height, frame.extent.width, 3), 200, np.uint8), mask, feather=16)
    assert result[40, 50].tolist() == [200, 200, 200]
    assert (result > 0).any(axis=2).sum() == 1


def test_what_the_frame_takes_out_comes_back_where_it_was() -> None:
    y, x = np.mgrid[:300, :400]
    picture = np.dstack([x % 256, y % 256, (x + y) // 3 % 256]).astype(np.uint8)
    mask = np.zeros((300, 400), np.uint8)
    mask[60:200, 30:200] = 255
    frame = plan_crop(mask, SDXL_BUCKETS)
    assert frame.extent.width > frame.bounds.width, "this one is enlarged"
    result = put_back(picture, frame, frame.cut_and_scale(picture), mask)
    assert abs(result.astype(int) - picture).max() <= 3


@pytest.mark.parametrize("feather", [0, 1, 5, 40])
def test_the_fade_rises_inwards_and_never_exceeds_the_mask(feather: int) -> None:
    rng = np.random.default_rng(feather)
    for _ in range(20):
        mask = some_mask(rng, 60, 50)
        opacity = fade(mask, feather)
        assert (opacity[mask == 0] == 0).all()
        assert (opacity <= mask / 255 + 1e-6).all()
        assert (opacity >= 0).all()
    middle = fade(np.pad(np.full((200, 200), 255, np.uint8), 5), feather)[105]
    rising = middle[: len(middle) // 2]
    assert (np.diff(rising) >= -1e-6).all()
    assert middle[105] == pytest.approx(1)
    assert ((rising > 0) & (rising < 1)).sum() == feather


def test_without_a_feather_opacity_is_the_mask() -> None:
    mask = some_mask(np.random.default_rng(3), 64, 64)
    assert np.array_equal(fade(mask, 0), mask / np.float32(255))


def test_the_border_of_the_canvas_is_no_edge_to_fade_from() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:, :20] = 255
    assert (fade(mask, 6)[:, 0] == 1).all()
    assert (fade(mask, 6)[:, 19] < 0.2).all()


def test_growing_is_explicit_and_goes_exactly_as_far_as_asked() -> None:
    mask = np.zeros((40, 50), np.uint8)
    mask[20, 25] = 255
    assert mask_bounds(grow_mask(mask, 7)) == Bounds(18, 13, 15, 15)
    assert (grow_mask(mask, 7) > 0).sum() == 15 * 15
    assert (grow_mask(mask, 100) == 255).all()
    assert np.array_equal(grow_mask(mask, 0), mask)


def test_an_empty_mask_gets_a_sentence() -> None:
    with pytest.raises(InvalidRequest, match="The mask is empty"):
        plan_crop(np.zeros((20, 20), np.uint8), SKETCH)


def test_a_crop_stays_on_the_canvas_where_the_mask_has_room_and_sticks_out_only_where_it_has_not() -> None:
    canvas = np.zeros((128, 256), np.uint8)
    canvas[16:112, 130:226] = 255
    square = (Extent(128, 128),)
    frame = plan_crop(canvas, square)
    assert (frame.bounds.width, frame.bounds.height) == (128, 128)
    assert frame.bounds.y == 0
    assert frame.bounds.x <= 130
    assert frame.bounds.right >= 226
    strip = np.zeros((64, 400), np.uint8)
    strip[:, 100:300] = 255
    assert plan_crop(strip, square).bounds.height > 64


def test_a_mask_of_another_size_gets_a_sentence() -> None:
    picture, mask = np.zeros((20, 30, 3), np.uint8), np.full((30, 20), 255, np.uint8)
    frame = plan_crop(mask, SKETCH)
    with pytest.raises(BadPicture, match="mask has 20 x 30 pixels and the picture 30 x 20"):
        put_back(picture, frame, np.zeros((frame.extent.height, frame.extent.width, 3), np.uint8), mask)


def test_a_painting_of_another_size_is_refused() -> None:
    mask = np.full((30, 30), 255, np.uint8)
    with pytest.raises(BadPicture, match="were planned"):
        put_back(np.zeros((30, 30, 3), np.uint8), plan_crop(mask, SKETCH), np.zeros((8, 8, 3), np.uint8), mask)


def test_the_feather_suits_the_size_of_the_mask() -> None:
    mask = np.zeros((1000, 1000), np.uint8)
    mask[:160, :400] = 255
    assert default_feather(mask) == 10
    assert default_feather(np.full((1, 1), 255, np.uint8)) == 0
    assert default_feather(np.full((4000, 4000), 255, np.uint8)) == 32
