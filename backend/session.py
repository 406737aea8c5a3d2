"""A connection of a script or a command: jobs and questions one waits for, and a backend that is started again when it dies."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from protocol.discovery import state_folder
from protocol.errors import BackendUnavailable, Busy, Lost, NotOurKey, VersionMismatch, error_from_wire
from protocol.events import Event, Link, Refused
from protocol.jobs import Job
from protocol.limits import QUEUED_PER_CLIENT
from protocol.messages import CharacterPhotos, Characters, Done, Fetched, JobUpdate, Models, Priority, StatusReport, Submit
from protocol.messages import Preview as PreviewMessage
from protocol.results import Outcome, WorkerStage

from .launch import connect, nobody_serves, start_detached

AWAY_S = 60.0
"""How long a backend may be away, with jobs of ours, before that is said."""
ANSWER_S = 60.0
"""For questions that need no computing; the backend may be starting again."""
TURN_S = 0.02
_BUSY_S = 2.0
_LEAVE_S = 2.0
_RESTART_S = 1.0
_START_S = 30.0
"""For one that was started to be heard of: another one started meanwhile would serve for nobody when the first one ends."""
_KEY_S = 10.0
"""A backend that is just starting has the lock already, and its new keys not yet in the file."""
IDLE_MINUTES = 15
"""How long a backend that a script or a command started stays: the next ones find its models loaded, and later the memory is free again."""
Other = TypeVar("Other", bound="Session")
Reply = TypeVar("Reply", Models, Characters, CharacterPhotos, StatusReport, Done)


class Session:
    """One client of the backend. `options` are those of `likeness serve`, `environ` the environment of a backend that is started.

    A backend that is started ends by itself after `IDLE_MINUTES`, if `options` say nothing of `--idle-minutes`.
    """

    def __init__(
        self,
        state: Path | str | None = None,
        *,
        start: bool = True,
        options: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        client_id: str | None = None,
    ) -> None:
        if not any(option.startswith("--idle-minutes") for option in options):
            options = [*options, "--idle-minutes", str(IDLE_MINUTES)]
        self._folder = Path(state).expanduser().absolute() if state is not None else state_folder(os.environ)
        self._restart = (lambda: start_detached(self._folder, options, environ)) if start else None
        self._way = start, options, environ
        self._client = connect(self._folder, start=start, client_id=client_id, program="script", options=options, environ=environ)
        self._events: list[Event] = []
        self._open: set[str] = set()
        self._waiting: dict[str, Submit] = {}
        self._busy_until = 0.0
        self._awaited: set[int] = set()
        self._away_since: float | None = None
        self._restarted_at: float | None = None

    def close(self) -> None:
        """Leave; the backend goes on. Waits for a moment until it has heard what it can forget."""
        end = time.monotonic() + _LEAVE_S
        while self._client.link is Link.CONNECTED and not self._client.idle and time.monotonic() < end:
            self._client.poll()
            self._client.wait(TURN_S)
        self._client.close()

    def beside(self, kind: type[Other], client_id: str) -> Other:
        """Another client of the same backend, under an id that is kept: what is begun under it can be found by whoever knows the id."""
        start, options, environ = self._way
        return kind(self._folder, start=start, options=options, environ=environ, client_id=client_id)

    # Inside ----------------------------------------------------------------------------------------------------------------------------
    def _submit(self, job: Job, priority: Priority, job_id: str | None = None, live: str | None = None) -> str:
        job_id = self._client.submit(job, job_id=job_id, priority=priority, live=live)
        self._open.add(job_id)
        return job_id

    def _hear(self) -> None:
        """Send and receive what is due; what nobody waits for is not kept."""
        self._events += [event for event in self._client.poll() if self._concerns(event)]

    def _abandon(self, job_id: str) -> None:
        """Nobody wants this job: it is cancelled and forgotten. What was heard meanwhile of other jobs is kept for them."""
        self._client.cancel(job_id)
        self._client.acknowledge(job_id)
        self._hear()

    def _turn(self) -> None:
        """Hear the backend, send what waits, and look after the connection."""
        self._hear()
        unavailable = self._client.link is Link.CONNECTED and self._client.worker is WorkerStage.UNAVAILABLE
        if self._open and unavailable:  # also if it was so before this job
            raise BackendUnavailable(self._client.worker_sentence)
        self._send_waiting()
        self._check_link()

    def _send_waiting(self) -> None:
        """Send the next job that was too many before, when others of ours are over."""
        sent = len(self._open) - len(self._waiting)
        if self._waiting and sent < QUEUED_PER_CLIENT and time.monotonic() >= self._busy_until:
            asked = self._waiting.pop(next(iter(self._waiting)))
            self._client.submit(asked.job, job_id=asked.job_id, priority=asked.priority, live=asked.live)

    def _concerns(self, event: Event) -> bool:
        match event:
            case JobUpdate() | PreviewMessage() | Fetched():
                return event.job_id in self._open
            case Refused():
                return event.request.request in self._awaited or getattr(event.request, "job_id", None) in self._open
            case Done() | Models() | Characters() | CharacterPhotos() | StatusReport():
                return event.request in self._awaited
            case _:
                return False

    def _leave(self, job_id: str) -> None:
        """Nobody waits for this job any more."""
        self._open.discard(job_id)
        self._waiting.pop(job_id, None)
        self._events = [event for event in self._events if not _is_about(event, job_id)]

    def _take(self, job_id: str) -> list[Event]:
        """What happened to this job; the rest stays for whoever asks for it."""
        self._turn()
        mine = [event for event in self._events if _is_about(event, job_id)]
        self._events = [event for event in self._events if not _is_about(event, job_id)]
        return mine

    def _settled(self, job_id: str, event: Event, *, keep: bool = False) -> Outcome | None:
        """What an event means for its job: an outcome (the backend keeps it with `keep`), nothing yet, or an error that is raised."""
        match event:
            case Refused(request=Submit() as asked, error=Busy()):
                self._waiting[job_id] = asked
                self._busy_until = time.monotonic() + (event.retry_after_s or _BUSY_S)
            case Refused():
                raise event.error
            case JobUpdate(fault=fault) if event.stage.final and fault is not None:
                self._client.acknowledge(job_id)
                raise error_from_wire(fault.code, fault.sentence)
            case JobUpdate() if event.stage.final:
                self._client.fetch(job_id)
            case Fetched():
                if not keep:
                    self._client.acknowledge(job_id)
                return event.outcome
            case _:
                pass
        return None

    def outcome(self, job: Job) -> Outcome:
        """Do any job and wait for what comes of it, as the protocol has it; leaving early (Ctrl-C) cancels it."""
        job_id = self._submit(job, Priority.INTERACTIVE)
        try:
            while True:
                for event in self._take(job_id):
                    outcome = self._settled(job_id, event)
                    if outcome is not None:
                        return outcome
                self._client.wait(TURN_S)
        except KeyboardInterrupt:
            self._abandon(job_id)
            raise
        finally:
            self._leave(job_id)

    def _answer(self, number: int, kind: type[Reply]) -> Reply:
        """The reply to a question; raises what the backend refuses it with."""
        deadline = time.monotonic() + ANSWER_S
        self._awaited.add(number)
        try:
            while time.monotonic() < deadline:
                self._turn()
                for event in self._events:
                    if isinstance(event, kind) and event.request == number:
                        self._events.remove(event)
                        return event
                    if isinstance(event, Refused) and event.request.request == number:
                        self._events.remove(event)
                        raise event.error
                self._client.wait(TURN_S)
        finally:
            self._awaited.discard(number)
        raise Lost

    def _check_link(self) -> None:
        """A backend that died is started again, and does what it had accepted; one that is another one does not become ours by waiting."""
        link, now = self._client.link, time.monotonic()
        if link is Link.WRONG_VERSION:
            raise VersionMismatch(self._client.sentence)
        away = 0.0 if self._away_since is None else now - self._away_since
        if link is Link.NOT_OUR_KEY and away > _KEY_S and not nobody_serves(self._folder):
            raise NotOurKey(self._client.sentence)
        if link is Link.CONNECTED:
            self._away_since = self._restarted_at = None
        elif self._away_since is None:
            self._away_since = now
        elif away > AWAY_S:
            raise Lost
        elif self._restart and self._may_restart(link, away, now) and nobody_serves(self._folder):
            self._restarted_at = now
            self._restart()

    def _may_restart(self, link: Link, away: float, now: float) -> bool:
        begun = self._restarted_at is not None and now - self._restarted_at < _START_S
        return link is not Link.STARTING and away > _RESTART_S and not begun


def _is_about(event: Event, job_id: str) -> bool:
    match event:
        case JobUpdate() | PreviewMessage() | Fetched():
            return event.job_id == job_id
        case Refused():
            return getattr(event.request, "job_id", None) == job_id
        case _:
            return False
