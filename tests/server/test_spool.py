from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from backend.planefile import map_planes, write_planes
from backend.server import spool as spool_module
from backend.server.queue import Entry, leased
from backend.server.spool import Spool
from protocol.errors import DiskFull, Interrupted, SpoolUnusable
from protocol.messages import Priority, Stage


def entry(number: int, **more: object) -> Entry:
    return Entry(f"{number:032x}", "c" * 32, Priority.INTERACTIVE, number, **more)


def add(spool: Spool, number: int, planes: tuple[bytes, ...] = (b"pixels", b"mask")) -> Entry:
    job = entry(number)
    spool.add(job, "note", b"header %d" % number, planes)
    return job


def run(spool: Spool, job: Entry) -> Entry:
    running = leased(job)
    spool.save(running)
    return running


def finish(spool: Spool, running: Entry, result: bytes = b"result") -> bool:
    write_planes(spool.output_path(running.job_id, running.attempt), [result])
    return spool.finish(replace(running, stage=Stage.DONE), b"outcome", [len(result)], None)


def stages(spool: Spool) -> dict[int, Stage]:
    return {kept.entry.order: kept.entry.stage for kept in spool.load()}


def test_a_job_is_kept_over_a_restart_with_all_that_is_its(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    job = add(spool, 1)
    spool.close()
    again = Spool(tmp_path / "spool")
    (kept,) = again.load()
    blob = again.job(job.job_id)
    assert (kept.entry, kept.note, kept.input_bytes, blob.header) == (job, "note", 10, b"header 1")
    assert [bytes(plane) for plane in map_planes(blob.path, blob.lengths)] == [b"pixels", b"mask"]


def test_whether_a_client_ever_had_the_file_open_is_kept_over_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    framed, handed = add(spool, 1), entry(2)
    taken = spool.planes_folder / "2.taken"
    taken.write_bytes(b"pixels")
    spool.add(handed, "note", b"header", (b"pixels",), taken)
    spool.close()
    again = Spool(tmp_path / "spool")
    assert [again.job(job.job_id).own for job in (framed, handed)] == [True, False]


def test_of_a_file_that_an_earlier_release_kept_nobody_knows_who_had_it_open(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    job = add(spool, 1)
    spool.close()
    with sqlite3.connect(tmp_path / "spool" / "spool.sqlite") as base:
        base.execute("ALTER TABLE jobs DROP COLUMN own")
        base.execute("ALTER TABLE jobs DROP COLUMN live")
    blob = Spool(tmp_path / "spool").job(job.job_id)
    assert (blob.own, blob.header) == (False, b"header 1")


def test_a_result_is_kept_and_the_input_deleted_once_it_is_on_the_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    running = run(spool, add(spool, 1))
    assert finish(spool, running)
    assert spool.input_path(running.job_id).exists()
    spool.close()
    again = Spool(tmp_path / "spool")
    assert not again.input_path(running.job_id).exists()
    outcome = again.outcome(running.job_id)
    assert [bytes(plane) for plane in map_planes(outcome.path, outcome.lengths)] == [b"result"]


def test_a_late_result_of_an_earlier_attempt_changes_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    first = run(spool, add(spool, 1))
    second = run(spool, replace(first, stage=Stage.QUEUED))
    assert not finish(spool, first, b"late")
    assert finish(spool, second, b"right")
    assert not finish(spool, second, b"twice")
    outcome = spool.outcome(second.job_id)
    assert bytes(map_planes(outcome.path, outcome.lengths)[0]) == b"right"


def test_the_same_job_is_told_from_another_by_every_byte(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    job = add(spool, 1)
    assert spool.same(job.job_id, b"header 1", [b"pixels", b"mask"])
    assert not spool.same(job.job_id, b"header 2", [b"pixels", b"mask"])
    assert not spool.same(job.job_id, b"header 1", [b"pixelz", b"mask"])
    assert not spool.same(job.job_id, b"header 1", [b"pixelsm", b"ask"])


def test_forgetting_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    running = run(spool, add(spool, 1))
    finish(spool, running)
    spool.forget([running])
    assert list((tmp_path / "spool" / "planes").iterdir()) == []
    assert spool.load() == []


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_files_are_the_users_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    add(spool, 1)
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert spool.input_path(entry(1).job_id).stat().st_mode & 0o777 == 0o600


# Deaths ------------------------------------------------------------------------------------------------------------------------------
def live_until(folder: Path, name: str) -> str:
    """A process of its own does jobs 2 and 3 in `folder`, and is killed at the point `name`; how far it came."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            spool = Spool(folder, point=lambda point: os.kill(os.getpid(), signal.SIGKILL) if point == name else None)
            running = run(spool, add(spool, 2))
            os.write(writer, b"added ")
            finish(spool, running)
            os.write(writer, b"finished ")
            spool.end(replace(add(spool, 3), stage=Stage.CANCELLED), ("cancelled", "x"))
        finally:
            os._exit(0)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, "it must have been killed at its point"
    with os.fdopen(reader) as said:
        return said.read()


POINTS = ["add.written", "add.renamed", "add.committed", "save.committed", "finish.renamed", "finish.committed", "end.committed"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("name", POINTS)
def test_a_kill_at_any_step_loses_nothing_that_was_accepted_and_leaves_no_stray_file(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "spool"
    spool = Spool(folder)
    add(spool, 1)
    spool.close()
    came = live_until(folder, name)
    again = Spool(folder)
    found = stages(again)
    assert found.pop(1) is Stage.QUEUED
    if "added" in came or name == "add.committed":
        assert found[2] in (Stage.QUEUED, Stage.RUNNING, Stage.DONE)
    if "finished" in came:
        assert found[2] is Stage.DONE
    check_invariants(again)


def check_invariants(spool: Spool) -> None:
    """Every row has what it needs, every file its row."""
    needed = set()
    for kept in spool.load():
        job_id = kept.entry.job_id
        if kept.entry.stage is Stage.FAILED:
            assert kept.fault is not None
        elif kept.entry.stage is Stage.DONE:
            blob = spool.outcome(job_id)
            assert [len(plane) for plane in map_planes(blob.path, blob.lengths)] == list(blob.lengths)
            needed.add(blob.path.name)
        elif not kept.entry.stage.final:
            blob = spool.job(job_id)
            assert [len(plane) for plane in map_planes(blob.path, blob.lengths)] == list(blob.lengths)
            needed.add(blob.path.name)
    assert {path.name for path in (spool.folder / "planes").iterdir()} == needed


def test_a_power_cut_at_any_moment_leaves_a_spool_that_opens_and_keeps_its_invariants(tmp_path: Path) -> None:
    """The disk has any prefix of the log, and of each file written since it was last flushed nothing, a part, zeros, or all."""
    rng = random.Random(11)
    folder = tmp_path / "spool"
    spool = Spool(folder, boot="before")
    spool._flusher.close()  # nothing more goes through to the disk
    done = [run(spool, add(spool, number)) for number in range(1, 6)]
    for running in done[:3]:
        finish(spool, running)
    add(spool, 6)
    log = (folder / "spool.sqlite-wal").read_bytes()
    for cut in sorted({0, 31, 32, len(log), *(rng.randrange(len(log)) for _ in range(40))}):
        copy = tmp_path / f"cut {cut}"
        shutil.copytree(folder, copy)
        (copy / "spool.sqlite-shm").unlink(missing_ok=True)
        (copy / "spool.sqlite-wal").write_bytes(log[:cut])
        for path in (copy / "planes").iterdir():
            damage(path, rng)
        after = Spool(copy, boot="after")
        check_invariants(after)
        assert all(stage in (Stage.FAILED, Stage.RUNNING, Stage.QUEUED, Stage.DONE) for stage in stages(after).values())
        add(after, 7)
        after.close()


def damage(path: Path, rng: random.Random) -> None:
    size = path.stat().st_size
    match rng.randrange(4):
        case 0:
            path.unlink()
        case 1:
            path.write_bytes(path.read_bytes()[: rng.randrange(size)])
        case 2:
            path.write_bytes(bytes(size))
        case _:
            pass


def with_a_flushed_job(tmp_path: Path) -> Spool:
    """A spool whose job 1 is through to the disk, and from which nothing more goes there."""
    first = Spool(tmp_path / "spool", boot="before")
    add(first, 1)
    first.close()
    spool = Spool(tmp_path / "spool", boot="before")
    spool._flusher.close()
    return spool


def test_after_a_power_cut_what_was_flushed_is_there_and_what_was_not_is_said(tmp_path: Path) -> None:
    spool = with_a_flushed_job(tmp_path)
    add(spool, 2)
    spool._base.close()
    again = Spool(tmp_path / "spool", boot="after")
    assert stages(again) == {1: Stage.QUEUED, 2: Stage.FAILED}
    assert [kept.fault[0] for kept in again.load() if kept.fault] == [Interrupted.code]


def test_after_a_power_cut_a_flushed_job_whose_result_was_not_flushed_is_done_again(tmp_path: Path) -> None:
    spool = with_a_flushed_job(tmp_path)
    (entry,) = [kept.entry for kept in spool.load()]
    running = leased(entry)
    spool.save(running)
    finish(spool, running)
    spool._base.close()
    again = Spool(tmp_path / "spool", boot="after")
    assert stages(again) == {1: Stage.QUEUED}
    blob = again.job(entry.job_id)
    assert blob.path.stat().st_size == sum(blob.lengths)


def test_the_death_of_the_process_alone_needs_no_flush(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", boot="same")
    spool._flusher.close()
    add(spool, 1)
    spool._base.close()
    assert stages(Spool(tmp_path / "spool", boot="same")) == {1: Stage.QUEUED}


# Disks -------------------------------------------------------------------------------------------------------------------------------
def test_a_job_that_does_not_fit_is_refused_with_what_it_needs_and_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", reserve=1 << 62)
    with pytest.raises(DiskFull, match=r"needs .* MB .* is free"):
        add(spool, 1)
    assert spool.load() == []
    assert list((tmp_path / "spool" / "planes").iterdir()) == []


def test_a_disk_that_becomes_full_in_the_middle_is_said_and_the_next_job_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool")
    add(spool, 1)

    def full(path: Path, planes: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(spool_module, "write_planes", full)
        with pytest.raises(DiskFull, match="waiting jobs are kept"):
            add(spool, 2)
    add(spool, 2)
    assert stages(spool) == {1: Stage.QUEUED, 2: Stage.QUEUED}
    check_invariants(spool)


def test_a_full_disk_under_the_table_is_said_too(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    add(spool, 1)
    (pages,) = spool._base.execute("PRAGMA page_count").fetchone()
    spool._base.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DiskFull):
        spool.add(entry(2), "note", b"h" * 60_000, (b"x",))
    spool._base.execute("PRAGMA max_page_count=1000000")
    add(spool, 3)
    spool.close()
    again = Spool(tmp_path / "spool")
    assert stages(again) == {1: Stage.QUEUED, 3: Stage.QUEUED}
    check_invariants(again)


def test_a_spool_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool")
    spool._base.execute("PRAGMA query_only=1")
    with pytest.raises(SpoolUnusable, match="Check the rights"):
        add(spool, 1)
    with pytest.raises(SpoolUnusable):
        spool.save(entry(1))


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolUnusable):
        Spool(tmp_path / "file")


def test_a_base_that_is_damaged_is_said(tmp_path: Path) -> None:
    Spool(tmp_path / "spool").close()
    (tmp_path / "spool" / "spool.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(SpoolUnusable):
        Spool(tmp_path / "spool")


def test_ten_jobs_a_hundred_times_leave_the_base_small(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    sizes = []
    for hundred in range(4):
        for number in range(100):
            job = add(spool, hundred * 100 + number)
            running = run(spool, job)
            finish(spool, running)
            spool.forget([running])
        sizes.append((tmp_path / "spool" / "spool.sqlite").stat().st_size)
    assert sizes[-1] <= max(sizes[1], 200_000)
    assert isinstance(spool._base, sqlite3.Connection)
