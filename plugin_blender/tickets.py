"""What is known of a picture job until its pictures are taken: in memory, in a small file, and, shortened, in the backend's note."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .protocol.messages import JobUpdate, Stage
from .wish import Target, Wish, wish_from

NOTE = 256
"""Characters that the backend keeps for us with each job."""


@dataclass(frozen=True)
class Ticket:
    """One picture job: a wish for one shot. `press` is when the button was pressed, in milliseconds since 1970, for all its jobs."""

    job_id: str
    press: int
    wish: Wish
    shot: str
    document: str = ""
    camera: Mapping[str, Any] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    view: object = None
    update: JobUpdate | None = None
    fetching: bool = False

    @property
    def stage(self) -> Stage:
        """Where the job is; what is not accepted yet counts as queued."""
        return self.update.stage if self.update else Stage.QUEUED

    def updated(self, update: JobUpdate) -> Ticket:
        """With the last that is known of it."""
        return replace(self, update=update)

    def note(self) -> str:
        """For the backend: enough to show the result when the file is lost."""
        for length in range(min(len(self.wish.prompt), 160), -1, -8):
            text = json.dumps({"b": self.press, "s": self.wish.seed, "p": self.wish.prompt[:length]}, separators=(",", ":"))
            if len(text) <= NOTE:
                return text
        return json.dumps({"b": self.press, "s": self.wish.seed, "p": ""}, separators=(",", ":"))

    def record(self) -> dict[str, Any]:
        """All of it but the update, as JSON has it."""
        return {
            "press": self.press,
            "wish": self.wish.kept(),
            "shot": self.shot,
            "document": self.document,
            "camera": dict(self.camera),
            "targets": [[target.name, target.uid] for target in self.targets],
        }

    def pack(self) -> bytes:
        """For the file."""
        return json.dumps(self.record(), ensure_ascii=False).encode()


def ticket_from(job_id: str, note: str, kept: bytes | None) -> Ticket | None:
    """A job found again: from the file, or without it from the note; None: the note is not one of a picture of ours."""
    try:
        read = json.loads(note)
        short = Ticket(job_id, int(read["b"]), Wish(seed=int(read["s"]), prompt=str(read["p"])), "")
    except (ValueError, KeyError, TypeError):
        return None
    try:
        return ticket_of_record(job_id, json.loads(kept or b""))
    except (ValueError, KeyError, TypeError):
        return short


def ticket_of_record(job_id: str, read: Any) -> Ticket:  # what JSON holds
    """What `record` gave. Raises `ValueError`, `KeyError` or `TypeError` for anything else."""
    if not isinstance(read["camera"], dict):
        raise TypeError("a camera is an object")
    targets = tuple(Target(str(name), str(uid)) for name, uid in read["targets"])
    return Ticket(job_id, int(read["press"]), wish_from(read["wish"]), str(read["shot"]), str(read["document"]), read["camera"], targets)
