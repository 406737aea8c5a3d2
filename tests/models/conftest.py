"""Tiny UNets, enough to load adapters for."""

from __future__ import annotations

import pytest
import torch
from tiny_models import _unet


@pytest.fixture(scope="session")
def unet():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _unet("sdxl")


@pytest.fixture(scope="session")
def unets():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {family: _unet(family).eval() for family in ("sdxl", "sd15")}
