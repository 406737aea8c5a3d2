"""Many clients and many jobs at one backend: everybody is served in turn, nobody is told more than is news, and live edits get through."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from inner_backend import InnerBackend
from running_backend import Pair, job, setup
from scripted_worker import let_go

from backend.server import dispatch
from backend.server.queue import Limits
from protocol.errors import SpoolUnusable
from protocol.events import Link, LinkChanged
from protocol.geometry import Extent
from protocol.jobs import PictureJob
from protocol.limits import QUEUED_PER_CLIENT
from protocol.messages import Accepted, Fetched, JobUpdate, Priority, Rejected, Reply, Stage, Submit

CLIENTS, JOBS = 64, 16
"""1,024 jobs."""
SMALL = PictureJob("small", extent=Extent(8, 8), preview_every=0)
TURN_S = 0.01


class Clock:
    """Time that passes by the turns of the broker, so that a slow machine changes nothing."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backend(tmp_path: Path, clock: Clock) -> Iterator[InnerBackend]:
    made = InnerBackend(tmp_path, clock=clock)
    yield made
    made.close()


def name(client: int) -> str:
    return f"{client:032x}"


def submit(backend: InnerBackend, client: int, number: int, **more: object) -> str:
    job_id = f"{client:016x}{number:016x}"
    backend.say(name(client), Submit(number, job_id, SMALL, **more))
    return job_id


def of(answers: list[tuple[str, Reply]], kind: type) -> list[Reply]:
    return [reply for _, reply in answers if isinstance(reply, kind)]


def turn(backend: InnerBackend, clock: Clock) -> None:
    clock.now += TURN_S
    backend.turn()


def crowd(backend: InnerBackend, clock: Clock, jobs: int = JOBS) -> list[tuple[str, Reply]]:
    """All jobs of all clients, submitted while the worker is at none of them, and then done; all that was told meanwhile."""
    for client in range(CLIENTS):
        backend.greet(name(client))
    for number in range(jobs):
        for client in range(CLIENTS):
            submit(backend, client, number)
    told = backend.answers()
    assert len(of(told, Accepted)) == CLIENTS * jobs
    while backend.broker.dispatcher.counts()[2] < CLIENTS * jobs:
        turn(backend, clock)
    return backend.answers()


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[tuple[str, Reply]], list[str]]:
    """All jobs of all clients, done once: what was told, and the jobs as the worker was given them."""
    clock = Clock()
    made = InnerBackend(tmp_path_factory.mktemp("crowd"), clock=clock)
    told = crowd(made, clock)
    (worker,) = made.workers
    made.close()
    return told, worker.leases


def test_sixty_four_clients_and_a_thousand_jobs_are_served_in_turn_and_each_job_ends_once(
    thousand: tuple[list[tuple[str, Reply]], list[str]],
) -> None:
    told, leases = thousand
    ends = Counter(reply.job_id for reply in of(told, JobUpdate) if reply.stage is Stage.DONE)
    assert len(ends) == CLIENTS * JOBS
    assert set(ends.values()) == {1}
    clients, numbers = [job_id[:16] for job_id in leases], [int(job_id[16:], 16) for job_id in leases]
    for begin in range(0, CLIENTS * JOBS, CLIENTS):
        assert len(set(clients[begin : begin + CLIENTS])) == CLIENTS, "in every round each client has one turn"
    for client in set(clients):
        assert [number for who, number in zip(clients, numbers, strict=True) if who == client] == list(range(JOBS))


def test_who_waits_is_told_the_place_now_and_then_and_not_at_every_lease(
    thousand: tuple[list[tuple[str, Reply]], list[str]],
) -> None:
    told, _ = thousand
    places = [reply for reply in of(told, JobUpdate) if reply.stage is Stage.QUEUED]
    assert few_enough(places), len(places)
    last = {reply.job_id: reply.position for reply in places}
    first_places = [reply.position for reply in places if reply.job_id == f"{5:016x}{JOBS - 1:016x}"]
    assert first_places == sorted(first_places, reverse=True)
    assert len(set(first_places)) > 5
    assert min(last.values()) < CLIENTS


def few_enough(places: list[Reply], jobs: int = JOBS) -> bool:
    """With a turn of the broker each hundredth of a second, a thousand jobs take twenty times the half second between two tellings."""
    return len(places) < 20 * CLIENTS * jobs


