"""Several ways in turns, on one of two clocks: the wall's, which is what is felt, or the processor's, which a busy machine does not move.

The processor's counts what this process and all that it started, directly or not, used of it; so nothing else of theirs may run meanwhile.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from enum import Enum

import numpy as np
import psutil
from numpy.typing import NDArray

from protocol.errors import ServiceError
from protocol.shapes import Buffer

SETTLE_S, STILL_S, PATIENCE_S = 0.02, 0.0005, 0.2
"""On the processor's clock a way begins when all processes have been still for so long, so that what the last one left to do (files,
messages) is not counted here; or after a fifth of a second."""
Check = Callable[[], None]
Pixels = Buffer | NDArray[np.uint8]
Told = tuple[float, float]
"""What a way in another process says by itself that it took: by the wall, and of the processor."""
Way = Callable[[], "Check | Told | None"]
"""May give something to check once the clock is stopped."""


class Clock(Enum):
    """By which clock."""

    WALL = "wall"
    PROCESSOR = "processor"


def in_turns(ways: Mapping[str, Way], rounds: int, clock: Clock) -> list[dict[str, float]]:
    """Seconds of every way in every round, after one that does not count."""
    family = Family()
    rows: list[dict[str, float]] = []
    for _ in range(rounds + 1):
        row: dict[str, float] = {}
        for name, way in ways.items():
            if clock is Clock.PROCESSOR:
                family.settle()
            begin = time.perf_counter() if clock is Clock.WALL else family.used_s()
            told = way()
            if isinstance(told, tuple):
                row[name] = told[0 if clock is Clock.WALL else 1]
                continue
            row[name] = (time.perf_counter() if clock is Clock.WALL else family.used_s()) - begin
            if told is not None:
                told()
        rows.append(row)
    return rows[1:]


def check_same(one: Pixels, other: Pixels) -> None:
    """Raise `ServiceError` unless both are the same bytes."""
    if bytes(one) != bytes(other):
        raise ServiceError("Other pixels came back than were sent, so the times mean nothing.")


class Family:
    """This process and all that came of it, also those that live in sessions of their own."""

    def __init__(self) -> None:
        own = psutil.Process()
        self._processes = [own, *own.children(recursive=True)]

    def used_s(self) -> float:
        """Seconds of the processor that all of them have used."""
        return sum(_used_s(process) for process in self._processes)

    def settle(self) -> None:
        """Wait until nothing more is being done."""
        end, before = time.monotonic() + PATIENCE_S, -1.0
        while self.used_s() - before > STILL_S and time.monotonic() < end:
            before = self.used_s()
            time.sleep(SETTLE_S)


def _used_s(process: psutil.Process) -> float:
    """psutil counts hundredths of a second; Linux has a clock for each process."""
    if sys.platform == "linux":
        return time.clock_gettime((~process.pid << 3) | 2)  # CPUCLOCK_SCHED of include/linux/posix-timers.h
    times = process.cpu_times()
    return times.user + times.system
