"""A whole backend for tests: the real service with scripted workers, turned by hand in this process, or in one of its own to be killed."""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from backend.server.queue import Limits
from backend.server.supervisor import Patience
from backend.service import Service, Setup
from protocol.client import Client
from protocol.events import Event
from protocol.geometry import Extent
from protocol.jobs import PictureJob, Sampling
from protocol.transport import ServerSocket

ROOT = Path(__file__).resolve().parent.parent.parent
QUICK = Patience(ready_s=180, first_step_s=120, step_s=120, silent_s=120, cancel_s=2, backoff_s=(0.05, 0.1, 0.2), stable_s=0.5, failures=3)
"""A worker that died is replaced at once; one that only gets no processor, as other work on this computer has it, is waited for."""


def setup(
    state: Path,
    *,
    devices: tuple[str, ...] = ("cpu",),
    patience: Patience = QUICK,
    limits: Limits | None = None,
    extra: tuple[str, ...] = (),
) -> Setup:
    script = state / "script"
    script.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.chmod(0o700)
    worker = str(Path(__file__).with_name("scripted_worker.py"))
    command = (sys.executable, worker, "--script", str(script), *extra)
    return Setup(state, devices, lambda device: command, "test", patience, limits or Limits())


class Pair:
    """A service and clients in one thread: `until` turns all of them."""

    def __init__(self, made: Setup) -> None:
        self.setup = made
        self.service: Service | None = Service(made)
        self.clients: list[Client] = []
        self.events: dict[Client, list[Event]] = {}

    def client(self, client_id: str = "c" * 32, *, handover: bool = False) -> Client:
        client = Client(self.setup.state, client_id, handover=handover)
        self.clients.append(client)
        self.events[client] = []
        return client

    def until(self, done: Callable[[], bool], timeout_s: float = 300.0) -> None:
        end = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end, f"still waiting: {list(self.events.values())}"
            for client in self.clients:
                self.events[client] += client.poll()
            if self.service is not None:
                self.service.broker.turn(0.005)

    def of(self, client: Client, kind: type, job_id: str | None = None) -> list:
        return [event for event in self.events[client] if isinstance(event, kind) and (job_id is None or event.job_id == job_id)]

    def restart(self) -> None:
        self.stop()
        self.service = Service(self.setup)

    def stop(self) -> None:
        if self.service is not None:
            self.service.close()
            self.service = None

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.stop()


def job(seed: int, words: str = "", **more: object) -> PictureJob:
    """A picture of 8 x 8 pixels, made as the words say."""
    return PictureJob(words, extent=Extent(8, 8), sampling=Sampling(seed=seed), **{"preview_every": 0, **more})


def start_process(state: Path, *words: str) -> subprocess.Popen[bytes]:
    """The service in a process of its own. With `--deaf` it is an unsafe twin: it waits for its worker, and hears its clients then."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'fakes'}"}
    return subprocess.Popen([sys.executable, str(Path(__file__)), str(state), *words], cwd=ROOT, env=environment)


def wait_for_the_worker(door: ServerSocket, timeout_s: float, descriptors: Iterable[int] = ()) -> None:
    """What a careless door does while a job is at work: only the worker wakes it."""
    wait(door, 0.0)
    select.select([descriptor for descriptor in descriptors if descriptor >= 0], [], [], timeout_s)
    wait(door, 0.0)


if __name__ == "__main__":
    wait = ServerSocket.wait
    if "--deaf" in sys.argv:
        ServerSocket.wait = wait_for_the_worker  # type: ignore[method-assign]
    with Service(setup(Path(sys.argv[1]), limits=Limits(kills=1000, attempts=1000))) as running:
        running.run()
