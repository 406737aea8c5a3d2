"""The results that the docker shows: one history for each document of this session, its note in the document, what is on the canvas."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from .desk import Desk
from .form import form_from
from .host import CanvasProblem
from .protocol.desk.sentences import sentence_of
from .protocol.planes import Plane
from .results import Cache, Entry, History, opacity_of, opened, pack, unpack
from .view import Result

MOST_HISTORIES = 8
SAVE_S = 1.0
"""Between two writings of a history that only changed a little; new pictures are written at once."""


class Gallery:
    """`kept(job_id)` is called when the pictures of a job are in their document's note."""

    def __init__(self, desk: Desk, clock: Callable[[], float]) -> None:
        self._desk, self._clock = desk, clock
        self._histories: dict[str, History] = {}
        self._cache = Cache()
        self._applying: set[str] = set()
        self._saved_at = float("-inf")
        self.kept: Callable[[str], None] = lambda job_id: None
        self.history: History | None = None
        self.results: tuple[Result, ...] = ()

    def of(self, document: str) -> History | None:
        """The history of a document that was in front in this session."""
        return self._histories.get(document)

    def holds(self, job_id: str) -> bool:
        """Whether pictures of that job are here, in the document or on their way into it."""
        return any(job_id in one.coming or f"{job_id}-0" in one.entries for one in self._histories.values())

    # Documents -------------------------------------------------------------------------------------------------------------------------
    def enter(self, document: str | None) -> None:
        """Another document is in front, or none."""
        self.history = None
        if document is not None:
            history = self._histories.setdefault(document, History(document))
            self._histories[document] = self._histories.pop(document)
            self.history = history
            self._read(history)
            self._forget_others()
        self._changed()

    def _read(self, history: History) -> None:
        """Read the document's note; what this session has beyond it (the document was closed without saving) is written again."""
        try:
            note = self._desk.host.read_note(history.document)
        except CanvasProblem as problem:
            self._desk.blame(problem)
            note = None
        if history.loaded:
            history.dirty = history.dirty or (note is None and bool(history.entries)) or (note is not None and len(note) != history.written)
            return
        if note is None:
            history.loaded = True
            return
        data, host = bytes(note), self._desk.host

        def take(entries: list[Entry]) -> None:
            history.add(entries)
            history.loaded, history.dirty, history.written = True, False, len(data)
            self._changed()

        def failed(sentence: str) -> None:
            history.loaded = True
            self._desk.say(sentence)

        self._desk.background.do(lambda: unpack(host, data), take, failed)

    def _forget_others(self) -> None:
        for document, history in list(self._histories.items()):
            spare = len(self._histories) > MOST_HISTORIES and history is not self.history
            if spare and not (history.dirty or history.unsaved or history.coming or history.packing):
                del self._histories[document]

    # Pictures --------------------------------------------------------------------------------------------------------------------------
    def add(self, history: History, entries: Iterable[Entry]) -> None:
        """New pictures."""
        history.add(entries)
        self._saved_at = float("-inf")
        self._changed()

    def tick(self) -> None:
        """Write what changed into the document's note."""
        history = self.history
        if history is None or not history.loaded or not history.dirty or history.packing:
            return
        if self._clock() - self._saved_at < SAVE_S:
            return
        self._saved_at = self._clock()
        history.dirty, history.packing = False, True
        entries = list(history.entries.values())
        jobs = set(history.unsaved)
        written, failed = partial(self._write, history, jobs), partial(self._unwritten, history)
        self._desk.background.do(lambda: pack(entries), written, failed)

    def _unwritten(self, history: History, sentence: str) -> None:
        history.packing = False
        self._desk.say(sentence)

    def _write(self, history: History, jobs: set[str], data: bytes) -> None:
        history.packing = False
        try:
            self._desk.host.write_note(history.document, data)
        except CanvasProblem:
            history.dirty = True  # the document is closed: written when it is in front again
            return
        history.written = len(data)
        for job in jobs:
            history.unsaved.discard(job)
            self.kept(job)

    # The canvas ------------------------------------------------------------------------------------------------------------------------
    def show(self, key: str | None) -> None:
        """Show one picture on the canvas; None hides it."""
        history = self.history
        if history is None:
            return
        if key is None or key not in history.entries:
            was, history.shown = history.shown, None
            self._changed()
            if was is not None:
                self._desk.host.hide_preview(history.document)
            return
        history.shown = key
        self._changed()
        entry = history.entries[key]

        def put(plane: Plane) -> None:
            if history.shown == key:
                self._on_canvas(lambda: self._desk.host.show_preview(history.document, entry.bounds, plane))

        self._open(entry, False, put)

    def apply(self, key: str, transparency_mask: bool) -> None:
        """Make a layer of one picture: one step of undo."""
        history = self.history
        entry = history.entries.get(key) if history else None
        if history is None or entry is None or key in self._applying:
            return
        opaque = transparency_mask and entry.opacity is not None
        self._applying.add(key)

        def put(plane: Plane, mask: Plane | None) -> None:
            self._applying.discard(key)
            if self._on_canvas(lambda: self._desk.host.apply(history.document, entry.bounds, plane, entry.title, mask)):
                history.shown = None
                history.change(key, applied=True)
                self._changed()

        def failed(sentence: str) -> None:
            self._applying.discard(key)
            self._desk.say(sentence)

        def with_mask(plane: Plane) -> None:
            if not opaque:
                put(plane, None)
            else:
                self._desk.background.do(lambda: opacity_of(entry), lambda mask: put(plane, mask), failed)

        self._open(entry, opaque, with_mask, failed)

    def discard(self, key: str) -> None:
        """Throw one picture away."""
        history = self.history
        if history is not None and key in history.entries:
            if history.shown == key:
                self.show(None)
            history.discard(key)
            self._changed()

    def reuse(self, key: str) -> None:
        """Its prompt, seed and settings into the form; the seed is locked, so that Generate makes it once more."""
        entry = self.history.entries.get(key) if self.history else None
        if entry is None:
            return
        form, old = self._desk.form, form_from(entry.settings)
        persons = tuple(
            next((row for row in form.persons if (row.name, row.likeness, row.structure) == (one.name, one.likeness, one.structure)), one)
            for one in old.persons
        )
        old = old.changed(points=form.points, image_prompts=form.image_prompts, guides=form.guides, folded=form.folded, persons=persons)
        first = old if entry.settings else form
        self._desk.form = first.changed(prompt=entry.prompt, seed=entry.seed, seed_locked=True, live_preview=form.live_preview)

    def leave(self) -> None:
        """Take previews off all canvases: Krita closes, or the docker goes."""
        for history in self._histories.values():
            if history.shown is not None:
                history.shown = None
                self._on_canvas(lambda one=history: self._desk.host.hide_preview(one.document))

    def _open(self, entry: Entry, opaque: bool, then: Callable[[Plane], None], failed: Callable[[str], None] | None = None) -> None:
        """The picture's pixels for the canvas, at once when they are at hand, else from the worker thread."""
        if (plane := self._cache.get(entry.key, opaque)) is not None:
            then(plane)
            return
        host = self._desk.host

        def made(plane: Plane) -> None:
            self._cache.put(entry.key, opaque, plane)
            then(plane)

        self._desk.background.do(lambda: opened(host, entry, opaque), made, failed or self._desk.say)

    def _on_canvas(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except Exception as error:  # a host's mistake must not take the result along
            self._desk.say(sentence_of(error))
            return False
        return True

    def _changed(self) -> None:
        self.results = self.history.results() if self.history else ()
