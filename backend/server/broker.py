"""The door's keeper: frames in, checked, answered. It has one thread and never waits for a worker, a disk's flush or a client.

Who sends what is known by the connection: `Hello` ties it to a client id, and updates go to the latest connection of that client.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from protocol.checks import check_job
from protocol.codec import reply_codec, request_codec
from protocol.errors import Busy, LikenessError, NotGreeted, ServiceError
from protocol.frozen import frozen
from protocol.jobs import About, Reading
from protocol.limits import CHARACTERS_PER_PAGE
from protocol.messages import (
    Accepted,
    Acknowledge,
    AskCharacters,
    AskModels,
    AskStatus,
    Cancel,
    CharacterPhotos,
    Characters,
    DeleteCharacter,
    Done,
    ExportCharacter,
    Fetch,
    Fetched,
    Hello,
    Inquire,
    Models,
    Ping,
    Pong,
    Rejected,
    RenameCharacter,
    Reply,
    Request,
    Shutdown,
    StatusReport,
    Submit,
    Welcome,
)
from protocol.planes import Plane
from protocol.results import CharacterCard, Status
from protocol.shapes import Buffer

from .dispatch import Dispatcher, sentence_of
from .handover import Handover
from .supervisor import Supervisor

_MESSAGES_PER_TURN = 64
_TURN_S = 0.25
"""The longest time without a look at the clock: restarts and retries are due then."""
_CONNECTIONS = 256
_COMPLAINT_S = 60.0


class Door(Protocol):
    """Where messages come and go (`protocol.transport.ServerSocket`)."""

    def wait(self, timeout_s: float, descriptors: Sequence[int] = ()) -> None:
        """Until a message, one of the descriptors, or the time."""
        ...

    def receive(self) -> tuple[bytes, list[Buffer]] | None:
        """(peer, frames), or None."""
        ...

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> bool:
        """False if the peer is gone or does not read."""
        ...


class Kept(Protocol):
    """A character's record (`backend.characters.Record`)."""

    @property
    def photos(self) -> tuple[Plane, ...]:
        """What it was made from."""
        ...

    @property
    def thumbnail(self) -> Plane:
        """Its picture."""
        ...

    @property
    def scores(self) -> tuple[float, ...]:
        """The detector's, one per photo."""
        ...

    @property
    def about(self) -> About:
        """What was noted of it."""
        ...


class Shelf(Protocol):
    """Where the characters are (`backend.characters.CharacterStore`)."""

    def cards(self) -> list[CharacterCard]:
        """All, sorted by name."""
        ...

    def kept(self, name: str) -> tuple[Kept, tuple[Reading, ...]]:
        """A character's record, and what recognisers read of it; raises `UnknownModel`."""
        ...

    def rename(self, name: str, to: str) -> None:
        """Raises `UnknownModel`, `NameTaken`."""
        ...

    def delete(self, name: str) -> None:
        """Raises `UnknownModel`."""
        ...


@frozen
class Facts:
    """What the backend tells of itself."""

    release: str
    pid: int
    epoch: str


