# ruff: noqa: E402  (a program that finds the project beside it)
"""The real service with a worker that paints, in a process of its own, for a Blender: its one word is the state folder."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from running_backend import QUICK

from backend.server.queue import Limits
from backend.service import Service, Setup


def end_with_its_parent() -> None:
    """A Blender that crashed leaves no backend behind."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main(state: Path) -> None:
    """Serve until the process is ended."""
    script = state / "script"
    script.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.chmod(0o700)
    worker = str(Path(__file__).with_name("painting_worker.py"))
    command = (sys.executable, worker, "--script", str(script))
    with Service(Setup(state, ("cpu",), lambda device: command, "test", QUICK, Limits())) as running:
        running.run()


if __name__ == "__main__":
    threading.Thread(target=end_with_its_parent, daemon=True).start()
    main(Path(sys.argv[1]))
