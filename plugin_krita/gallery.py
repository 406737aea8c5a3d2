"""The results that the docker shows: one history for each document of this session, and what of it is on the canvas."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .desk import Desk
from .form import form_from
from .keeping import Keeper
from .protocol.desk.sentences import sentence_of
from .protocol.planes import Plane
from .results import Cache, Entry, History, opacity_of, opened
from .view import Result

MOST_HISTORIES = 8


class Gallery:
    """`kept(job_id)` is called when the pictures of a job can be lost no more."""

    def __init__(self, desk: Desk, clock: Callable[[], float]) -> None:
        self._desk = desk
        self.keeper = Keeper(desk, clock, lambda job_id: self.kept(job_id), self.changed)
        self._histories: dict[str, History] = {}
        self._cache = Cache()
        self._applying: set[str] = set()
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
            self.keeper.read(history)
            self._forget_others()
        self.changed()

    def _forget_others(self) -> None:
        for document, history in list(self._histories.items()):
            spare = len(self._histories) > MOST_HISTORIES and history is not self.history
            if spare and not (history.dirty or history.unsaved or history.coming or history.packing):
                del self._histories[document]

    # Pictures --------------------------------------------------------------------------------------------------------------------------
    def add(self, history: History, entries: Iterable[Entry]) -> None:
        """New pictures."""
        history.add(entries)
        self.keeper.at_once()
        self.changed()

    def tick(self) -> None:
        """Write what changed into the document's note."""
        self.keeper.tick(self.history, tuple(self._histories.values()))

    # The canvas ------------------------------------------------------------------------------------------------------------------------
    def show(self, key: str | None) -> None:
        """Show one picture on the canvas; None hides it."""
        history = self.history
        if history is None:
            return
        if key is None or key not in history.entries:
            was, history.shown = history.shown, None
            self.changed()
            if was is not None:
                self._desk.host.hide_preview(history.document)
            return
        history.shown = key
        self.changed()
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
                self.changed()

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
            self.changed()

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
        first = old.changed(live=form.live) if entry.settings else form
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

    def changed(self) -> None:
        """The history has other pictures, or another one is in front."""
        self.results = self.history.results() if self.history else ()
