"""The backend as one piece: lock, spool, workers and door put together, and the loop that drives them. `likeness serve` runs it."""

from __future__ import annotations

import logging
import logging.handlers
import os
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from types import TracebackType

import zmq

from protocol.discovery import Connection, Lock, make_private_folder, note_starting, remove_connection, write_connection
from protocol.frozen import frozen
from protocol.handover import FOLDER
from protocol.transport import ServerSocket, new_keys
from protocol.version import VERSION

from .characters import CharacterStore
from .server.broker import Broker, Facts
from .server.dispatch import Dispatcher
from .server.handover import Handover
from .server.process import WorkerProcess
from .server.queue import Limits
from .server.spool import Spool
from .server.supervisor import Patience, Supervisor

_ROOT = Path(__file__).resolve().parent.parent


@frozen
class Setup:
    """What a backend is made of. `worker(device)` is the command line of a worker, without its pipe."""

    state: Path
    devices: Sequence[str]
    worker: Callable[[str], Sequence[str]]
    release: str
    patience: Patience = field(default_factory=Patience)
    limits: Limits = field(default_factory=Limits)
    idle_s: float | None = None
    """Ends by itself after so long without clients and jobs; None: never."""

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.state / "logs"


_LOCK_S = 0.3
"""Who asks whether a backend runs holds the lock for a moment: a backend that starts just then must not take that for another one."""


class AlreadyRunning(Exception):  # noqa: N818  (an answer, not a failure)
    """Another backend has this state folder."""


class Service:
    """One running backend; `with Service(setup) as service: service.run(…)`. Raises `AlreadyRunning`, `NoEncryption`, `UnsafeFolder`."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._lock = Lock(setup.state)
        if not self._lock.acquire(_LOCK_S):
            raise AlreadyRunning
        note_starting(setup.state)
        make_private_folder(setup.logs)
        self._epoch = uuid.uuid4().hex
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        server, client = new_keys(), new_keys()
        self._door = ServerSocket(self._context, server, client.public)
        self._spool = Spool(setup.state / "spool")
        self._handover = Handover(setup.state / FOLDER, self._spool.planes_folder)
        self._supervisor = Supervisor(setup.devices, self._spawn, setup.patience)
        facts = Facts(setup.release, os.getpid(), self._epoch)
        shelf = CharacterStore(characters_of(setup.state))
        self.broker = Broker(self._door, self._supervisor, shelf, facts, time.monotonic, self._spool.disk_free, self._handover)
        jobs = Dispatcher(self._spool, self._supervisor, self.broker.tell, time.time, setup.limits, self._handover)
        self.broker.attach(jobs)
        connection = Connection(
            endpoint=self._door.endpoint,
            server_key=server.public,
            client_key=client.public,
            client_secret=client.secret,
            pid=os.getpid(),
            started=time.time(),
            epoch=self._epoch,
            version=(VERSION.major, VERSION.minor),
        )
        write_connection(setup.state, connection)

    def run(self, leave: Callable[[], bool] = lambda: False) -> None:
        """Serve until `leave()`, a client's `Shutdown`, or idleness."""
        idle_s = self._setup.idle_s
        while not leave() and not self.broker.leaving and (idle_s is None or self.broker.idle_s < idle_s):
            self.broker.turn()

    def close(self) -> None:
        """End the workers and leave; accepted jobs stay in the spool."""
        remove_connection(self._setup.state, self._epoch)
        self._supervisor.close()
        self._door.close()
        self._context.destroy(linger=0)
        self._handover.close()
        self._spool.close()
        self._lock.release()

    def __enter__(self) -> Service:
        """The running backend."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _spawn(self, device: str) -> WorkerProcess:
        log = self._setup.logs / f"worker-{device.replace(':', '-')}.log"
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
        return WorkerProcess(self._setup.worker(device), log, environment)


def characters_of(state: Path) -> Path:
    """Where the characters are kept."""
    return state / "characters"


def log_to(folder: Path) -> None:
    """The server's log: ids and what happened to them, never a prompt, a name or a picture; turned over at one megabyte."""
    make_private_folder(folder)
    handler = logging.handlers.RotatingFileHandler(folder / "server.log", maxBytes=1024 * 1024, backupCount=3, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("likeness")
    root.setLevel(logging.INFO)
    root.handlers = [handler]
    root.propagate = False
