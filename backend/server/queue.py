"""Which job is next, and what may become of a job: pure functions on frozen values, without clocks, files or sockets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush

from protocol.errors import Busy
from protocol.frozen import frozen
from protocol.limits import JOBS_PER_CLIENT, QUEUED_PER_CLIENT, SPOOL_BYTES_PER_CLIENT
from protocol.messages import Priority, Stage


@frozen
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
    live: str | None = None
    """The stream of pictures that it belongs to, of which at most one job waits."""

    @property
    def line(self) -> str:
        """What takes turns within a client: its ordinary jobs, and each of its live streams. A client's id has no slash."""
        return f"{self.client}/{self.live or ''}"


@frozen
class Limits:
    """How much one client may leave here, and how often a job may end its worker."""

    queued: int = QUEUED_PER_CLIENT
    kept: int = JOBS_PER_CLIENT
    spool_bytes: int = SPOOL_BYTES_PER_CLIENT
    kills: int = 3
    """A job that ended three workers is set aside: it must not eat the queue."""
    attempts: int = 30
    """Also when each time the whole computer went down with it."""


LIVE_RUN = 8
"""So many live jobs pass a batch that waits, then it gets a turn: an artist who paints for an hour must not hold it up for an hour."""


class _Line:
    """The waiting jobs of one priority: clients take turns, and within a client its lines."""

    def __init__(self, waiting: Iterable[Entry], turns: dict[str, int]) -> None:
        self._turns = turns
        self._lines: dict[str, dict[str, list[Entry]]] = {}
        self.left = self.ordinary = 0
        for entry in sorted(waiting, key=lambda entry: -entry.order):
            self._lines.setdefault(entry.client, {}).setdefault(entry.line, []).append(entry)
            self.left += 1
            self.ordinary += entry.live is None
        # With 64 clients and 4,000 jobs, looking through all clients for each job would take a quarter of a second.
        self._heap = [(turns.get(client, -1), self._first(client).order, client) for client in self._lines]
        heapify(self._heap)

    def pop(self, turn: int) -> Entry:
        """The next job, which takes this turn."""
        while True:
            known, _, client = heappop(self._heap)
            entry = self._first(client)
            if known == self._turns.get(client, -1):
                break
            heappush(self._heap, (self._turns[client], entry.order, client))  # it was served from the other priority's line meanwhile
        lines, line = self._lines[client], entry.line
        lines[line].pop()
        if not lines[line]:
            del lines[line]
        self.left -= 1
        self.ordinary -= entry.live is None
        self._turns[client] = self._turns[line] = turn
        if lines:
            heappush(self._heap, (turn, self._first(client).order, client))
        return entry

    def _first(self, client: str) -> Entry:
        heads = [line[-1] for line in self._lines[client].values()]
        if len(heads) == 1:  # as nearly always
            return heads[0]
        return min(heads, key=lambda entry: (self._turns.get(entry.line, -1), entry.order))


def in_order(entries: Iterable[Entry], served: Mapping[str, int], live_run: int = 0) -> list[Entry]:
    """The queued jobs in the order in which they will be leased.

    Interactive jobs pass batches, but after `LIVE_RUN` live ones in a row (`live_run` so far) a batch is next if nothing else waits.
    Within each, clients take turns: the one that was served longest ago is next (`served`: client or line -> a number that grows with each
    lease); within a client its lines take turns, and each line keeps its order.
    """
    turns, last = dict(served), max(served.values(), default=0)
    waiting = [entry for entry in entries if entry.stage is Stage.QUEUED]
    now = _Line((entry for entry in waiting if entry.priority is Priority.INTERACTIVE), turns)
    batch = _Line((entry for entry in waiting if entry.priority is Priority.BATCH), turns)
    found: list[Entry] = []
    while now.left or batch.left:
        last += 1
        tired = live_run >= LIVE_RUN and not now.ordinary and batch.left
        found.append((batch if tired or not now.left else now).pop(last))
        live_run = live_run_after(found[-1], live_run)
    return found


def next_job(entries: Sequence[Entry], served: Mapping[str, int], live_run: int = 0) -> Entry | None:
    """The job to lease now: the first of `in_order`."""
    waiting = [entry for entry in entries if entry.stage is Stage.QUEUED]
    if not waiting:
        return None
    interactive = [entry for entry in waiting if entry.priority is Priority.INTERACTIVE]
    batch = [entry for entry in waiting if entry.priority is Priority.BATCH]
    tired = live_run >= LIVE_RUN and batch and all(entry.live is not None for entry in interactive)
    chosen = batch if tired or not interactive else interactive
    heads: dict[str, Entry] = {}
    for entry in sorted(chosen, key=lambda entry: (served.get(entry.line, -1), entry.order)):
        heads.setdefault(entry.client, entry)
    return min(heads.values(), key=lambda entry: (served.get(entry.client, -1), entry.order))


def live_run_after(entry: Entry, live_run: int) -> int:
    """How many live jobs were leased in a row, once this one is."""
    return live_run + 1 if entry.live is not None else 0


def gives_way(step: int | None, steps: int | None, in_a_row: bool) -> bool:
    """Whether a live job that runs is cancelled for a newer one: as long as more of it is to come than is done.

    Never the second `in_a_row`: whoever paints without a pause would otherwise never see a picture.
    """
    return not in_a_row and (step is None or steps is None or 2 * step < steps)


def admit(entries: Iterable[Entry], client: str, used_bytes: int, limits: Limits, replaces: Collection[str] = ()) -> None:
    """Raise `Busy` if this client has left too much already. The places of waiting jobs that the new one `replaces` are free."""
    own = [entry for entry in entries if entry.client == client and not entry.acknowledged]
    queued = sum(entry.stage is Stage.QUEUED and entry.job_id not in replaces for entry in own)
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
