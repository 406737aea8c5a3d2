"""A second plug-in for tests: plays a scenario in a real Krita, one step per turn of its event loop, so that Krita goes on living.

A scenario is a generator function `play` in a module of this package, named by LIKENESS_SCENARIO; it yields wherever it waits. What it
tells is written to `events.jsonl` in LIKENESS_SCENARIO_OUT, where the test reads it; a failure is told as well, with its trace.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback
from typing import Any

from krita import Extension, Krita

from .steps import event, qt

_STEP_MS = 25


class Scenario(Extension):
    """Steps the generator from a timer once Krita's window is there."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self._play: Any = None
        self._timer = qt().QTimer()

    def setup(self) -> None:
        Krita.instance().notifier().setActive(True)
        Krita.instance().notifier().applicationClosing.connect(lambda: event("closing"))
        self._timer.setInterval(_STEP_MS)
        self._timer.timeout.connect(self._step)
        self._timer.start()

    def createActions(self, window: Any) -> None:  # noqa: N802 - Krita calls it
        """No actions of its own."""

    def _step(self) -> None:
        window = Krita.instance().activeWindow()
        if self._play is None:
            if window is None or window.qwindow() is None or not window.qwindow().isVisible():
                return
            module = importlib.import_module(f"{__name__}.{os.environ['LIKENESS_SCENARIO']}")
            self._play = module.play()
            event("window", version=Krita.instance().version(), python=sys.version.split()[0])
        try:
            next(self._play)
        except StopIteration:
            self._timer.stop()
            event("done")
        except Exception:
            self._timer.stop()
            event("failed", trace=traceback.format_exc(), at=time.time())


if os.environ.get("LIKENESS_SCENARIO"):
    Krita.instance().addExtension(Scenario(Krita.instance()))
