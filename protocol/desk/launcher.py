"""Starting the backend from an add-on: which command, whether there is one, and a process that outlives the host."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from ..errors import ServiceError

_PYTHONS = {"PYTHONHOME", "PYTHONPATH"}
"""A host sets them for its own Python, whichever way it is installed; another Python would not start, or find other plug-ins' modules."""
_LIBRARIES = {"LD_LIBRARY_PATH", "LD_PRELOAD", "QT_PLUGIN_PATH", "QML2_IMPORT_PATH", "DYLD_LIBRARY_PATH"}
"""A host that brings its own libraries sets them; where it does not, they are the user's."""


class Launcher:
    """Finds the command in `backend.json` beside the plug-in, in LIKENESS_COMMAND, or as `likeness` on the PATH; the first of them."""

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str] | None = None,
        run: Callable[..., object] = subprocess.Popen,
        *,
        host: str,
        install: str,
        command: Callable[[], str] = lambda: "",
    ) -> None:
        """`folder` is where `backend.json` may lie, `host` the program's name, `install` how this add-on is told of a backend, `command`
        gives the words that the user prefers to everything else.
        """
        self._folder, self._host = folder, host
        self._how = f"Install Likeness (its README says how) and {install}, or set LIKENESS_COMMAND to its command."
        self._environ = dict(os.environ if environ is None else environ)
        self._run, self._preferred = run, command

    def available(self) -> str:
        """Empty when a backend can be started, else why not and what to do."""
        command = self._command()
        if not command and self._is_shut_in():
            own = f" --state {shlex.quote(str(state))}" if (state := self.state_folder()) is not None else ""
            return f"This {self._host} may not start other programs. Run `likeness serve{own}` in a terminal; it is found by itself."
        if not command:
            return f"No backend is installed on this computer, as far as this add-on knows. {self._how}"
        if shutil.which(command[0], path=self._environ.get("PATH", "")) is None:
            return f"The backend's program {command[0]} is not there any more. {self._how}"
        return ""

    def start(self) -> None:
        """Start it in a session of its own and return. Raises `ServiceError` when the system refuses."""
        if why := self.available():
            raise ServiceError(why)
        flags = 0x00000008 | 0x00000200 | 0x08000000 if sys.platform == "win32" else 0  # detached, its own group, no window
        command = self._command()
        try:
            self._run(
                command,
                cwd=str(Path.home()),
                env=self._clean(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=sys.platform != "win32",
                creationflags=flags,
            )
        except OSError as error:
            raise ServiceError(f"{command[0]} could not be started: {error.strerror or error}. {self._how}") from error

    def state_folder(self) -> Path | None:
        """Where the installed backend keeps its connection file, when `backend.json` says so."""
        state = self._note().get("state")
        return Path(state) if isinstance(state, str) and state else None

    def _command(self) -> list[str]:
        if preferred := self._preferred().strip():
            return shlex.split(preferred, posix=os.name == "posix")
        noted = self._note().get("command")
        if isinstance(noted, list) and (words := cast(list[object], noted)) and all(isinstance(word, str) for word in words):
            return [str(word) for word in words]
        if self._is_shut_in():
            return []
        if own := self._environ.get("LIKENESS_COMMAND"):
            return shlex.split(own, posix=os.name == "posix")
        found = shutil.which("likeness", path=self._environ.get("PATH", ""))
        return [found, "serve", "--detach"] if found else []

    def _is_shut_in(self) -> bool:
        """Whether `likeness krita install` found a sandbox around this host that lets no program out: Snap's, the App Store's."""
        return self._note().get("command") == []

    def _note(self) -> dict[str, object]:
        try:
            note: object = json.loads((self._folder / "backend.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return cast(dict[str, object], note) if isinstance(note, dict) else {}

    def _clean(self) -> dict[str, str]:
        """The environment without what the host's own Python, its AppImage or its Snap set for themselves."""
        inside = self._environ.get("APPIMAGE") or self._environ.get("SNAP") or "PYTHONHOME" in self._environ
        alien = _PYTHONS | _LIBRARIES if inside else _PYTHONS
        kept = {name: value for name, value in self._environ.items() if name not in alien}
        if (noted := self._note().get("environ")) and isinstance(noted, dict):
            kept |= {str(name): str(value) for name, value in cast(dict[object, object], noted).items()}
        return kept
