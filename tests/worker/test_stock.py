"""What a worker tells of the models and what is in their folders: as much as a message has room for, and anew when it changes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from backend.config import Settings
from backend.models.recognisers import Digests
from backend.pipe import can_tell
from backend.worker.stock import Stock, fitted
from protocol.codec import reply_codec
from protocol.geometry import Extent
from protocol.limits import HEADER_BYTES, LISTED_LORAS
from protocol.messages import Models
from protocol.results import LoraInfo, ModelInfo


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "mine"
    for part in ("vae", "unet", "loras"):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text('{"block_out_channels": [8, 8]}')
    (folder / "model.toml").write_text('id = "mine"\nfamily = "sd15"\nsize = [64, 64]\n')
    return folder.parent


def stock_of(models: Path) -> Stock:
    return Stock(Settings(models=models, logs=models, model="mine"), Digests())


def put(models: Path, name: str) -> None:
    path = models / "mine" / "loras" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no header")
    os.utime(path.parent, ns=(path.stat().st_mtime_ns, path.parent.stat().st_mtime_ns + 1))  # also on disks with coarse times


def test_the_built_in_model_tells_of_its_ink_lora(models: Path) -> None:
    mine, sketch = stock_of(models).models()
    assert (mine.id, mine.loras, sketch.id) == ("mine", (), "sketch")
    assert sketch.loras == (LoraInfo("ink", weight=1.0),)


def test_a_new_file_is_told_once_whoever_asked_for_the_models_meanwhile(models: Path) -> None:
    stock = stock_of(models)
    stock.models()
    assert stock.changed() is None
    put(models, "hero.pt")
    stock.models()  # as a job does that wants to know the recognisers
    told = stock.changed()
    assert told is not None
    assert told[0].loras == (LoraInfo("hero"),)
    assert stock.changed() is None


def test_another_models_folder_is_news_too(models: Path) -> None:
    stock = stock_of(models)
    stock.models()
    (models / "mine" / "model.toml").write_text('id = "mine"\nname = "Renamed"\nfamily = "sd15"\nsize = [64, 64]\n')
    told = stock.changed()
    assert told is not None
    assert told[0].title == "Renamed"


def many(count: int, size: int) -> tuple[ModelInfo, ...]:
    loras = tuple(LoraInfo(f"{n:03d}", triggers=("t" * size, "u" * size)) for n in range(count))
    info = ModelInfo("m", "M", "sdxl", Extent(64, 64), loras=loras)
    return info, replace(info, id="other", loras=(), embeddings=("one", "two"))


def test_all_are_told_where_there_is_room() -> None:
    assert fitted(many(100, 40), can_tell) == many(100, 40)


def test_a_crowd_of_loras_is_cut_to_what_a_message_holds_and_the_rest_is_counted() -> None:
    told = fitted(many(LISTED_LORAS, 80), can_tell)
    assert 200 < len(told[0].loras) < LISTED_LORAS
    assert (told[0].unlisted, told[1].unlisted) == (LISTED_LORAS - len(told[0].loras), 0)
    header = bytes(reply_codec().encode(Models(2**53, told))[1])
    assert HEADER_BYTES - 1000 < len(header) <= HEADER_BYTES


def test_no_message_is_too_long_for_a_client_even_with_more_than_the_wire_lists() -> None:
    told = fitted(many(2 * LISTED_LORAS, 3), can_tell)
    assert (len(told[0].loras), told[0].unlisted) == (LISTED_LORAS, LISTED_LORAS)
    assert reply_codec().encode(Models(1, told))
