"""What nobody should send, and nobody can foresee, does not end the backend."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgpack
import psutil
import pytest
import zmq
from running_backend import Pair, job, setup

from backend import launch, scripting, session
from backend.launch import connect, nobody_serves, start_detached
from backend.scripting import Studio
from backend.server.dispatch import RESULT_BYTES
from backend.server.queue import Limits
from protocol.discovery import Lock, read_connection, write_connection
from protocol.errors import BackendUnavailable, DiskFull, NotOurKey, NotRunning
from protocol.events import Link
from protocol.messages import JobUpdate, Priority, Stage, StatusReport
from protocol.results import WorkerStage
from protocol.transport import ClientSocket
from protocol.version import PREAMBLE

SERVE = ("--pipeline", "nothing")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(setup(tmp_path / "state", limits=Limits(queued=8)))
    yield pair
    pair.close()


def connected(pair: Pair):
    client = pair.client(uuid.uuid4().hex)
    pair.until(lambda: client.link is Link.CONNECTED)
    return client


@pytest.mark.parametrize(
    "header",
    [
        {"kind": "hello", "a\x00b": 1},
        {"kind": "hello\x07"},
        {"kind": "hello", "request": 1, "client": "\x1b[2J", "program": "x"},
        {"\x00": 1},
    ],
)
def test_a_message_with_control_characters_in_it_is_refused_and_the_next_client_is_served(own: Pair, header: dict[str, object]) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    raw = ClientSocket(context, read_connection(own.setup.state))
    end = time.monotonic() + 120
    while not raw.send([PREAMBLE, msgpack.packb(header)]) and time.monotonic() < end:
        own.service.broker.turn(0.01)
    answered = None
    while answered is None and time.monotonic() < end:
        own.service.broker.turn(0.01)
        answered = raw.receive()
    assert answered is not None
    assert msgpack.unpackb(bytes(answered[1]))["kind"] == "rejected"
    raw.close()
    context.destroy(linger=0)
    connected(own)


def test_a_fault_of_the_program_in_one_request_does_not_end_the_others(own: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connected(own)

    def broken(*_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(own.service.broker, "_status", broken)
    client.ask_status()
    own.until(lambda: any("RuntimeError" in str(getattr(event, "error", "")) for event in own.events[client]))
    monkeypatch.undo()
    client.ask_status()
    own.until(lambda: bool(own.of(client, StatusReport)))


def test_while_the_disk_is_full_accepted_jobs_wait_and_are_done_when_there_is_room(own: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connected(own)
    spool = own.service.broker.dispatcher._spool
    full, refused = True, 0

    def check_room(needed: int) -> None:
        nonlocal refused
        if full and needed == RESULT_BYTES:
            refused += 1
            raise DiskFull

    monkeypatch.setattr(spool, "check_room", check_room)
    job_id = client.submit(job(1, "steps=1"))
    own.until(lambda: bool(own.of(client, JobUpdate, job_id)))
    own.until(lambda: refused >= 2)
    assert {update.stage for update in own.of(client, JobUpdate, job_id)} == {Stage.QUEUED}
    full = False
    own.until(lambda: own.of(client, JobUpdate, job_id)[-1].stage is Stage.DONE)


def test_batch_jobs_know_how_many_are_before_them(own: Pair) -> None:
    client = connected(own)
    blocker = client.submit(job(1, "hold=never"))
    own.until(lambda: any(update.stage is Stage.RUNNING for update in own.of(client, JobUpdate, blocker)))
    waiting = [client.submit(job(seed, "steps=1"), priority=Priority.BATCH) for seed in (2, 3, 4)]
    own.until(lambda: all(own.of(client, JobUpdate, job_id) for job_id in waiting))
    assert [own.of(client, JobUpdate, job_id)[-1].position for job_id in waiting] == [0, 1, 2]


SLOW_TORCH = """
import sys, time
from pathlib import Path

here = Path(__file__).parent.parent
while not (here / "go").exists():
    time.sleep(0.02)
sys.path.remove(str(here))
del sys.modules["torch"]
import torch
"""


def test_status_is_answered_while_the_worker_is_not_ready_and_waits_for_none_of_its_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever imports torch here waits until the test lets it go; so would the answer, if the server imported it."""
    monkeypatch.setattr(scripting, "ANSWER_S", 600.0)  # a busy machine takes its time for the real one
    (tmp_path / "slow" / "torch").mkdir(parents=True)
    (tmp_path / "slow" / "torch" / "__init__.py").write_text(SLOW_TORCH)
    own = {**os.environ, "PYTHONPATH": str(tmp_path / "slow")}
    with Studio(tmp_path / "state", options=["--on", "cpu"], environ=own) as studio:
        assert studio.status().devices[0].stage is WorkerStage.STARTING
        (tmp_path / "slow" / "go").touch()
        assert "sketch" in [model.id for model in studio.models()]
        studio.shut_down()


