"""Lease, run, report: the same for every kind of pipeline. The main thread computes; two small threads hear the server and say 'alive'."""

from __future__ import annotations

import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from protocol.errors import Cancelled, DiskFull, Interrupted, LikenessError, ModelError
from protocol.jobs import Job
from protocol.planes import Plane
from protocol.results import ModelInfo, Outcome

from ..pipe import Beat, Channel, Failed, Finished, Lease, Leave, Ready, Shown, Step, Stock, Stop, Unfit, decode_job, encode_outcome
from ..planefile import Buffer, map_planes, read_planes, write_planes
from .memory import DeviceLost, Rung, climb_down

BEAT_S = 1.0
STEP_S = 0.1
"""Steps are told at most so often: ten a second are smooth, and on a processor every message takes time from the picture."""
DEVICE_LOST = 70
"""Exit status of a worker whose device is lost."""
FAULT = 71
"""Exit status of a worker that could not report."""
UNFIT = 72
"""Exit status of a worker that cannot work here, and said why."""


class Watch(Protocol):
    """Who wants to know how a job is going; called from the thread that runs it."""

    def step(self, done: int, total: int) -> None:
        """`done` of `total` steps."""
        ...

    def show(self, picture: Plane, step: int) -> None:
        """A preview."""
        ...

    def cancelled(self) -> bool:
        """Whether to stop now."""
        ...


class Pipeline(Protocol):
    """What does the work."""

    @property
    def title(self) -> str:
        """The device, for people."""
        ...

    def models(self) -> tuple[ModelInfo, ...]:
        """What can be drawn with; the first is used when a job names none."""
        ...

    def changed(self) -> tuple[ModelInfo, ...] | None:
        """The models, where they are others than those told before, else None; called from another thread, at any time."""
        ...

    def beat(self) -> Beat:
        """How the device stands; called from another thread, at any time."""
        ...

    def ladder(self) -> Sequence[Rung]:
        """The ways of doing a job, the best first."""
        ...

    def free(self) -> None:
        """Empty all caches of the device."""
        ...

    def run(self, job: Job, watch: Watch, rung: str | None) -> Outcome:
        """Do a job; raises errors of the tree. `rung` names the way of the ladder, None for the best."""
        ...


class _Inbox:
    """What the server says, sorted by a thread: leases wait in a line, a stop works at once. Without a server, the process ends."""

    def __init__(self, channel: Channel) -> None:
        self.leases: queue.SimpleQueue[tuple[Lease, bytes] | None] = queue.SimpleQueue()
        self._stopped: set[str] = set()
        self._channel = channel
        threading.Thread(target=self._listen, name="inbox", daemon=True).start()

    def stopped(self, job_id: str) -> bool:
        """Whether nobody wants this job any more."""
        return job_id in self._stopped

    def _listen(self) -> None:
        while True:
            try:
                words = self._channel.receive()
            except EOFError:
                os._exit(0)  # the server is gone, and with it whoever wanted this; the device must be free for its successor
            for word, blob in words:
                match word:
                    case Lease():
                        self._stopped.clear()
                        self.leases.put((word, blob))
                    case Stop():
                        self._stopped.add(word.job_id)
                    case Leave():
                        self.leases.put(None)
                    case _:
                        pass


class _Reporter:
    """Tells the server how one job goes."""

    def __init__(self, channel: Channel, inbox: _Inbox, lease: Lease, clock: Callable[[], float]) -> None:
        self._channel, self._inbox, self._lease, self._clock = channel, inbox, lease, clock
        self._first: tuple[float, int] | None = None
        self._told = -STEP_S

    def step(self, done: int, total: int) -> None:
        now = self._clock()
        if self._first is None or done < self._first[1]:
            self._first = now, done
        if now - self._told < STEP_S and done != total:
            return
        self._told = now
        since, begun = self._first
        left = (now - since) / (done - begun) * (total - done) if done > begun else None
        self._channel.send(Step(self._lease.job_id, self._lease.attempt, done, total, left))

    def show(self, picture: Plane, step: int) -> None:
        self._channel.send(Shown(self._lease.job_id, self._lease.attempt, step, picture))

    def cancelled(self) -> bool:
        return self._inbox.stopped(self._lease.job_id)


