from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from fake_backend import FakeBackend, pump
from waits import Watch

from protocol.client import Client
from protocol.discovery import CONNECTION_FILE, note_starting, write_connection
from protocol.errors import Busy, InvalidRequest, NotRunning
from protocol.events import Link, LinkChanged, ModelsChanged, Refused, WorkerChanged
from protocol.jobs import PictureJob
from protocol.limits import LOST_S, PING_S, RESEND_S
from protocol.messages import Accepted, Acknowledge, Done, Inquire, JobBrief, JobUpdate, Ping, Rejected, Request, Stage, Submit
from protocol.transport import new_keys

ME = "c" * 32


class Clock:
    """The time that a test says it is, beside the real one that passes."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(tmp_path: Path, clock: Clock) -> Iterator[Client]:
    made = Client(tmp_path / "state", ME, program="test", clock=clock)
    yield made
    made.close()


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[FakeBackend]:
    made = FakeBackend(tmp_path / "state", lambda request: [])
    yield made
    made.stop()


def linked(link: Link):
    return lambda events: any(isinstance(event, LinkChanged) and event.link is link for event in events)


def happened(kind: type):
    return lambda events: any(isinstance(event, kind) for event in events)


def test_without_a_backend_it_says_not_running_and_how_to_start_one(client: Client) -> None:
    events = pump(client, None, linked(Link.NOT_RUNNING))
    assert "likeness serve" in events[-1].sentence


def test_a_backend_that_starts_is_starting(client: Client, tmp_path: Path) -> None:
    note_starting(tmp_path / "state")
    pump(client, None, linked(Link.STARTING))


def test_it_connects_and_greets_once_a_backend_is_there(client: Client, tmp_path: Path) -> None:
    pump(client, None, linked(Link.NOT_RUNNING))
    backend = FakeBackend(tmp_path / "state")
    events = pump(client, backend, happened(WorkerChanged))
    assert linked(Link.CONNECTED)(events)
    assert client.release == "0"
    backend.stop()


def test_a_file_left_by_a_dead_backend_is_not_running(client: Client, backend: FakeBackend) -> None:
    backend.stop()
    pump(client, None, linked(Link.NOT_RUNNING))
    assert NotRunning.cure in client.sentence


def test_another_key_of_the_server_is_not_our_key(client: Client, backend: FakeBackend) -> None:
    stale = {**asdict(backend.connection), "server_key": new_keys().public}
    write_connection(backend.folder, type(backend.connection)(**stale))
    pump(client, backend, linked(Link.NOT_OUR_KEY))


def test_a_key_that_the_server_does_not_know_is_not_our_key(client: Client, backend: FakeBackend) -> None:
    keys = new_keys()
    foreign = {**asdict(backend.connection), "client_key": keys.public, "client_secret": keys.secret}
    write_connection(backend.folder, type(backend.connection)(**foreign))
    pump(client, backend, linked(Link.NOT_OUR_KEY))
    assert backend.heard == []


@pytest.mark.parametrize("leave_file", [False, True], ids=["its file gone", "its file left, as strangers look"])
def test_a_backend_that_ends_while_a_client_is_at_its_door_is_not_another_program(
    client: Client, backend: FakeBackend, leave_file: bool
) -> None:
    """Whoever ends takes the file away first, and judges no key from then on."""
    pump(client, None, lambda _: bool(backend.socket._zap.poll(0)))  # its key waits to be judged
    backend.stop(leave_file)
    events = pump(client, None, lambda events: any(isinstance(event, LinkChanged) for event in events))
    assert linked(Link.NOT_OUR_KEY if leave_file else Link.NOT_RUNNING)(events)


def test_a_connection_file_of_another_major_version_is_the_wrong_version(client: Client, backend: FakeBackend) -> None:
    file = backend.folder / CONNECTION_FILE
    changed = re.sub(r'"version": \[\d+, \d+\]', '"version": [9, 0]', file.read_text())
    assert '"version": [9, 0]' in changed
    file.write_text(changed)
    pump(client, None, linked(Link.WRONG_VERSION))
    assert "Update this side" in client.sentence


def test_a_rejection_for_the_version_is_the_wrong_version(client: Client, backend: FakeBackend) -> None:
    backend._replies = lambda request: [Rejected(0, "version-mismatch", "Update the backend.")]
    pump(client, backend, linked(Link.WRONG_VERSION))
    assert client.sentence == "Update the backend."


def test_a_backend_that_falls_silent_is_lost_and_found_again(client: Client, backend: FakeBackend, clock: Clock) -> None:
    pump(client, backend, linked(Link.CONNECTED))
    backend.mute = True
    silence = pump(client, backend, lambda events: clock.ahead > LOST_S + 1 or forward(clock, 0.5))
    assert linked(Link.LOST)(silence + pump(client, backend, lambda events: client.link is Link.LOST))
    assert "accepted are kept" in client.sentence
    backend.mute = False
    forward(clock, 1)
    pump(client, backend, linked(Link.CONNECTED))


def forward(clock: Clock, seconds: float) -> bool:
    clock.ahead += seconds
    return False


def test_a_host_that_slept_for_two_hours_does_not_blame_the_backend(client: Client, backend: FakeBackend, clock: Clock) -> None:
    pump(client, backend, linked(Link.CONNECTED))
    clock.ahead += 7200
    before = len(backend.heard)
    events = pump(client, backend, lambda events: len(backend.heard) > before + 1 or forward(clock, 0.3))
    assert not [event for event in events if isinstance(event, LinkChanged)]


def test_a_killed_backend_is_lost_and_its_successor_found(client: Client, backend: FakeBackend) -> None:
    pump(client, backend, linked(Link.CONNECTED))
    backend.stop()
    pump(client, None, linked(Link.LOST))
    successor = FakeBackend(backend.folder)
    pump(client, successor, linked(Link.CONNECTED))
    successor.stop()


def test_a_submit_is_repeated_until_it_is_answered(client: Client, backend: FakeBackend, clock: Clock) -> None:
    job_id = client.submit(PictureJob("x"), note="here")
    pump(client, backend, lambda events: sum(isinstance(r, Submit) for r in backend.heard) == 1)
    clock.ahead += RESEND_S / 2
    client.poll()
    clock.ahead += RESEND_S / 2 + 0.1
    pump(client, backend, lambda events: sum(isinstance(r, Submit) for r in backend.heard) == 2)
    first, second = (request for request in backend.heard if isinstance(request, Submit))
    assert first == second
    backend.say(Accepted(first.request, job_id))
    events = pump(client, backend, happened(Accepted))
    assert [event.job_id for event in events if isinstance(event, Accepted)] == [job_id]
    clock.ahead += RESEND_S + 1
    pump(client, backend, lambda events: sum(isinstance(r, Ping) for r in backend.heard) > 1 or forward(clock, 0.3))
    assert sum(isinstance(r, Submit) for r in backend.heard) == 2


def test_a_submit_before_the_backend_is_there_is_sent_when_it_comes(client: Client, tmp_path: Path) -> None:
    client.submit(PictureJob("x"))
    pump(client, None, linked(Link.NOT_RUNNING))
    backend = FakeBackend(tmp_path / "state")
    pump(client, backend, lambda events: any(isinstance(r, Submit) for r in backend.heard))
    backend.stop()


def test_a_job_reaches_one_final_update_whatever_is_said(client: Client, backend: FakeBackend) -> None:
    pump(client, backend, linked(Link.CONNECTED))
    for stage in (Stage.QUEUED, Stage.RUNNING, Stage.DONE, Stage.DONE, Stage.FAILED, Stage.RUNNING, Stage.CANCELLED):
        backend.say(JobUpdate("a" * 32, stage))
    backend.say(JobUpdate("b" * 32, Stage.QUEUED))
    events = pump(client, backend, lambda events: any(isinstance(e, JobUpdate) and e.job_id == "b" * 32 for e in events))
    assert [e.stage for e in events if isinstance(e, JobUpdate) and e.job_id == "a" * 32] == [Stage.QUEUED, Stage.RUNNING, Stage.DONE]


def test_an_event_that_was_lost_is_found_by_the_heartbeat(client: Client, backend: FakeBackend, clock: Clock) -> None:
    def answer(request: Request):
        match request:
            case Submit():
                return [Accepted(request.request, request.job_id)]
            case Inquire():
                return [JobUpdate(request.job_id, Stage.DONE, request=request.request)]
            case _:
                return []

    backend.answer = answer
    job_id = client.submit(PictureJob("x"))
    pump(client, backend, happened(Accepted))
    backend.jobs = (JobBrief(job_id, Stage.DONE),)
    clock.ahead += 1.1
    events = pump(client, backend, happened(JobUpdate))
    assert events[-1].stage is Stage.DONE


def test_the_heartbeat_tells_once_that_there_are_other_models(client: Client, backend: FakeBackend, clock: Clock) -> None:
    pump(client, backend, linked(Link.CONNECTED))
    backend.models = 3
    clock.ahead += PING_S
    told = pump(client, backend, happened(ModelsChanged))
    pings = sum(isinstance(request, Ping) for request in backend.heard)
    clock.ahead += PING_S
    told += pump(client, backend, lambda events: sum(isinstance(request, Ping) for request in backend.heard) > pings)
    clock.ahead += PING_S
    told += pump(client, backend, lambda events: sum(isinstance(request, Ping) for request in backend.heard) > pings + 1)
    assert sum(isinstance(event, ModelsChanged) for event in told) == 1


def test_a_job_that_the_backend_never_heard_of_fails_and_does_not_wait_for_ever(client: Client, backend: FakeBackend, clock: Clock) -> None:
    def answer(request: Request):
        match request:
            case Submit():
                return [Accepted(request.request, request.job_id)]
            case Inquire():
                return [Rejected(request.request, "unknown-job", "There is no such job.")]
            case _:
                return []

    backend.answer = answer
    client.submit(PictureJob("x"))
    pump(client, backend, happened(Accepted))
    clock.ahead += 1.1
    events = pump(client, backend, happened(JobUpdate))
    assert (events[-1].stage, events[-1].fault.code) == (Stage.FAILED, "unknown-job")


def test_a_refusal_is_an_error_of_the_tree_with_its_request(client: Client, backend: FakeBackend) -> None:
    backend.answer = lambda request: [Rejected(request.request, "busy", "64 jobs wait.", 2.5)] if isinstance(request, Submit) else []
    client.submit(PictureJob("x"))
    refused = pump(client, backend, happened(Refused))[-1]
    assert isinstance(refused.error, Busy)
    assert (str(refused.error), refused.retry_after_s, refused.request.job.prompt) == ("64 jobs wait.", 2.5, "x")
    assert client.jobs() == {}


def test_a_job_is_forgotten_when_its_acknowledgement_is_answered(client: Client, backend: FakeBackend) -> None:
    backend.answer = lambda request: [Done(request.request)] if isinstance(request, Acknowledge) else []
    pump(client, backend, linked(Link.CONNECTED))
    backend.say(JobUpdate("a" * 32, Stage.DONE))
    pump(client, backend, happened(JobUpdate))
    client.acknowledge("a" * 32)
    assert "a" * 32 in client.jobs()
    pump(client, backend, happened(Done))
    assert client.jobs() == {}


def test_a_job_that_cannot_be_meant_is_refused_before_it_is_sent(client: Client) -> None:
    with pytest.raises(InvalidRequest):
        client.submit(PictureJob(count=99))
    assert client.jobs() == {}


def press(client: Client, backend: FakeBackend, clock: Clock, watch: Watch, times: int) -> None:
    """All that a host calls, while the backend is there and says nothing, and when it is gone."""
    pump(client, backend, linked(Link.CONNECTED))
    for stopped in (False, True):
        for _ in range(times):
            watch(client.poll)
            watch(client.submit, PictureJob("x"))
            watch(client.ask_status)
            clock.ahead += 0.2
        if not stopped:
            backend.stop()


def test_no_call_of_a_host_waits_whatever_the_backend_does(client: Client, backend: FakeBackend, clock: Clock) -> None:
    press(client, backend, clock, watch := Watch(), times=60)
    assert watch.nobody_waited, watch.waited


def test_a_call_that_waits_for_the_backend_would_be_noticed(
    client: Client, backend: FakeBackend, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unsafe twin: one of the three calls looks whether something comes, and gives it a tenth of a second."""
    monkeypatch.setattr(client, "ask_status", lambda: time.sleep(0.1))
    press(client, backend, clock, watch := Watch(), times=5)
    assert not watch.nobody_waited


def test_leaving_does_not_wait_for_what_was_not_sent(tmp_path: Path) -> None:
    """Of several, the quickest counts, beside the quickest with nothing to send: whoever waits here waits for ever."""
    took: dict[bool, list[float]] = {True: [], False: []}
    for number, sends in enumerate([True, False] * 5):
        backend = FakeBackend(tmp_path / str(number), lambda request: [])
        leaving = Client(tmp_path / str(number), ME)
        pump(leaving, backend, linked(Link.CONNECTED))
        backend.stop()
        if sends:
            leaving.submit(PictureJob("x"))
        start = time.perf_counter()
        leaving.close()
        took[sends].append(time.perf_counter() - start)
    assert min(took[True]) < min(took[False]) + 0.05, took
