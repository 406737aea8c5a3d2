"""Planes for jobs whose pictures nobody looks at."""

from __future__ import annotations

import numpy as np

from backend.images import to_plane
from protocol.planes import Plane


def noise(seed: int) -> Plane:
    """64 x 64, RGB8; the same seed gives the same bytes."""
    return to_plane(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8))
