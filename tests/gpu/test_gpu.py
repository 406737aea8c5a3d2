"""What only a GPU can show, with the built-in model: the same bytes twice, half precision near the processor's, memory that is really full.

Honestly: these tests were written on a machine without a GPU, and have been run on none so far. That half precision stays near float32
was tried on a processor (mean difference 0.06 of 255 levels, largest 3; bfloat16 0.5 and 30); that memory fills where the last tests want
it was not. The first run on a GPU may show a bound to be too narrow, and then its figure belongs here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import backend
from backend.config import Settings, load_settings
from backend.images import open_picture, to_plane
from protocol.errors import OutOfMemory
from protocol.geometry import Extent
from protocol.jobs import Photos, PictureJob, Sampling, Subject
from protocol.planes import Plane
from protocol.results import Outcome

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no NVIDIA GPU here.")]
MEGABYTE = 1024**2
MEAN, FAR = 2.0, 0.005
"""Half precision against float32, in levels of 255: the mean difference, and the share of values that are more than 32 off."""


class Unwatched:
    """Nobody looks."""

    def step(self, done: int, total: int) -> None:
        pass

    def show(self, picture: Plane, step: int) -> None:
        pass

    def cancelled(self) -> bool:
        return False


def settings(folder: Path, device: str, dtype: str) -> Settings:
    return load_settings({"models": str(folder / "no-other-models"), "device": device, "dtype": dtype}, {})


def ada_at_the_sea(**more: object) -> PictureJob:
    """InstantID: a person, by a photo."""
    photo = to_plane(open_picture(Path(backend.__file__).parent / "sketch" / "samples" / "ada.png"))
    job = {"subjects": (Subject(Photos((photo,))),), "sampling": Sampling(steps=8, seed=11), "preview_every": 0, **more}
    return PictureJob("portrait of a smiling person, red sweater, at the sea", **job)


def drawn(folder: Path, device: str, dtype: str) -> np.ndarray:
    from backend.workbench import open_workbench

    return open_workbench(settings(folder, device, dtype)).engine.run(ada_at_the_sea())[0].pixels


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_same_seed_gives_the_same_bytes_on_a_gpu_also_after_another_job(tmp_path: Path, dtype: str) -> None:
    from backend.workbench import open_workbench

    engine = open_workbench(settings(tmp_path, "cuda", dtype)).engine
    first = engine.run(ada_at_the_sea())[0].pixels
    engine.run(ada_at_the_sea(subjects=(), extent=Extent(96, 160), count=2))
    assert np.array_equal(engine.run(ada_at_the_sea())[0].pixels, first)
    assert np.array_equal(drawn(tmp_path, "cuda", dtype), first), "models that are loaded anew draw the same"


def test_instantid_in_half_precision_is_what_the_processor_draws(tmp_path: Path) -> None:
    difference = np.abs(drawn(tmp_path, "cuda", "float16").astype(int) - drawn(tmp_path, "cpu", "float32").astype(int))
    assert difference.mean() < MEAN
    assert (difference > 32).mean() < FAR


@contextmanager
def room_for(megabytes: float) -> Iterator[None]:
    """The allocator may take so much more than what is in use now, and says out of memory beyond, as it does on a full card."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + megabytes * MEGABYTE) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_memory_that_is_really_full_goes_down_the_ladder_is_said_and_costs_the_next_job_nothing(tmp_path: Path) -> None:
    from backend.worker.memory import climb_down
    from backend.worker.studio import StudioPipeline

    studio = StudioPipeline(settings(tmp_path, "cuda", "float16"), tmp_path / "characters")
    rungs: list[str | None] = []

    def run(job: PictureJob) -> Outcome:
        def attempt(rung: str | None) -> Outcome:
            rungs.append(rung)
            return studio.run(job, Unwatched(), rung)

        return climb_down(studio.ladder(), attempt, studio.free)

    before = run(ada_at_the_sea())
    studio.free()
    used = torch.cuda.memory_allocated()
    rungs.clear()
    with room_for(16), pytest.raises(OutOfMemory, match="does not fit into the memory"):
        run(ada_at_the_sea(subjects=(), extent=Extent(1536, 1536), sampling=Sampling(steps=1, seed=1)))
    assert rungs == [None, *(rung.name for rung in studio.ladder()[1:])]
    studio.free()
    assert abs(torch.cuda.memory_allocated() - used) < 64 * MEGABYTE
    after = run(ada_at_the_sea())
    assert bytes(after.pictures[0].picture.data) == bytes(before.pictures[0].picture.data)
    assert after.rung is None


def test_a_picture_that_does_not_fit_beside_something_else_fits_once_that_is_gone(tmp_path: Path) -> None:
    """The first rung is full since something lies in the cache that the second one empties."""
    from backend.worker.memory import Rung, climb_down

    ballast: list[object] = []

    @contextmanager
    def alone() -> Iterator[None]:
        ballast.clear()
        torch.cuda.empty_cache()
        yield

    def attempt(rung: str | None) -> str | None:
        torch.empty(300 * MEGABYTE, dtype=torch.uint8, device="cuda")
        return rung

    free: Callable[[], None] = torch.cuda.empty_cache
    with room_for(400):
        ballast.append(torch.empty(200 * MEGABYTE, dtype=torch.uint8, device="cuda"))
        assert climb_down([Rung("all at once"), Rung("alone", alone)], attempt, free) == "alone"
