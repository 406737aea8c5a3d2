"""Picture jobs, from the button until their pictures are safe on the shelf: progress, previews, failures, cancelling.

Pictures are fetched when they are done, written to the disk, and only then acknowledged: neither Blender's death nor the backend's loses
one. Jobs of an earlier session are found again by their notes.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from .asking import job_of, left_out
from .chores import Chores, Steps
from .protocol.desk.errands import Errands
from .protocol.desk.progress import Progress, progress_of
from .protocol.desk.store import Store
from .protocol.events import Event, Link, Refused
from .protocol.messages import Fetch, Fetched, JobUpdate, Preview, Priority, Stage, Submit
from .protocol.planes import Plane
from .protocol.results import ModelInfo, Pictures
from .shelf import Result, Shelf
from .tickets import Ticket, ticket_from
from .wish import Shot, Wish


@dataclass(frozen=True)
class Ended:
    """What came of one press, as far as it has ended: for scripts that wait."""

    results: tuple[Result, ...] = ()
    sentences: tuple[str, ...] = ()
    """Why jobs of it failed."""
    cancelled: int = 0
    open: int = 0
    """Jobs that have not ended."""


class Encoder(Protocol):
    """What makes PNGs."""

    def png(self, plane: Plane, level: int = 1) -> Steps[bytes]:
        """A plane as PNG; with level 0 it is not compressed."""
        ...


class PictureJobs:
    """Follows every picture job of this client, of this session and of earlier ones."""

    def __init__(self, errands: Errands, chores: Chores, store: Store, shelf: Shelf, encoder: Encoder, now_ms: Callable[[], int]) -> None:
        self._errands, self._chores, self._store, self._shelf = errands, chores, store, shelf
        self._encoder, self._now_ms = encoder, now_ms
        self._tickets: dict[str, Ticket] = {}
        self._ended: dict[int, Ended] = {}
        self._last_press = 0
        self._left_out: set[str] = set()
        """What was said of maps that a model does not take."""
        self.preview: Plane | None = None
        """The picture under way, small."""

    # The button --------------------------------------------------------------------------------------------------------------------------
    def ask(self, wish: Wish, shots: Sequence[Shot], model: ModelInfo | None) -> int:
        """Send one job for each shot, all with the same seed and character; returns the press, by which `ended` knows them.

        Raises `InvalidRequest` before anything is sent when one of them cannot be meant.
        """
        jobs = [job_of(wish, shot, model) for shot in shots]
        press = self._last_press = max(self._now_ms(), self._last_press + 1)
        self._ended[press] = Ended()
        priority = Priority.BATCH if len(jobs) > 1 else Priority.INTERACTIVE
        for job, shot in zip(jobs, shots, strict=True):
            ticket = Ticket(uuid.uuid4().hex, press, wish, shot.name, shot.document, shot.camera, shot.targets, shot.view)
            self._later(lambda one=ticket: self._store.keep_job(one.job_id, one.pack()))
            self._errands.client.submit(job, job_id=ticket.job_id, priority=priority, note=ticket.note())
            self._tickets[ticket.job_id] = ticket
        # What a model does not take is told once: said at every press, it would move the buttons under the pointer.
        missing = {words for shot in shots if (words := left_out(wish, shot, model))} - self._left_out
        self._left_out |= missing
        sentences = dict.fromkeys([*(words for shot in shots for words in shot.sentences), *missing])
        self._errands.say(" ".join(words for words in sentences if words))
        return press

    def cancel(self, press: int | None = None) -> None:
        """Stop the jobs of one press, or of the one that is under way."""
        current = self._current()
        press = press if press is not None else current.press if current else None
        for ticket in self._tickets.values():
            if ticket.press == press and not ticket.stage.final:
                self._errands.client.cancel(ticket.job_id)

    def ended(self, press: int) -> Ended:
        """What came of a press so far."""
        still = sum(ticket.press == press for ticket in self._tickets.values())
        return replace(self._ended.get(press, Ended()), open=still)

    # What comes back ---------------------------------------------------------------------------------------------------------------------
    def route(self, event: Event) -> bool:
        """Whether the event was about a picture job."""
        match event:
            case JobUpdate():
                return self._update(event)
            case Preview() if event.job_id in self._tickets:
                self.preview = event.picture
            case Fetched() if event.job_id in self._tickets:
                self._take(self._tickets[event.job_id], event)
            case Refused(request=Submit() | Fetch()) if event.request.job_id in self._tickets:
                self._end(event.request.job_id, sentence=str(event.error))
            case _:
                return False
        return True

    def _update(self, update: JobUpdate) -> bool:
        ticket = self._tickets.get(update.job_id) or ticket_from(update.job_id, update.note, self._store.job(update.job_id))
        if ticket is None:
            return False
        self._tickets[update.job_id] = ticket = ticket.updated(update)
        match update.stage:
            case Stage.FAILED:
                self._errands.client.acknowledge(update.job_id)
                self._end(update.job_id, sentence=update.fault.sentence if update.fault else "The job failed. Look into the backend's log.")
            case Stage.CANCELLED:
                self._errands.client.acknowledge(update.job_id)
                self._end(update.job_id, cancelled=1)
            case Stage.DONE if not ticket.fetching:
                self._tickets[update.job_id] = replace(ticket, fetching=True)
                self._errands.client.fetch(update.job_id)
            case _:
                pass
        return True

    def _take(self, ticket: Ticket, event: Fetched) -> None:
        outcome = event.outcome
        if not isinstance(outcome, Pictures):
            self._errands.client.acknowledge(ticket.job_id)
            self._end(ticket.job_id)
            return

        def kept(results: tuple[Result, ...]) -> None:
            self._errands.client.acknowledge(ticket.job_id)
            self._end(ticket.job_id, results)
            self._chores.do_later(self._shelf.compress(results, outcome, self._encoder.png))

        def failed(sentence: str) -> None:
            # The backend keeps them; they are fetched again at the next start.
            self._tickets.pop(ticket.job_id, None)
            self._note(ticket.press, Ended(sentences=(f"{sentence} The picture is still kept by the backend.",)))

        # Compressing takes longer than all the rest together: it is done once they are safe and seen.
        self._chores.do(self._shelf.take(ticket, outcome, lambda plane: self._encoder.png(plane, 0)), kept, failed)

    def _end(self, job_id: str, results: tuple[Result, ...] = (), sentence: str = "", cancelled: int = 0) -> None:
        ticket = self._tickets.pop(job_id)
        self._later(lambda: self._store.forget_job(job_id))
        self._note(ticket.press, Ended(results, (sentence,) if sentence else (), cancelled))
        if not any(one.stage is Stage.RUNNING for one in self._tickets.values()):
            self.preview = None

    def _note(self, press: int, more: Ended) -> None:
        if more.sentences:
            self._errands.say(more.sentences[-1])
        if (before := self._ended.get(press)) is not None:
            self._ended[press] = Ended(before.results + more.results, before.sentences + more.sentences, before.cancelled + more.cancelled)

    def _later(self, write: Callable[[], None]) -> None:
        """A small file, in a turn to come: to be sure that it is on the disk takes some milliseconds."""

        def steps() -> Steps[None]:
            write()
            yield

        self._chores.do(steps(), failed=self._errands.say)

    # Progress ----------------------------------------------------------------------------------------------------------------------------
    @property
    def progress(self) -> Progress | None:
        """The press under way, or the one that comes first."""
        current = self._current()
        if current is None:
            return None
        return progress_of(current.update, self._errands.client.link is Link.CONNECTED, len(self._tickets) - 1)

    def _current(self) -> Ticket | None:
        order = {Stage.RUNNING: 0, Stage.DONE: 1, Stage.QUEUED: 2}
        return min(self._tickets.values(), key=lambda one: (order.get(one.stage, 3), one.press), default=None)
