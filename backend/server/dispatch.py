"""Jobs from the moment they are accepted until they are forgotten: between the spool that keeps them and the workers that do them.

The spool has the truth; what is here in memory is read from it at the start and changed only after it. A report of an attempt that does
not count any more changes nothing, so every job ends exactly once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from protocol.codec import Codec
from protocol.errors import Cancelled, Interrupted, JobIdConflict, LikenessError, NotHandedOver, PoisonJob, ServiceError, UnknownJob
from protocol.jobs import Job
from protocol.limits import KEEP_ACKNOWLEDGED_BYTES, KEEP_ACKNOWLEDGED_S, KEEP_UNCLAIMED_S
from protocol.messages import Fault, JobBrief, JobUpdate, Preview, Reply, Stage, Submit
from protocol.results import Outcome

from ..pipe import Lease
from ..planefile import Buffer, map_planes, read_planes
from .handover import Handover
from .queue import Entry, Limits, admit, after_death, after_restart, gives_way, in_order, leased, live_run_after, may_finish, next_job
from .spool import Kept, Spool
from .supervisor import Death, End, Look, Progress, Report, Supervisor

KEEP_ACKNOWLEDGED_JOBS = 1000
"""Rows are small, but ten thousand of them a day are not needed."""
RESULT_BYTES = 16 * 1024**2
"""Room that must be free beside the reserve before a worker begins: about what a picture needs."""
ANNOUNCE_S = 0.5
"""Between two times at which those who wait are told their places."""
_PRUNE_S = 60.0
_ROOM = 256
"""So many more jobs, and it is time to look for old ones before the minute is over."""
Tell = Callable[[str, Reply], None]
"""Sends something to a client, if it is there."""


@dataclass
class _Job:
    entry: Entry
    note: str
    input_bytes: int
    output_bytes: int = 0
    fault: tuple[str, str] | None = None
    acknowledged: float | None = None
    ended: float | None = None
    """When it was over, seconds since 1970; after a restart, that of the restart."""
    progress: Progress | None = None
    mapped: bool = False
    """Its result was sent from a map of its file: nobody else is given the file, who could make it shorter meanwhile."""
    offered: bool = False
    """Its client was given the file of its result, or may have been by an earlier run: it is not mapped any more."""


class Dispatcher:
    """Jobs of all clients. `tell` sends updates; `wall` gives seconds since 1970, for what is kept over restarts."""

    def __init__(
        self,
        spool: Spool,
        supervisor: Supervisor,
        tell: Tell,
        wall: Callable[[], float],
        limits: Limits | None = None,
        handover: Handover | None = None,
    ) -> None:
        self._spool, self._supervisor, self._tell, self._wall = spool, supervisor, tell, wall
        self._handover = handover or Handover(None, Path())
        self._limits = limits or Limits()
        self._codec, self._outcomes = Codec[Job](get_args(Job)), Codec[Outcome](get_args(Outcome))
        self._log = logging.getLogger("likeness.jobs")
        self._jobs: dict[str, _Job] = {}
        self._served: dict[str, int] = {}
        self._live_run = 0
        self._gave_way: set[str] = set()
        """Live streams whose last job was cancelled for a newer one."""
        self._unsaved: list[End] = []
        self._order: dict[str, int] | None = None
        self._moved = False
        self._retry_at = self._prune_at = self._room_at = self._announce_at = 0.0
        self._crowded = 0
        for kept in spool.load():
            self._jobs[kept.entry.job_id] = self._revived(kept)
        self._last_order = max((job.entry.order for job in self._jobs.values()), default=0)
        for job in list(self._jobs.values()):  # what ran when the backend died waits again, beside the newer one that waited then
            self._clear_the_way(job.entry, None)

    # What clients ask ------------------------------------------------------------------------------------------------------------------
    def submit(self, client: str, request: Submit, taken: Path | None = None) -> None:
        """Keep a job; its planes may lie in a file that was `taken` over. When this returns it is accepted.

        Raises `Busy`, `JobIdConflict`, `DiskFull`, `SpoolUnusable`.
        """
        header, planes = self._codec.encode_header(request.job)
        replaces = request.replaces if request.replaces != request.job_id else None  # nothing takes its own place
        if request.job_id in self._jobs:
            self._check_same(client, request.job_id, header, _looked_at(planes, taken))
            self._clear_the_way(self._jobs[request.job_id].entry, replaces)  # the backend may have died before it ended the other
            return
        entry = Entry(request.job_id, client, request.priority, self._last_order + 1, live=request.live)
        places = self._taken_by(entry, replaces)
        used = self._bytes_of(client) + self._handover.bytes_of(client) - sum(job.input_bytes for job in places)
        admit((job.entry for job in self._jobs.values()), client, used, self._limits, [job.entry.job_id for job in places])
        self._spool.add(entry, request.note, header, planes, taken)
        self._last_order += 1
        self._jobs[entry.job_id] = _Job(entry, request.note, sum(memoryview(plane).nbytes for plane in planes))
        self._log.info("job %s accepted", entry.job_id)
        self._order = None
        self._clear_the_way(entry, replaces)
        self._announce(entry.job_id)

    def cancel(self, client: str, job_id: str) -> None:
        """Stop a job: it is cancelled from this moment, and its worker stops within a step."""
        job = self._find(client, job_id)
        if not job.entry.stage.final:
            ran = job.entry.stage is Stage.RUNNING
            self._end(job, Stage.CANCELLED, (Cancelled.code, str(Cancelled())))
            if ran:
                self._supervisor.stop(job_id, self._now)

    def update(self, client: str, job_id: str, request: int | None = None) -> JobUpdate:
        """Where a job is; raises `UnknownJob`."""
        job = self._find(client, job_id)
        progress = job.progress if job.entry.stage is Stage.RUNNING else None
        return JobUpdate(
            job_id,
            job.entry.stage,
            request,
            position=self._places().get(job_id) if job.entry.stage is Stage.QUEUED else None,
            step=progress.step if progress else None,
            steps=progress.steps if progress else None,
            seconds_left=progress.seconds_left if progress else None,
            fault=Fault(job.fault[0][:256], job.fault[1][:1000]) if job.fault else None,
            attempt=job.entry.attempt,
            note=job.note,
        )

    def outcome(self, client: str, job_id: str, handover: bool = False) -> tuple[Outcome, str, str | None]:
        """The outcome of a job that is done, the job's note, and with `handover` the handle under which its planes lie, if they do.

        With a handle, the planes must not be looked at.
        """
        job = self._find(client, job_id)
        if job.entry.stage is not Stage.DONE:
            raise UnknownJob(f"The job is {job.entry.stage.value}, so there is nothing to fetch. {UnknownJob.cure}")
        blob = self._spool.outcome(job_id)
        handle = self._handover.offer(client, job_id, blob.path, sum(blob.lengths)) if handover and not job.mapped else None
        job.offered |= handle is not None
        job.mapped |= not job.offered
        try:
            planes = (map_planes if handle is not None or job.mapped else read_planes)(blob.path, blob.lengths)
        except (OSError, ValueError) as error:
            raise Interrupted(f"The result's file is gone from the spool, so it cannot be given out. {Interrupted.cure}") from error
        return self._outcomes.decode_header(blob.header, planes, blob.version), job.note, handle

    def acknowledge(self, client: str, job_id: str) -> None:
        """The client has what it wanted; a job that is not over is cancelled."""
        self.cancel(client, job_id)
        self._handover.free(job_id)
        job = self._find(client, job_id)
        if job.acknowledged is None:
            now = self._wall()
            self._spool.acknowledge(job_id, now)
            job.acknowledged, job.entry = now, replace(job.entry, acknowledged=True)

    def unacknowledged(self, client: str) -> list[JobBrief]:
        """What this client has not taken yet, oldest first."""
        own = [job.entry for job in self._jobs.values() if job.entry.client == client and not job.entry.acknowledged]
        return [JobBrief(entry.job_id, entry.stage) for entry in sorted(own, key=lambda entry: entry.order)]

    def counts(self) -> tuple[int, int, int, int]:
        """How many jobs are queued, running, and kept; and the bytes of all."""
        stages = [job.entry.stage for job in self._jobs.values()]
        total = sum(job.input_bytes + job.output_bytes for job in self._jobs.values())
        return stages.count(Stage.QUEUED), stages.count(Stage.RUNNING), sum(stage.final for stage in stages), total

    # What time brings ------------------------------------------------------------------------------------------------------------------
    def tick(self, now: float) -> None:
        """Hear the workers, give them jobs, forget what is old."""
        self._now = now
        for report in self._supervisor.tick(now):
            self._hear(report, now)
        if self._unsaved and now >= self._retry_at:
            waiting, self._unsaved = self._unsaved, []
            for end in waiting:
                self._finish(end, now)
        self._give(now)
        self._announce_queue(now)
        self._handover.sweep(now)
        try:
            self._spool.note_flushed()
            if now >= self._prune_at or len(self._jobs) > self._crowded:
                self._prune_at = now + _PRUNE_S
                self._prune()
        except ServiceError as error:
            self._log.warning("%s", error)

    _now = 0.0

    def _give(self, now: float) -> None:
        if now < self._room_at:
            return
        for device in self._supervisor.idle():
            entry = next_job([job.entry for job in self._jobs.values()], self._served, self._live_run)
            if entry is None:
                return
            job = self._jobs[entry.job_id]
            try:
                self._spool.check_room(RESULT_BYTES)  # else the worker could not write its result, and the job would fail instead of wait
                blob = self._spool.job(entry.job_id)
                self._spool.save(leased(entry))
            except ServiceError as error:
                self._log.warning("%s", error)
                self._room_at = now + 1.0
                return  # still queued, and tried again
            job.entry, job.progress = leased(entry), None
            self._served[entry.client] = self._served[entry.line] = max(self._served.values(), default=0) + 1
            self._live_run = live_run_after(entry, self._live_run)
            places = str(blob.path), str(self._spool.output_path(entry.job_id, job.entry.attempt))
            self._supervisor.lease(device, Lease(entry.job_id, job.entry.attempt, *places, blob.lengths, blob.own), blob.header, now)
            self._log.info("job %s on %s, attempt %d", entry.job_id, device, job.entry.attempt)
            self._order, self._moved = None, True
            self._announce(entry.job_id)

    def _hear(self, report: Report, now: float) -> None:
        job = self._jobs.get(report.job_id)
        if job is None or not may_finish(job.entry, report.attempt):
            if isinstance(report, End):  # it wrote a result that nobody wants any more
                self._spool.discard_part(report.job_id, report.attempt)
            return
        match report:
            case Progress():
                job.progress = report
                self._announce(report.job_id)
            case Look():
                self._tell(job.entry.client, Preview(report.job_id, report.step, report.picture))
            case End():
                self._finish(report, now)
            case Death():
                self._after_death(job, report)

    def _finish(self, end: End, now: float) -> None:
        """Keep how an attempt ended. While the disk is full, the end waits here, and its planes in their file."""
        job = self._jobs.get(end.job_id)
        if job is None or not may_finish(job.entry, end.attempt):
            return
        stage = Stage.DONE if end.fault is None else Stage.CANCELLED if end.fault[0] == Cancelled.code else Stage.FAILED
        entry = replace(job.entry, stage=stage)
        try:
            self._spool.finish(entry, end.outcome, end.lengths, end.fault)
        except ServiceError as error:
            self._log.warning("job %s is done, but cannot be kept: %s", end.job_id, error)
            self._unsaved.append(end)
            self._retry_at = now + 1.0
            return
        job.entry, job.fault, job.output_bytes, job.input_bytes, job.ended = entry, end.fault, sum(end.lengths), 0, self._wall()
        self._gave_way.discard(entry.line)
        self._log.info("job %s %s", end.job_id, stage.value)
        self._announce(end.job_id)

    def _after_death(self, job: _Job, report: Death) -> None:
        entry = after_death(job.entry, self._limits)
        self._spool.discard_part(report.job_id, report.attempt)  # its process is gone: nobody writes to it any more
        self._log.warning("job %s lost its worker %d times", report.job_id, entry.kills)
        if entry.stage is Stage.FAILED:
            sentence = f"{(PoisonJob.__doc__ or '').strip()} {report.sentence} {PoisonJob.cure}"
            self._finish(End(report.job_id, report.attempt, None, (), (PoisonJob.code, sentence)), self._now)
            return
        job.entry, job.progress, self._order = entry, None, None
        with suppress(ServiceError):  # the spool still says that it runs, which a restart reads as queued
            self._spool.save(entry)
        self._announce(report.job_id)

    # Inside ------------------------------------------------------------------------------------------------------------------------------
    def _end(self, job: _Job, stage: Stage, fault: tuple[str, str]) -> None:
        """End a job without an outcome."""
        entry = replace(job.entry, stage=stage)
        self._spool.end(entry, fault)
        self._order, self._moved = None, True
        job.entry, job.fault, job.input_bytes, job.ended = entry, fault, 0, self._wall()
        self._log.info("job %s %s", entry.job_id, stage.value)
        self._announce(entry.job_id)

    def _revived(self, kept: Kept) -> _Job:
        entry = after_restart(kept.entry, self._limits)
        fault = kept.fault
        if entry != kept.entry:
            if entry.stage is Stage.FAILED:
                fault = PoisonJob.code, str(PoisonJob())
                self._spool.end(entry, fault)
            else:
                self._spool.save(entry)
        return _Job(entry, kept.note, kept.input_bytes, kept.output_bytes, fault, kept.acknowledged, self._wall(), offered=True)

    def _find(self, client: str, job_id: str) -> _Job:
        job = self._jobs.get(job_id)
        if job is None or job.entry.client != client:
            raise UnknownJob(f"There is no job of this program with the id {job_id}. {UnknownJob.cure}")
        return job

    def _check_same(self, client: str, job_id: str, header: bytes, planes: list[Buffer]) -> None:
        if self._jobs[job_id].entry.client != client or not self._spool.same(job_id, header, planes):
            raise JobIdConflict(f"Another job was sent under the id {job_id} before. {JobIdConflict.cure}")

    def _taken_by(self, entry: Entry, replaces: str | None) -> list[_Job]:
        """The jobs that wait and whose place a live edit takes: the one that it names, and older ones of its stream."""
        named = self._jobs.get(replaces or "")
        found = [named] if named is not None and named.entry.client == entry.client else []
        if entry.live is not None:
            found += [job for job in self._jobs.values() if job.entry.line == entry.line and job.entry.order < entry.order]
        return [job for job in found if job.entry.stage is Stage.QUEUED]

    def _clear_the_way(self, entry: Entry, replaces: str | None) -> None:
        """End what a new job takes the place of; of its live stream also what runs, when that is worth it."""
        for job in self._taken_by(entry, replaces):
            self._overtake(job)
        for job in list(self._jobs.values()) if entry.live is not None else ():
            running = job.entry.stage is Stage.RUNNING and job.entry.line == entry.line and job.entry.order < entry.order
            step, steps = (job.progress.step, job.progress.steps) if job.progress else (None, None)
            if running and gives_way(step, steps, entry.line in self._gave_way):
                self._gave_way.add(entry.line)
                self._overtake(job)
                self._supervisor.stop(job.entry.job_id, self._now)

    def _overtake(self, job: _Job) -> None:
        """Cancel a job for a newer one. Of a live one nobody wants to hear again: it counts as acknowledged."""
        try:
            self._end(job, Stage.CANCELLED, (Cancelled.code, f"A newer version took its place. {Cancelled.cure}"))
            if job.entry.live is not None:
                self.acknowledge(job.entry.client, job.entry.job_id)
        except ServiceError as error:  # the new job is kept, and must not be refused for this; the old one is drawn too
            self._log.warning("%s", error)

    def _announce(self, job_id: str) -> None:
        client = self._jobs[job_id].entry.client
        self._tell(client, self.update(client, job_id))

    def _announce_queue(self, now: float) -> None:
        """The queue moved: say so to those who wait. All at once and not for each lease: a thousand jobs would be told of a thousand."""
        if self._moved and now >= self._announce_at:
            self._moved, self._announce_at = False, now + ANNOUNCE_S
            for job_id in self._places():
                self._announce(job_id)

    def _places(self) -> dict[str, int]:
        """How many jobs are before each that waits; reckoned again after the queue changed."""
        if self._order is None:
            order = in_order([job.entry for job in self._jobs.values()], self._served, self._live_run)
            self._order = {entry.job_id: place for place, entry in enumerate(order)}
        return self._order

    def _bytes_of(self, client: str) -> int:
        own = [job for job in self._jobs.values() if job.entry.client == client and not job.entry.acknowledged]
        return sum(job.input_bytes + job.output_bytes for job in own)

    def _prune(self) -> None:
        """Forget acknowledged jobs, those of yesterday and the oldest when they are too many or too large; and what nobody claimed."""
        taken = sorted((job for job in self._jobs.values() if job.acknowledged is not None), key=lambda job: -(job.acknowledged or 0.0))
        now, total, gone = self._wall(), 0, list[Entry]()
        for number, job in enumerate(taken):
            total += job.output_bytes
            old = now - (job.acknowledged or 0.0) > KEEP_ACKNOWLEDGED_S
            if old or total > KEEP_ACKNOWLEDGED_BYTES or number >= KEEP_ACKNOWLEDGED_JOBS:
                gone.append(job.entry)
        gone += [job.entry for job in self._jobs.values() if self._unclaimed(job, now)]
        if gone:
            self._spool.forget(gone)
            for entry in gone:
                del self._jobs[entry.job_id]
        known = {name for job in self._jobs.values() for name in (job.entry.client, job.entry.line)}
        self._served = {name: turn for name, turn in self._served.items() if name in known}
        self._crowded = len(self._jobs) + _ROOM

    def _unclaimed(self, job: _Job, now: float) -> bool:
        """Over for a month, and its program never came back for it."""
        return job.entry.stage.final and job.acknowledged is None and now - (job.ended or now) > KEEP_UNCLAIMED_S


def _looked_at(planes: list[Buffer], taken: Path | None) -> list[Buffer]:
    """Planes that can be compared: those of a file that was taken over are read from it."""
    if taken is None:
        return planes
    try:
        return list(read_planes(taken, [memoryview(plane).nbytes for plane in planes]))
    except OSError as error:
        raise NotHandedOver from error


def sentence_of(error: LikenessError) -> str:
    """An error's sentence, as long as a message may carry, and only of letters that one may: it can quote what a client sent."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in str(error))[:1000]
