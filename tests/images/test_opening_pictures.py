"""Photos of every kind open upright as 8-bit RGB; whatever is none gets a sentence."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from backend.images import open_mask, open_picture
from protocol.errors import BadPicture

ROWS = np.linspace(0, 255, 24).round().astype(np.uint8)
GRADIENT = np.dstack([np.tile(ROWS, (16, 1)), np.tile(ROWS[::-1], (16, 1)), np.full((16, 24), 60, np.uint8)])
GREY = np.tile(ROWS, (16, 1))


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_lossless_files_open_with_their_own_bytes(tmp_path: Path, suffix: str) -> None:
    assert np.array_equal(open_picture(saved(tmp_path / f"x.{suffix}", Image.fromarray(GRADIENT))), GRADIENT)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "gif"])
def test_lossy_files_open_nearly_the_same(tmp_path: Path, suffix: str) -> None:
    opened = open_picture(saved(tmp_path / f"x.{suffix}", Image.fromarray(GREY).convert("RGB")))
    assert opened.shape == (16, 24, 3)
    assert abs(opened.astype(int) - GREY[..., None]).max() < 25


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    turned_back: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(turned_back[orientation](GRADIENT))
    assert np.array_equal(open_picture(saved(tmp_path / "x.png", Image.fromarray(stored), exif=exif)), GRADIENT)


def test_a_damaged_exif_block_does_not_matter(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.jpg", Image.fromarray(GRADIENT), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff rubbish")
    assert open_picture(path).shape == (16, 24, 3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_not_cut_off(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"x.{suffix}", Image.fromarray(GREY.astype(np.uint16) * 257))
    assert np.array_equal(open_picture(path), np.dstack([GREY] * 3))
    cut_off = np.array(Image.open(path).convert("L"))
    assert (cut_off[:, 1:] == 255).all(), "the unsafe twin: Pillow's own conversion"
    assert np.array_equal(open_mask(path), GREY)


def test_sixteen_bit_colour_opens(tmp_path: Path) -> None:
    wide = GRADIENT.astype(np.uint16) * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)
    (tmp_path / "x.png").write_bytes(png(24, 16, bits=16, colour=2, data=zlib.compress(rows)))
    assert np.array_equal(open_picture(tmp_path / "x.png"), GRADIENT)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "CMYK", "YCbCr"])
def test_other_colour_modes_open_as_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(GREY).convert("RGB").convert(mode)
    path = saved(tmp_path / ("x.tif" if mode in ("CMYK", "YCbCr") else "x.png"), image)
    opened = open_picture(path)
    assert opened.shape == (16, 24, 3)
    assert opened[0, 0].max() < 10
    assert opened[0, -1].min() > 245


def test_a_cmyk_jpeg_is_not_inverted(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.jpg", Image.fromarray(np.full((16, 16, 3), (200, 40, 40), np.uint8)).convert("CMYK"), quality=95)
    red, green, _ = open_picture(path)[8, 8]
    assert red > 180
    assert green < 80


def test_transparency_becomes_white(tmp_path: Path) -> None:
    pixels = np.dstack([GRADIENT, np.full((16, 24), 255, np.uint8)])
    pixels[:, :12, 3] = 0
    opened = open_picture(saved(tmp_path / "x.png", Image.fromarray(pixels)))
    assert (opened[:, :12] == 255).all()
    assert np.array_equal(opened[:, 12:], GRADIENT[:, 12:])


def test_a_transparent_palette_colour_becomes_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert (open_picture(saved(tmp_path / "x.png", image, transparency=0)) == 255).all()


def test_the_first_picture_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    opened = open_picture(saved(tmp_path / "x.gif", frames[0], save_all=True, append_images=frames[1:]))
    assert opened[0, 0].tolist() == [255, 0, 0]


def test_a_mask_is_brightness_and_transparent_is_black(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[0, 0] = 255
    pixels[1, 1] = (255, 255, 255, 0)
    mask = open_mask(saved(tmp_path / "m.png", Image.fromarray(pixels)))
    assert mask.dtype == np.uint8
    assert mask[0, 0] == 255
    assert mask.sum() == 255


def test_a_black_and_white_mask_opens_as_0_and_255(tmp_path: Path) -> None:
    bits = GREY > 100
    assert np.array_equal(open_mask(saved(tmp_path / "m.png", Image.fromarray(bits))), np.where(bits, 255, 0))


def png(width: int, height: int, *, bits: int = 8, colour: int = 0, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def refused(path: Path, sentence: str) -> None:
    with pytest.raises(BadPicture, match=sentence) as caught:
        open_picture(path)
    assert str(caught.value).endswith("."), "a whole sentence"
    assert path.name in str(caught.value)


def test_what_is_no_picture_gets_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello, I am a text")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    refused(tmp_path / "nowhere.png", "no such file")
    refused(tmp_path, "is a folder")
    refused(tmp_path / "text.png", "is not a picture")
    refused(tmp_path / "empty.jpg", "is empty")
    refused(tmp_path / "phone.heic", "HEIC")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_truncated_files_are_refused_rather_than_filled_with_grey(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / f"x.{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(path, "cannot be read|is not a picture")


def test_damaged_pixel_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png(16, 16, data=b"not zlib at all"))
    refused(tmp_path / "x.png", "cannot be read")


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (20_000, 10), (9_000, 9_000)])
def test_a_file_that_says_it_is_huge_is_refused_before_it_is_unpacked(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "x.png").write_bytes(png(width, height))
    refused(tmp_path / "x.png", "Make it smaller")


def test_pictures_without_a_known_white_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadPicture, match="floating-point"):
        open_picture(saved(tmp_path / "x.tif", Image.fromarray(GREY.astype(np.float32))))
    with pytest.raises(BadPicture, match="32-bit"):
        open_picture(saved(tmp_path / "y.tif", Image.fromarray(GREY.astype(np.int32) * 70_000)))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "tif", "bmp", "gif", "ppm"])
def test_wrong_bytes_anywhere_give_a_picture_or_its_sentence_and_nothing_else(tmp_path: Path, suffix: str) -> None:
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    exif = Image.Exif()
    exif[0x0112], exif[0x0131] = 6, "a camera"
    options = {"exif": exif} if suffix in ("jpg", "png", "webp", "avif", "tif") else {}
    whole = saved(tmp_path / f"x.{suffix}", Image.fromarray(GRADIENT), **options).read_bytes()
    chance = random.Random(suffix)
    refused = 0
    for _ in range(60):
        wrong = bytearray(whole)
        for _ in range(chance.choice((1, 2, 8))):
            wrong[chance.randrange(min(len(wrong), 400))] = chance.choice((0, 1, 127, 255, chance.randrange(256)))
        (tmp_path / "wrong").write_bytes(wrong)
        try:
            assert open_picture(tmp_path / "wrong").shape[2] == 3
        except BadPicture:
            refused += 1
    assert refused, "otherwise nothing was damaged"
