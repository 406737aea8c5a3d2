"""`likeness bench picture`: what a picture costs through the backend, beside the same picture in this process, in turns.

Model, settings and seeds are the same on both sides.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import numpy as np

from protocol.errors import ServiceError
from protocol.jobs import PictureJob, Sampling

from ..config import Settings
from ..progress import Bar
from ..remote import remote_bench
from ..workbench import Bench, open_workbench

SHARE_GOAL, SECONDS_GOAL = 0.03, 0.05
_PROMPT = "portrait of a smiling person, red sweater, blue background"


@dataclass(frozen=True)
class Compared:
    """Medians in seconds, and the median of the pairs' differences."""

    alone: float
    backend: float
    more: float

    @property
    def good(self) -> bool:
        """Whether the backend costs at most 3 % and 50 ms more."""
        return self.more <= SHARE_GOAL * self.alone + SECONDS_GOAL


def compare(settings: Settings, rounds: int) -> Compared:
    """Paint `rounds` pictures on both sides, in turns and each side first as often; they must be the same bytes.

    Raises:
        ServiceError: the two sides gave different pictures.
    """
    here = open_workbench(settings)
    with remote_bench(settings) as there, Bar("bench", 2 * (rounds + 1)) as bar:
        pairs: list[tuple[float, float]] = []
        for number in range(rounds + 1):  # the first one loads the models and does not count
            job = PictureJob(_PROMPT, sampling=Sampling(seed=number), preview_every=0)
            sides: list[Bench] = [here, there] if number % 2 else [there, here]
            took = {id(side): _timed(side, job, bar) for side in sides}
            (alone, one), (backend, other) = took[id(here)], took[id(there)]
            if not np.array_equal(one, other):
                raise ServiceError("The backend painted another picture than this process did. `likeness doctor` may know why.")
            pairs.append((alone, backend))
    counted = pairs[1:]
    middle = statistics.median
    return Compared(middle(a for a, _ in counted), middle(b for _, b in counted), middle(b - a for a, b in counted))


def report(found: Compared) -> list[str]:
    """The figures in words."""
    goal = 1000 * (SHARE_GOAL * found.alone + SECONDS_GOAL)
    return [
        f"One picture in this process: {1000 * found.alone:.0f} ms; through the backend: {1000 * found.backend:.0f} ms",
        f"The backend costs {1000 * found.more:.0f} ms more ({found.more / found.alone:.1%}); the goal is at most {goal:.0f} ms: "
        + ("met" if found.good else "missed"),
    ]


def _timed(side: Bench, job: PictureJob, bar: Bar) -> tuple[float, np.ndarray]:
    begin = time.perf_counter()
    pixels = side.paint(job, bar).pixels
    took = time.perf_counter() - begin
    bar.next_job()
    return took, pixels
