"""Generate, and everything that follows it: jobs, their progress and previews, and their pictures, until these are safe in the document.

Pictures of a document are fetched when it is the active one, written into its note and a copy on this computer (`keeping.py`), and only
then acknowledged; until then the backend keeps them. So neither Krita's death nor the backend's loses one, and a closed document gets its
pictures when it is opened again.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

from . import asking, pixels
from .asking import Asked, Seen
from .desk import Desk
from .form import Form, Mode
from .gallery import Gallery
from .host import CanvasProblem
from .pose import PoseOf, place_face
from .protocol.desk.progress import progress_of
from .protocol.desk.sentences import sentence_of
from .protocol.errors import LikenessError
from .protocol.events import Event, Link, Refused
from .protocol.geometry import Bounds, Extent, Point
from .protocol.messages import Fetch, Fetched, JobUpdate, Preview, Stage, Submit
from .protocol.planes import Plane
from .protocol.results import Pictures as MadePictures
from .results import Entry, History, made_entries, packed_mask, unpacked_mask
from .tickets import Ticket, ticket_from, updated
from .view import Progress


class PictureJobs:
    """Follows every picture job of this client, of this session and of earlier ones."""

    def __init__(self, desk: Desk, gallery: Gallery, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._desk, self._gallery, self._now_ms = desk, gallery, now_ms
        self._tickets: dict[str, Ticket] = {}
        self._preparing = 0
        self._abandoned = 0
        self._live: tuple[str, Bounds] | None = None
        """Document and place of the live preview that is on the canvas."""
        self._next_preview: tuple[Ticket, Plane] | None = None
        self._scaling = False
        self.preview: Plane | None = None
        gallery.kept = self._kept

    # Generate --------------------------------------------------------------------------------------------------------------------------
    def generate(self, form: Form, pose_of: PoseOf, steps: int | None) -> None:
        """Read the canvas now, make the jobs in the worker thread, and send them. Raises `CanvasProblem` when it cannot be meant."""
        card = self._desk.host.document()
        if card is None:
            raise CanvasProblem("No document is open, so there is nothing to paint on. Open or create one first.")
        seen = self._look(form, asking.area_of(form.mode, card), card.key)
        self._preparing += 1

        def make(pose: tuple[Point, ...]) -> None:
            self._desk.background.do(
                lambda: _asked(form, seen, self._desk.host.scaled, pose, steps),
                lambda made: self._send(form, *made, card.key, card.name),
                self._not_sent,
            )

        place_face(form, seen.area, pose_of, make, self._not_sent)

    def _look(self, form: Form, area: asking.Area, document: str) -> Seen:
        host, keys = self._desk.host, {card.key: card.name for card in self._desk.layers}
        wants_selection = any(row.region == "selection" for row in form.persons)
        capture = host.capture(area.bounds) if form.mode is not Mode.NEW or wants_selection else None
        regions = [row.region for row in form.persons if row.region not in (None, "selection")]
        layers = {key: host.layer_pixels(key, area.bounds)[1] for key in {*regions, *(row.layer for row in form.guides)} if key}
        references = {row.layer: host.layer_pixels(row.layer)[1] for row in form.image_prompts}
        picture = None if capture is None or form.mode is Mode.NEW else capture.picture
        return Seen(document, area, picture, capture.mask if capture else None, layers, references, keys)

    def _not_sent(self, sentence: str) -> None:
        self._preparing -= 1
        self._desk.say(sentence)

    def _send(self, form: Form, asked: Asked, opacity: bytes | None, document: str, title: str) -> None:
        self._preparing -= 1
        if self._abandoned:
            self._abandoned -= 1
            return
        generation = self._now_ms()
        for job in asked.jobs:
            seed, settings = job.sampling.seed, form.kept()
            ticket = Ticket(uuid.uuid4().hex, document, title, asked.target, asked.bounds, generation, form.prompt, seed, settings, opacity)
            try:
                self._desk.client.submit(job, job_id=ticket.job_id, note=ticket.note())
            except LikenessError as error:
                self._desk.blame(error)
                return
            self._tickets[ticket.job_id] = ticket
            self._desk.background.do(lambda one=ticket: self._desk.store.keep_job(one.job_id, one.pack()))

    def cancel(self) -> None:
        """Stop the generation that is under way, or that is being prepared."""
        current = self._current()
        if current is None:
            self._abandoned = self._preparing
            return
        for ticket in self._unfinished():
            if ticket.generation == current.generation and ticket.document == current.document:
                self._desk.client.cancel(ticket.job_id)

    # What comes back -------------------------------------------------------------------------------------------------------------------
    def route(self, event: Event) -> bool:
        """Whether the event was about a picture job."""
        match event:
            case JobUpdate():
                return self._update(event)
            case Preview() if event.job_id in self._tickets:
                self._show_preview(self._tickets[event.job_id], event.picture)
            case Fetched() if event.job_id in self._tickets:
                self._take(self._tickets[event.job_id], event)
            case Refused(request=Submit() | Fetch()) if event.request.job_id in self._tickets:
                self._tickets.pop(event.request.job_id)
                self._forget_file(event.request.job_id)
                self._desk.say(str(event.error))
            case _:
                return False
        return True

    def _update(self, update: JobUpdate) -> bool:
        ticket = self._tickets.get(update.job_id)
        if ticket is None:
            ticket = ticket_from(update.job_id, update.note, self._desk.store.job(update.job_id))
        if ticket is None:
            return False
        self._tickets[update.job_id] = ticket = updated(ticket, update)
        if update.stage in (Stage.FAILED, Stage.CANCELLED):
            self._tickets.pop(update.job_id)
            self._desk.client.acknowledge(update.job_id)
            self._forget_file(update.job_id)
            if update.fault is not None and update.stage is Stage.FAILED:
                self._desk.say(update.fault.sentence)
            self._end_preview(ticket)
        elif update.stage is Stage.DONE and (self._desk.card is None or self._desk.card.key != ticket.document):
            name = f"“{ticket.title}”" if ticket.title else "another document"
            self._desk.say(f"A picture for {name} is finished. It is kept until that document is in front again.")
        return True

    def tick(self) -> None:
        """Fetch what is finished and belongs to the active document."""
        history = self._gallery.history
        if history is None or not history.loaded:
            return
        for ticket in list(self._tickets.values()):
            if ticket.stage is Stage.DONE and ticket.document == history.document and not ticket.fetching:
                self._tickets[ticket.job_id] = replace(ticket, fetching=True)
                self._desk.client.fetch(ticket.job_id)

    def waiting(self) -> list[Ticket]:
        """Finished jobs whose pictures nobody has fetched."""
        return [one for one in self._tickets.values() if one.stage is Stage.DONE and not one.fetching]

    def move(self, job_id: str, document: str) -> None:
        """The pictures of this job go to another document."""
        self._tickets[job_id] = replace(self._tickets[job_id], document=document)

    def document_changed(self) -> None:
        """Another document is in front: what could not be kept may be tried again."""
        for ticket in list(self._tickets.values()):
            if ticket.fetching and not self._gallery.holds(ticket.job_id):
                self._tickets[ticket.job_id] = replace(ticket, fetching=False)

    def _take(self, ticket: Ticket, event: Fetched) -> None:
        outcome, host = event.outcome, self._desk.host
        history = self._gallery.of(ticket.document)
        if not isinstance(outcome, MadePictures):
            self._kept(ticket.job_id)
            return
        if history is None:
            self._tickets[ticket.job_id] = replace(ticket, fetching=False)
            return
        history.coming.add(ticket.job_id)

        def failed(sentence: str) -> None:
            history.coming.discard(ticket.job_id)
            self._desk.say(f"{sentence} The picture is still kept by the backend.")

        self._desk.background.do(
            lambda: made_entries(host, ticket.job_id, outcome.pictures, ticket.entry, ticket.target, ticket.sent),
            lambda entries: self._add(history, ticket, entries),
            failed,
        )

    def _add(self, history: History, ticket: Ticket, entries: list[Entry]) -> None:
        live = self._live is not None and self._live[0] == ticket.document
        history.coming.discard(ticket.job_id)
        history.unsaved.add(ticket.job_id)
        self._gallery.add(history, entries)
        self._end_preview(ticket)
        if live and history.shown is None and not self._of_generation(ticket):
            best = next((one.key for one in self._gallery.results if one.key.startswith(ticket.job_id)), None)
            if best is not None and history is self._gallery.history:
                self._gallery.show(best)

    def _of_generation(self, ticket: Ticket) -> list[Ticket]:
        """The other jobs of the same press that still run."""
        return [one for one in self._unfinished() if one.generation == ticket.generation and one.job_id != ticket.job_id]

    def _kept(self, job_id: str) -> None:
        """The pictures of this job can be lost no more: the backend may forget them."""
        self._tickets.pop(job_id, None)
        self._desk.client.acknowledge(job_id)
        self._forget_file(job_id)

    def _forget_file(self, job_id: str) -> None:
        self._desk.background.do(lambda: self._desk.store.forget_job(job_id))

    # Live preview ----------------------------------------------------------------------------------------------------------------------
    def _show_preview(self, ticket: Ticket, picture: Plane) -> None:
        self.preview = picture
        self._next_preview = (ticket, picture)
        self._scale_preview()

    def _scale_preview(self) -> None:
        """Bring the newest preview to the canvas's size in the worker thread; those that came meanwhile are passed over."""
        history = self._gallery.history
        if self._scaling or self._next_preview is None or not self._desk.form.live_preview:
            return
        ticket, picture = self._next_preview
        self._next_preview = None
        if history is None or history.document != ticket.document or history.shown is not None:
            return
        self._scaling = True
        scaled = self._desk.host.scaled
        self._desk.background.do(lambda: _laid(ticket, picture, scaled), lambda plane: self._put(ticket, plane), self._not_put)

    def _not_put(self, sentence: str) -> None:
        self._scaling = False

    def _put(self, ticket: Ticket, plane: Plane) -> None:
        self._scaling = False
        history = self._gallery.history
        waited_for = ticket.job_id in self._tickets and not self._tickets[ticket.job_id].stage.final
        if waited_for and history is not None and history.document == ticket.document and history.shown is None:
            try:
                self._desk.host.show_preview(ticket.document, ticket.target, plane)
                self._live = (ticket.document, ticket.target)
            except CanvasProblem as problem:
                self._desk.say(sentence_of(problem))
        self._scale_preview()

    def _end_preview(self, ticket: Ticket) -> None:
        if self._next_preview is not None and self._next_preview[0].job_id == ticket.job_id:
            self._next_preview = None
        if any(one.stage is Stage.RUNNING for one in self._tickets.values()):
            return
        self.preview = None
        self.hide_live()

    def hide_live(self) -> None:
        """Take the live preview off the canvas, unless a result has taken its place."""
        if self._live is None:
            return
        document, self._live = self._live[0], None
        history = self._gallery.of(document)
        if history is None or history.shown is None:
            with contextlib.suppress(CanvasProblem):  # the document is closed, and its preview with it
                self._desk.host.hide_preview(document)

    # Progress --------------------------------------------------------------------------------------------------------------------------
    @property
    def progress(self) -> Progress | None:
        """The job under way, or the one that comes first."""
        current, open_jobs = self._current(), self._unfinished()
        if current is None:
            return Progress(0.0, "reading the canvas") if self._preparing else None
        return progress_of(current.update, self._desk.client.link is Link.CONNECTED, len(open_jobs) - 1)

    def _unfinished(self) -> list[Ticket]:
        """Jobs whose pictures are not here yet; those for other documents count while they are computed."""
        here = None if self._gallery.history is None else self._gallery.history.document
        return [
            one
            for one in self._tickets.values()
            if not one.stage.final or (one.stage is Stage.DONE and one.document == here and not self._gallery.holds(one.job_id))
        ]

    def _current(self) -> Ticket | None:
        order = {Stage.RUNNING: 0, Stage.DONE: 1, Stage.QUEUED: 2}
        return min(self._unfinished(), key=lambda one: (order.get(one.stage, 3), one.generation, one.seed), default=None)