def serve(
    channel: Channel,
    make: Callable[[], Pipeline],
    clock: Callable[[], float] = time.monotonic,
    ahead: Callable[[], None] = lambda: None,
) -> int:
    """Work until the server says to leave; returns the exit status. `ahead` prepares for the first job, once the server knows that we are
    ready: in this thread, so that no two import the same at once; a job that comes meanwhile would import it itself.
    """
    inbox = _Inbox(channel)
    try:
        pipeline = make()
    except LikenessError as error:  # of the machine or the settings; anything else is a fault, and its place goes into the log
        channel.send(Unfit(error.code, str(error)[:1000]))
        return UNFIT
    channel.send(Ready(pipeline.title[:256], pipeline.models()))
    threading.Thread(target=_beat, args=(channel, pipeline), name="beat", daemon=True).start()
    ahead()
    while (leased := inbox.leases.get()) is not None:
        lease, header = leased
        try:
            _do(channel, inbox, pipeline, lease, header, clock)
        except DeviceLost as error:
            print(f"job {lease.job_id}: the device is lost: {error}", flush=True)
            return DEVICE_LOST
        except Exception as error:  # of the reporting itself; Python would print it with its message
            _log_unforeseen(lease.job_id, error)
            return FAULT
    return 0


def _do(channel: Channel, inbox: _Inbox, pipeline: Pipeline, lease: Lease, header: bytes, clock: Callable[[], float]) -> None:
    """One job, to its one report."""
    watch = _Reporter(channel, inbox, lease, clock)
    try:
        outcome = _run(pipeline, watch, lease, header)
        if watch.cancelled():
            raise Cancelled
        outcome_header, planes = encode_outcome(outcome)
        _write(Path(lease.output), planes)
    except LikenessError as error:
        channel.send(Failed(lease.job_id, lease.attempt, error.code, str(error)[:1000]))
        return
    except DeviceLost:
        raise
    except Exception as error:
        _log_unforeseen(lease.job_id, error)
        sentence = f"The job failed in a way that nobody foresaw; the worker's log says where. {LikenessError.cure}"
        channel.send(Failed(lease.job_id, lease.attempt, ModelError.code, sentence))
        return
    channel.send(Finished(lease.job_id, lease.attempt, tuple(memoryview(plane).nbytes for plane in planes)), outcome_header)


def _run(pipeline: Pipeline, watch: _Reporter, lease: Lease, header: bytes) -> Outcome:
    try:
        planes = (map_planes if lease.own else read_planes)(Path(lease.input), lease.lengths)
    except (OSError, ValueError) as error:
        raise Interrupted(f"The job's pictures do not lie whole in the spool any more. {Interrupted.cure}") from error
    job = decode_job(header, planes)
    return climb_down(pipeline.ladder(), lambda rung: pipeline.run(job, watch, rung), pipeline.free)


def _write(path: Path, planes: Sequence[Buffer]) -> None:
    """The outcome's planes into the spool's file."""
    try:
        write_planes(path, planes)
    except OSError as error:
        path.unlink(missing_ok=True)
        needed = sum(memoryview(plane).nbytes for plane in planes) / 1e6
        raise DiskFull(f"The result needs {needed:.0f} MB and cannot be written ({error.strerror}). {DiskFull.cure}") from error


def _log_unforeseen(job_id: str, error: Exception) -> None:
    """What nobody foresaw is a fault of the program: its place goes into the log. Its message does not: it may have words of the job."""
    frames = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
    print(f"job {job_id} failed with {type(error).__name__}:\n{frames}", flush=True)


def _beat(channel: Channel, pipeline: Pipeline) -> None:
    """The heartbeat, until the server is gone; then the inbox ends the process. With it goes what changed of the models."""
    with suppress(OSError):
        while True:
            channel.send(pipeline.beat())
            if (models := _news(pipeline)) is not None:
                channel.send(Stock(models))
            time.sleep(BEAT_S)


def _news(pipeline: Pipeline) -> tuple[ModelInfo, ...] | None:
    """What changed of the models; nothing that is wrong with a folder may stop the heartbeat."""
    try:
        return pipeline.changed()
    except Exception as error:
        print(f"the models could not be listed again: {type(error).__name__}", flush=True)
        return None
