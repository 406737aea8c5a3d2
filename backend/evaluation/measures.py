"""The arithmetic of the measures, on plain arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean, its standard error, and over how many."""

    value: float
    error: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.error:.3f}"


def mean(values: Iterable[float]) -> Mean:
    """The mean of some numbers; 0 of none."""
    numbers = np.asarray(list(values), dtype=np.float64)
    if numbers.size == 0:
        return Mean(0.0, 0.0, 0)
    error = float(numbers.std(ddof=1) / np.sqrt(numbers.size)) if numbers.size > 1 else 0.0
    return Mean(float(numbers.mean()), error, int(numbers.size))


def gain(one: Sequence[float], other: Sequence[float]) -> Mean:
    """How far the first numbers lie above the second, pair by pair: its error says whether that is more than chance."""
    return mean(a - b for a, b in zip(one, other, strict=True))


def nearest(embeddings: Sequence[Floats | None], gallery: Sequence[Floats]) -> float:
    """Share of embeddings (512,) whose nearest of the gallery, by cosine, is the one in the same place. None never is."""
    if not embeddings:
        return 0.0
    people = _unit(np.stack(list(gallery)))
    hits = [one is not None and int((people @ _unit(one[None])[0]).argmax()) == index for index, one in enumerate(embeddings)]
    return float(np.mean(hits))


def keypoint_error(found: Floats, asked: Floats, side: int) -> float:
    """Mean distance of five keypoints (5, 2) from where they were asked for, as a fraction of the picture's side."""
    return float(np.linalg.norm(found.astype(np.float64) - asked.astype(np.float64), axis=1).mean() / side)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
