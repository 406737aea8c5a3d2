"""The client: nothing blocks, and no thread but one for files where a host allows it (`handover`). A host calls `poll()` from a timer;
everything else returns in well under a millisecond.

It finds the backend, greets, repeats requests until they are answered, sees heartbeats stop, and connects again. Whatever it was told
before, every job reaches exactly one final `JobUpdate`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import zmq

from .checks import check_job
from .codec import reply_codec, request_codec
from .discovery import Connection, is_starting, read_connection
from .errors import (
    ConnectionProblem,
    LikenessError,
    Lost,
    NotGreeted,
    NotHandedOver,
    NotOurKey,
    NotRunning,
    Starting,
    UnknownJob,
    VersionMismatch,
    error_from_wire,
)
from .events import Event, Link, LinkChanged, ModelsChanged, Refused, WorkerChanged
from .handover import Apart, Courier, apart
from .jobs import Job
from .limits import LOST_S, PING_S
from .messages import (
    Acknowledge,
    AskCharacters,
    AskModels,
    AskStatus,
    Cancel,
    DeleteCharacter,
    ExportCharacter,
    Fault,
    Fetch,
    Hello,
    Inquire,
    JobBrief,
    JobUpdate,
    Ping,
    Pong,
    Preview,
    Priority,
    Rejected,
    RenameCharacter,
    Reply,
    Request,
    Shutdown,
    Stage,
    Submit,
    Welcome,
)
from .outbox import Outbox
from .results import WorkerStage
from .transport import ClientSocket, Sign

RETRY_S = 0.5
"""Between two looks for a backend that is not there: reading one small file, and a connection on this computer."""
MESSAGES_PER_POLL = 32
"""So that one `poll()` stays short when a burst of events waits."""


class Client:
    """One host's way to the backend. `client_id` (32 hexadecimal digits) is kept by the host over its restarts, to find its jobs again.

    With `handover`, large planes go through files where that is possible, which a thread writes and reads; else all go in messages.
    """

    def __init__(
        self,
        folder: Path,
        client_id: str,
        *,
        program: str = "",
        handover: bool = False,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.link = Link.CONNECTING
        self.sentence = ""
        self.worker: WorkerStage | None = None
        self.worker_sentence = ""
        self.release, self._models = "", 0
        self._folder, self._client_id, self._program, self._clock = folder, client_id, program, clock
        self._handover = handover
        self._own_context = context is None
        self._context = context or zmq.Context()
        self._requests, self._replies = request_codec(), reply_codec()
        self._socket: ClientSocket | None = None
        self._tried: Connection | None = None
        self._open = self._greeted = False
        self._number = 0
        self._outbox = Outbox(self._requests, Courier() if handover else None)
        self._jobs: dict[str, JobUpdate | None] = {}
        self._events: list[Event] = []
        self._next_try = self._last_poll = self._last_heard = self._last_sent = clock()

    # What a host asks ----------------------------------------------------------------------------------------------------------------
    def submit(
        self,
        job: Job,
        *,
        job_id: str | None = None,
        priority: Priority = Priority.INTERACTIVE,
        replaces: str | None = None,
        note: str = "",
        live: str | None = None,
    ) -> str:
        """Send a job and return its id. Raises `InvalidRequest` at once for a job that cannot be meant like this.

        A newer job of the same `live` stream takes the place of this one."""
        check_job(job)
        job_id = job_id or uuid.uuid4().hex
        self._ask(Submit(self._next(), job_id, job, priority, replaces, note, live))
        self._jobs.setdefault(job_id, None)
        return job_id

    def cancel(self, job_id: str) -> int:
        """Stop a job, wherever it is; its final `JobUpdate` follows."""
        return self._ask(Cancel(self._next(), job_id))

    def fetch(self, job_id: str) -> int:
        """Ask for the outcome of a job that is done; `Fetched` follows."""
        return self._ask(Fetch(self._next(), job_id))

    def acknowledge(self, job_id: str) -> int:
        """Say that the outcome is safe with the host: the backend may forget the job."""
        return self._ask(Acknowledge(self._next(), job_id))

    def ask_status(self) -> int:
        """`StatusReport` follows."""
        return self._ask(AskStatus(self._next()))

    def ask_models(self) -> int:
        """`Models` follows."""
        return self._ask(AskModels(self._next()))

    def ask_characters(self, after: str | None = None) -> int:
        """`Characters` follows: one page."""
        return self._ask(AskCharacters(self._next(), after))

    def rename_character(self, name: str, to: str) -> int:
        """`Done` or `Refused` follows."""
        return self._ask(RenameCharacter(self._next(), name, to))

    def delete_character(self, name: str) -> int:
        """`Done` or `Refused` follows."""
        return self._ask(DeleteCharacter(self._next(), name))

    def export_character(self, name: str, photos: bool = True) -> int:
        """`CharacterPhotos` or `Refused` follows; without `photos`, what was read of them only."""
        return self._ask(ExportCharacter(self._next(), name, photos))

    def shutdown(self) -> int:
        """End the backend; accepted jobs go on at its next start."""
        return self._ask(Shutdown(self._next()))

    def jobs(self) -> dict[str, JobUpdate | None]:
        """The last that is known of each job that is not acknowledged; None: not yet accepted."""
        return dict(self._jobs)

    # The heartbeat ---------------------------------------------------------------------------------------------------------------------
    def poll(self) -> list[Event]:
        """Do all that is due, and return what happened since the last call. Never waits."""
        now = self._clock()
        if now - self._last_poll > LOST_S / 2:
            self._last_heard = now  # the host slept, not the backend: count silence from here
        self._last_poll = now
        if self._socket is None and now >= self._next_try:
            self._connect(now)
        if self._socket is not None:
            self._watch(self._socket, now)
        if self._socket is not None:
            self._read(self._socket, now)
        for frames, planes in self._outbox.hear():  # replies whose planes came in files
            with suppress(LikenessError):
                self._take(self._replies.decode(frames, lambda _, planes=planes: planes))
        if self._socket is not None and self._open:
            self._speak(self._socket, now)
        events, self._events = self._events, []
        return events

    def wait(self, timeout_s: float) -> None:
        """Return when something came, or after `timeout_s`: for scripts, which have no timer. A host never calls it."""
        if self._outbox.busy:
            self._outbox.wait(min(timeout_s, PING_S / 2))
        elif self._socket is not None:
            self._socket.wait(min(timeout_s, PING_S / 2))
        else:
            time.sleep(min(timeout_s, RETRY_S / 5))

    def close(self) -> None:
        """Leave at once; accepted jobs go on."""
        self._drop()
        self._outbox.close()
        if self._own_context:
            self._context.destroy(linger=0)

    # The connection ----------------------------------------------------------------------------------------------------------------------
    def _connect(self, now: float) -> None:
        self._next_try = now + RETRY_S
        try:
            self._tried = read_connection(self._folder)
            self._socket = ClientSocket(self._context, self._tried)
        except Starting as error:
            self._change(Link.STARTING, str(error))
        except VersionMismatch as error:
            self._change(Link.WRONG_VERSION, str(error))
        except ConnectionProblem as error:
            self._absent(error)
        self._last_heard = now

    def _absent(self, error: ConnectionProblem) -> None:
        """Nobody is there: not running, unless this client was connected and so lost it."""
        if is_starting(self._folder):
            self._change(Link.STARTING, str(Starting()))
        elif self.link in (Link.CONNECTED, Link.LOST):
            self._change(Link.LOST, str(Lost()))
        else:
            self._change(Link.NOT_RUNNING, str(error))

    def _watch(self, socket: ClientSocket, now: float) -> None:
        for sign in socket.signs():
            match sign:
                case Sign.OPEN:
                    self._open, self._last_heard, self._last_sent = True, now, now
                    socket.send(self._requests.encode(self._hello()))
                case Sign.STRANGER | Sign.KEY_UNKNOWN:
                    self._drop()
                    self._not_let_in(now)
                    return
                case Sign.REFUSED | Sign.CLOSED:
                    self._drop()
                    self._absent(NotRunning())
                    return
        if now - self._last_heard > LOST_S:
            self._drop()
            if self.link is Link.CONNECTED:
                self._change(Link.LOST, str(Lost()))
            elif self.link is not Link.LOST:
                self._not_let_in(now)

    def _not_let_in(self, now: float) -> None:
        """The keys do not fit, unless the backend is just ending: it first takes its file away, and lets nobody in from then on."""
        try:
            ours = read_connection(self._folder) == self._tried
        except ConnectionProblem:
            ours = False
        if ours:
            self._change(Link.NOT_OUR_KEY, str(NotOurKey()))
        else:
            self._connect(now)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._open = self._greeted = False
        self._next_try = self._clock() + RETRY_S
        self._outbox.again()

    def _change(self, link: Link, sentence: str = "") -> None:
        if (link, sentence) != (self.link, self.sentence):
            self.link, self.sentence = link, sentence
            self._events.append(LinkChanged(link, sentence))

    @property
    def idle(self) -> bool:
        """Whether the backend answered everything that was asked."""
        return not self._outbox

    # What goes out -------------------------------------------------------------------------------------------------------------------
    def _next(self) -> int:
        self._number += 1
        return self._number

    def _ask(self, request: Request) -> int:
        """Send a request, at once where that is possible: a host's timer may not tick again for a while."""
        now = self._clock()
        self._outbox.add(request, now)
        if self._socket is not None and self._open and self._greeted:
            self._outbox.send(self._socket.send, now)
        return request.request

    def _hello(self) -> Hello:
        return Hello(self._next(), self._client_id, self._program, self._handover)

    def _speak(self, socket: ClientSocket, now: float) -> None:
        if now - self._last_sent >= PING_S:
            greeting = Ping(self._next()) if self._greeted else self._hello()
            socket.send(self._requests.encode(greeting))
            self._last_sent = now
        if self._greeted:
            self._outbox.send(socket.send, now)

    # What comes in -------------------------------------------------------------------------------------------------------------------
    def _read(self, socket: ClientSocket, now: float) -> None:
        for _ in range(MESSAGES_PER_POLL):
            frames = socket.receive()
            if frames is None:
                return
            self._last_heard = now
            try:
                self._take(self._replies.decode(frames, apart))
            except Apart as reply:
                self._outbox.bring(self._replies.request_number(frames), frames, reply.handed)
            except VersionMismatch as error:
                self._drop()
                self._change(Link.WRONG_VERSION, str(error))
                self._next_try = now + LOST_S
                return
            except LikenessError:
                continue  # a kind of a newer backend, or a broken reply: the request is repeated, the heartbeat repairs the rest

    def _take(self, reply: Reply) -> None:
        match reply:
            case Welcome():
                self._greeted, self.release = True, reply.release
                self._outbox.enter(self._folder, reply.handover)
                self._change(Link.CONNECTED)
                self._tell_worker(reply.worker, reply.sentence)
            case Pong():
                self._tell_worker(reply.worker, reply.sentence)
                self._events += [ModelsChanged()] if reply.models != self._models else []
                self._models = reply.models
                self._compare(reply.jobs)
            case Rejected():
                self._refuse(reply)
            case JobUpdate():
                if reply.request is not None:
                    self._outbox.answered(reply.request)
                self._update(reply)
            case Preview():
                self._events.append(reply)
            case _:
                if (request := self._outbox.answered(reply.request)) is not None:
                    if isinstance(request, Acknowledge):
                        self._jobs.pop(request.job_id, None)
                    self._events.append(reply)

    def _refuse(self, reply: Rejected) -> None:
        if reply.code == NotGreeted.code:
            self._greeted = False
            self._last_sent = 0.0
            return
        if reply.code == VersionMismatch.code:
            self._drop()
            self._change(Link.WRONG_VERSION, reply.sentence)
            return
        if reply.code == NotHandedOver.code:
            self._outbox.without_files(reply.request)
            return
        request = self._outbox.answered(reply.request)
        if request is None:
            return
        if isinstance(request, Submit):
            self._jobs.pop(request.job_id, None)
        if isinstance(request, Inquire) and reply.code == UnknownJob.code:
            gone = Fault(reply.code, reply.sentence)
            self._update(JobUpdate(request.job_id, Stage.FAILED, fault=gone))
            return
        self._events.append(Refused(request, error_from_wire(reply.code, reply.sentence), reply.retry_after_s))

    def _update(self, update: JobUpdate) -> None:
        """Tell the host, unless the job is final already."""
        known = self._jobs.get(update.job_id)
        update = replace(update, request=None)
        if (known is not None and known.stage.final) or known == update:
            return
        self._jobs[update.job_id] = update
        self._events.append(update)

    def _compare(self, briefs: tuple[JobBrief, ...]) -> None:
        """Inquire after jobs of which the backend's heartbeat says something else than we know: an event was lost."""
        asked = {request.job_id for request in self._outbox if isinstance(request, Inquire | Submit | Acknowledge)}
        theirs = {brief.job_id: brief.stage for brief in briefs}
        for job_id in {*theirs, *self._jobs} - asked:
            known = self._jobs.get(job_id)
            if known is not None and known.stage.final:
                continue
            if known is None or theirs.get(job_id) is not known.stage:
                self._ask(Inquire(self._next(), job_id))

    def _tell_worker(self, stage: WorkerStage, sentence: str) -> None:
        if (stage, sentence) != (self.worker, self.worker_sentence):
            self.worker, self.worker_sentence = stage, sentence
            self._events.append(WorkerChanged(stage, sentence))
