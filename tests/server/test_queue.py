from __future__ import annotations

import random

import pytest

from backend.server.queue import Entry, Limits, admit, after_death, after_restart, in_order, leased, may_finish, next_job
from protocol.errors import Busy
from protocol.messages import Priority, Stage

BATCH, NOW = Priority.BATCH, Priority.INTERACTIVE


def entry(order: int, client: str = "a", priority: Priority = NOW, **more: object) -> Entry:
    return Entry(f"job {order}", client, priority, order, **more)


def served_in_turn(entries: list[Entry], served: dict[str, int] | None = None) -> list[Entry]:
    """Lease all, one after another, as the dispatcher does."""
    served, waiting, done = dict(served or {}), list(entries), []
    while (chosen := next_job(waiting, served)) is not None:
        waiting.remove(chosen)
        served[chosen.client] = max(served.values(), default=0) + 1
        done.append(chosen)
    return done


def test_nothing_waits_nothing_is_next() -> None:
    assert next_job([], {}) is None
    assert next_job([entry(1, stage=Stage.RUNNING), entry(2, stage=Stage.DONE)], {}) is None


def test_one_clients_jobs_keep_their_order() -> None:
    assert [e.order for e in served_in_turn([entry(3), entry(1), entry(2)])] == [1, 2, 3]


def test_interactive_jobs_pass_batches() -> None:
    assert [e.order for e in served_in_turn([entry(1, priority=BATCH), entry(2), entry(3, "b", BATCH), entry(4, "b")])] == [2, 4, 1, 3]


def test_clients_take_turns_so_that_six_jobs_of_one_do_not_hold_up_another() -> None:
    jobs = [entry(i, "a") for i in range(6)] + [entry(6 + i, "b") for i in range(2)]
    assert "".join(e.client for e in served_in_turn(jobs)) == "abab" + "aaaa"


def test_the_client_that_was_served_longest_ago_is_next() -> None:
    assert next_job([entry(1, "a"), entry(2, "b")], {"a": 5, "b": 3}).client == "b"


def test_the_order_that_is_told_is_the_order_in_which_jobs_are_leased() -> None:
    rng = random.Random(4)
    for _ in range(200):
        served = {client: n for n, client in enumerate(rng.sample("abc", rng.randint(0, 3)))}
        jobs = [entry(n, rng.choice("abc"), rng.choice([BATCH, NOW])) for n in rng.sample(range(50), rng.randint(0, 9))]
        assert in_order(jobs, served) == served_in_turn(jobs, served)


def test_a_job_that_ends_its_worker_three_times_is_set_aside() -> None:
    job, limits = entry(1), Limits(kills=3)
    stages = []
    for _ in range(3):
        job = after_death(leased(job), limits)
        stages.append(job.stage)
    assert stages == [Stage.QUEUED, Stage.QUEUED, Stage.FAILED]
    assert (job.attempt, job.kills) == (3, 3)


def test_a_restart_of_the_backend_is_not_the_jobs_fault_but_has_an_end() -> None:
    job, limits = entry(1), Limits(kills=3, attempts=5)
    for _ in range(4):
        job = after_restart(leased(job), limits)
        assert (job.stage, job.kills) == (Stage.QUEUED, 0)
    assert after_restart(leased(job), limits).stage is Stage.FAILED


def test_a_restart_leaves_all_other_jobs_as_they_were() -> None:
    for stage in set(Stage) - {Stage.RUNNING}:
        assert after_restart(entry(1, stage=stage), Limits()) == entry(1, stage=stage)


def test_a_late_report_of_an_earlier_attempt_does_not_count() -> None:
    second = leased(after_death(leased(entry(1)), Limits()))
    assert may_finish(second, 2)
    assert not may_finish(second, 1)
    assert not may_finish(after_death(second, Limits()), 2)


@pytest.mark.parametrize(
    ("entries", "used", "words"),
    [
        ([entry(n) for n in range(3)], 0, "waiting already"),
        ([entry(n, stage=Stage.DONE) for n in range(5)], 0, "wait to be taken"),
        ([], 1000, "on the disk"),
    ],
)
def test_a_client_that_left_too_much_is_told_so(entries: list[Entry], used: int, words: str) -> None:
    limits = Limits(queued=3, kept=5, spool_bytes=1000)
    with pytest.raises(Busy, match=words):
        admit(entries, "a", used, limits)
    admit(entries, "another client", 0, limits)


def test_jobs_that_were_taken_do_not_count() -> None:
    admit([entry(n, stage=Stage.DONE, acknowledged=True) for n in range(99)], "a", 0, Limits(kept=5))
