"""A batch at the backend: several jobs at once, under a client id that outlives the script, so that what was begun is found again."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from protocol.codec import Codec
from protocol.discovery import write_private
from protocol.errors import BackendUnavailable, ConnectionProblem, LikenessError
from protocol.jobs import Job, PictureJob
from protocol.messages import Priority
from protocol.results import Pictures

from .pictures import Results, numbered, results_of
from .session import TURN_S, Session

RECORD = ".likeness-batch"
_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Order:
    """One result's name and how its job is made: when it is its turn, so that the photos of all are not in memory at once."""

    name: str
    make: Callable[[], PictureJob]
    count: int = 1
    """How many pictures the job gives."""

    @property
    def files(self) -> list[str]:
        """What it saves: the name alone, then numbered."""
        return [path.name for path in numbered(Path(f"{self.name}.png"), self.count)]


class Record:
    """Which jobs of a batch are at the backend, and under which client id: a private file in the folder of the results.

    It is written before a job is sent and after its pictures are saved, whole or not at all: whenever the script is killed, the next run
    knows every job that may be there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORD
        self.client, self._jobs = self._read()

    def job_id(self, name: str, job: Job) -> tuple[str, str | None]:
        """The id of an order's job, written down; and the id that it had, if that was another job (its prompt was changed, say)."""
        digest = _digest(job)
        known, of = self._jobs.get(name, ("", ""))
        if known and of == digest:
            return known, None
        self._jobs[name] = uuid.uuid4().hex, digest
        self._write()
        return self._jobs[name][0], known or None

    def known(self, name: str) -> str | None:
        """The id that this order's job has at the backend, if it may be there."""
        return self._jobs[name][0] if name in self._jobs else None

    def forget(self, name: str) -> None:
        """The order's job is over, and its pictures are safe."""
        if self._jobs.pop(name, None) is not None:
            self._write()

    def _write(self) -> None:
        write_private(self._path, json.dumps({"client": self.client, "jobs": self._jobs}).encode())

    def _read(self) -> tuple[str, dict[str, tuple[str, str]]]:
        """What is written there; a file that is no record (or none at all) is a new beginning."""
        try:
            found = cast("dict[str, object]", json.loads(self._path.read_bytes()))
            client, jobs = str(found["client"]), cast("dict[str, list[str]]", found["jobs"])
            kept = {str(name): (job_id, digest) for name, (job_id, digest) in jobs.items() if _ID.fullmatch(job_id)}
            if _ID.fullmatch(client):
                return client, kept
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return uuid.uuid4().hex, {}


class BatchSession(Session):
    """The client of a batch. What it leaves without a word goes on at the backend, and is found there by the record."""

    def begin(self, record: Record, name: str, job: PictureJob) -> str:
        """Send an order's job, or take up the one that an earlier run sent."""
        job_id, other = record.job_id(name, job)
        if other is not None:
            self._client.acknowledge(other)  # nobody wants it any more
        if (known := self._client.jobs().get(job_id)) is not None:
            self._events.append(known)  # the heartbeat told of it before it was begun, and tells nothing twice
        self._submit(job, Priority.BATCH, job_id)
        return job_id

    def look(self, job_id: str, job: PictureJob) -> Results | None:
        """The job's pictures once they are there; the backend keeps them until `done`. Raises the job's error."""
        for event in self._take(job_id):
            outcome = self._settled(job_id, event, keep=True)
            if isinstance(outcome, Pictures):
                return results_of(outcome, job)
        return None

    def wait(self) -> None:
        """Until something comes, or for a moment."""
        self._client.wait(TURN_S)

    def done(self, job_id: str) -> None:
        """The pictures are safe, or nobody wants them: the backend may forget the job, and stops one that is not over."""
        self._leave(job_id)
        self._client.acknowledge(job_id)


@dataclass(frozen=True)
class _Begun:
    order: Order
    job: PictureJob
    job_id: str


class Batch:
    """The orders at work, at most `most` at once. `save` keeps an order's pictures, and says where the first one is."""

    def __init__(self, session: BatchSession, record: Record, most: int, save: Callable[[Order, Results], Path]) -> None:
        self._session, self._record, self._most, self._save = session, record, most, save
        self._begun: list[_Begun] = []
        self._failed: LikenessError | None = None

    def run(self, orders: Sequence[Order]) -> Iterator[tuple[Order, Path]]:
        """Each order that is done, with its first file. After the first that fails none is begun; then its error is raised.

        Whatever else ends this leaves what is at work to the backend, and to the next run.
        """
        waiting = deque(orders)
        while self._begun or (waiting and self._failed is None):
            while waiting and self._failed is None and len(self._begun) < self._most:
                self._begin(waiting.popleft())
            for one in tuple(self._begun):
                if (path := self._finish(one)) is not None:
                    yield one.order, path
            self._session.wait()
        if self._failed is not None:
            raise self._failed

    def cancel(self) -> None:
        """Nobody wants what is at work."""
        for one in self._begun:
            self._record.forget(one.order.name)
            self._session.done(one.job_id)

    def _begin(self, order: Order) -> None:
        try:
            job = order.make()
            self._begun.append(_Begun(order, job, self._session.begin(self._record, order.name, job)))
        except LikenessError as error:
            self._fail(order, error)

    def _finish(self, one: _Begun) -> Path | None:
        try:
            results = self._session.look(one.job_id, one.job)
        except (BackendUnavailable, ConnectionProblem):
            raise  # this says nothing of the job, which may still be there
        except LikenessError as error:
            self._begun.remove(one)
            self._fail(one.order, error)
            self._session.done(one.job_id)
            return None
        if results is None:
            return None
        path = self._save(one.order, results)
        self._begun.remove(one)
        self._session.done(one.job_id)
        self._record.forget(one.order.name)
        return path

    def _fail(self, order: Order, error: LikenessError) -> None:
        """The first failure is told, with the order's name: of a hundred photos, which one. The next run begins the order anew."""
        self._record.forget(order.name)
        if self._failed is None:
            self._failed = type(error)(f"{order.name}: {error}")
            self._failed.__cause__ = error


def _digest(job: Job) -> str:
    """Of everything that the job says."""
    header, planes = Codec[Job](get_args(Job)).encode_header(job)
    digest = hashlib.blake2b(header, digest_size=16)
    for plane in planes:
        digest.update(plane)
    return digest.hexdigest()
