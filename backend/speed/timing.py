"""Two ways in turns: medians of the pairs' ratios, on a clock that a busy machine does not move.

On a processor that clock is the thread's own time (one thread, so nothing is done elsewhere); on a GPU it is CUDA's events. Both sides run
in one process: two processes with the same weights differ by 6 %.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")
U = TypeVar("U")


class Timer(Protocol):
    """How long something takes on one device."""

    def measure(self, work: Callable[[], T]) -> tuple[float, T]:
        """Seconds, and what `work` gave."""
        ...

    def now(self) -> float:
        """Seconds since some moment, for times within one piece of work; what was asked of the device may still run."""
        ...

    def finish(self) -> None:
        """Wait until the device has done all that was asked of it."""
        ...


class ThreadTime:
    """This thread's own time on a processor."""

    def measure(self, work: Callable[[], T]) -> tuple[float, T]:
        """Seconds of the processor, and what `work` gave."""
        begin = time.thread_time()
        made = work()
        return time.thread_time() - begin, made

    def now(self) -> float:
        """Seconds of the processor."""
        return time.thread_time()

    def finish(self) -> None:
        """A processor is done when the call returns."""


class CudaTime:
    """CUDA's events around the work; wall time within it."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def measure(self, work: Callable[[], T]) -> tuple[float, T]:
        """Seconds between two events on the device's stream, and what `work` gave."""
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        with torch.cuda.device(self._device):
            begin.record()
            made = work()
            end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1000, made

    def now(self) -> float:
        """Wall time in seconds."""
        return time.perf_counter()

    def finish(self) -> None:
        """Wait for the device."""
        torch.cuda.synchronize(self._device)


def timer_for(device: str) -> Timer:
    """The clock of a device."""
    return CudaTime(device) if device.startswith("cuda") else ThreadTime()


@dataclass(frozen=True, slots=True)
class Compared:
    """Medians in seconds of both sides, and the median of the pairs' ratios, first by second."""

    first: float
    second: float
    ratio: float
    pairs: int


def compare(
    timer: Timer,
    rounds: int,
    first: Callable[[int], T],
    second: Callable[[int], U],
    check: Callable[[T, U], None] = lambda one, other: None,
) -> Compared:
    """Time both `rounds` times in turns, A B B A A B …, so that neither is always the one that finds the caches warm.

    Both are told the number of the pair; `check` sees what they gave, and raises if they are not what they should be.
    """
    pairs: list[tuple[float, float]] = []
    for number in range(rounds):
        if number % 2:
            slow, other = timer.measure(lambda: second(number))  # noqa: B023  (called before the number changes)
            quick, one = timer.measure(lambda: first(number))  # noqa: B023  (the same)
        else:
            quick, one = timer.measure(lambda: first(number))  # noqa: B023  (the same)
            slow, other = timer.measure(lambda: second(number))  # noqa: B023  (the same)
        check(one, other)
        pairs.append((quick, slow))
    middle = statistics.median
    return Compared(middle(a for a, _ in pairs), middle(b for _, b in pairs), middle(a / b for a, b in pairs), rounds)
