"""What scenarios are made of: waiting without stopping Krita, telling the test, and looking at the screen."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from krita import Krita

OUT = Path(os.environ.get("LIKENESS_SCENARIO_OUT", "."))


def qt() -> Any:
    """QtCore of whichever PyQt this Krita has."""
    name = "PyQt6" if "PyQt6.QtCore" in sys.modules else "PyQt5"
    return __import__(f"{name}.QtCore", fromlist=["QtCore"])


def event(name: str, **values: Any) -> None:
    with (OUT / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"event": name, "at": time.time(), **values}) + "\n")


def wait(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield


def until(done: Callable[[], Any], what: str, timeout_s: float = 600.0) -> Iterator[None]:
    end = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"still waiting for {what}")
        yield


def told(name: str, timeout_s: float = 900.0) -> Iterator[None]:
    """Wait for the test to say so."""
    yield from until((OUT / f"go-{name}").exists, f"the test to say {name}", timeout_s)


def shot(name: str) -> None:
    """A picture of Krita's window."""
    Krita.instance().activeWindow().qwindow().grab().save(str(OUT / f"{name}.png"))


def act(name: str) -> Iterator[None]:
    """Trigger one of Krita's actions, and let it work."""
    Krita.instance().action(name).trigger()
    yield from wait(0.4)
    Krita.instance().activeDocument().waitForDone()
    yield from wait(0.2)


def open_in_view(document: Any) -> Iterator[None]:
    Krita.instance().activeWindow().addView(document)
    yield from until(lambda: Krita.instance().activeDocument() is not None, "the active document")
    yield from wait(0.5)


def quit_krita() -> Iterator[None]:
    """Close everything unsaved, then Krita."""
    for document in Krita.instance().documents():
        document.setModified(False)
        document.close()
    yield from wait(0.5)
    event("quitting")
    qt().QTimer.singleShot(100, lambda: Krita.instance().action("file_quit").trigger())
