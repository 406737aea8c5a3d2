"""The sizes at which models paint: SDXL's buckets, grids, and what InstantID must not be given. Pure arithmetic in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from protocol.geometry import Extent

SDXL_SIDE = 1024

_HALF = (
    (512, 2048), (512, 1984), (512, 1920), (512, 1856), (576, 1792), (576, 1728), (576, 1664), (640, 1600), (640, 1536), (704, 1472),
    (704, 1408), (704, 1344), (768, 1344), (768, 1280), (832, 1216), (832, 1152), (896, 1152), (896, 1088), (960, 1088), (960, 1024),
)  # fmt: skip

SDXL_BUCKETS = (
    Extent(SDXL_SIDE, SDXL_SIDE),
    *(Extent(short, long) for short, long in _HALF),
    *(Extent(long, short) for short, long in _HALF),
)
"""The sizes SDXL was trained at (Podell et al., arXiv:2307.01952, appendix I). The square comes first, then upright, then lying ones."""

INSTANTID_AVOIDS = Extent(1024, 1024)
"""At exactly this size InstantID paints stock photo watermarks: its training pictures had them (InstantID/InstantID issue 91)."""


def snap(extent: Extent, grid: int) -> Extent:
    """The nearest size whose sides are multiples of `grid`, at least one each."""
    return Extent(max(1, round(extent.width / grid)) * grid, max(1, round(extent.height / grid)) * grid)


def buckets(side: int, grid: int) -> tuple[Extent, ...]:
    """SDXL's buckets, or the same proportions for a model whose own size is `side` x `side`; every side a multiple of `grid`."""
    scaled = (snap(Extent(round(one.width * side / SDXL_SIDE), round(one.height * side / SDXL_SIDE)), grid) for one in SDXL_BUCKETS)
    return tuple(dict.fromkeys(scaled))


def nearest_size(shape: Extent, sizes: Sequence[Extent], longest: float = math.inf) -> Extent:
    """The size whose proportions are nearest to those of `shape`; `longest` bounds its long side over the short one, where one is left."""
    aspect = _aspect(shape)
    bounded = [one for one in sizes if abs(_aspect(one)) <= math.log(longest) + 1e-9]
    return min(bounded or sizes, key=lambda one: abs(_aspect(one) - aspect))


def _aspect(extent: Extent) -> float:
    return math.log(extent.width / extent.height)
