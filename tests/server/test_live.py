"""Pictures that follow the brush: however fast live jobs come, one waits, pictures appear, the last is drawn, and nobody else starves."""

from __future__ import annotations

import itertools
import random
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from inner_backend import InnerBackend
from running_backend import Pair, job, setup
from scripted_worker import let_go

from backend.server.queue import LIVE_RUN, Entry, gives_way, in_order, live_run_after, next_job
from backend.server.spool import Spool
from protocol.geometry import Extent
from protocol.jobs import PictureJob
from protocol.messages import JobUpdate, Priority, Stage, Submit

SMALL = PictureJob("small", extent=Extent(8, 8), preview_every=0)
ME = f"{1:032x}"
BATCH, NOW = Priority.BATCH, Priority.INTERACTIVE


def entry(order: int, client: str = "a", live: str | None = None, priority: Priority = NOW) -> Entry:
    return Entry(f"job {order}", client, priority, order, live=live)


def served_in_turn(entries: list[Entry], served: dict[str, int], live_run: int) -> list[Entry]:
    """Lease all, one after another, as the dispatcher does."""
    served, waiting, done = dict(served), list(entries), []
    while (chosen := next_job(waiting, served, live_run)) is not None:
        waiting.remove(chosen)
        served[chosen.client] = served[chosen.line] = max(served.values(), default=0) + 1
        live_run = live_run_after(chosen, live_run)
        done.append(chosen)
    return done


# The queue's rules ------------------------------------------------------------------------------------------------------------------
def test_live_pictures_and_ordinary_ones_of_a_client_take_turns() -> None:
    jobs = [entry(n) for n in range(3)] + [entry(10 + n, live="brush") for n in range(2)]
    assert [e.order for e in served_in_turn(jobs, {}, 0)] == [0, 10, 1, 11, 2]


def test_a_batch_gets_a_turn_although_live_pictures_never_end() -> None:
    waiting, served, live_run, order = [entry(0, priority=BATCH)], {}, 0, 1
    for turn in range(LIVE_RUN + 1):
        waiting.append(entry(order, live="brush"))
        order += 1
        chosen = next_job(waiting, served, live_run)
        waiting.remove(chosen)
        live_run = live_run_after(chosen, live_run)
        assert (chosen.priority is BATCH) == (turn == LIVE_RUN)


def test_the_order_that_is_told_is_the_order_in_which_live_jobs_are_leased_too() -> None:
    rng = random.Random(7)
    for _ in range(300):
        live_run = rng.choice([0, LIVE_RUN - 1, LIVE_RUN])
        jobs = [
            entry(n, rng.choice("abc"), rng.choice([None, None, "brush", "pose"]), rng.choice([BATCH, NOW]))
            for n in rng.sample(range(50), rng.randint(0, 12))
        ]
        served = {name: n for n, name in enumerate(rng.sample(["a", "b", "a/brush", "a/", "b/pose"], rng.randint(0, 5)))}
        assert in_order(jobs, served, live_run) == served_in_turn(jobs, served, live_run)


@pytest.mark.parametrize(
    ("step", "steps", "in_a_row", "ends"), [(None, None, False, True), (3, 8, False, True), (4, 8, False, False), (1, 8, True, False)]
)
def test_a_running_picture_ends_for_a_newer_one_while_less_than_half_is_done_and_never_twice_in_a_row(
    step: int | None, steps: int | None, in_a_row: bool, ends: bool
) -> None:
    assert gives_way(step, steps, in_a_row) is ends


# The dispatcher -------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def backend(tmp_path: Path) -> Iterator[InnerBackend]:
    made = InnerBackend(tmp_path)
    made.greet(ME)
    made.turn(2)
    yield made
    made.close()


def submit(backend: InnerBackend, number: int, live: str | None = "brush", **more: object) -> str:
    job_id = f"{number:032x}"
    backend.say(ME, Submit(number, job_id, SMALL, live=live, **more))
    return job_id


def stage(backend: InnerBackend, job_id: str) -> Stage:
    return backend.broker.dispatcher.update(ME, job_id).stage


def drain(backend: InnerBackend) -> None:
    while sum(backend.broker.dispatcher.counts()[:2]):
        backend.turn()


def test_of_a_hundred_live_jobs_one_waits_and_the_last_is_drawn(backend: InnerBackend) -> None:
    backend.workers[0].held = True
    for number in range(1, 101):
        last = submit(backend, number)
        backend.turn()
        queued, running, _, _ = backend.broker.dispatcher.counts()
        assert queued <= 1
        assert running <= 1
    backend.workers[0].held = False
    drain(backend)
    assert stage(backend, last) is Stage.DONE
    assert backend.workers[0].leases[-1] == last
    assert len(backend.workers[0].leases) <= 3, "the first, one that was not cancelled for a newer one, and the last"
    assert backend.faults == []


