"""Who has which part of a picture, when several people are in it and the job does not say. Pure arithmetic on pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocol.geometry import Extent

from .placement import head_box

Floats = NDArray[np.float32]

SOFTNESS = 0.1
"""How soft the borders are: the larger, the softer. Between heads 1.5 of their heights apart a border goes from 1 to 99 % in 0.3 of one."""
OWN = 0.5
"""Where somebody's head is, at least this much of the region must be left to them."""


def shares_of(mask: NDArray[np.uint8]) -> Floats:
    """A mask (H, W) in 0..255 as a region in 0..1."""
    return (mask / np.float32(255)).astype(np.float32)


def regions_for(keypoints: Sequence[Floats], given: Sequence[Floats | None], extent: Extent) -> tuple[Floats | None, ...]:
    """One region (H, W) in 0..1 per person at `extent`: the `given` ones as they are, and for the others a part of their own.

    A single person without a region has the whole picture, None. What somebody was given is nobody else's, unless it covers another's head.
    """
    if len(keypoints) < 2:
        return tuple(given)
    shares = shared_out(keypoints, extent)
    taken = np.ones((extent.height, extent.width), np.float32)
    for region in given:
        if region is not None:
            taken *= 1 - region
    return tuple(
        region if region is not None else _left_over(share, taken, points)
        for region, share, points in zip(given, shares, keypoints, strict=True)
    )


def shared_out(keypoints: Sequence[Floats], extent: Extent) -> list[Floats]:
    """The picture, shared out among faces (5, 2): one map (H, W) each, which add up to 1 everywhere.

    Each pixel belongs to the nearest head, distances counted in heights of that head, so that a child's head beside an adult's loses
    nothing; borders are soft (a softmax of the squared distances).
    """
    rows, columns = np.mgrid[0 : extent.height, 0 : extent.width].astype(np.float32) + np.float32(0.5)
    farness = np.stack([_squared_heads(points, columns, rows) for points in keypoints]) / SOFTNESS
    nearness = np.exp(farness.min(0) - farness)
    return list((nearness / nearness.sum(0)).astype(np.float32))


def _squared_heads(keypoints: Floats, columns: Floats, rows: Floats) -> Floats:
    left, top, right, bottom = (float(value) for value in head_box(keypoints))
    height = max(bottom - top, 1.0)
    distances = (columns - (left + right) / 2) ** 2 + (rows - (top + bottom) / 2) ** 2
    return (distances / height**2).astype(np.float32)


def _left_over(share: Floats, taken: Floats, keypoints: Floats) -> Floats:
    """A share without what others were given; all of the share when they were given this person's head."""
    x, y = keypoints.mean(0)
    row, column = min(max(int(y), 0), share.shape[0] - 1), min(max(int(x), 0), share.shape[1] - 1)
    return share if taken[row, column] < OWN else share * taken
