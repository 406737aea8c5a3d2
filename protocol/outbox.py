"""What a client asked and is not answered yet: sent in order, sent again without an answer, planes in messages or in files.

A request's planes go through a file once, where they can; whatever comes between, they go in the message ever after. So an old backend,
another computer, a full disk, a folder that somebody emptied and a backend that was killed all mean the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from .codec import Codec
from .handover import Brought, Courier, Placed
from .limits import HANDOVER_LEAST_BYTES, HANDOVER_PATIENCE_S, RESEND_S
from .messages import Fetch, Handed, Request
from .shapes import Buffer


@dataclass
class _Pending:
    request: Request
    frames: list[Buffer]
    sent_at: float | None = None
    light: list[Buffer] | None = None
    """The same with its planes in a file, or with the wish for an answer like that: sent once, and `frames` ever after."""
    placing_since: float | None = None
    placed: Placed | None = None
    reply: list[Buffer] | None = None
    """The answer, while its planes are being read."""


class Outbox:
    """Requests of one client. `courier`: who writes and reads files; None: all planes go in messages."""

    def __init__(self, codec: Codec[Request], courier: Courier | None) -> None:
        self._codec, self._courier = codec, courier
        self._pending: dict[int, _Pending] = {}

    def __bool__(self) -> bool:
        """Whether something is not answered yet."""
        return bool(self._pending)

    def __iter__(self) -> Iterator[Request]:
        """The requests, in the order in which they were asked."""
        return (pending.request for pending in self._pending.values())

    def add(self, request: Request, now: float) -> None:
        """A new request; raises `InvalidRequest`."""
        pending = _Pending(request, self._codec.encode(request))
        planes = pending.frames[2:]
        self._pending[request.request] = pending
        if self._courier is None or not self._courier.open:
            return
        if isinstance(request, Fetch):
            pending.light = self._codec.encode(replace(request, handover=True))
        elif sum(memoryview(plane).nbytes for plane in planes) >= HANDOVER_LEAST_BYTES:
            pending.placing_since = now
            self._courier.place(request.request, planes)

    def send(self, socket: Callable[[list[Buffer]], bool], now: float) -> None:
        """Send what is due; `socket` says whether it took the frames."""
        for pending in self._pending.values():
            if pending.placing_since is not None:
                if now - pending.placing_since < HANDOVER_PATIENCE_S:
                    return  # what was asked for later is sent later: it may be to cancel this very job
                pending.placing_since = None
            if pending.sent_at is None or now - pending.sent_at > RESEND_S:
                if not socket(pending.light or pending.frames):
                    return
                pending.sent_at, pending.light, pending.placed = now, None, None  # from now on, the file is the backend's to take away

    def answered(self, number: int) -> Request | None:
        """Take a request out, as it is answered; None if it was before."""
        pending = self._pending.pop(number, None)
        return pending.request if pending is not None else None

    def again(self) -> None:
        """Send everything once more, on a new connection: without files, whose folder another backend may not have."""
        for pending in self._pending.values():
            self._in_frames(pending)
        if self._courier is not None:
            self._courier.leave()

    # Planes in files -----------------------------------------------------------------------------------------------------------------
    def enter(self, state: Path, folder: str | None) -> None:
        """The backend has made a folder for our files, or None."""
        if self._courier is not None:
            self._courier.enter(state, folder)

    def without_files(self, number: int) -> None:
        """Files do not reach the other side, or not from there: this request again, and all others on this connection, in messages."""
        if self._courier is not None:
            self._courier.leave()
        if (pending := self._pending.get(number)) is not None:
            self._in_frames(pending)

    def bring(self, number: int, reply: list[Buffer], handed: Handed) -> None:
        """Read the planes of a reply; if that is not possible, ask for them in the message."""
        pending = self._pending.get(number)
        if self._courier is None or not self._courier.open:
            self.without_files(number)
        elif pending is not None and pending.reply is None:
            pending.reply = reply
            self._courier.bring(number, handed)

    def hear(self) -> list[tuple[list[Buffer], tuple[bytes, ...]]]:
        """Replies whose planes are here now, each with them; and what is written is ready to be sent."""
        found: list[tuple[list[Buffer], tuple[bytes, ...]]] = []
        if self._courier is None or not self._courier.busy:
            return found
        for told in self._courier.done():
            pending = self._pending.get(told.number)
            match told:
                case Placed():
                    self._placed(self._courier, pending, told)
                case Brought(planes=planes):
                    reply = pending.reply if pending is not None else None
                    if reply is not None and planes is not None:
                        found.append((reply, planes))
                    elif reply is not None:
                        self.without_files(told.number)
        return found

    @property
    def busy(self) -> bool:
        """Whether a file is being written or read."""
        return self._courier is not None and self._courier.busy

    def wait(self, timeout_s: float) -> None:
        """Return when a file is written or read, or after `timeout_s`."""
        if self._courier is not None:
            self._courier.wait(timeout_s)

    def close(self) -> None:
        """Nothing is sent any more; what lies in files is taken away."""
        self.again()
        if self._courier is not None:
            self._courier.close()

    # Inside --------------------------------------------------------------------------------------------------------------------------
    def _placed(self, courier: Courier, pending: _Pending | None, told: Placed) -> None:
        if pending is None or pending.placing_since is None:
            courier.drop(told)  # it took too long, or nobody waits for it any more
            return
        pending.placing_since = None
        if told.handle is None:
            courier.leave()  # a full or broken disk: with each further file it would take its time again
            return
        pending.placed, pending.light = told, self._codec.encode(pending.request, told.handle)

    def _in_frames(self, pending: _Pending) -> None:
        if self._courier is not None and pending.placed is not None:
            self._courier.drop(pending.placed)
        pending.sent_at = pending.light = pending.placing_since = pending.placed = pending.reply = None
