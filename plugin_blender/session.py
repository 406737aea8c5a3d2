"""One presenter for one Blender: made when it is first needed, from folders, a command and what Blender does with pictures."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from .people import Pictures
from .presenter import Presenter
from .protocol.client import Client
from .protocol.desk.launcher import Launcher
from .protocol.desk.store import Store
from .protocol.discovery import state_folder
from .shelf import Shelf

INSTALL = "run `likeness blender install` once, or name its command in the add-on's preferences"


class Session:
    """What the panels hold on to. `folder()` is the add-on's own folder, `command()` the preferences' words that start a backend, and
    `renamed(old, new)` is called when a character has another name, with "" when it is gone.
    """

    def __init__(
        self,
        folder: Callable[[], Path],
        command: Callable[[], str],
        pictures: Pictures,
        renamed: Callable[[str, str], None],
        program: str = "Blender",
    ) -> None:
        self._folder, self._command, self._pictures, self._renamed, self._program = folder, command, pictures, renamed, program
        self._presenter: Presenter | None = None

    @property
    def presenter(self) -> Presenter:
        """Made at the first call: a Blender that renders on a farm needs none."""
        if self._presenter is None:
            self._presenter = open_presenter(self._folder(), self._command, self._pictures, self._program)
            self._presenter.people.renamed = self._renamed
        return self._presenter

    @property
    def is_open(self) -> bool:
        """Whether it was needed yet."""
        return self._presenter is not None

    def new_seed(self) -> int:
        """A random one."""
        return secrets.randbelow(2**31 - 64)

    def close(self) -> None:
        """Leave; the next call begins anew."""
        if self._presenter is not None:
            self._presenter.close()
            self._presenter = None


def open_presenter(folder: Path, command: Callable[[], str], pictures: Pictures, program: str) -> Presenter:
    """A presenter whose jobs and results lie in `folder`. Beside this file may lie the `backend.json` of who installed the add-on."""
    launcher = Launcher(Path(__file__).resolve().parent, host="Blender", install=INSTALL, command=command)
    store = Store(folder)
    client = Client(launcher.state_folder() or state_folder(os.environ), store.client_id(), program=program)
    return Presenter(client, launcher, store, Shelf(folder / "results"), pictures)
