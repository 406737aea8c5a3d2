"""The backend without sockets and processes: real broker, dispatcher and spool, a list as its door, workers that are done at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from backend.characters import CharacterStore
from backend.pipe import Finished, Lease, Ready, encode_outcome
from backend.planefile import write_planes
from backend.server.broker import Broker, Facts
from backend.server.dispatch import Dispatcher
from backend.server.queue import Limits
from backend.server.spool import Spool
from backend.server.supervisor import Supervisor
from protocol.codec import reply_codec, request_codec
from protocol.geometry import Extent
from protocol.messages import Hello, Reply, Request
from protocol.planes import Layout, Plane
from protocol.results import MadePicture, Pictures
from protocol.shapes import Buffer

HEADER, PLANES = encode_outcome(Pictures((MadePicture(Plane(Layout.RGB8, Extent(8, 8), bytes(192)), 0),), "fake"))


class InstantWorker:
    """Is done with each job when it is next heard; `held` makes it wait for that."""

    def __init__(self) -> None:
        self.words = [(Ready("instant"), b"")]
        self.leases: list[str] = []
        self.held = False

    def fileno(self) -> int:
        return -1

    def send(self, word, blob=None) -> None:
        if isinstance(word, Lease):
            self.leases.append(word.job_id)
            write_planes(Path(word.output), PLANES)
            self.words.append((Finished(word.job_id, word.attempt, (192,)), HEADER))

    def receive(self):
        if self.held:
            return []
        words, self.words = self.words, []
        return words

    def kill(self) -> None:
        pass

    def last_words(self) -> str:
        return ""


class OpenDoor:
    """Where a test puts messages in and finds what was answered."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, list[Buffer]]] = []

    def wait(self, timeout_s: float, descriptors: Sequence[int] = ()) -> None:
        pass

    def receive(self) -> None:
        return None

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> bool:
        self.sent.append((peer, list(frames)))
        return True


class InnerBackend:
    """A whole backend in this process; `say` puts a request through the broker's own way of hearing, frames and all."""

    def __init__(
        self, folder: Path, limits: Limits | None = None, devices: Sequence[str] = ("cpu",), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.door = OpenDoor()
        self.workers: list[InstantWorker] = []
        self.spool = Spool(folder / "spool")
        supervisor = Supervisor(devices, self._spawn)
        shelf = CharacterStore(folder / "characters")
        self.broker = Broker(self.door, supervisor, shelf, Facts("test", 1, "e" * 32), clock, self.spool.disk_free)
        self.broker.attach(Dispatcher(self.spool, supervisor, self.broker.tell, time.time, limits))
        self.faults: list[str] = []
        """What the broker met that is no error of the tree: a fault of the program."""
        self.broker._complain = lambda what, error: self.faults.append(f"{what}: {type(error).__name__}")
        self._requests, self._replies = request_codec(), reply_codec()

    def _spawn(self, device: str) -> InstantWorker:
        self.workers.append(InstantWorker())
        return self.workers[-1]

    def hear(self, peer: bytes, frames: list[Buffer]) -> None:
        self.broker._hear(peer, frames)

    def greet(self, client: str) -> None:
        """A client connects; its id is also the name of its connection."""
        self.say(client, Hello(0, client))

    def say(self, client: str, request: Request) -> None:
        self.hear(client.encode(), [bytes(frame) for frame in self._requests.encode(request)])

    def answers(self) -> list[tuple[str, Reply]]:
        """What was sent since the last call, and to whom."""
        sent, self.door.sent = self.door.sent, []
        return [(peer.decode(), self._replies.decode([bytes(frame) for frame in frames])) for peer, frames in sent]

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.broker.turn(0)

    def close(self) -> None:
        self.spool.close()
