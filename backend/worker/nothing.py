"""A pipeline that draws nothing: gives the canvas back, or one colour. For `likeness bench protocol`, and to try a host without a model."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.errors import InvalidRequest
from protocol.geometry import Extent
from protocol.jobs import Job, PictureJob
from protocol.planes import Layout, Plane
from protocol.results import MadePicture, ModelInfo, Outcome, Pictures

from ..pipe import Beat
from .memory import Rung
from .serve import Watch


class Nothing:
    """Does no work and loads nothing."""

    title = "no device: nothing is drawn"

    def models(self) -> tuple[ModelInfo, ...]:
        """One, that takes any size."""
        return (ModelInfo("nothing", "Draws nothing", "nothing", Extent(64, 64)),)

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
        watch.step(1, 1)
        extent = job.extent or Extent(64, 64)
        blank = Plane(Layout.RGB8, extent, bytes((128,)) * (extent.area * 3))
        picture = job.canvas.picture if job.canvas else blank
        return Pictures(tuple(MadePicture(picture, job.sampling.seed + number) for number in range(job.count)), "nothing")
