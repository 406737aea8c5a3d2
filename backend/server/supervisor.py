"""One worker process per device: started, watched, ended, started again. It knows processes and time, and nothing of jobs but their ids.

A worker is given up when its process ends, when it is silent, when its job makes no progress, or when it goes on with a job that nobody
wants. It is started again after 1, 2, 4 … 30 seconds; five failures without ten good seconds between are said to the user, and tried on.
A worker that says itself that it cannot work here is said at once. If its device never worked, it is not tried again (decision 22).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from protocol.errors import BackendUnavailable, Cancelled, LikenessError, WorkerStalled
from protocol.frozen import frozen
from protocol.planes import Plane
from protocol.results import DeviceStatus, ModelInfo, WorkerStage

from ..pipe import Beat, Failed, Finished, FromWorker, Lease, Leave, Ready, Shown, Step, Stock, Stop, ToWorker, Unfit, Word


@frozen
class Patience:
    """How long, in seconds, before a worker is given up, and how soon it is started again."""

    ready_s: float = 180.0
    """Importing torch and opening the models from a slow disk."""
    first_step_s: float = 900.0
    """Loading a large model, and the first step on a CPU."""
    step_s: float = 120.0
    slow_step_factor: float = 20.0
    """A job whose steps take a minute each may also once take twenty."""
    silent_s: float = 90.0
    """Without a heartbeat. A long operation of a library that holds Python's lock silences it too."""
    cancel_s: float = 20.0
    backoff_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
    stable_s: float = 10.0
    failures: int = 5


class Process(Protocol):
    """A worker's process and its pipe."""

    def fileno(self) -> int:
        """The pipe, for a poller."""
        ...

    def send(self, word: ToWorker, blob: bytes | None = None) -> None:
        """Say something; `OSError` when it is gone."""
        ...

    def receive(self) -> list[tuple[Word, bytes]]:
        """What it said; never waits; `EOFError` when it is gone."""
        ...

    def kill(self) -> None:
        """End it at once, with all its children, and wait for that."""
        ...

    def last_words(self) -> str:
        """The end of its log."""
        ...


@frozen
class Progress:
    """A job's step."""

    job_id: str
    attempt: int
    step: int
    steps: int
    seconds_left: float | None


@frozen
class Look:
    """A job's preview."""

    job_id: str
    attempt: int
    step: int
    picture: Plane


@frozen
class End:
    """A job's attempt is over: an outcome's header, or a fault as (code, sentence)."""

    job_id: str
    attempt: int
    outcome: bytes | None
    lengths: tuple[int, ...]
    fault: tuple[str, str] | None


@frozen
class Death:
    """The worker ended over this job. `sentence` says how, for the user."""

    job_id: str
    attempt: int
    sentence: str


Report: TypeAlias = Progress | Look | End | Death


@dataclass
class _Work:
    job_id: str
    attempt: int
    advanced_at: float
    step: int = -1
    slowest_s: float = 0.0
    stopped_at: float | None = None


@dataclass
class _Slot:
    device: str
    process: Process | None = None
    started_at: float = 0.0
    ready_at: float | None = None
    heard_at: float = 0.0
    retry_at: float = 0.0
    failures: int = 0
    work: _Work | None = None
    title: str = ""
    models: tuple[ModelInfo, ...] = ()
    beat: Beat = field(default_factory=Beat)
    sentence: str = ""
    worked: bool = False
    """Whether a worker was ever ready on it."""
    refused: bool = False
    """Its last worker said that it cannot work here."""