def test_a_script_leaves_nothing_behind_that_nobody_will_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_LEAVE_S", 300.0)  # a busy backend is waited for until it has heard that the script leaves
    state = tmp_path / "state"
    for _ in range(3):
        with Studio(state, options=SERVE) as studio:
            studio.picture("anything", size=(8, 8))
    with Studio(state, start=False) as studio:
        assert len(studio._events) < 3
        studio.shut_down()
    end = time.monotonic() + 120
    while connectable(state) and time.monotonic() < end:
        time.sleep(0.1)
    base = sqlite3.connect(f"file:{next(state.rglob('spool.sqlite'))}?mode=ro", uri=True)
    assert base.execute("SELECT count(*), sum(acknowledged IS NULL) FROM jobs").fetchone() == (3, 0)


def connectable(state: Path) -> bool:
    try:
        connect(state, start=False).close()
    except NotRunning:
        return False
    return True


def test_a_device_that_is_not_there_is_said_as_a_sentence_after_one_try(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Studio(state, options=["--on", "cuda:99"]) as studio:
        with pytest.raises(BackendUnavailable, match=r"^The device 'cuda:99' cannot be used here .*--stop") as told:
            studio.picture("anything", size=(8, 8))
        assert "Traceback" not in str(told.value)
        assert len(str(told.value)) < 400
        log = (state / "logs" / "worker-cuda-99.log").read_text()
        assert "Traceback" not in log
        studio.shut_down()


def test_a_backend_that_was_killed_is_started_again_once_by_the_script_that_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one, started while the first is slow to start, would serve for nobody once that one has ended."""
    started: list[float] = []

    def slowly(*words: object) -> None:
        started.append(time.monotonic())
        threading.Timer(1.5, start_detached, words).start()

    monkeypatch.setattr(session, "start_detached", slowly)
    with Studio(tmp_path / "state", options=SERVE) as studio:
        studio.picture("before", size=(8, 8))
        os.kill(studio.status().pid, signal.SIGKILL)
        assert len(studio.picture("after", size=(8, 8))) == 1
        assert len(started) == 1
        studio.shut_down()


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose file names a port that another program has now."""
    state = tmp_path / "state"
    with Studio(state, options=SERVE) as studio:
        old = read_connection(state)
        studio.shut_down()
    end = time.monotonic() + 120
    while connectable(state) and time.monotonic() < end:
        time.sleep(0.1)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    stranger = context.socket(zmq.ROUTER)
    while True:
        try:
            stranger.bind(old.endpoint)
            break
        except zmq.ZMQError:  # the backend's process has not quite ended
            assert time.monotonic() < end + 120
            time.sleep(0.1)
    write_connection(state, old)
    yield state
    context.destroy(linger=0)


def test_the_file_of_a_dead_backend_whose_port_is_another_programs_now_stops_nobody(taken: Path) -> None:
    with Studio(taken, options=SERVE) as studio:
        assert studio.status().release
        studio.shut_down()


def test_nor_while_that_backend_is_still_ending(taken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port is free a little before its folder is."""
    ending = Lock(taken)
    until_free(ending)
    asked: list[bool] = []

    def asks(state: Path) -> bool:
        if len(asked) == 3:
            ending.release()
        asked.append(nobody_serves(state))
        return asked[-1]

    monkeypatch.setattr(launch, "nobody_serves", asks)
    monkeypatch.setattr(launch, "ENDING_S", 300.0)  # how often it is asked counts here
    with Studio(taken, options=SERVE) as studio:
        assert studio.status().release
        assert asked[:4] == [False, False, False, True]
        studio.shut_down()


def test_a_backend_that_is_not_ours_and_stays_is_said(taken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "ENDING_S", 1.0)
    serving = Lock(taken)
    until_free(serving)
    with pytest.raises(NotOurKey, match="Stop it and start the backend again"):
        Studio(taken, options=SERVE)
    serving.release()


def until_free(lock: Lock) -> None:
    end = time.monotonic() + 120
    while not lock.acquire():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize(("options", "minutes"), [((), "15"), (("--idle-minutes", "40"), "40"), (("--idle-minutes=40",), "40")])
def test_a_backend_that_a_script_starts_is_told_when_to_end(tmp_path: Path, options: tuple[str, ...], minutes: str) -> None:
    with Studio(tmp_path / "state", options=[*SERVE, *options]) as studio:
        words = " ".join(psutil.Process(studio.status().pid).cmdline()).replace("=", " ")
        assert words.count("--idle-minutes") == 1
        assert words.endswith(f"--idle-minutes {minutes}")
        studio.shut_down()


def test_an_idle_backend_ends_by_itself_after_its_last_job(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Studio(state, options=[*SERVE, "--idle-minutes", "0.03"]) as studio:
        studio.picture("anything", size=(8, 8))
        backend = psutil.Process(studio.status().pid)
    backend.wait(300)  # a look would be a client, which is no idleness
    with pytest.raises(NotRunning):
        connect(state, start=False)
