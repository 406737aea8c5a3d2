"""The two families of base models that there are adapters for."""

from __future__ import annotations

from enum import Enum


class Family(Enum):
    """Which stock pipelines a model needs."""

    SD15 = "sd15"
    SDXL = "sdxl"
