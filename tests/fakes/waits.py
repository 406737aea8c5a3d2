"""Whether a call waits for something, whatever else the machine does meanwhile.

Linux counts for each thread how often it gave the processor away by itself, which is what waiting is: for a message, a lock, a disk, the
clock. Being interrupted is counted apart. Elsewhere a call that takes a twentieth of a second counts as one that waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable

try:
    import resource

    THREAD = resource.RUSAGE_THREAD
except (ImportError, AttributeError):  # Windows; macOS
    THREAD = None

LONG_S = 0.05


class Watch:
    """Makes calls, and notes of each whether it waited."""

    def __init__(self) -> None:
        self.waited: list[bool] = []

    def __call__(self, call: Callable[..., object], *words: object, **more: object) -> object:
        start, before = time.perf_counter(), given_away()
        try:
            return call(*words, **more)
        finally:
            after = given_away()
            self.waited.append(after > before if THREAD is not None else time.perf_counter() - start > LONG_S)

    @property
    def nobody_waited(self) -> bool:
        """Whether nineteen of twenty calls did not: a page of memory may have had to come from the disk."""
        assert self.waited
        return sum(self.waited) <= len(self.waited) / 20


def given_away() -> int:
    """How often this thread gave the processor away by itself; 0 where nobody counts."""
    return 0 if THREAD is None else resource.getrusage(THREAD).ru_nvcsw
