"""Pictures of documents that cannot come in front again: never saved and closed, or lost with a killed Krita. They can be taken elsewhere.

A document with a file gets its pictures when that file is opened; only what has none, or whose file is gone, is offered here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .desk import Desk
from .host import CanvasProblem
from .keeping import Keeper
from .results import Entry, History, unpack
from .tickets import Ticket
from .unsaved import Copy


class LeftBehind:
    """`tickets()` are the finished jobs that nobody has fetched; `move(job_id, document)` gives one of them to another document."""

    def __init__(
        self,
        desk: Desk,
        keeper: Keeper,
        tickets: Callable[[], Iterable[Ticket]],
        move: Callable[[str, str], None],
        came: Callable[[], None],
    ) -> None:
        self._desk, self._keeper, self._tickets, self._move, self._came = desk, keeper, tickets, move, came
        self._copies: tuple[Copy, ...] = ()
        self.sentence = ""
        """What waits and for whom; "" when nothing does."""

    def ask(self) -> None:
        """Look anew which copies there are: another document is in front, or some were taken."""

        def listed(copies: tuple[Copy, ...]) -> None:
            self._copies = copies
            self.look()

        self._desk.background.do(self._keeper.unsaved.without_file, listed)

    def look(self) -> None:
        """Find out what waits now."""
        copies, tickets = self._waiting()
        titles = sorted({one.title or "Unnamed" for one in (*copies, *tickets)})
        names = " and ".join(f"“{title}”" for title in titles[:2]) if len(titles) < 3 else f"{len(titles)} documents"
        self.sentence = f"Pictures for {names} wait, but the document is not open." if titles else ""

    def _waiting(self) -> tuple[list[Copy], list[Ticket]]:
        host = self._desk.host
        copies = [one for one in self._copies if not host.is_open(one.document)]
        return copies, [one for one in self._tickets() if not host.is_open(one.document)]

    def take(self, history: History | None) -> None:
        """All of them into this history. Raises `CanvasProblem` without a document."""
        if history is None or not history.loaded:
            raise CanvasProblem("No document is open that could take the pictures. Open or create one first.")
        copies, tickets = self._waiting()
        host, unsaved = self._desk.host, self._keeper.unsaved
        for ticket in tickets:
            self._move(ticket.job_id, history.document)
        for copy in copies:

            def taken(entries: list[Entry], document: str = copy.document) -> None:
                history.add(entries)
                history.absorbed.add(document)  # its copy goes when this history has one with its pictures
                self._keeper.at_once()
                self._came()

            def read(document: str = copy.document) -> list[Entry]:
                return unpack(host, unsaved.read(document) or b"")

            self._desk.background.do(read, taken, self._desk.say)
        self._copies = ()
        self.look()
