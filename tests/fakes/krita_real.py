"""A real Krita with the plug-in installed, and the real backend that its docker starts; for the sessions in tests/plugins."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import krita_runs
import pytest
from addon_wheels import pip_sees_only

from backend.cli.main import main
from backend.krita.places import python_of_krita
from backend.training import world
from protocol.discovery import read_connection

SKETCH = krita_runs.ROOT / "backend" / "sketch"
PHOTO = world.Shot(0.0, 0.0, 0.0, 0.27, 0.5, 0.5, "neutral", "none", "red", "none", "shirt", "white", "grey", -0.4, 0.1)
PHOTOS = ({}, {"yaw": 12.0, "expression": "smiling", "background": "yellow"})
"""What is different in each photo of the character."""
PATIENCE_S = 1500


class Backend:
    """What the docker has started, found by its connection file."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def pid(self) -> int:
        return read_connection(self.state).pid

    def kill(self) -> None:
        os.kill(self.pid(), signal.SIGKILL)

    def stop(self) -> None:
        values = {**os.environ, "LIKENESS_STATE": str(self.state)}
        command = [sys.executable, "-m", "backend", "status", "--stop"]
        subprocess.run(command, cwd=krita_runs.ROOT, env=values, capture_output=True, timeout=120, check=False)


def own_folder(home: Path) -> Path:
    """Where the plug-in keeps what is no part of it."""
    return home / ".local" / "share" / "krita" / "likeness"


@contextlib.contextmanager
def installed(folder: Path) -> Iterator[tuple[Path, Backend]]:
    """A HOME in which `likeness krita install` was run, with nothing of an earlier session; the backend is stopped in the end."""
    if python_of_krita("/usr/bin/krita") != sys.version_info[:2]:
        pytest.skip(f"Krita here has Python {python_of_krita('/usr/bin/krita')}, and the tests, whose pyzmq it is given, another one")
    home, state = krita_runs.kept_home(folder / "home"), folder / "state"
    state.mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch:
        pip_sees_only(patch, folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        krita_runs.enable_plugins(home, "krita_scenario")
        assert main(["krita", "install", "--home", str(home)]) == 0
    krita_runs.install_scenario(home)
    # Krita asks about a document that it saved by itself, and waits for the answer.
    for old in (*own_folder(home).rglob("*"), *home.glob("*autosave.kra"), *home.glob(".*autosave.kra")):
        old.unlink() if old.is_file() else None
    backend = Backend(state)
    try:
        yield home, backend
    finally:
        with contextlib.suppress(Exception):
            backend.stop()