def _asked(form: Form, seen: Seen, scaled: asking.Scale, pose: tuple[Point, ...], steps: int | None) -> tuple[Asked, bytes | None]:
    """The jobs, and the opacity of their layers as it is kept."""
    asked = asking.ask(form, seen, scaled, pose, steps)
    return asked, packed_mask(asked.mask)


def _laid(ticket: Ticket, picture: Plane, scaled: asking.Scale) -> Plane:
    """A small preview of all that was sent, as pixels for the target with the layer's opacity."""
    box = Bounds(ticket.target.x - ticket.sent.x, ticket.target.y - ticket.sent.y, ticket.target.width, ticket.target.height)
    # Only the part that is shown is enlarged, from one pixel of the preview around it.
    x, y = picture.extent.width / ticket.sent.width, picture.extent.height / ticket.sent.height
    left, top = int(box.x * x), int(box.y * y)
    right, bottom = min(picture.extent.width, -int(-box.right * x) or 1), min(picture.extent.height, -int(-box.bottom * y) or 1)
    part = pixels.crop(picture, Bounds(left, top, max(1, right - left), max(1, bottom - top)))
    plane = scaled(part, Extent(box.width, box.height), 255)
    mask = unpacked_mask(ticket.opacity, box.extent)
    return plane if mask is None else pixels.with_opacity(plane, mask)
