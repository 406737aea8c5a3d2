"""A pipeline that draws nothing: gives the canvas back, or one colour. For `likeness bench protocol`, and to try a host without a model.

It has as many steps as a job asks for, each with a grey preview if the job wants them. `busy` computes through each step, as a model would.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from protocol.errors import Cancelled, InvalidRequest
from protocol.geometry import Extent
from protocol.jobs import Job, PictureJob
from protocol.planes import Layout, Plane
from protocol.results import MadePicture, ModelInfo, Outcome, Pictures

from ..pipe import Beat
from .memory import Rung
from .serve import Watch

BUSY_STEP_S = 0.005
"""Of the processor, in each step of `busy`."""
PREVIEW_SIDE = 128
"""As SDXL's latents give it for 1024 pixels."""


class Nothing:
    """Loads nothing. `step_s` are the seconds of the processor that each step takes."""

    def __init__(self, step_s: float = 0.0) -> None:
        self._step_s = step_s

    title = "no device: nothing is drawn"

    def models(self) -> tuple[ModelInfo, ...]:
        """One, that takes any size."""
        return (ModelInfo("nothing", "Draws nothing", "nothing", Extent(64, 64)),)

    def changed(self) -> None:
        """It stays that one."""

    def beat(self) -> Beat:
        """No memory to tell of."""
        return Beat()

    def ladder(self) -> Sequence[Rung]:
        """One way."""
        return (Rung("nothing"),)

    def free(self) -> None:
        """Nothing to free."""

    def run(self, job: Job, watch: Watch, rung: str | None) -> Outcome:
        """The canvas as it came, or a grey picture, `count` times."""
        if not isinstance(job, PictureJob):
            raise InvalidRequest("This backend was started to draw nothing, and knows no faces. Start it without --pipeline nothing.")
        steps = job.sampling.steps or 1
        for step in range(1, steps + 1):
            _compute(self._step_s)
            if watch.cancelled():
                raise Cancelled
            watch.step(step, steps)
            if job.preview_every and step % job.preview_every == 0:
                watch.show(_grey(Extent(PREVIEW_SIDE, PREVIEW_SIDE)), step)
        extent = job.extent or Extent(64, 64)
        picture = job.canvas.picture if job.canvas else _grey(extent)
        return Pictures(tuple(MadePicture(picture, job.sampling.seed + number) for number in range(job.count)), "nothing")


def _grey(extent: Extent) -> Plane:
    return Plane(Layout.RGB8, extent, bytes((128,)) * (extent.area * 3))


def _compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(100))
