"""Tiny random models, written once for all tests of this room, and an engine over each."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import FakeFaces, tiny_model

from backend.images import to_plane
from backend.models.bundle import Model
from backend.models.parts import Parts
from backend.pipelines.engine import Engine


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return {family: tiny_model(folder / family, family) for family in ("sdxl", "sd15")}


@pytest.fixture(scope="session")
def parts(tiny_folders):
    return {family: Parts(Model.open(folder)) for family, folder in tiny_folders.items()}


@pytest.fixture(scope="session")
def engine(tiny_folders):
    return Engine(Model.open(tiny_folders["sdxl"]), FakeFaces())


@pytest.fixture(scope="session")
def engine_15(tiny_folders):
    return Engine(Model.open(tiny_folders["sd15"]), FakeFaces())


@pytest.fixture
def photo():
    return lambda seed=0, width=80, height=100: to_plane(noise_picture(seed, width, height))


def noise_picture(seed: int, width: int, height: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def picture():
    return noise_picture
