"""The ladder, with memory that a test fills; in the end nothing of a failed attempt is held."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from backend.worker.memory import DeviceLost, Rung, climb_down, is_device_lost, is_out_of_memory
from protocol.errors import NoFace, OutOfMemory

STEPS = 5


class Tensor:
    """Something large whose life can be watched."""


class Device:
    """Runs out of memory at step `at` on the first `rungs` rungs."""

    def __init__(self, at: int, rungs: int) -> None:
        self.at, self.rungs = at, rungs
        self.state, self.freed, self.tried = "usual", 0, []
        self.alive: weakref.WeakSet[Tensor] = weakref.WeakSet()

    @contextmanager
    def way(self, name: str) -> Iterator[None]:
        self.state = name
        try:
            yield
        finally:
            self.state = "usual"

    def ladder(self) -> list[Rung]:
        return [Rung("usual"), Rung("tiles", lambda: self.way("tiles")), Rung("slow", lambda: self.way("slow"))]

    def attempt(self, rung: str | None) -> str:
        self.tried.append(self.state)
        latents = Tensor()
        self.alive.add(latents)
        for step in range(STEPS + 1):  # the last one is the decode
            if step == self.at and len(self.tried) <= self.rungs:
                raise RuntimeError("CUDA out of memory. Tried to allocate 9.00 GiB. GPU 0 has 8 GiB")
        return f"picture by {rung}"

    def free(self) -> None:
        assert not self.alive, "the failed attempt's tensors must be gone before caches are emptied"
        self.freed += 1


@pytest.mark.parametrize("at", range(STEPS + 1))
@pytest.mark.parametrize(("rungs", "result"), [(0, "picture by None"), (1, "picture by tiles"), (2, "picture by slow")])
def test_out_of_memory_at_any_step_goes_down_the_ladder(at: int, rungs: int, result: str) -> None:
    device = Device(at, rungs)
    assert climb_down(device.ladder(), device.attempt, device.free) == result
    assert device.freed == rungs
    assert device.state == "usual"


def test_below_the_last_rung_the_error_is_honest_and_nothing_is_held() -> None:
    device = Device(3, 99)
    with pytest.raises(OutOfMemory, match="also after trying: tiles, slow") as error:
        climb_down(device.ladder(), device.attempt, device.free)
    assert "Select a smaller area" in str(error.value)
    assert device.tried == ["usual", "tiles", "slow"]
    gc.collect()
    assert not device.alive
    assert error.value.__cause__ is None
    device.rungs = 0
    assert climb_down(device.ladder(), device.attempt, device.free) == "picture by None"


def test_retrying_inside_except_would_hold_the_tensors() -> None:
    """The unsafe twin: why the ladder leaves the exception behind first."""
    device = Device(1, 1)
    try:
        device.attempt(None)
    except RuntimeError:
        gc.collect()
        with pytest.raises(AssertionError, match="must be gone"):
            device.free()


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OutOfMemory(), RuntimeError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
)
def test_out_of_memory_is_recognised_by_class_and_by_words(error: Exception) -> None:
    assert is_out_of_memory(error)
    assert not is_device_lost(error)


def test_torchs_own_error_is_recognised() -> None:
    torch = pytest.importorskip("torch")
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))


def test_any_other_error_of_the_device_ends_the_worker() -> None:
    def broken(rung: str | None) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(DeviceLost):
        climb_down([Rung("usual")], broken, lambda: None)


def test_errors_of_the_job_are_not_retried() -> None:
    tries = []

    def faceless(rung: str | None) -> None:
        tries.append(rung)
        raise NoFace

    with pytest.raises(NoFace):
        climb_down([Rung("a"), Rung("b")], faceless, lambda: None)
    assert tries == [None]