class Supervisor:
    """The workers of `devices`. `spawn(device)` starts a process; times are those of `now`, which never goes back."""

    def __init__(self, devices: Sequence[str], spawn: Callable[[str], Process], patience: Patience | None = None) -> None:
        self._slots = [_Slot(device) for device in devices]
        self._spawn = spawn
        self._patience = patience or Patience()
        self.models_changed = 0
        """How often workers told of models."""

    # What the dispatcher asks ----------------------------------------------------------------------------------------------------------
    def idle(self) -> list[str]:
        """The devices that can take a job."""
        return [slot.device for slot in self._slots if slot.process is not None and slot.ready_at is not None and slot.work is None]

    def lease(self, device: str, lease: Lease, header: bytes, now: float) -> None:
        """Give a job to an idle device; a worker that is gone by then is noticed by the next `tick`."""
        slot = next(slot for slot in self._slots if slot.device == device)
        slot.work = _Work(lease.job_id, lease.attempt, now)
        self._say(slot, lease, header)

    def stop(self, job_id: str, now: float) -> None:
        """Nobody wants this job any more."""
        for slot in self._slots:
            if slot.work is not None and slot.work.job_id == job_id and slot.work.stopped_at is None:
                slot.work.stopped_at = now
                self._say(slot, Stop(job_id))

    def descriptors(self) -> list[int]:
        """What to wait for."""
        return [slot.process.fileno() for slot in self._slots if slot.process is not None]

    def status(self) -> tuple[DeviceStatus, ...]:
        """Each device and what it does."""
        return tuple(
            DeviceStatus(
                slot.device,
                self._stage(slot),
                slot.title,
                slot.beat.memory_total,
                slot.beat.memory_free,
                slot.beat.loaded,
                slot.work.job_id if slot.work else None,
                slot.sentence[:1000],
                slot.beat.plan,
            )
            for slot in self._slots
        )

    def models(self) -> tuple[ModelInfo, ...]:
        """The models that the workers found; empty until one was ready."""
        return next((slot.models for slot in self._slots if slot.models), ())

    def summary(self) -> tuple[WorkerStage, str]:
        """The best that any device can do, and why it is not more."""
        order = (WorkerStage.READY, WorkerStage.WORKING, WorkerStage.STARTING, WorkerStage.RESTARTING, WorkerStage.UNAVAILABLE)
        found = {self._stage(slot): slot.sentence for slot in self._slots}
        best = next((stage for stage in order if stage in found), WorkerStage.UNAVAILABLE)
        return best, "" if best in order[:3] else found.get(best, "")[:1000]

    # What time brings ------------------------------------------------------------------------------------------------------------------
    def tick(self, now: float) -> list[Report]:
        """Start what should run, hear what was said, give up what hangs."""
        reports: list[Report] = []
        for slot in self._slots:
            if slot.process is None and now >= slot.retry_at:
                self._start(slot, now)
            if slot.process is not None:
                reports += self._hear(slot, slot.process, now)
            if slot.process is not None and (cause := self._given_up(slot, now)):
                reports += self._lose(slot, cause, now)
        return reports

    def close(self) -> None:
        """End all workers. What they were at is done again at the next start."""
        for slot in self._slots:
            if slot.process is not None:
                self._say(slot, Leave())
                slot.process.kill()
                slot.process = None

    # Inside ------------------------------------------------------------------------------------------------------------------------------
    def _start(self, slot: _Slot, now: float) -> None:
        slot.started_at = slot.heard_at = now
        slot.ready_at, slot.beat, slot.refused = None, Beat(), False
        try:
            slot.process = self._spawn(slot.device)
        except OSError as error:
            self._fail(slot, f"it cannot be started ({error.strerror})", "", now)

    def _hear(self, slot: _Slot, process: Process, now: float) -> list[Report]:
        try:
            words = process.receive()
        except EOFError:
            return self._lose(slot, "it ended", now)
        except LikenessError:
            return self._lose(slot, "it said what nobody understands", now)
        reports: list[Report] = []
        for word, blob in words:
            slot.heard_at = now
            reports += self._understand(slot, word, blob, now)
        return reports

    def _understand(self, slot: _Slot, word: Word, blob: bytes, now: float) -> list[Report]:
        match word:
            case Ready():
                slot.ready_at, slot.title, slot.models, slot.sentence = now, word.title, word.models, ""
                slot.worked = True
                self.models_changed += 1
            case Stock():
                slot.models = word.models
                self.models_changed += 1
            case Unfit():
                self._refuse(slot, word.sentence, now)
            case Beat():
                slot.beat = word
                if slot.ready_at is not None and now - slot.ready_at > self._patience.stable_s:
                    slot.failures = 0
            case Step() | Shown() | Finished() | Failed():
                return self._about_job(slot, word, blob, now)
            case _:
                pass
        return []

    def _about_job(self, slot: _Slot, word: FromWorker, blob: bytes, now: float) -> list[Report]:
        """What is said of another job than the leased one is of an attempt that was given up."""
        work = slot.work
        if work is None or isinstance(word, Ready | Unfit | Stock | Beat) or (word.job_id, word.attempt) != (work.job_id, work.attempt):
            return []
        match word:
            case Step():
                if word.step != work.step:
                    work.slowest_s = max(work.slowest_s, now - work.advanced_at) if work.step >= 0 else 0.0
                    work.step, work.advanced_at = word.step, now
                return [Progress(word.job_id, word.attempt, word.step, word.steps, word.seconds_left)]
            case Shown():
                return [Look(word.job_id, word.attempt, word.step, word.picture)]
            case Finished():
                slot.work = None
                return [End(word.job_id, word.attempt, blob, word.lengths, None)]
            case Failed():
                slot.work = None
                return [End(word.job_id, word.attempt, None, (), (word.code, word.sentence))]

    def _given_up(self, slot: _Slot, now: float) -> str:
        """Why this worker is given up now; empty if it is not."""
        patience, work = self._patience, slot.work
        if slot.ready_at is None:
            return f"it was not ready after {now - slot.started_at:.0f} s" if now - slot.started_at > patience.ready_s else ""
        if now - slot.heard_at > patience.silent_s:
            return f"it was silent for {now - slot.heard_at:.0f} s"
        if work is None:
            return ""
        if work.stopped_at is not None and now - work.stopped_at > patience.cancel_s:
            return "it went on with a job that was cancelled"
        allowed = patience.first_step_s if work.step < 0 else max(patience.step_s, work.slowest_s * patience.slow_step_factor)
        return f"it made no progress for {now - work.advanced_at:.0f} s" if now - work.advanced_at > allowed else ""

    def _lose(self, slot: _Slot, cause: str, now: float) -> list[Report]:
        work, process = slot.work, slot.process
        slot.work = slot.process = None
        last_words = ""
        if process is not None:
            process.kill()
            last_words = process.last_words()
        self._fail(slot, cause, last_words, now)
        if work is None:
            return []
        if work.stopped_at is not None:  # nobody mourns it, but what it had written of a result can go
            return [End(work.job_id, work.attempt, None, (), (Cancelled.code, str(Cancelled())))]
        sentence = f"The process that computes on {slot.device} was started again: {cause}. {WorkerStalled.cure}"
        return [Death(work.job_id, work.attempt, sentence)]

    def _refuse(self, slot: _Slot, sentence: str, now: float) -> None:
        """Say it as it was said, without a log's last words. A device that worked before may come back, as after the computer slept."""
        if slot.process is not None:
            slot.process.kill()
        slot.process = None
        self._fail(slot, "it cannot work", "", now)
        slot.refused = True
        slot.sentence = sentence
        if not slot.worked:
            slot.retry_at = math.inf
            slot.sentence = f"{sentence} Then end this backend (`likeness status --stop`) and start one on another device."

    def _fail(self, slot: _Slot, cause: str, last_words: str, now: float) -> None:
        slot.failures = 1 if slot.ready_at is not None and now - slot.ready_at > self._patience.stable_s else slot.failures + 1
        backoff = self._patience.backoff_s
        slot.retry_at = now + backoff[min(slot.failures, len(backoff)) - 1]
        sentence = f"The process that computes on {slot.device} is started again: {cause}."
        if slot.failures >= self._patience.failures:
            sentence = f"The process that computes on {slot.device} ended {slot.failures} times: {cause}. {BackendUnavailable.cure}"
        slot.sentence = f"{sentence} Its last words: {last_words[-600:]}" if last_words else sentence

    def _stage(self, slot: _Slot) -> WorkerStage:
        if slot.process is None or slot.ready_at is None:
            if slot.refused or slot.failures >= self._patience.failures:
                return WorkerStage.UNAVAILABLE
            return WorkerStage.RESTARTING if slot.failures else WorkerStage.STARTING
        return WorkerStage.WORKING if slot.work is not None else WorkerStage.READY

    def _say(self, slot: _Slot, word: ToWorker, blob: bytes | None = None) -> None:
        if slot.process is not None:
            with suppress(OSError):  # it is gone; the next tick hears that
                slot.process.send(word, blob)
