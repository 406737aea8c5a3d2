"""Writes new files through to the disk in a thread of its own, so that nobody waits for a disk."""

from __future__ import annotations

import os
import threading
from pathlib import Path

INTERVAL_S = 0.5
"""What a power cut can cost, at most about twice."""
Name = tuple[str, int | None]
"""A job, and the attempt whose result it is; None: the job itself."""


class Flusher:
    """Fsyncs files, then SQLite's write-ahead log `log`. `fsync` never holds Python's lock, so the broker goes on."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._waiting: list[tuple[Name, Path | None]] = []
        self._done: list[Name] = []
        self._lock = threading.Lock()
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flush", daemon=True)
        self._thread.start()

    def add(self, name: Name, path: Path | None) -> None:
        """Write `path` (None: only the log) through soon."""
        with self._lock:
            self._waiting.append((name, path))

    def done(self) -> list[Name]:
        """The names that are through since the last call."""
        with self._lock:
            done, self._done = self._done, []
        return done

    def close(self) -> None:
        """Write through what waits, then end."""
        self._leave.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._leave.wait(INTERVAL_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        through = [name for name, path in waiting if path is None or _fsync(path)]
        if waiting and _fsync(self._log):
            with self._lock:
                self._done += through


def _fsync(path: Path) -> bool:
    """Whether the file is through; one that was deleted in the meantime need not be."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return True
    try:
        os.fsync(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
