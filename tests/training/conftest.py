"""A few captioned pictures, and a tiny model to train on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import tiny_model

from backend.training import base, instantid, ip_adapter, sampling, style
from backend.training.people import People
from backend.training.photos import build_photos


@pytest.fixture(autouse=True)
def quick_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sheets are painted in two steps: of weights that are random, fourteen would show no more."""

    def quickly(frozen: base.Base, prompting: sampling.Prompting, **more: int) -> object:
        return sampling.sample(frozen, prompting, **{**more, "steps": 2})

    for task in (base, instantid, ip_adapter, style):
        monkeypatch.setattr(task, "sample", quickly)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers SDXL folder with random weights, 64 x 64."""
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four persons, two captioned photos each, in folders of their own; sizes and formats differ."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for person in range(4):
        for shot in range(2):
            place = folder / f"person{person}"
            place.mkdir(exist_ok=True)
            pixels = np.full((80, 96 + 16 * shot, 3), rng.integers(30, 220, 3), np.uint8)
            Image.fromarray(pixels).save(place / f"{shot}.{'png' if shot else 'jpg'}")
            (place / f"{shot}.txt").write_text(f"portrait of person {person}, picture {shot}\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> People:
    """The photos as a data set with faces, and image embeddings beside."""
    from tiny_models import FakeFaces

    made = build_photos(photos, tmp_path_factory.mktemp("data"), 64, FakeFaces())  # type: ignore[arg-type]
    np.save(made.folder / "image_embeds.npy", np.random.default_rng(1).standard_normal((8, 20)).astype(np.float32))
    return made
