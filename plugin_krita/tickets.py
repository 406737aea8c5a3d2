"""What is known of a picture job until its pictures are taken: in memory, in a small file, and, shortened, in the backend's note.

The note (256 characters) comes back with every update and finds the document again; the file beside it has what does not fit into a note:
the whole prompt, the settings, and the opacity of the layers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from .protocol.geometry import Bounds, Extent
from .protocol.messages import JobUpdate, Stage
from .protocol.planes import Layout, Plane
from .results import Entry, bounds_from

NOTE = 256


@dataclass(frozen=True)
class Ticket:
    """One picture job. `target` and `sent` are boxes in canvas pixels: where the result goes, and what of the canvas was sent."""

    job_id: str
    document: str
    title: str
    """The document's name, for sentences."""
    target: Bounds
    sent: Bounds
    generation: int
    """When Generate was pressed, in milliseconds since 1970; the same for all jobs of one press."""
    prompt: str
    seed: int
    settings: dict[str, Any]
    opacity: bytes | None
    update: JobUpdate | None = None
    fetching: bool = False

    @property
    def stage(self) -> Stage:
        """Where the job is; what is not accepted yet counts as queued."""
        return self.update.stage if self.update else Stage.QUEUED

    def entry(self, key: str) -> Entry:
        """An entry of the history with all that the pictures of this job have in common."""
        nothing = Plane(Layout.BGRA8, Extent(1, 1), bytes(4))
        return Entry(
            key, self.job_id, self.generation, self.target, self.prompt, self.seed, None, self.settings, b"", self.opacity, nothing, b""
        )

    def note(self) -> str:
        """For the backend: at most 256 characters."""
        for length in range(min(len(self.prompt), 120), -1, -8):
            record = {**self._places(), "p": self.prompt[:length]}
            text = json.dumps(record, separators=(",", ":"))
            if len(text) <= NOTE:
                return text
        return json.dumps({**self._places(), "p": ""}, separators=(",", ":"))[:NOTE]

    def pack(self) -> bytes:
        """For the file: one line of JSON, then the opacity."""
        whole = {**self._places(), "p": self.prompt, "n": self.title, "f": self.settings, "o": self.opacity is not None}
        return json.dumps(whole).encode() + b"\n" + (self.opacity or b"")

    def _places(self) -> dict[str, Any]:
        target, sent = self.target, self.sent
        return {
            "d": self.document,
            "b": [target.x, target.y, target.width, target.height],
            "c": [sent.x, sent.y, sent.width, sent.height],
            "g": self.generation,
            "s": self.seed,
        }


def ticket_from(job_id: str, note: str, kept: bytes | None) -> Ticket | None:
    """A job found again: from the file, or without it from the note; None: the note is not one of a picture of ours."""
    short = _read(job_id, note.encode(), None)
    if short is None or kept is None:
        return short
    line, _, opacity = kept.partition(b"\n")
    whole = _read(job_id, line, opacity)
    return whole if whole is not None and whole.document == short.document else short


def updated(ticket: Ticket, update: JobUpdate) -> Ticket:
    """With the last that is known of it."""
    return replace(ticket, update=update)


def _read(job_id: str, line: bytes, opacity: bytes | None) -> Ticket | None:
    try:
        read = json.loads(line)
        settings = read.get("f")
        return Ticket(
            job_id,
            str(read["d"]),
            str(read.get("n", "")),
            bounds_from(read["b"]),
            bounds_from(read["c"]),
            int(read["g"]),
            str(read["p"]),
            int(read["s"]),
            settings if isinstance(settings, dict) else {},
            opacity if read.get("o") else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
