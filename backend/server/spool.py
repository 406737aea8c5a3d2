"""Where jobs are kept: one SQLite file, and per job one file with its planes and one with its result's. Keeps; decides nothing.

Accepted means kept. The death of any process loses nothing, since the page cache outlives it. Against a power cut, a thread writes new
files and the write-ahead log through to the disk within a second; nobody waits for it. A job that was not through when the power went is
failed with `Interrupted` at the next start, and the file opens clean: SQLite replays its log up to the last whole transaction.

Order of each step: planes to a temporary file, rename, then the row. So a row always has its file, and a file without a row is swept.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from protocol.discovery import make_private_folder
from protocol.errors import DiskFull, Interrupted, ServiceError, SpoolUnusable
from protocol.frozen import frozen
from protocol.limits import DISK_RESERVE_BYTES
from protocol.messages import Priority, Stage
from protocol.version import VERSION, Version

from ..planefile import Buffer, read_planes, write_planes
from .flush import Flusher
from .queue import Entry

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    job_id TEXT PRIMARY KEY, client TEXT NOT NULL, priority TEXT NOT NULL, "order" INTEGER NOT NULL, stage TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0, kills INTEGER NOT NULL DEFAULT 0, note TEXT NOT NULL, version TEXT NOT NULL,
    header BLOB NOT NULL, lengths TEXT NOT NULL, flushed INTEGER NOT NULL DEFAULT 0,
    outcome BLOB, out_attempt INTEGER, out_lengths TEXT NOT NULL DEFAULT '', code TEXT, sentence TEXT, acknowledged REAL, live TEXT,
    own INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@frozen
class Kept:
    """One job as it lies in the spool, without its planes."""

    entry: Entry
    note: str
    input_bytes: int
    output_bytes: int
    fault: tuple[str, str] | None
    """Wire code and sentence."""
    acknowledged: float | None
    """When, in seconds since 1970."""


@frozen
class Blob:
    """A header and where its planes lie."""

    header: bytes
    version: Version
    path: Path
    lengths: tuple[int, ...]
    own: bool = False
    """The server wrote this file, and no client ever had it open, so nobody makes it shorter."""


class Spool:
    """The jobs in `folder`. `boot` names this run of the computer; `point` is told each step, so that tests can pull the plug there."""

    def __init__(
        self, folder: Path, *, boot: str | None = None, point: Callable[[str], None] = lambda name: None, reserve: int = DISK_RESERVE_BYTES
    ) -> None:
        self.folder = folder
        self.planes_folder = self._planes = folder / "planes"
        self._point, self._reserve = point, reserve
        with _as_errors(folder, 0):
            make_private_folder(folder)
            make_private_folder(self._planes)
            self._base = sqlite3.connect(folder / "spool.sqlite", isolation_level=None, timeout=2.0)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute("PRAGMA cache_size=-512")  # KiB; rows are looked up by their key, and the server stays small
            self._base.executescript(_SCHEMA)
            there = {row[1] for row in self._base.execute("PRAGMA table_info(jobs)")}
            for column in ("live TEXT", "own INTEGER NOT NULL DEFAULT 0"):  # which earlier releases did not keep
                if column.split()[0] not in there:
                    self._base.execute(f"ALTER TABLE jobs ADD COLUMN {column}")
            self._recover(boot or boot_name())
        self._flusher = Flusher(folder / "spool.sqlite-wal")

    # A job comes ------------------------------------------------------------------------------------------------------------------------
    def add(self, entry: Entry, note: str, header: bytes, planes: Sequence[Buffer], taken: Path | None = None) -> None:
        """Keep a new job. When this returns, the death of any process does not lose it. Raises `DiskFull` or `SpoolUnusable`.

        `taken` is a file in `planes_folder` that has the planes already, and is renamed.
        """
        needed = sum(memoryview(plane).nbytes for plane in planes) if taken is None else 0
        self.check_room(needed)
        path = self.input_path(entry.job_id)
        with _as_errors(self.folder, needed):
            if taken is not None:
                os.replace(taken, path)
            elif planes:
                temporary = path.with_suffix(".new")
                try:
                    write_planes(temporary, planes)
                except OSError:
                    temporary.unlink(missing_ok=True)
                    raise
                self._point("add.written")
                os.replace(temporary, path)
            self._point("add.renamed")
            self._base.execute(
                'INSERT INTO jobs (job_id, client, priority, "order", stage, note, version, header, lengths, live, own) '
                "VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                (
                    entry.job_id,
                    entry.client,
                    entry.priority.value,
                    entry.order,
                    entry.stage.value,
                    note,
                    f"{VERSION.major}.{VERSION.minor}",
                    header,
                    _join([memoryview(plane).nbytes for plane in planes]),
                    entry.live,
                    taken is None,
                ),
            )
            self._point("add.committed")
        self._flusher.add((entry.job_id, None), path if planes else None)

    def same(self, job_id: str, header: bytes, planes: Sequence[Buffer]) -> bool:
        """Whether the job that is kept under this id is this one. Planes are compared as long as they are needed and so kept."""
        kept = self.job(job_id)
        if kept.header != header or [memoryview(plane).nbytes for plane in planes] != list(kept.lengths):
            return False
        try:
            mine = read_planes(kept.path, kept.lengths)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return all(one == other for one, other in zip(mine, planes, strict=True))

    # A job moves ------------------------------------------------------------------------------------------------------------------------
    def save(self, entry: Entry) -> None:
        """Keep the stage and the counters of a job."""
        with _as_errors(self.folder, 0):
            self._base.execute(
                "UPDATE jobs SET stage=?, attempt=?, kills=? WHERE job_id=?", (entry.stage.value, entry.attempt, entry.kills, entry.job_id)
            )
            self._point("save.committed")

    def end(self, entry: Entry, fault: tuple[str, str]) -> None:
        """Keep that a job is over without an outcome, and why."""
        with _as_errors(self.folder, 0):
            self._base.execute(
                "UPDATE jobs SET stage=?, attempt=?, kills=?, code=?, sentence=? WHERE job_id=?",
                (entry.stage.value, entry.attempt, entry.kills, *fault, entry.job_id),
            )
            self._point("end.committed")
        self._flusher.add((entry.job_id, None), None)

    def finish(self, entry: Entry, outcome: bytes | None, lengths: Sequence[int], fault: tuple[str, str] | None) -> bool:
        """Keep the end of an attempt: an outcome (its planes lie in `output_path`) or a fault. False: that attempt counts no more.

        It must be the attempt that runs, so that a worker that was given up cannot overwrite the result of another.
        """
        temporary, path = self.output_path(entry.job_id, entry.attempt), self._result_path(entry.job_id, entry.attempt)
        with _as_errors(self.folder, 0):
            counts = self._base.execute(
                "SELECT 1 FROM jobs WHERE job_id=? AND stage='running' AND attempt=?", (entry.job_id, entry.attempt)
            ).fetchone()
            if counts is None:  # nobody else writes to this base, so what is read here still holds below
                temporary.unlink(missing_ok=True)
                return False
            if outcome is not None and temporary.exists():
                os.replace(temporary, path)
            self._point("finish.renamed")
            code, sentence = fault or (None, None)
            self._base.execute(
                "UPDATE jobs SET stage=?, kills=?, outcome=?, out_attempt=?, out_lengths=?, code=?, sentence=?, flushed=2*(flushed>0) "
                "WHERE job_id=?",  # 2: the job is through to the disk, its result not yet
                (entry.stage.value, entry.kills, outcome, entry.attempt, _join(lengths), code, sentence, entry.job_id),
            )
            self._point("finish.committed")
        self._flusher.add((entry.job_id, entry.attempt), path if lengths else None)
        return True

    def acknowledge(self, job_id: str, now: float) -> None:
        """The client has it."""
        with _as_errors(self.folder, 0):
            self._base.execute("UPDATE jobs SET acknowledged=? WHERE job_id=? AND acknowledged IS NULL", (now, job_id))

    def forget(self, entries: Sequence[Entry]) -> None:
        """Delete jobs and all that is theirs."""
        with _as_errors(self.folder, 0):
            self._base.executemany("DELETE FROM jobs WHERE job_id=?", [(entry.job_id,) for entry in entries])
        for entry in entries:
            _discard(self.input_path(entry.job_id))
            for attempt in range(1, entry.attempt + 1):
                _discard(self._result_path(entry.job_id, attempt))
                _discard(self.output_path(entry.job_id, attempt))

    def discard_part(self, job_id: str, attempt: int) -> None:
        """Delete what an attempt that does not count any more left of its result."""
        _discard(self.output_path(job_id, attempt))

    def note_flushed(self) -> None:
        """Note which jobs are through to the disk by now; the planes of those that are over are deleted."""
        done = self._flusher.done()
        if not done:
            return
        with _as_errors(self.folder, 0):
            self._base.executemany("UPDATE jobs SET flushed=1 WHERE job_id=? AND out_attempt IS ?", done)
        for job_id, _ in done:
            row = self._base.execute("SELECT stage FROM jobs WHERE job_id=?", (job_id,)).fetchone()
            if row is None or Stage(row[0]).final:
                _discard(self.input_path(job_id))

    # What is there ----------------------------------------------------------------------------------------------------------------------
    def load(self) -> list[Kept]:
        """Every job."""
        columns = 'job_id, client, priority, "order", stage, attempt, kills, note, lengths, out_lengths, code, sentence, acknowledged, live'
        return [_kept(row) for row in self._base.execute(f"SELECT {columns} FROM jobs")]

    def job(self, job_id: str) -> Blob:
        """The job as it came; `KeyError` if there is none."""
        query = "SELECT header, version, lengths, own FROM jobs WHERE job_id=?"
        header, version, lengths, own = self._row(query, job_id)
        return Blob(header, _version(version), self.input_path(job_id), _split(lengths), bool(own))

    def outcome(self, job_id: str) -> Blob:
        """The outcome of a job that is done; `KeyError` if there is none."""
        query = "SELECT outcome, version, out_lengths, out_attempt FROM jobs WHERE job_id=? AND outcome IS NOT NULL"
        outcome, version, lengths, attempt = self._row(query, job_id)
        return Blob(outcome, _version(version), self._result_path(job_id, attempt), _split(lengths))

    def input_path(self, job_id: str) -> Path:
        """The planes of a job."""
        return self._planes / f"{job_id}.in"

    def output_path(self, job_id: str, attempt: int) -> Path:
        """Where the worker of this attempt writes its planes."""
        return self._planes / f"{job_id}.{attempt}.part"

    def disk_free(self) -> int:
        """Bytes free where the spool lies."""
        return shutil.disk_usage(self.folder).free

    def close(self) -> None:
        """Write everything through and close."""
        self._flusher.close()
        try:
            self.note_flushed()
            self._base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (sqlite3.Error, ServiceError):
            pass  # it opens from its log the next time
        self._base.close()

    # Inside -----------------------------------------------------------------------------------------------------------------------------
    def _row(self, query: str, job_id: str) -> tuple[Any, ...]:
        with _as_errors(self.folder, 0):
            row = self._base.execute(query, (job_id,)).fetchone()
        if row is None:
            raise KeyError(job_id)
        return row

    def _result_path(self, job_id: str, attempt: int) -> Path:
        return self._planes / f"{job_id}.{attempt}.out"

    def check_room(self, needed: int) -> None:
        """Raise `DiskFull` if `needed` bytes and the reserve are not free."""
        free = self.disk_free()
        if free < needed + self._reserve:
            raise _disk_full(self.folder, needed + self._reserve, free)

    def _recover(self, boot: str) -> None:
        """Sweep what no row owns; fail what a power cut left without its planes."""
        known = dict(self._base.execute("SELECT name, value FROM facts"))
        power_cut = known.get("boot", boot) != boot
        self._base.execute("INSERT OR REPLACE INTO facts VALUES ('boot', ?)", (boot,))
        owned: set[str] = set()
        for kept in self.load():
            job_id, stage = kept.entry.job_id, kept.entry.stage
            blob = self.outcome(job_id) if stage is Stage.DONE else self.job(job_id)
            if not stage.final or stage is Stage.DONE:
                if self._is_whole(blob, job_id, power_cut):
                    owned.add(blob.path.name)
                elif stage is Stage.DONE and self._lies_there(self.job(job_id)) and self._flushed(job_id) == 2:
                    owned.add(self.input_path(job_id).name)  # kept until the result was through to the disk, so it can be done again
                    self._again(kept.entry)
                else:
                    self._interrupt(kept.entry)
        for path in self._planes.iterdir():
            if path.name not in owned:
                path.unlink(missing_ok=True)

    def _lies_there(self, blob: Blob) -> bool:
        return not blob.lengths or (blob.path.exists() and blob.path.stat().st_size == sum(blob.lengths))

    def _again(self, entry: Entry) -> None:
        self._base.execute(
            "UPDATE jobs SET stage=?, outcome=NULL, out_lengths='', out_attempt=NULL, flushed=1 WHERE job_id=?",
            (Stage.QUEUED.value, entry.job_id),
        )

    def _is_whole(self, blob: Blob, job_id: str, power_cut: bool) -> bool:
        if not blob.lengths:
            return True
        if not self._lies_there(blob):
            return False
        return self._flushed(job_id) == 1 or not power_cut

    def _flushed(self, job_id: str) -> int:
        return int(self._base.execute("SELECT flushed FROM jobs WHERE job_id=?", (job_id,)).fetchone()[0])

    def _interrupt(self, entry: Entry) -> None:
        self._base.execute(
            "UPDATE jobs SET stage=?, outcome=NULL, out_lengths='', code=?, sentence=? WHERE job_id=?",
            (Stage.FAILED.value, Interrupted.code, str(Interrupted()), entry.job_id),
        )


def _version(said: str) -> Version:
    return Version(*map(int, said.split(".")))


def _kept(row: tuple[Any, ...]) -> Kept:
    job_id, client, priority, order, stage, attempt, kills, note, lengths, out_lengths, code, sentence, acknowledged, live = row
    entry = Entry(job_id, client, Priority(priority), order, Stage(stage), attempt, kills, acknowledged is not None, live)
    fault = None if code is None else (code, sentence)
    return Kept(entry, note, sum(_split(lengths)), sum(_split(out_lengths)), fault, acknowledged)


def _discard(path: Path) -> None:
    """Delete a file that nobody needs; what cannot be deleted now is swept at the next start."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def boot_name() -> str:
    """A name of this run of the computer: another one after each start."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"{sys.platform}-{round((time.time() - time.monotonic()) / 120)}"  # within two minutes: clocks are corrected


@contextmanager
def _as_errors(folder: Path, needed: int) -> Generator[None]:
    """What the system says, as errors of the tree."""
    try:
        yield
    except sqlite3.Error as error:
        if "full" in str(error):
            raise _disk_full(folder, needed, 0) from error
        raise SpoolUnusable(f"The jobs in {folder} cannot be kept ({error}). {SpoolUnusable.cure}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(folder, needed, 0) from error
        raise SpoolUnusable(f"The folder {folder} cannot be written or read ({error.strerror}). {SpoolUnusable.cure}") from error


def _disk_full(folder: Path, needed: int, free: int) -> DiskFull:
    return DiskFull(f"The job needs {needed / 1e6:.0f} MB on the drive of {folder}, {free / 1e6:.0f} MB is free. {DiskFull.cure}")


def _join(lengths: Sequence[int]) -> str:
    return ",".join(map(str, lengths))


def _split(lengths: str) -> tuple[int, ...]:
    return tuple(int(length) for length in lengths.split(",") if length)
