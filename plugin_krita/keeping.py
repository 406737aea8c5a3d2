"""How a history gets into its document and comes back: by the document's note, and by a copy on this computer until the document is saved.

A note is in the host's memory until the artist saves. So each writing of it goes into the copy first, and only what is there is
acknowledged to the backend; the copy goes when the same bytes are found in the document's own file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .background import sentence_of
from .desk import Desk
from .host import CanvasProblem, Host
from .results import Entry, History, pack, unpack
from .unsaved import Unsaved

SAVE_S = 1.0
"""Between two writings of a history that only changed a little; new pictures are written at once."""
LOOK_S = 2.0
"""Between two looks whether a document was saved."""


@dataclass(frozen=True)
class Packed:
    """A note that is to be written. `problem`: why this computer has no copy of it, "" when it has."""

    data: bytes
    digest: str
    problem: str


class Keeper:
    """`kept(job_id)` is called when the pictures of a job can be lost no more, `came(history)` when a history was read."""

    def __init__(self, desk: Desk, clock: Callable[[], float], kept: Callable[[str], None], came: Callable[[], None]) -> None:
        self._desk, self._clock, self._kept, self._came = desk, clock, kept, came
        self.unsaved = Unsaved(desk.store.folder / "unsaved")
        self._saved_at = self._looked_at = float("-inf")
        self._looking = False
        desk.background.do(self.unsaved.prune)

    def at_once(self) -> None:
        """New pictures came: the next tick writes them."""
        self._saved_at = float("-inf")

    # Reading ---------------------------------------------------------------------------------------------------------------------------
    def read(self, history: History) -> None:
        """Read a document's note and its copy; what this session has beyond them (it was closed without saving) is written again."""
        try:
            note = self._desk.host.read_note(history.document)
        except CanvasProblem as problem:
            self._desk.blame(problem)
            note = None
        if history.loaded:
            history.dirty = history.dirty or (note is None and bool(history.entries)) or (note is not None and len(note) != history.written)
            return
        data, host, unsaved = None if note is None else bytes(note), self._desk.host, self.unsaved

        def take(found: tuple[list[Entry], bytes | None]) -> None:
            entries, copy = found
            history.add(entries)
            history.loaded, history.dirty = True, copy is not None and copy != data
            history.written = -1 if data is None else len(data)
            history.digest = "" if copy is None else _digest(copy)
            self._came()

        def failed(sentence: str) -> None:
            history.loaded = True
            self._desk.say(sentence)

        self._desk.background.do(lambda: _read(host, data, unsaved.read(history.document)), take, failed)

    # Writing ---------------------------------------------------------------------------------------------------------------------------
    def tick(self, history: History | None, histories: Iterable[History]) -> None:
        """Write what changed of the history in front, and look whether documents were saved."""
        if history is not None and history.loaded and history.dirty and not history.packing:
            self._write(history)
        if self._clock() - self._looked_at >= LOOK_S and not self._looking:
            self._looked_at = self._clock()
            for one in histories:
                self._look(one)

    def _write(self, history: History) -> None:
        if self._clock() - self._saved_at < SAVE_S:
            return
        self._saved_at = self._clock()
        history.dirty, history.packing = False, True
        entries, jobs, absorbed = list(history.entries.values()), set(history.unsaved), set(history.absorbed)
        card, unsaved = self._desk.card, self.unsaved
        history.title = card.name if card is not None and card.key == history.document else history.title
        title, file = history.title, self._desk.host.path(history.document)

        def failed(sentence: str) -> None:
            history.packing = False
            self._desk.say(sentence)

        self._desk.background.do(
            lambda: _packed(unsaved, history.document, pack(entries, title, file), absorbed),
            lambda packed: self._written(history, jobs, packed),
            failed,
        )

    def _written(self, history: History, jobs: set[str], packed: Packed) -> None:
        history.packing = False
        try:
            self._desk.host.write_note(history.document, packed.data, bool(jobs))
        except CanvasProblem:
            history.dirty = True  # the document is closed: written when it is in front again
            return
        history.written, history.digest, history.file_seen = len(packed.data), packed.digest, -1
        if packed.problem:
            self._desk.say(f"{packed.problem} Save the document: until then only the backend keeps its new pictures.")
        else:
            self._keep(history, jobs)

    def _keep(self, history: History, jobs: set[str]) -> None:
        for job in jobs & history.unsaved:
            history.unsaved.discard(job)
            self._kept(job)

    # Saved? ----------------------------------------------------------------------------------------------------------------------------
    def _look(self, history: History) -> None:
        """Whether the document's file has what was written into its note; a document that is closed has the file that it had."""
        if not history.digest or history.packing:
            return
        history.file = self._desk.host.file(history.document) or history.file
        if not history.file:
            return
        self._looking = True
        digest, jobs, host = history.digest, set(history.unsaved), self._desk.host
        path, seen = history.file, history.file_seen

        def looked(found: tuple[int, bool]) -> None:
            self._looking = False
            history.file_seen = found[0]
            if found[1] and history.digest == digest and not history.packing:
                history.digest = ""
                self._desk.background.do(lambda: self.unsaved.forget(history.document))
                self._keep(history, jobs)

        def failed(_sentence: str) -> None:  # a disk that is gone: looked at again
            self._looking = False

        self._desk.background.do(lambda: _saved(host, path, seen, digest), looked, failed)


def _read(host: Host, note: bytes | None, copy: bytes | None) -> tuple[list[Entry], bytes | None]:
    """The entries of the copy, which is the newer one, and of the note; and the copy."""
    return [entry for data in (copy, note) if data is not None for entry in unpack(host, data)], copy


def _packed(unsaved: Unsaved, document: str, data: bytes, absorbed: set[str]) -> Packed:
    problem = ""
    try:
        unsaved.keep(document, data)
        for other in absorbed:
            unsaved.forget(other)
    except OSError as error:
        problem = sentence_of(error)
    return Packed(data, _digest(data), problem)


def _saved(host: Host, path: str, seen: int, digest: str) -> tuple[int, bool]:
    """When the file was changed (nanoseconds), and whether it has the note; it is not read again while it is as it was."""
    try:
        changed = Path(path).stat().st_mtime_ns
    except OSError:
        return seen, False
    if changed == seen:
        return seen, False
    note = host.note_in_file(path)
    return changed, note is not None and _digest(note) == digest


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