def test_what_was_overtaken_leaves_nothing_to_acknowledge(backend: InnerBackend) -> None:
    backend.workers[0].held = True
    for number in range(1, 101):
        last = submit(backend, number)
    backend.workers[0].held = False
    drain(backend)
    left = [brief.job_id for brief in backend.broker.dispatcher.unacknowledged(ME)]
    assert left[-1] == last
    assert len(left) <= 2


def test_live_jobs_without_a_stream_would_pile_up(backend: InnerBackend) -> None:
    """The unsafe twin: the same hundred as ordinary jobs fill the queue until they are refused."""
    backend.workers[0].held = True
    for number in range(1, 101):
        submit(backend, number, live=None)
    assert backend.broker.dispatcher.counts()[0] > 50


def test_ordinary_jobs_are_drawn_while_live_ones_never_stop(backend: InnerBackend) -> None:
    backend.workers[0].held = True
    submit(backend, 1)
    backend.turn()
    ordinary = [submit(backend, 1000 + n, None) for n in range(5)]
    batch = submit(backend, 2000, None, priority=BATCH)
    backend.workers[0].held = False
    for number in range(2, 60):
        submit(backend, number)
        backend.turn()
    assert [stage(backend, job_id) for job_id in [*ordinary, batch]] == [Stage.DONE] * 6
    leases = backend.workers[0].leases
    for before, after in itertools.pairwise(ordinary):
        assert leases.index(after) - leases.index(before) == 2, "one live picture between two ordinary ones"


def test_two_streams_do_not_end_each_others_jobs(backend: InnerBackend) -> None:
    backend.workers[0].held = True
    running = submit(backend, 1, None)
    backend.turn()
    one, other = submit(backend, 2, "brush"), submit(backend, 3, "pose")
    backend.greet(f"{2:032x}")
    backend.say(f"{2:032x}", Submit(9, f"{9:032x}", SMALL, live="brush"))
    assert [stage(backend, job_id) for job_id in (running, one, other)] == [Stage.RUNNING, Stage.QUEUED, Stage.QUEUED]


def test_an_older_job_that_is_sent_again_does_not_end_the_newer_one(backend: InnerBackend) -> None:
    backend.workers[0].held = True
    submit(backend, 1, None)
    backend.turn()
    old, new = submit(backend, 2), submit(backend, 3)
    submit(backend, 2)  # as a client does that did not hear the answer
    assert (stage(backend, old), stage(backend, new)) == (Stage.CANCELLED, Stage.QUEUED)


def test_a_restart_leaves_one_of_a_stream_waiting(tmp_path: Path) -> None:
    made = InnerBackend(tmp_path)
    made.greet(ME)
    made.turn(2)
    made.workers[0].held = True
    ids = [submit(made, number) for number in (1, 2, 3, 4)]
    made.turn()
    made.close()
    again = InnerBackend(tmp_path)
    again.greet(ME)
    assert again.broker.dispatcher.counts()[0] == 1
    again.turn(2)
    drain(again)
    assert stage(again, ids[-1]) is Stage.DONE
    again.close()


def test_a_spool_of_a_release_without_live_streams_opens(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.add(entry(1, "c" * 32), "", b"header", [])
    spool.close()
    base = sqlite3.connect(tmp_path / "spool" / "spool.sqlite")
    base.execute("ALTER TABLE jobs DROP COLUMN live")
    base.commit()
    base.close()
    again = Spool(tmp_path / "spool")
    assert [kept.entry for kept in again.load()] == [entry(1, "c" * 32)]
    again.add(entry(2, "c" * 32, "brush"), "", b"header", [])
    assert again.load()[-1].entry.live == "brush"
    again.close()


# A real worker ----------------------------------------------------------------------------------------------------------------------
def test_a_running_picture_is_cancelled_for_a_newer_one_once_and_the_next_is_finished(tmp_path: Path) -> None:
    pair = Pair(setup(tmp_path / "state"))
    try:
        client = pair.client(uuid.uuid4().hex)

        def told(job_id: str, wanted: Stage) -> bool:
            return any(event.stage is wanted for event in pair.of(client, JobUpdate, job_id))

        def live(seed: int, words: str) -> str:
            return client.submit(job(seed, words), live="brush")

        first = live(1, "steps=9 hold=never")
        pair.until(lambda: any(event.step for event in pair.of(client, JobUpdate, first)))
        second = live(2, "steps=9 hold=second")
        pair.until(lambda: told(first, Stage.CANCELLED) and any(event.step for event in pair.of(client, JobUpdate, second)))
        third, last = live(3, "steps=1"), live(4, "steps=1")
        pair.until(lambda: told(third, Stage.CANCELLED))
        let_go(pair.setup.state, "second")
        pair.until(lambda: told(second, Stage.DONE) and told(last, Stage.DONE))
        assert not told(first, Stage.DONE)
    finally:
        pair.close()
