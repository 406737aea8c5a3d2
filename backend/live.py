"""Pictures that follow what is being painted, for scripts.

    with studio.live() as live:
        while painting():
            live.show(draft(portrait_job(captain, prompt)))
            if (results := live.take()) is not None:
                screen.show(results[0].image)
        results = live.wait()

A newer wish takes the place of an older one at the backend (`Submit.live`), so `show` may be called as often as the brush moves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from protocol.desk.live import draft as draft
from protocol.errors import Cancelled, InvalidRequest
from protocol.events import Event
from protocol.jobs import PictureJob
from protocol.results import Outcome, Pictures

from .pictures import Results, results_of


@dataclass(frozen=True, slots=True)
class Wire:
    """What a stream needs of its studio: to send a job, to hear what happened to it, what that means, to leave it, to end it, to wait."""

    submit: Callable[[PictureJob], str]
    take: Callable[[str], list[Event]]
    settled: Callable[[str, Event], Outcome | None]
    leave: Callable[[str], None]
    cancel: Callable[[str], None]
    pause: Callable[[], None]


class Live:
    """One stream. `show` and `take` return at once; errors of a job (no such character, …) are raised by `take` and `wait`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._open: dict[str, tuple[int, PictureJob]] = {}
        self._shown = self._seen = 0  # how many wishes there were, and which of them the newest picture is of
        self._newest: Results | None = None

    def show(self, job: PictureJob) -> None:
        """What is to be seen now; whatever waits of this stream is forgotten."""
        self._hear()
        self._shown += 1
        self._open[self._wire.submit(job)] = self._shown, job

    def take(self) -> Results | None:
        """The newest picture that came since the last call, or None."""
        self._hear()
        newest, self._newest = self._newest, None
        return newest

    def wait(self) -> Results:
        """The picture of the last `show`, once it is there; raises `InvalidRequest` when nothing was shown since the last picture."""
        self._hear()
        while any(number == self._shown for number, _ in self._open.values()):  # what became of the others is heard by and by
            self._wire.pause()
            self._hear()
        newest, self._newest = self._newest, None
        if newest is None:
            raise InvalidRequest("Nothing was shown in this live stream that is not drawn already. Call show() first.")
        return newest

    def close(self) -> None:
        """Leave; what is not drawn yet is cancelled."""
        for job_id in self._open:
            self._wire.cancel(job_id)
            self._wire.leave(job_id)
        self._open.clear()

    def __enter__(self) -> Self:
        """The stream."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave."""
        self.close()

    def _hear(self) -> None:
        for job_id, (number, job) in list(self._open.items()):
            for event in self._wire.take(job_id):
                try:
                    outcome = self._wire.settled(job_id, event)
                except Cancelled:  # a newer one took its place
                    self._forget(job_id)
                    break
                except BaseException:
                    self._forget(job_id)
                    raise
                if isinstance(outcome, Pictures):
                    if number > self._seen:
                        self._seen, self._newest = number, results_of(outcome, job)
                    self._forget(job_id)
                    break

    def _forget(self, job_id: str) -> None:
        del self._open[job_id]
        self._wire.leave(job_id)
