"""One rig of tiny models for all tests of this room: both sides, over the same random weights."""

from __future__ import annotations

import pytest
import torch

from backend.speed.rig import Rig
from backend.speed.shapes import TINY


@pytest.fixture(scope="session")
def rig(tmp_path_factory):
    return Rig(TINY, tmp_path_factory.mktemp("rig") / "model", "cpu", torch.float32, face_width=2)
