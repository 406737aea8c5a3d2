"""Which job is next, and what may become of a job: pure functions on frozen values, without clocks, files or sockets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush

from protocol.errors import Busy
from protocol.limits import JOBS_PER_CLIENT, QUEUED_PER_CLIENT, SPOOL_BYTES_PER_CLIENT
from protocol.messages import Priority, Stage


@dataclass(frozen=True, slots=True)
class Entry:
    """One job as the queue sees it. `order` grows with each job; `attempt` counts leases, `kills` the workers that died over it."""

    job_id: str
    client: str
    priority: Priority
    order: int
    stage: Stage = Stage.QUEUED
    attempt: int = 0
    kills: int = 0
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one client may leave here, and how often a job may end its worker."""

    queued: int = QUEUED_PER_CLIENT
    kept: int = JOBS_PER_CLIENT
    spool_bytes: int = SPOOL_BYTES_PER_CLIENT
    kills: int = 3
    """A job that ended three workers is set aside: it must not eat the queue."""
    attempts: int = 30
    """Also when each time the whole computer went down with it."""


def in_order(entries: Iterable[Entry], served: Mapping[str, int]) -> list[Entry]:
    """The queued jobs in the order in which they will be leased.

    Interactive jobs pass batches. Within each, clients take turns: the one that was served longest ago is next (`served`: client -> a
    number that grows with each lease), and each client's own jobs keep their order.
    """
    found: list[Entry] = []
    turns, last = dict(served), max(served.values(), default=0)
    waiting = sorted((entry for entry in entries if entry.stage is Stage.QUEUED), key=lambda entry: -entry.order)
    for priority in (Priority.INTERACTIVE, Priority.BATCH):
        lines: dict[str, list[Entry]] = {}
        for entry in waiting:
            if entry.priority is priority:
                lines.setdefault(entry.client, []).append(entry)
        turn = [(turns.get(client, -1), line[-1].order, client) for client, line in lines.items()]
        heapify(turn)  # with 64 clients and 4,000 jobs, looking through all clients for each job would take a quarter of a second
        while turn:
            client = heappop(turn)[2]
            found.append(lines[client].pop())
            last += 1
            turns[client] = last
            if lines[client]:
                heappush(turn, (last, lines[client][-1].order, client))
    return found


def next_job(entries: Sequence[Entry], served: Mapping[str, int]) -> Entry | None:
    """The job to lease now."""
    waiting = [entry for entry in entries if entry.stage is Stage.QUEUED]
    if not waiting:
        return None
    first = Priority.INTERACTIVE if any(entry.priority is Priority.INTERACTIVE for entry in waiting) else Priority.BATCH
    of_priority = [entry for entry in waiting if entry.priority is first]
    return min(of_priority, key=lambda entry: (served.get(entry.client, -1), entry.order))


def admit(entries: Iterable[Entry], client: str, used_bytes: int, limits: Limits, replaces: str | None = None) -> None:
    """Raise `Busy` if this client has left too much already. The place of a waiting job that the new one `replaces` is free."""
    own = [entry for entry in entries if entry.client == client and not entry.acknowledged]
    queued = sum(entry.stage is Stage.QUEUED and entry.job_id != replaces for entry in own)
    if queued >= limits.queued:
        raise Busy(f"{queued} of your jobs are waiting already. {Busy.cure}")
    if len(own) >= limits.kept:
        raise Busy(f"{len(own)} of your jobs wait to be taken. {Busy.cure}")
    if used_bytes >= limits.spool_bytes:
        raise Busy(f"Your jobs take {used_bytes // 1024**2} MB on the disk, the most that one program may. {Busy.cure}")


def leased(entry: Entry) -> Entry:
    """The job goes to a worker."""
    return replace(entry, stage=Stage.RUNNING, attempt=entry.attempt + 1)


def after_death(entry: Entry, limits: Limits) -> Entry:
    """The job's worker died: once more, or set aside."""
    kills = entry.kills + 1
    again = kills < limits.kills and entry.attempt < limits.attempts
    return replace(entry, kills=kills, stage=Stage.QUEUED if again else Stage.FAILED)


def after_restart(entry: Entry, limits: Limits) -> Entry:
    """The backend itself died and is there again: what ran is queued once more."""
    if entry.stage is not Stage.RUNNING:
        return entry
    return replace(entry, stage=Stage.QUEUED if entry.attempt < limits.attempts else Stage.FAILED)


def may_finish(entry: Entry, attempt: int) -> bool:
    """Whether a report of this attempt still counts; a late one of a worker that was given up does not."""
    return entry.stage is Stage.RUNNING and entry.attempt == attempt