def test_telling_everybody_at_every_lease_would_be_half_a_million_messages(
    backend: InnerBackend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unsafe twin, with a quarter of the jobs."""
    monkeypatch.setattr(dispatch, "ANNOUNCE_S", 0.0)
    places = [reply for reply in of(crowd(backend, clock, jobs=4), JobUpdate) if reply.stage is Stage.QUEUED]
    assert not few_enough(places, jobs=4)


def test_of_a_thousand_submits_of_one_client_sixty_four_wait_the_rest_is_told_so_and_another_is_next(
    backend: InnerBackend, clock: Clock
) -> None:
    backend.greet(name(1))
    backend.greet(name(2))
    turn(backend, clock)
    turn(backend, clock)
    backend.workers[0].held = True
    first = submit(backend, 1, 0)
    turn(backend, clock)
    assert backend.workers[0].leases == [first]
    backend.answers()
    for number in range(1, 1001):
        submit(backend, 1, number)
    told = backend.answers()
    assert len(of(told, Accepted)) == QUEUED_PER_CLIENT
    refused = of(told, Rejected)
    assert len(refused) == 1000 - QUEUED_PER_CLIENT
    assert {reply.code for reply in refused} == {"busy"}
    assert all(reply.retry_after_s for reply in refused)
    other = submit(backend, 2, 1)
    backend.workers[0].held = False
    while other not in backend.workers[0].leases:
        turn(backend, clock)
    assert backend.workers[0].leases.index(other) == 1


# Live edits -------------------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def full(tmp_path: Path, clock: Clock) -> Iterator[InnerBackend]:
    """A client whose queue is full: three jobs wait behind the one at work."""
    made = InnerBackend(tmp_path, Limits(queued=3), clock=clock)
    made.greet(name(1))
    turn(made, clock)
    turn(made, clock)
    made.workers[0].held = True
    submit(made, 1, 0)
    turn(made, clock)
    for number in (1, 2, 3):
        submit(made, 1, number)
    made.answers()
    yield made
    made.close()


def test_a_live_edit_takes_its_predecessors_place_also_when_the_queue_is_full(full: InnerBackend) -> None:
    old = f"{1:016x}{3:016x}"
    new = submit(full, 1, 4, replaces=old)
    told = full.answers()
    assert [reply.job_id for reply in of(told, Accepted)] == [new]
    assert [(reply.job_id, reply.stage) for reply in of(told, JobUpdate) if reply.stage.final] == [(old, Stage.CANCELLED)]


@pytest.mark.parametrize("replaces", [None, "f" * 32, f"{1:016x}{0:016x}", f"{1:016x}{9:016x}"])
def test_what_takes_nobodys_place_is_refused_when_the_queue_is_full(full: InnerBackend, replaces: str | None) -> None:
    """Nothing, a job that nobody knows, the one at work, and the new job itself."""
    submit(full, 1, 9, replaces=replaces)
    assert [reply.code for reply in of(full.answers(), Rejected)] == ["busy"]


def test_a_job_that_names_itself_as_its_predecessor_is_not_ended_by_that(backend: InnerBackend) -> None:
    backend.greet(name(1))
    own = f"{1:016x}{1:016x}"
    for _ in range(2):
        submit(backend, 1, 1, replaces=own)
    assert {reply.stage for reply in of(backend.answers(), JobUpdate)} == {Stage.QUEUED}


def test_a_live_edit_that_is_kept_is_accepted_also_when_the_old_one_cannot_be_ended(
    full: InnerBackend, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    def broken(*_: object) -> None:
        raise SpoolUnusable

    old = f"{1:016x}{2:016x}"
    monkeypatch.setattr(full.spool, "end", broken)
    new = submit(full, 1, 4, replaces=old)
    told = full.answers()
    assert [reply.job_id for reply in of(told, Accepted)] == [new]
    assert of(told, Rejected) == []
    monkeypatch.undo()
    submit(full, 1, 4, replaces=old)  # as the client does that did not hear the answer
    assert [reply.job_id for reply in of(full.answers(), JobUpdate) if reply.stage is Stage.CANCELLED] == [old]
    full.workers[0].held = False
    while full.broker.dispatcher.counts()[0]:
        turn(full, clock)
    assert new in full.workers[0].leases
    assert old not in full.workers[0].leases


# A link that does not hold ----------------------------------------------------------------------------------------------------------------
def test_a_client_that_loses_its_link_twenty_times_during_a_job_sees_it_advance_and_gets_one_result(tmp_path: Path) -> None:
    pair = Pair(setup(tmp_path / "state"))
    client = pair.client()
    job_id = client.submit(job(3, "steps=100000 step_s=0.01 until=go"), priority=Priority.BATCH)
    seen: list[int] = []
    for _ in range(20):
        before = len(pair.of(client, JobUpdate, job_id))
        pair.until(lambda before=before: any(update.step for update in pair.of(client, JobUpdate, job_id)[before:]))
        seen.append(max(update.step or 0 for update in pair.of(client, JobUpdate, job_id)))
        client._drop()
        client._next_try = time.monotonic()
        client.link = Link.LOST
    assert seen == sorted(seen)
    let_go(pair.setup.state, "go")
    assert len([event for event in pair.events[client] if isinstance(event, LinkChanged) and event.link is Link.CONNECTED]) >= 20
    pair.until(lambda: any(update.stage.final for update in pair.of(client, JobUpdate, job_id)))
    client.fetch(job_id)
    pair.until(lambda: pair.of(client, Fetched, job_id))
    assert [update.stage for update in pair.of(client, JobUpdate, job_id) if update.stage.final] == [Stage.DONE]
    assert len(pair.of(client, Fetched, job_id)) == 1
    assert (pair.setup.state / "script" / "3").read_bytes() == b"."
    pair.close()
