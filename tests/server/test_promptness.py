"""The backend answers while it works: status and cancelling do not wait for the device.

These promises are of time itself, and a busy machine is late with everything: so each is compared with what a bare socket in a process of
its own needs beside it, round by round, and one good round is enough. A backend that waits for its device is late every time: the twins.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from running_backend import job, start_process
from waits import Watch

from backend.speed.rivals import RawCurve
from protocol.client import Client
from protocol.events import Event, Link
from protocol.jobs import PictureJob
from protocol.messages import JobUpdate, Priority, StatusReport

STEP_S = 0.3
TRIES = 5
ROUNDS = 10


class Waiting:
    """A client that waits for an event and says how long it took; it also notes whether one of its own calls waits."""

    def __init__(self, state: Path) -> None:
        self.client = Client(state, "f" * 32)
        self.calls = Watch()

    def until(self, wanted: Callable[[Event], bool], timeout_s: float = 300.0) -> float:
        begin = time.perf_counter()
        while time.perf_counter() - begin < timeout_s:
            events = cast("list[Event]", self.calls(self.client.poll))
            if any(wanted(event) for event in events):
                return time.perf_counter() - begin
            self.client.wait(0.001)
        raise AssertionError("the backend did not answer")

    def connect(self) -> None:
        end = time.monotonic() + 300
        while self.client.link is not Link.CONNECTED:
            assert time.monotonic() < end, self.client.sentence
            self.client.poll()
            self.client.wait(0.01)

    def submit(self, asked: PictureJob) -> str:
        return str(self.calls(self.client.submit, asked, priority=Priority.INTERACTIVE))


@contextlib.contextmanager
def connected(state: Path, *words: str) -> Iterator[Waiting]:
    """A client of a backend in a process of its own, which is told these words."""
    process = start_process(state, *words)
    made = Waiting(state)
    try:
        made.connect()
        yield made
    finally:
        made.client.close()
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Waiting]:
    with connected(tmp_path / "state") as made:
        yield made


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawCurve]:
    """The same sockets without a backend: what this machine needs at the moment for any question and its answer."""
    with RawCurve(tmp_path_factory.mktemp("bare") / "state") as made:
        yield made


def at_step(job_id: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, JobUpdate) and event.job_id == job_id and event.step is not None and event.step >= 1


def ended(job_id: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, JobUpdate) and event.job_id == job_id and event.stage.final


def round_trip(bare: RawCurve) -> float:
    begin = time.perf_counter()
    bare.round_trip([b"status"], 1000)
    return time.perf_counter() - begin


def soon(late: Callable[[], float], rounds: int = ROUNDS) -> bool:
    """Whether nothing was later than promised in one of several rounds."""
    return any(late() < 0 for _ in range(rounds))


# Status ---------------------------------------------------------------------------------------------------------------------------------
def answer_to_status(waiting: Waiting, job_id: str) -> float:
    """Seconds until status is answered, asked when a step has just begun."""
    waiting.until(at_step(job_id))
    waiting.client.ask_status()
    return waiting.until(lambda event: isinstance(event, StatusReport))


def late_with_status(waiting: Waiting, bare: RawCurve, job_id: str) -> float:
    """How much later than promised: the median answer, less the median of bare ones."""
    pairs = [(answer_to_status(waiting, job_id), round_trip(bare)) for _ in range(TRIES)]
    answered, floor = (statistics.median(column) for column in zip(*pairs, strict=True))
    return answered - floor - 0.05


def test_status_is_answered_within_50_ms_while_a_job_computes(waiting: Waiting, bare: RawCurve) -> None:
    job_id = waiting.submit(job(1, f"steps=100000 step_s={STEP_S}"))
    assert soon(lambda: late_with_status(waiting, bare, job_id))


def test_a_backend_that_hears_only_when_its_device_has_spoken_is_noticed(tmp_path: Path, bare: RawCurve) -> None:
    """The unsafe twin: it waits for a word of the worker, then looks at the door."""
    with connected(tmp_path / "state", "--deaf") as waiting:
        job_id = waiting.submit(job(1, f"steps=100000 step_s={STEP_S}"))
        assert not soon(lambda: late_with_status(waiting, bare, job_id), rounds=1)


# Cancelling -----------------------------------------------------------------------------------------------------------------------------
def late_with_cancelling(waiting: Waiting, bare: RawCurve, seeds: Iterator[int], words: str = "") -> float:
    """How much later than promised that a job is cancelled, or that the device does the next one, if that is later."""
    seed = next(seeds)
    long = waiting.submit(job(seed, f"steps=100000 step_s={STEP_S} {words}"))
    following = waiting.submit(job(1000 + seed, "steps=1"))
    waiting.until(at_step(long))
    begin = time.perf_counter()
    waiting.client.cancel(long)
    answered = waiting.until(ended(long))
    waiting.until(ended(following))
    free, floor = time.perf_counter() - begin, round_trip(bare)
    return max(answered - (STEP_S + 0.1), free - (STEP_S + 0.1 + 0.1)) - floor


def test_cancelling_is_answered_within_one_step_and_100_ms_and_frees_the_device_as_soon(waiting: Waiting, bare: RawCurve) -> None:
    seeds = iter(range(1000))
    assert soon(lambda: late_with_cancelling(waiting, bare, seeds), rounds=4 * ROUNDS)


def test_a_worker_that_hears_a_cancel_only_at_every_third_step_is_noticed(waiting: Waiting, bare: RawCurve) -> None:
    """The unsafe twin."""
    seeds = iter(range(1000))
    assert not soon(lambda: late_with_cancelling(waiting, bare, seeds, "deaf=3"), rounds=2)


# The client -----------------------------------------------------------------------------------------------------------------------------
def test_no_call_of_the_client_keeps_the_host_waiting(waiting: Waiting) -> None:
    for seed in range(10):
        waiting.until(ended(waiting.submit(job(seed, "steps=3 step_s=0.01", preview_every=1))))
    assert waiting.calls.nobody_waited


def test_a_client_whose_calls_waited_for_something_would_be_noticed(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unsafe twin."""
    poll = Client.poll

    def patient_poll(client: Client) -> list[Event]:
        client.wait(0.02)
        return poll(client)

    monkeypatch.setattr(Client, "poll", patient_poll)
    monkeypatch.setattr(Client, "wait", lambda client, timeout_s: time.sleep(timeout_s))
    waiting.until(ended(waiting.submit(job(1, "steps=3 step_s=0.1"))))
    assert not waiting.calls.nobody_waited
