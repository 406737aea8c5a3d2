"""A saved picture says how it was made, is written whole or not at all, and is the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.images import open_picture, png_bytes, read_metadata, save_png
from protocol.errors import BadPicture, InvalidRequest

PICTURE = np.random.default_rng(2).integers(0, 256, (12, 20, 3), dtype=np.uint8)
METADATA = {
    "prompt": "a woman with a red hat, ☂ “quoted”\nsecond line",
    "negative": "blurry",
    "seed": 2**63,
    "model": "sketch",
    "steps": 20,
    "guidance_scale": 5.0,
    "scheduler": "euler",
    "width": 20,
    "height": 12,
    "adapter": 0.8,
    "identity_net": 0.7,
    "subjects": [{"photos": ["a.png"], "adapter": 0.8}],
}


def test_metadata_and_pixels_come_back_as_they_were(tmp_path: Path) -> None:
    save_png(tmp_path / "x.png", PICTURE, METADATA)
    assert read_metadata(tmp_path / "x.png") == METADATA
    assert np.array_equal(open_picture(tmp_path / "x.png"), PICTURE)


def test_the_human_chunk_is_in_the_form_that_viewers_know(tmp_path: Path) -> None:
    save_png(tmp_path / "x.png", PICTURE, METADATA)
    with Image.open(tmp_path / "x.png") as image:
        text = str(image.info["parameters"])
    prompt, negative, last = text.rsplit("\n", 2)
    assert prompt == METADATA["prompt"]
    assert negative == "Negative prompt: blurry"
    assert last.startswith(f"Steps: 20, Sampler: euler, CFG scale: 5.0, Seed: {2**63}, Model: sketch, Size: 20x12")
    assert "Adapter: 0.8, Identity net: 0.7" in last


def test_the_same_picture_gives_the_same_bytes_whatever_the_order_of_its_metadata() -> None:
    assert png_bytes(PICTURE, METADATA) == png_bytes(PICTURE, dict(reversed(METADATA.items())))


def test_a_picture_without_metadata_of_ours_is_refused(tmp_path: Path) -> None:
    save_png(tmp_path / "plain.png", PICTURE)
    Image.fromarray(PICTURE).save(tmp_path / "photo.jpg")
    for name in ("plain.png", "photo.jpg"):
        with pytest.raises(BadPicture, match="does not say how it was made"):
            read_metadata(tmp_path / name)


@pytest.mark.parametrize("text", ["not json", "[1, 2]", '"words"'])
def test_metadata_that_somebody_else_wrote_is_refused(tmp_path: Path, text: str) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("likeness", text)
    Image.fromarray(PICTURE).save(tmp_path / "x.png", pnginfo=info)
    with pytest.raises(BadPicture, match="does not say how it was made"):
        read_metadata(tmp_path / "x.png")


def test_a_failed_write_leaves_the_old_picture_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_png(tmp_path / "x.png", PICTURE)
    before = (tmp_path / "x.png").read_bytes()

    def full(_self: Path, _target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InvalidRequest, match="no space left on device"):
        save_png(tmp_path / "x.png", PICTURE[::-1])
    assert (tmp_path / "x.png").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.png"]


def test_a_place_that_does_not_exist_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no such file or folder"):
        save_png(tmp_path / "nowhere" / "x.png", PICTURE)
