"""How an add-on starts this backend: the words of a command that works from any folder. And whether its host runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata

from .archive import ROOT


def starting_command(python: str = sys.executable) -> list[str]:
    """The words that start the backend that this process belongs to, as a process of its own."""
    return [*_interpreter(python), "serve", "--detach"]


def is_running(program: str) -> bool:
    """Whether a program of this name runs on this machine; False where processes cannot be looked at."""
    import psutil

    try:
        names = {str(process.info["name"] or "").lower() for process in psutil.process_iter(["name"])}
    except (psutil.Error, OSError):
        return False
    return bool(names & {program, f"{program}.exe", f"{program}.com"})


def _interpreter(python: str) -> Sequence[str]:
    """The words that run `likeness` from any folder. -P: a folder called backend where a host was started must not be taken for ours."""
    try:
        metadata.distribution("likeness-studio")
    except metadata.PackageNotFoundError:
        start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from backend.__main__ import main; sys.exit(main())"
        return [python, "-P", "-c", start]
    return [python, "-P", "-m", "backend"]
