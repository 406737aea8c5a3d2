"""What this process holds in memory, so that growth can be told from what the allocators of C and of Python keep for later."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path

import pytest


def resident_bytes() -> int:
    """Bytes in memory, once the process gave back what it does not use: what is kept would go there first, and not be seen."""
    status = Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("memory is read from /proc")
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc has no such call
        ctypes.CDLL(None).malloc_trim(0)
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def small_objects() -> int:
    """How many pieces of up to 512 bytes Python's objects have: an exact count, of which no free room in memory hides anything."""
    gc.collect()
    return sys.getallocatedblocks()
