"""One tiny UNet, enough to load adapters for."""

from __future__ import annotations

import pytest
import torch
from tiny_models import _unet


@pytest.fixture(scope="session")
def unet():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _unet("sdxl")
