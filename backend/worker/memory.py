"""Out of memory: retried down a ladder of cheaper ways, then said honestly; and the errors after which a process must end.

A failed attempt is left before the next begins: an exception holds its frames, and they hold the tensors (pytorch issue 18853). So nothing
is retried inside `except`, and only the text of the error is kept.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from protocol.errors import OutOfMemory

T = TypeVar("T")
_FULL_WORDS = ("out of memory", "cannot allocate memory", "can't allocate memory", "failed to allocate", "cublas_status_alloc_failed")
_LOST_WORDS = ("cuda error", "cudnn_status_execution_failed", "device-side assert", "hip error", "unspecified launch failure")


@dataclass(frozen=True, slots=True)
class Rung:
    """One way of doing a job. `way()` changes what has to be changed, and changes it back."""

    name: str
    way: Callable[[], AbstractContextManager[None]] = nullcontext


class DeviceLost(Exception):  # noqa: N818  (nothing to repair: the process ends, and another one does the job)
    """The device is in a state that no later call survives (a device-side assert spoils the CUDA context for good).

    Its text goes into a log, so it is one of our own: that of the library's error may have words of the job.
    """


def is_out_of_memory(error: BaseException) -> bool:
    """By class where there is one, by text where libraries only raise RuntimeError."""
    if isinstance(error, MemoryError | OutOfMemory) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _FULL_WORDS)


def is_device_lost(error: BaseException) -> bool:
    """Any other error of the device: the context is spoilt."""
    if is_out_of_memory(error):
        return False
    accelerator = type(error).__name__ == "AcceleratorError"
    return accelerator or (isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _LOST_WORDS))


def climb_down(ladder: Sequence[Rung], attempt: Callable[[str | None], T], free: Callable[[], None]) -> T:
    """The result of `attempt` on the first rung that has room. It is told the rung's name, None on the first.

    `free` empties the caches between two rungs. Raises `OutOfMemory` below the last, `DeviceLost` after an error of the device, and
    whatever else `attempt` raises.
    """
    said = ""
    for number, rung in enumerate(ladder):
        try:
            with rung.way():
                return attempt(rung.name if number else None)
        except Exception as error:
            if is_device_lost(error):
                known = [words for words in _LOST_WORDS if words in str(error).lower()]
                raise DeviceLost(", ".join([type(error).__name__, *known])) from error
            if not is_out_of_memory(error):
                raise
            said = str(error)
        gc.collect()
        free()
    raise OutOfMemory(_sentence(said, [rung.name for rung in ladder[1:]]))


def _sentence(said: str, tried: Sequence[str]) -> str:
    ways = f", also after trying: {', '.join(tried)}" if tried else ""
    detail = said.split("\n")[0].split(". ")[0][:200]
    return f"The job does not fit into the memory of the device{ways} ({detail}). {OutOfMemory.cure}"
