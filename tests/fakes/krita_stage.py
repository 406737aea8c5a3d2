"""A presenter on a fake canvas, with a real backend in the same thread, or with one whose answers a test writes, or with none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from krita_host import Document, FakeHost
from plugin_krita.protocol.client import Client
from plugin_krita.protocol.desk.store import Store
from running_backend import QUICK, Pair

from backend.server.queue import Limits
from backend.service import Setup
from plugin_krita.presenter import Presenter


class FakeLauncher:
    """Starts nothing; `why` is why it cannot."""

    def __init__(self, why: str = "") -> None:
        self.why, self.started = why, 0

    def available(self) -> str:
        return self.why

    def start(self) -> None:
        self.started += 1


def painting(state: Path) -> Pair:
    """The real service with a worker that paints."""
    script = state / "script"
    script.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.chmod(0o700)
    worker = str(Path(__file__).with_name("painting_worker.py"))
    command = (sys.executable, worker, "--script", str(script))
    return Pair(Setup(state, ("cpu",), lambda device: command, "test", QUICK, Limits()))


class Stage:
    """One Krita session. `turn` is what serves the backend between two ticks; each tick's time is measured."""

    def __init__(self, folder: Path, state: Path, *documents: Document, host: FakeHost | None = None, launcher: object = None) -> None:
        self.folder, self.state = folder, state
        self.host = host or FakeHost(*(documents or (Document("one"),)))
        self.seeds = iter(range(1000, 10_000, 100))
        self.launcher = launcher or FakeLauncher()
        self.heard: list[frozenset[str]] = []
        self.turn: Callable[[], object] = lambda: time.sleep(0.005)
        self.pair: Pair | None = None
        self.presenter = self._presenter()

    def _presenter(self) -> Presenter:
        store = Store(self.folder)
        client = Client(self.state, store.client_id())
        made = Presenter(self.host, client, self.launcher, store, random_seed=lambda: next(self.seeds))
        made.listen(self.heard.append)
        return made

    @property
    def document(self) -> Document:
        return self.host.documents[self.host.active or ""]

    def serve(self, pair: Pair) -> None:
        """Have this backend answer between two ticks; `pair` is there to stop and to start it again."""
        self.pair = pair
        self.turn = lambda: pair.service.broker.turn(0.005) if pair.service is not None else time.sleep(0.005)

    def until(self, done: Callable[[], object], timeout_s: float = 300.0) -> None:
        end = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end, f"still waiting: {self.presenter.notice!r} {self.presenter.backend} {self.presenter.progress}"
            self.presenter.tick()
            self.turn()
            time.sleep(0.001)  # the sockets' own threads need the processor too

    def ready(self) -> None:
        self.until(lambda: self.presenter.can_generate)

    def settle(self, ticks: int = 30) -> None:
        """Some ticks more, until the docker has looked at the document since, and until the worker thread has nothing left."""
        looked = self.presenter._looked_at
        for _ in range(ticks):
            self.presenter.tick()
            self.turn()
        self.until(lambda: self.presenter._looked_at != looked and not self.presenter._desk.background.waiting)

    def die(self) -> None:
        """Krita is killed: nothing is said goodbye to."""
        self.presenter._desk.client.close()
        self.presenter._desk.background.close()
        self.presenter._closed = True

    def again(self) -> None:
        """Krita is started again."""
        self.presenter = self._presenter()