class Broker:
    """Answers clients and drives the dispatcher. `clock` gives seconds that never go back."""

    def __init__(
        self,
        door: Door,
        supervisor: Supervisor,
        shelf: Shelf,
        facts: Facts,
        clock: Callable[[], float],
        disk_free: Callable[[], int],
        handover: Handover | None = None,
    ) -> None:
        self._door, self._supervisor, self._shelf, self._facts = door, supervisor, shelf, facts
        self._handover = handover or Handover(None, Path())
        self._clock, self._disk_free = clock, disk_free
        self._started = self.last_request = clock()
        self._requests, self._replies = request_codec(), reply_codec()
        self._clients: dict[bytes, str] = {}
        self._peers: dict[str, bytes] = {}
        self._log = logging.getLogger("likeness.broker")
        self._dispatcher: Dispatcher | None = None
        self._complained = -_COMPLAINT_S
        self.leaving = False
        """A client asked the backend to end."""

    @property
    def dispatcher(self) -> Dispatcher:
        """The jobs; tied after it was made, since it tells clients through this broker."""
        if self._dispatcher is None:
            raise RuntimeError("attach() comes first")
        return self._dispatcher

    def attach(self, dispatcher: Dispatcher) -> None:
        """Give the jobs to this broker."""
        self._dispatcher = dispatcher

    def turn(self, timeout_s: float = _TURN_S) -> None:
        """Wait for something, and do all that is due."""
        self._door.wait(min(timeout_s, _TURN_S), self._supervisor.descriptors())
        for _ in range(_MESSAGES_PER_TURN):
            message = self._door.receive()
            if message is None:
                break
            self._hear(*message)
        self._tick()

    def _tick(self) -> None:
        try:
            self.dispatcher.tick(self._clock())
        except Exception as error:  # a fault of the program must not end everybody's jobs; the next turn tries again
            if self._clock() - self._complained > _COMPLAINT_S:
                self._complain("the jobs could not be looked after", error)
                self._complained = self._clock()

    def _complain(self, what: str, error: Exception) -> None:
        """The place of a fault goes into the log. Its message does not: it may have words of a job."""
        self._log.error("%s: %s\n%s", what, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))

    def tell(self, client: str, reply: Reply) -> None:
        """Send an event to a client, if it is there and reads; its heartbeat finds out what it missed."""
        self.last_request = self._clock()  # a job that moves or ends is no idleness either
        peer = self._peers.get(client)
        if peer is None:
            return
        try:
            self._send(peer, reply)
        except LikenessError as error:  # a worker said something that the protocol has no room for
            self._log.warning("an event could not be sent: %s", error)

    @property
    def idle_s(self) -> float:
        """Seconds without any client and any job."""
        queued, running, _, _ = self.dispatcher.counts()
        return 0.0 if queued or running else self._clock() - self.last_request

    # Inside ------------------------------------------------------------------------------------------------------------------------------
    def _hear(self, peer: bytes, frames: list[Buffer]) -> None:
        self.last_request = self._clock()
        loan = self._handover.loan(self._clients.get(peer, ""))
        try:
            request = self._requests.decode(frames, loan.take)
            if not isinstance(request, Hello) and peer not in self._clients:
                raise NotGreeted
            self._answer(peer, request, loan.path)
        except LikenessError as error:
            self._reject(peer, frames, error)
        except Exception as error:  # as in _tick
            self._complain("a request could not be answered", error)
            self._reject(peer, frames, ServiceError(f"The backend failed at this request ({type(error).__name__}). {ServiceError.cure}"))
        finally:
            loan.close()

    def _reject(self, peer: bytes, frames: list[Buffer], error: LikenessError) -> None:
        retry = 2.0 if isinstance(error, Busy) else None
        with suppress(LikenessError):
            self._send(peer, Rejected(self._requests.request_number(frames), error.code, sentence_of(error), retry))

    def _answer(self, peer: bytes, request: Request, taken: Path | None) -> None:
        match request:
            case Hello():
                self._greet(peer, request)
            case Ping():
                stage, sentence = self._supervisor.summary()
                briefs = tuple(self.dispatcher.unacknowledged(self._clients[peer]))
                self._send(peer, Pong(request.request, stage, briefs, sentence, self._supervisor.models_changed))
            case Submit():
                check_job(request.job)
                self.dispatcher.submit(self._clients[peer], request, taken)
                self._send(peer, Accepted(request.request, request.job_id))
            case Fetch():
                outcome, note, handle = self.dispatcher.outcome(self._clients[peer], request.job_id, request.handover)
                self._send(peer, Fetched(request.request, request.job_id, outcome, note), handle)
            case Cancel() | Inquire() | Acknowledge():
                self._send(peer, self._about_job(self._clients[peer], request))
            case _:
                self._send(peer, self._about_backend(request))

    def _about_job(self, client: str, request: Cancel | Inquire | Acknowledge) -> Reply:
        match request:
            case Cancel():
                self.dispatcher.cancel(client, request.job_id)
                return self.dispatcher.update(client, request.job_id, request.request)
            case Inquire():
                return self.dispatcher.update(client, request.job_id, request.request)
            case Acknowledge():
                self.dispatcher.acknowledge(client, request.job_id)
                return Done(request.request)

    def _about_backend(
        self, request: AskStatus | AskModels | AskCharacters | RenameCharacter | DeleteCharacter | ExportCharacter | Shutdown
    ) -> Reply:
        match request:
            case AskStatus():
                return StatusReport(request.request, self._status())
            case AskModels():
                return Models(request.request, self._supervisor.models())
            case AskCharacters():
                cards = [card for card in self._shelf.cards() if request.after is None or card.name > request.after]
                return Characters(request.request, tuple(cards[:CHARACTERS_PER_PAGE]), len(cards) > CHARACTERS_PER_PAGE)
            case ExportCharacter():
                return self._exported(request)
            case RenameCharacter():
                self._shelf.rename(request.name, request.to)
            case DeleteCharacter():
                self._shelf.delete(request.name)
            case Shutdown():
                self.leaving = True
        return Done(request.request)

    def _exported(self, request: ExportCharacter) -> CharacterPhotos:
        kept, readings = self._shelf.kept(request.name)
        photos = kept.photos if request.photos or not readings else ()  # without any reading the photos are all there is
        return CharacterPhotos(
            request.request, request.name, photos, kept.thumbnail, readings, kept.scores, kept.about, self._facts.release
        )

    def _greet(self, peer: bytes, request: Hello) -> None:
        while len(self._clients) >= _CONNECTIONS:
            self._forget(next(iter(self._clients)))
        self._clients[peer] = request.client
        self._peers[request.client] = peer
        stage, sentence = self._supervisor.summary()
        folder = self._handover.welcome(request.client) if request.handover else None
        self._send(peer, Welcome(request.request, self._facts.release, self._facts.epoch, stage, sentence, folder))
        for brief in self.dispatcher.unacknowledged(request.client):
            self._send(peer, self.dispatcher.update(request.client, brief.job_id))

    def _status(self) -> Status:
        queued, running, kept, spool_bytes = self.dispatcher.counts()
        uptime = self._clock() - self._started
        devices = self._supervisor.status()
        return Status(self._facts.release, self._facts.pid, uptime, devices, queued, running, kept, spool_bytes, self._disk_free())

    def _send(self, peer: bytes, reply: Reply, handle: str | None = None) -> None:
        if not self._door.send(peer, self._replies.encode(reply, handle)):
            self._log.debug("a client does not read")

    def _forget(self, peer: bytes) -> None:
        client = self._clients.pop(peer)
        if self._peers.get(client) == peer:
            del self._peers[client]
            self._handover.leave(client)
