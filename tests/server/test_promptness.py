"""The backend answers while it works: status and cancelling do not wait for the device. Each figure is the median of several tries."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running_backend import job, start_process

from protocol.client import Client
from protocol.events import Event, Link
from protocol.jobs import PictureJob
from protocol.messages import JobUpdate, Priority, StatusReport

STEP_S = 0.4
TRIES = 9


class Waiting:
    """A client that waits for an event and says how long it took; it also notes the longest of its own calls."""

    def __init__(self, state: Path) -> None:
        self.client = Client(state, "f" * 32)
        self.calls: list[float] = []

    def until(self, wanted: Callable[[Event], bool], timeout_s: float = 30.0) -> float:
        begin = time.perf_counter()
        while time.perf_counter() - begin < timeout_s:
            called = time.perf_counter()
            events = self.client.poll()
            self.calls.append(time.perf_counter() - called)
            if any(wanted(event) for event in events):
                return time.perf_counter() - begin
            self.client.wait(0.001)
        raise AssertionError("the backend did not answer")

    def connect(self) -> None:
        end = time.monotonic() + 30
        while self.client.link is not Link.CONNECTED and time.monotonic() < end:
            self.client.poll()
            self.client.wait(0.01)

    def submit(self, asked: PictureJob) -> str:
        called = time.perf_counter()
        job_id = self.client.submit(asked, priority=Priority.INTERACTIVE)
        self.calls.append(time.perf_counter() - called)
        return job_id


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Waiting]:
    process = start_process(tmp_path)
    made = Waiting(tmp_path)
    made.connect()
    yield made
    made.client.close()
    process.terminate()
    process.wait()


def running(job_id: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, JobUpdate) and event.job_id == job_id and event.step is not None and event.step >= 1


def ended(job_id: str) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, JobUpdate) and event.job_id == job_id and event.stage.final


def test_status_is_answered_within_50_ms_while_a_job_computes(waiting: Waiting) -> None:
    job_id = waiting.submit(job(1, f"steps=100 step_s={STEP_S}"))
    waiting.until(running(job_id))
    took: list[float] = []
    for _ in range(TRIES):
        waiting.client.ask_status()
        took.append(waiting.until(lambda event: isinstance(event, StatusReport)))
    assert statistics.median(took) < 0.05, took


def test_cancelling_is_answered_within_one_step_and_100_ms_and_frees_the_device_as_soon(waiting: Waiting) -> None:
    answered: list[float] = []
    free: list[float] = []
    for seed in range(TRIES // 2):
        long, next_one = waiting.submit(job(seed, f"steps=100 step_s={STEP_S}")), waiting.submit(job(1000 + seed, "steps=1"))
        waiting.until(running(long))
        begin = time.perf_counter()
        waiting.client.cancel(long)
        answered.append(waiting.until(ended(long)))
        waiting.until(ended(next_one))
        free.append(time.perf_counter() - begin)
    assert statistics.median(answered) < STEP_S + 0.1, answered
    assert statistics.median(free) < STEP_S + 0.1 + 0.1, free


def test_no_call_of_the_client_keeps_the_host_waiting(waiting: Waiting) -> None:
    for seed in range(10):
        waiting.until(ended(waiting.submit(job(seed, "steps=3 step_s=0.01", preview_every=1))))
    assert statistics.quantiles(waiting.calls, n=100)[94] < 0.005, max(waiting.calls)
