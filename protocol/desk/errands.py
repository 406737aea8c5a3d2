"""Errands to the backend: short jobs and requests whose answer only this session wants (faces on a photo, a new character, a list).

Pictures are more: they are found again after a restart, and each add-on follows them by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ..client import Client
from ..events import Event, Refused
from ..jobs import Job
from ..messages import (
    Acknowledge,
    AskCharacters,
    AskModels,
    AskStatus,
    Cancel,
    CharacterPhotos,
    Characters,
    Done,
    Fetch,
    Fetched,
    Inquire,
    JobUpdate,
    Models,
    Priority,
    Stage,
    StatusReport,
    Submit,
)
from ..results import Outcome
from .sentences import sentence_of

Answer: TypeAlias = Models | Characters | StatusReport | Done | CharacterPhotos
Failed: TypeAlias = Callable[[str, str], None]
"""Called with an error's wire code and its sentence."""


@dataclass(frozen=True)
class _Errand:
    then: Callable[[Outcome], None]
    failed: Failed


class Errands:
    """`notice` is the last thing that the person at the screen must know; "" when there is none."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.notice = ""
        self._errands: dict[str, _Errand] = {}
        self._asked: dict[int, tuple[Callable[[Answer], None], Failed]] = {}

    def say(self, sentence: str) -> None:
        """The last thing that the artist must know; "" takes it away."""
        self.notice = sentence

    def blame(self, error: Exception) -> None:
        """Say what went wrong, whatever it was."""
        self.say(sentence_of(error))

    def say_error(self, code: str, sentence: str) -> None:
        """A `Failed` that says the sentence."""
        self.say(sentence)

    def errand(self, job: Job, then: Callable[[Outcome], None], failed: Failed) -> str:
        """Send a short job; later `then(outcome)` or `failed(code, sentence)`, once. Raises `InvalidRequest` at once for a wrong one."""
        job_id = self.client.submit(job, priority=Priority.INTERACTIVE, note=json.dumps({"k": type(job).__name__}))
        self._errands[job_id] = _Errand(then, failed)
        return job_id

    def drop(self, job_id: str) -> None:
        """Nobody waits for that errand any more."""
        if self._errands.pop(job_id, None) is not None:
            self.client.cancel(job_id)

    def ask(self, number: int, then: Callable[[Answer], None], failed: Failed | None = None) -> None:
        """Wait for the answer to the request of this number."""
        self._asked[number] = (then, failed or self.say_error)

    def route(self, event: Event) -> bool:
        """Whether the event was the answer to an errand or a request."""
        match event:
            case JobUpdate() if event.job_id in self._errands:
                self._follow(event)
            case JobUpdate() if event.stage.final and _is_errand(event.note):
                self.client.acknowledge(event.job_id)  # of a session that is over
            case Fetched() if event.job_id in self._errands:
                errand = self._errands.pop(event.job_id)
                self.client.acknowledge(event.job_id)
                errand.then(event.outcome)
            case Models() | Characters() | StatusReport() | Done() | CharacterPhotos() if event.request in self._asked:
                self._asked.pop(event.request)[0](event)
            case Refused():
                return self._refused(event)
            case _:
                return False
        return True

    def _follow(self, update: JobUpdate) -> None:
        if update.stage is Stage.DONE:
            self.client.fetch(update.job_id)
        elif update.stage.final:
            errand = self._errands.pop(update.job_id)
            self.client.acknowledge(update.job_id)
            if update.fault is not None:
                errand.failed(update.fault.code, update.fault.sentence)

    def _refused(self, event: Refused) -> bool:
        request, error = event.request, event.error
        if request.request in self._asked:
            self._asked.pop(request.request)[1](error.code, str(error))
            return True
        if isinstance(request, Submit | Fetch | Cancel | Inquire) and request.job_id in self._errands:
            self._errands.pop(request.job_id).failed(error.code, str(error))
            return True
        # A backend that is older or busy: what is asked in the background is asked again at the next occasion.
        return isinstance(request, AskStatus | AskModels | AskCharacters | Acknowledge)


def _is_errand(note: str) -> bool:
    try:
        read = json.loads(note)
    except ValueError:
        return False
    return isinstance(read, dict) and "k" in read
