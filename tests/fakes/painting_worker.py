# ruff: noqa: E402  (a program that finds the project beside it)
"""A scripted worker that also paints: what is masked becomes one colour of the seed, all else stays. With `shown=NAME` it waits, once it
has shown its previews, as others do with `hold=NAME`.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

import numpy as np
from scripted_worker import Scripted

from backend import images
from backend.pipe import inherited_channel
from backend.worker.serve import serve
from protocol.errors import Cancelled, NoFace
from protocol.geometry import Extent
from protocol.jobs import AnalyseFaces, Job, PictureJob
from protocol.planes import Layout, Plane
from protocol.results import Faces, MadePicture, ModelInfo, Outcome, Pictures


def colour(seed: int) -> tuple[int, int, int]:
    """The colour of a seed."""
    red, green, blue = hashlib.sha256(str(seed).encode()).digest()[:3]
    return red, green, blue


def similarity(seed: int) -> float:
    """How alike the picture of a seed is said to be, 0 to 1."""
    return hashlib.sha256(str(seed).encode()).digest()[3] / 255


class Painter(Scripted):
    def models(self) -> tuple[ModelInfo, ...]:
        (scripted,) = super().models()
        return (ModelInfo("painting", "Paints one colour", "none", Extent(8, 8), subjects=True, steps=4, loras=scripted.loras),)

    def run(self, job: Job, watch, rung: str | None) -> Outcome:
        if isinstance(job, AnalyseFaces):
            return Faces(())
        if not isinstance(job, PictureJob):
            raise NoFace("Photo 1 shows no face.")
        super().run(job, _Silent(watch) if job.preview_every else watch, rung)
        for step in range(2 if job.preview_every else 0):
            if watch.cancelled():
                raise Cancelled
            watch.show(Plane(Layout.RGB8, Extent(6, 4), bytes([100 + step]) * 72), step)
            time.sleep(0.05)
        self._hold(self._words(job).get("shown", ""), 1, watch)
        seeds = [job.sampling.seed + number for number in range(job.count)]
        return Pictures(tuple(MadePicture(self._paint(job, seed), seed, self._alike(job, seed)) for seed in seeds), "scripted")

    def _paint(self, job: PictureJob, seed: int) -> Plane:
        if job.canvas is None:
            extent = job.extent or Extent(8, 8)
            return images.to_plane(np.full((extent.height, extent.width, 3), colour(seed), np.uint8))
        picture = images.to_rgb(job.canvas.picture).copy()
        mask = np.full(picture.shape[:2], 255, np.uint8) if job.canvas.mask is None else images.to_mask(job.canvas.mask)
        picture[mask > 0] = colour(seed)
        return images.to_plane(picture)

    def _alike(self, job: PictureJob, seed: int) -> tuple[float, ...]:
        return tuple(similarity(seed) for _ in job.subjects)


class _Silent:
    """A watch that shows nothing: the painter's own previews come after the steps."""

    def __init__(self, watch) -> None:
        self.step, self.cancelled = watch.step, watch.cancelled

    def show(self, picture: Plane, step: int) -> None:
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pipe")
    parser.add_argument("--script", type=Path)
    options = parser.parse_args()
    sys.exit(serve(inherited_channel(options.pipe), lambda: Painter(options.script)))
