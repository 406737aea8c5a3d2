"""The whole backend through its public door: real sockets, real worker processes, jobs that fail as their prompts say."""

from __future__ import annotations

import os
import signal
import statistics
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from running_backend import QUICK, Pair, job, setup
from scripted_worker import begun, let_go, pixels

from backend.server.queue import Limits
from protocol.client import Client
from protocol.codec import request_codec
from protocol.errors import Busy, JobIdConflict, UnknownJob, UnknownModel
from protocol.events import ModelsChanged, Refused
from protocol.geometry import Extent
from protocol.jobs import Canvas, PictureJob
from protocol.messages import (
    Accepted,
    Characters,
    Done,
    Fetched,
    JobUpdate,
    Models,
    Preview,
    Priority,
    Stage,
    StatusReport,
    Submit,
)
from protocol.planes import Layout, Plane
from protocol.results import LoraInfo, WorkerStage

LIMITS = Limits(queued=8, kept=1000)
PATIENT = replace(QUICK, cancel_s=30)
"""No worker that stops when it is told is ended for being late on a busy machine."""


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One backend for all tests that leave it alive; each test has a client of its own."""
    pair = Pair(setup(tmp_path_factory.mktemp("backend") / "state", limits=LIMITS, patience=PATIENT))
    yield pair
    pair.close()


@pytest.fixture
def client(backend: Pair) -> Iterator[Client]:
    made = backend.client(uuid.uuid4().hex)
    yield made
    backend.clients.remove(made)
    made.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Pair]:
    """A backend for one test, which may be hurt."""
    pair = Pair(setup(tmp_path / "state", limits=LIMITS))
    yield pair
    pair.close()


def final(pair: Pair, client: Client, job_id: str) -> JobUpdate:
    pair.until(lambda: any(update.stage.final for update in pair.of(client, JobUpdate, job_id)))
    return pair.of(client, JobUpdate, job_id)[-1]


def fetched(pair: Pair, client: Client, job_id: str) -> Fetched:
    client.fetch(job_id)
    pair.until(lambda: pair.of(client, Fetched, job_id))
    return pair.of(client, Fetched, job_id)[-1]


def running(pair: Pair, client: Client, job_id: str) -> None:
    pair.until(lambda: any(update.step for update in pair.of(client, JobUpdate, job_id)))


def test_a_job_goes_through_all_its_stages_and_its_picture_comes_back(backend: Pair, client: Client) -> None:
    job_id = client.submit(job(7, "steps=3 step_s=0.15", preview_every=1), note="document 1")
    assert final(backend, client, job_id).stage is Stage.DONE
    updates = backend.of(client, JobUpdate, job_id)
    assert [update.stage for update in updates if update.step is None] == [Stage.QUEUED, Stage.RUNNING, Stage.DONE]
    assert [update.step for update in updates if update.step] == [1, 2, 3]
    assert len(backend.of(client, Preview, job_id)) == 3
    result = fetched(backend, client, job_id)
    assert bytes(result.outcome.pictures[0].picture.data) == pixels(7, Extent(8, 8)).data
    assert result.note == "document 1"


def test_a_result_stays_until_it_is_acknowledged_and_is_not_told_after(backend: Pair, client: Client) -> None:
    job_id = client.submit(job(1))
    final(backend, client, job_id)
    again = backend.client(client._client_id)
    backend.until(lambda: backend.of(again, JobUpdate, job_id))
    again.acknowledge(job_id)
    backend.until(lambda: backend.of(again, Done))
    third = backend.client(client._client_id)
    backend.until(lambda: third.link.value == "connected")
    third.ask_status()
    backend.until(lambda: backend.of(third, StatusReport))
    assert not backend.of(third, JobUpdate)
    backend.clients.remove(again)
    backend.clients.remove(third)
    again.close()
    third.close()


def test_a_host_that_was_killed_finds_its_picture_again(backend: Pair) -> None:
    me = uuid.uuid4().hex
    first = backend.client(me)
    job_id = first.submit(job(21, "steps=4 step_s=0.02"), note="layer 5")
    backend.until(lambda: backend.of(first, Accepted))
    backend.clients.remove(first)
    first.close()
    second = backend.client(me)
    assert final(backend, second, job_id).note == "layer 5"
    assert bytes(fetched(backend, second, job_id).outcome.pictures[0].picture.data) == pixels(21, Extent(8, 8)).data
    backend.clients.remove(second)
    second.close()


def test_a_submit_that_comes_twice_is_one_job(backend: Pair, client: Client) -> None:
    job_id = client.submit(job(31))
    client.submit(job(31), job_id=job_id)
    backend.until(lambda: len(backend.of(client, Accepted)) == 2)
    final(backend, client, job_id)
    client.submit(job(31), job_id=job_id)
    backend.until(lambda: len(backend.of(client, Accepted)) == 3)
    assert [update.stage for update in backend.of(client, JobUpdate, job_id)].count(Stage.DONE) == 1
    assert (backend.setup.state / "script" / "31").read_bytes() == b"."


def test_the_same_id_for_another_job_is_a_conflict(backend: Pair, client: Client) -> None:
    job_id = client.submit(job(41))
    backend.until(lambda: backend.of(client, Accepted))
    picture = Plane(Layout.RGB8, Extent(1, 1), b"abc")
    client.submit(PictureJob("other", canvas=Canvas(picture)), job_id=job_id)
    backend.until(lambda: backend.of(client, Refused))
    assert isinstance(backend.of(client, Refused)[0].error, JobIdConflict)


def test_a_job_of_another_client_cannot_be_touched(backend: Pair, client: Client) -> None:
    other = backend.client(uuid.uuid4().hex)
    job_id = other.submit(job(51, "hold=refused"))
    running(backend, other, job_id)
    for ask in (client.cancel, client.fetch, client.acknowledge):
        ask(job_id)
    backend.until(lambda: len(backend.of(client, Refused)) == 3)
    assert all(isinstance(refused.error, UnknownJob) for refused in backend.of(client, Refused))
    let_go(backend.setup.state, "refused")
    assert final(backend, other, job_id).stage is Stage.DONE
    backend.clients.remove(other)
    other.close()


def test_a_cancelled_job_never_reports_finished_wherever_it_is(backend: Pair, client: Client) -> None:
    working = client.submit(job(61, "steps=100000 step_s=0.01"))
    waiting = client.submit(job(62))
    running(backend, client, working)
    client.cancel(waiting)
    assert final(backend, client, waiting).stage is Stage.CANCELLED
    client.cancel(working)
    assert final(backend, client, working).stage is Stage.CANCELLED
    done = client.submit(job(63))
    assert final(backend, client, done).stage is Stage.DONE
    client.cancel(done)
    backend.until(lambda: client.idle)
    for job_id in (working, waiting, done):
        assert sum(update.stage.final for update in backend.of(client, JobUpdate, job_id)) == 1
    assert not (backend.setup.state / "script" / "62").exists()


def test_after_a_cancel_the_device_is_free_within_a_step(backend: Pair, client: Client) -> None:
    """The job would take half an hour. A worker that did not stop would be ended for it and another started; it is the same one."""
    long = client.submit(job(65, "steps=100000 step_s=0.02"))
    running(backend, client, long)
    worker = backend.service._supervisor._slots[0].process
    client.cancel(long)
    following = client.submit(job(66, "steps=1"))
    assert final(backend, client, following).stage is Stage.DONE
    assert backend.service._supervisor._slots[0].process is worker


def test_a_live_edit_takes_the_place_of_the_job_that_waits(backend: Pair, client: Client) -> None:
    first = client.submit(job(71, "hold=edited"))
    running(backend, client, first)
    edits = [client.submit(job(72))]
    for seed in (73, 74):
        edits.append(client.submit(job(seed), replaces=edits[-1]))
    backend.until(lambda: backend.of(client, Accepted, edits[-1]))
    let_go(backend.setup.state, "edited")
    assert [final(backend, client, job_id).stage for job_id in edits] == [Stage.CANCELLED, Stage.CANCELLED, Stage.DONE]
    assert final(backend, client, first).stage is Stage.DONE


def test_interactive_jobs_pass_batches_and_clients_take_turns(backend: Pair, client: Client) -> None:
    other = backend.client(uuid.uuid4().hex)
    first = client.submit(job(80, "hold=queued"))
    running(backend, client, first)
    batch = [client.submit(job(81 + n), priority=Priority.BATCH) for n in range(3)]
    backend.until(lambda: len(backend.of(client, Accepted)) == 4)
    now = other.submit(job(85))
    backend.until(lambda: backend.of(other, Accepted))
    let_go(backend.setup.state, "queued")
    final(backend, client, batch[-1])
    final(backend, other, now)
    order = [event.job_id for event in backend.events[other] + backend.events[client] if getattr(event, "stage", None) is Stage.DONE]
    assert now in order
    done = begun(backend.setup.state)
    assert done.index(85) < done.index(81)
    backend.clients.remove(other)
    other.close()


def test_too_many_jobs_are_refused_and_another_client_is_served(backend: Pair, client: Client) -> None:
    blocker = client.submit(job(90, "hold=cancelled"))
    running(backend, client, blocker)
    jobs = [client.submit(job(91 + n), priority=Priority.BATCH) for n in range(30)]
    backend.until(lambda: len(backend.of(client, Refused)) + len(backend.of(client, Accepted)) == 31)
    refused = backend.of(client, Refused)
    assert len(refused) == 30 - LIMITS.queued
    assert all(isinstance(one.error, Busy) and one.retry_after_s for one in refused)
    client.cancel(blocker)
    other = backend.client(uuid.uuid4().hex)
    assert final(backend, other, other.submit(job(5))).stage is Stage.DONE
    for job_id in jobs:
        if job_id in client.jobs():
            assert final(backend, client, job_id).stage is Stage.DONE
    backend.clients.remove(other)
    other.close()


def test_an_honest_error_reaches_the_user_with_its_sentence(backend: Pair, client: Client) -> None:
    fault = final(backend, client, client.submit(job(1, "face_at=0"))).fault
    assert (fault.code, fault.sentence) == ("no-face", "Photo 1 shows no face.")


def test_an_error_nobody_foresaw_is_said_without_its_words_and_the_worker_goes_on(backend: Pair, client: Client) -> None:
    fault = final(backend, client, client.submit(job(1, "bug_at=0 very=secret"))).fault
    assert "log" in fault.sentence
    log = (backend.setup.state / "logs" / "worker-cpu.log").read_text()
    assert "ZeroDivisionError" in log
    assert "secret" not in log + fault.sentence
    assert final(backend, client, client.submit(job(2))).stage is Stage.DONE


@pytest.mark.parametrize(("words", "rung"), [("full_at=1", "tiles"), ("full_at=1 rungs=2", "one layer after another")])
def test_out_of_memory_gives_the_picture_by_a_lower_rung_and_says_which(backend: Pair, client: Client, words: str, rung: str) -> None:
    job_id = client.submit(job(101, words))
    assert final(backend, client, job_id).stage is Stage.DONE
    assert fetched(backend, client, job_id).outcome.rung == rung


def test_out_of_memory_on_every_rung_is_an_honest_error_and_the_next_job_succeeds(backend: Pair, client: Client) -> None:
    assert final(backend, client, client.submit(job(1, "full_at=1 rungs=all"))).fault.code == "out-of-memory"
    job_id = client.submit(job(103))
    final(backend, client, job_id)
    assert fetched(backend, client, job_id).outcome.rung is None


def test_status_is_answered_within_50_ms_of_the_brokers_time_while_a_job_computes(backend: Pair, client: Client) -> None:
    job_id = client.submit(job(111, "steps=100000 step_s=0.01"))
    running(backend, client, job_id)
    took: list[float] = []
    for asked in range(1, 21):
        client.ask_status()
        client.poll()
        start = time.thread_time()
        backend.until(lambda asked=asked: len(backend.of(client, StatusReport)) == asked)
        took.append(time.thread_time() - start)
    assert backend.of(client, StatusReport)[-1].status.devices[0].stage is WorkerStage.WORKING
    client.cancel(job_id)
    final(backend, client, job_id)
    assert statistics.median(took) < 0.05, took


def test_models_and_characters_are_told(backend: Pair, client: Client) -> None:
    final(backend, client, client.submit(job(1)))
    client.ask_models()
    client.ask_characters()
    client.delete_character("nobody")
    backend.until(lambda: backend.of(client, Models) and backend.of(client, Characters) and backend.of(client, Refused))
    assert backend.of(client, Models)[0].models[0].id == "scripted"
    assert isinstance(backend.of(client, Refused)[0].error, UnknownModel)


def test_a_lora_that_comes_while_the_backend_runs_is_told_and_listed(own: Pair) -> None:
    client = own.client(uuid.uuid4().hex)
    final(own, client, client.submit(job(1)))
    client.ask_models()
    own.until(lambda: own.of(client, Models) and own.of(client, ModelsChanged))  # the second is for the worker's first list
    assert own.of(client, Models)[-1].models[0].loras == ()
    let_go(own.setup.state, "ink.lora")
    own.until(lambda: len(own.of(client, ModelsChanged)) == 2)
    client.ask_models()
    own.until(lambda: len(own.of(client, Models)) == 2)
    assert own.of(client, Models)[-1].models[0].loras == (LoraInfo("ink"),)


def test_broken_messages_are_refused_and_the_next_honest_job_succeeds(backend: Pair, client: Client) -> None:
    final(backend, client, client.submit(job(1)))
    good = request_codec().encode(Submit(900, "d" * 32, job(2)))
    for frames in ([b"x"], [b""] * 3, [*good, b"stray"], [good[0], b"\x91" * 60_000], [b"GET /", *good[1:]], [b""] * 10_000):
        while not client._socket.send(frames):
            backend.until(lambda: True)
    assert final(backend, client, client.submit(job(3))).stage is Stage.DONE


# A backend that is hurt ---------------------------------------------------------------------------------------------------------------
def test_a_job_that_kills_its_worker_three_times_is_set_aside_and_the_queue_goes_on(own: Pair) -> None:
    client = own.client()
    poison, good = client.submit(job(1, "kill_at=0")), client.submit(job(2))
    fault = final(own, client, poison).fault
    assert fault.code == "poison-job"
    assert (own.setup.state / "script" / "1").read_bytes() == b"..."
    assert final(own, client, good).stage is Stage.DONE


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_worker_killed_at_any_step_costs_nothing_but_time(own: Pair, step: int) -> None:
    client = own.client()
    job_id = client.submit(job(9, f"steps=3 kill_at={step} times=1"))
    assert final(own, client, job_id).attempt == 2
    assert bytes(fetched(own, client, job_id).outcome.pictures[0].picture.data) == pixels(9, Extent(8, 8)).data


def test_a_lost_device_ends_the_worker_and_the_job_is_run_again(own: Pair) -> None:
    client = own.client()
    assert final(own, client, client.submit(job(3, "lost_at=1 times=1"))).attempt == 2


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="SIGSTOP")
def test_a_worker_that_stands_still_is_replaced(tmp_path: Path) -> None:
    pair = Pair(setup(tmp_path / "state", patience=replace(QUICK, silent_s=4.0)))
    client = pair.client()
    assert final(pair, client, client.submit(job(3, "hang_at=1 times=1"))).stage is Stage.DONE
    pair.close()


def test_a_worker_that_cannot_start_is_said_and_status_is_answered(tmp_path: Path) -> None:
    pair = Pair(setup(tmp_path / "state", extra=("--broken",)))
    client = pair.client()
    job_id = client.submit(job(1))

    def said() -> bool:
        client.ask_status()
        found = pair.of(client, StatusReport)
        return bool(found) and found[-1].status.devices[0].stage is WorkerStage.UNAVAILABLE

    pair.until(said)
    assert "CUDA is not there" in pair.of(client, StatusReport)[-1].status.devices[0].sentence
    assert client.jobs()[job_id].stage is Stage.QUEUED
    pair.close()


def test_a_restart_of_the_backend_goes_on_where_it_was_and_the_client_notices_by_itself(own: Pair) -> None:
    client = own.client()
    jobs = [client.submit(job(seed, "steps=3 step_s=0.02")) for seed in range(4)]
    running(own, client, jobs[0])
    own.restart()
    assert [final(own, client, job_id).stage for job_id in jobs] == [Stage.DONE] * 4
    for seed, job_id in enumerate(jobs):
        assert bytes(fetched(own, client, job_id).outcome.pictures[0].picture.data) == pixels(seed, Extent(8, 8)).data


def test_two_backends_cannot_have_the_same_folder(own: Pair) -> None:
    from backend.service import AlreadyRunning, Service

    with pytest.raises(AlreadyRunning):
        Service(own.setup)


def test_a_worker_does_not_outlive_its_backend(own: Pair) -> None:
    client = own.client()
    final(own, client, client.submit(job(1)))
    process = own.service._supervisor._slots[0].process
    process._channel.close()
    process._process.wait(timeout=300)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
