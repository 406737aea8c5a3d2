"""The docker, the actions and the timer in Krita: one presenter for all its windows. Nothing is made before a window asks for it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import krita

from .canvas import KritaHost
from .docker import DockerBody
from .presenter import Presenter
from .protocol.client import Client
from .protocol.desk.launcher import Launcher
from .protocol.desk.store import Store
from .protocol.discovery import state_folder
from .qt import QtCore, QtGui

DOCKER_ID = "likeness"
TITLE = "Likeness"
QUICK_MS, CALM_MS, HIDDEN_MS = 30, 150, 1000
"""The tick: while something moves; while a docker is shown; while none is, when only jobs and the connection are watched."""
_MOVES_S = 2.0
"""So long after the last change the ticks stay quick."""


class Core:
    """What all windows share: the presenter, made for the first docker, and its timer. `close` ends the connection, not the backend."""

    def __init__(self) -> None:
        self._presenter: Presenter | None = None
        self._timer: Any = None
        self._changed_at = 0.0
        self._dockers: list[Any] = []

    def presenter(self) -> Presenter:
        """The one presenter of this Krita."""
        if self._presenter is None:
            store = Store(_own_folder())
            launcher = Launcher(Path(__file__).resolve().parent, host="Krita", install="run `likeness krita install` once")
            folder = launcher.state_folder() or state_folder(os.environ)
            client = Client(folder, store.client_id(), program=f"Krita {krita.Krita.instance().version()}")
            self._presenter = Presenter(KritaHost(), client, launcher, store)
            self._presenter.listen(self._heard)
            self._timer = QtCore.QTimer()
            self._timer.timeout.connect(self._tick)
            self._timer.start(QUICK_MS)
        return self._presenter

    def shown(self, docker: Any) -> None:  # a krita.DockWidget
        """A docker belongs to this presenter from now on."""
        self._dockers.append(docker)

    def generate(self) -> None:
        """What the action does: as the button does, with the reason over the canvas when it cannot."""
        presenter = self.presenter()
        if presenter.can_generate:
            presenter.generate()
        else:
            KritaHost().tell(presenter.why_not or "Nothing can be generated at the moment. Look into the Likeness docker.")

    def changed(self) -> None:
        """Something is different: tick soon."""
        self._changed_at = time.monotonic()
        if self._timer is not None:
            self._timer.setInterval(QUICK_MS)

    def close(self) -> None:
        """Krita closes. Accepted jobs go on at the backend and are found again."""
        if self._presenter is not None:
            self._timer.stop()
            self._presenter.close()
            self._presenter = None

    def _heard(self, changed: frozenset[str]) -> None:
        if changed:
            self.changed()

    def _tick(self) -> None:
        if self._presenter is None:
            return
        visible = any(_is_visible(docker) for docker in self._dockers)
        self._presenter.watched(visible)
        self._presenter.tick()
        pace = self._pace(visible)
        if pace != self._timer.interval():
            self._timer.setInterval(pace)

    def _pace(self, visible: bool) -> int:
        presenter = self._presenter
        if (presenter is not None and presenter.progress is not None) or time.monotonic() - self._changed_at < _MOVES_S:
            return QUICK_MS
        return CALM_MS if visible else HIDDEN_MS


class LikenessExtension(krita.Extension):
    """The actions: Generate, which also has a shortcut, and one that brings the docker to the front."""

    def __init__(self, parent: Any, core: Core) -> None:  # krita.Krita
        super().__init__(parent)
        self._core = core

    def setup(self) -> None:
        """Krita has loaded all plug-ins."""
        notifier = krita.Krita.instance().notifier()
        notifier.setActive(True)
        notifier.applicationClosing.connect(self._core.close)

    def createActions(self, window: Any) -> None:  # Krita calls it for every window
        """Make the actions of one window; texts and shortcuts are in likeness.action as well, for Krita's list of shortcuts."""
        generate = window.createAction("likeness_generate", "Likeness: Generate", "tools/scripts")
        if generate.shortcut().isEmpty():
            generate.setShortcut(QtGui.QKeySequence("Shift+Return"))
        generate.triggered.connect(lambda *_: self._core.generate())
        show = window.createAction("likeness_show", "Likeness: Show Docker", "tools/scripts")
        show.triggered.connect(lambda *_: _show())  # Krita's wrapper of the window does not live that long


def register() -> None:
    """Tell Krita of the docker and the actions."""
    core = Core()
    application = krita.Krita.instance()
    application.addExtension(LikenessExtension(application, core))
    application.addDockWidgetFactory(
        krita.DockWidgetFactory(DOCKER_ID, krita.DockWidgetFactoryBase.DockPosition.DockRight, _docker_class(core))
    )


def _docker_class(core: Core) -> type:
    class LikenessDocker(krita.DockWidget):  # Krita makes one for each window, without arguments
        """The frame around `DockerBody`."""

        def __init__(self) -> None:
            super().__init__()
            self.setWindowTitle(TITLE)
            self.setWidget(DockerBody(core.presenter(), self, _icon))
            core.shown(self)

        def canvasChanged(self, canvas: object) -> None:  # Krita calls it
            """Another document or none: the next tick sees it, and comes soon."""
            core.changed()

    return LikenessDocker


def _icon(name: str) -> Any:  # a QIcon or None
    icon = krita.Krita.instance().icon(name)
    return None if icon is None or icon.isNull() else icon


def _show() -> None:
    for docker in krita.Krita.instance().dockers():  # of the active window
        if docker.objectName() == DOCKER_ID:
            docker.setVisible(True)
            docker.raise_()


def _own_folder() -> Path:
    """Where settings are kept: beside Krita's own, not in the plug-in's folder, which an update empties."""
    location = QtCore.QStandardPaths.writableLocation(QtCore.QStandardPaths.StandardLocation.AppDataLocation)
    return Path(location or Path.home()) / "likeness"


def _is_visible(docker: Any) -> bool:
    try:
        return bool(docker.isVisible())
    except RuntimeError:  # its window is gone
        return False
