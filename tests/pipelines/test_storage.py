"""UNet and ControlNets kept in 8 bits: less memory, nearly the same picture, and only when the settings ask for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import FakeFaces

from backend.config import Settings
from backend.models.bundle import Model
from backend.pipelines.engine import Engine
from backend.workbench import tune
from protocol.errors import InvalidRequest
from protocol.jobs import Photos, PictureJob, Sampling, Subject


def settings(**more: str) -> Settings:
    return Settings(models=Path(), logs=Path(), device="cpu", **more)


def held(module: torch.nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in module.parameters())


def test_float8_takes_a_third_of_the_memory_and_draws_nearly_the_same(tiny_folders, engine: Engine, photo) -> None:
    small = Engine(Model.open(tiny_folders["sdxl"]), FakeFaces())
    tune(small.parts, settings(storage="float8"))
    job = PictureJob("a person", subjects=(Subject(Photos((photo(1),))),), sampling=Sampling(steps=3, seed=2), preview_every=0)
    usual, other = engine.run(job)[0].pixels.astype(int), small.run(job)[0].pixels.astype(int)
    for part in ("unet", "identity_net"):
        assert held(getattr(small.parts, part)) < 0.35 * held(getattr(engine.parts, part)), "from 4 bytes to 1, but for the norms"
        assert getattr(small.parts, part).dtype is torch.float32, "computed with as before"
    assert held(small.parts.base["vae"]) == held(engine.parts.base["vae"])
    assert 0 < np.abs(usual - other).mean() < 16
    assert np.array_equal(small.run(job)[0].pixels.astype(int), other), "the same bytes each time"


def test_as_the_settings_are_by_default_nothing_is_kept_or_compiled_otherwise(engine: Engine) -> None:
    assert (engine.parts.storage, engine.parts.compiler, engine.parts.graphs) == (None, None, None)
    tune(engine.parts, settings(compile="yes", graphs="yes", attention="math"))
    assert (engine.parts.compiler, engine.parts.graphs) == (None, None), "on a processor nothing is gained"


@pytest.mark.parametrize(("name", "word"), [("storage", "int4"), ("compile", "maybe"), ("graphs", "all"), ("attention", "sage")])
def test_words_that_are_no_setting_are_refused_in_a_sentence(engine: Engine, name: str, word: str) -> None:
    with pytest.raises(InvalidRequest, match=word):
        tune(engine.parts, settings(**{name: word}))
