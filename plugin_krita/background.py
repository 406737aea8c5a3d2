"""One worker thread for what takes longer than a tick: pixels, PNGs, files. What it gives back is handed over in the host's thread.

Python's threads take turns, so work on many bytes calls `breathe` between parts of about a millisecond: the host's thread never waits long.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from .protocol.desk.sentences import sentence_of

T = TypeVar("T")
PART = 1 << 16
"""Bytes handled between two breaths: well under a millisecond."""
TURN_S = 0.002
"""How long `turn` hands results over before it leaves the rest to the next tick."""


def breathe() -> None:
    """Let the host's thread go on; does nothing there."""
    if threading.current_thread() is not threading.main_thread():
        time.sleep(0.0001)


def _forget(handed: Callable[[], None]) -> None:
    """Let go of what was handed over."""


class Background:
    """`do` returns at once; `turn`, called from the host's timer, hands over what was done."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many pieces of work are not handed over yet."""
        return self._waiting

    def do(
        self, work: Callable[[], T], then: Callable[[T], None] = lambda value: None, failed: Callable[[str], None] = lambda words: None
    ) -> None:
        """Do `work` in the thread; later `then(value)`, or `failed(sentence)`, in the thread that calls `turn`."""
        self._waiting += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="likeness", daemon=True)
            self._thread.start()

        def step() -> None:
            try:
                value = work()
            except Exception as error:
                words = sentence_of(error)
                self._done.put(lambda: failed(words))
            else:
                self._done.put(lambda: then(value))

        self._todo.put(step)

    def turn(self) -> None:
        """Hand over what is done, for two milliseconds at most."""
        end = time.perf_counter() + TURN_S
        while time.perf_counter() < end:
            try:
                handed = self._done.get_nowait()
            except queue.Empty:
                return
            self._waiting -= 1
            handed()
            # Giving sixteen megabytes back to the system takes milliseconds: the last reference is dropped in the worker thread.
            self._todo.put(partial(_forget, handed))
            del handed

    def close(self, timeout_s: float = 1.0) -> None:
        """Finish what is begun, for so long at most; nothing is handed over any more."""
        if self._thread is not None:
            self._todo.put(None)
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while (step := self._todo.get()) is not None:
            step()
