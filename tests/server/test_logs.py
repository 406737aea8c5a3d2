"""Logs are turned over, also under a worker that never ends; and what somebody writes or shows is in none of them."""

from __future__ import annotations

import base64
import logging
import queue
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running_backend import ROOT, Pair, job, setup

from backend.images import to_plane
from backend.pipe import Lease
from backend.server.process import WorkerProcess, turn_over
from backend.service import Setup, characters_of, log_to
from backend.worker import serve
from backend.worker.nothing import Nothing
from protocol.client import Client
from protocol.codec import request_codec
from protocol.events import Refused
from protocol.geometry import Extent
from protocol.jobs import Character, Embed, Job, MakeCharacter, Photos, PictureJob, Sampling, Subject
from protocol.messages import JobUpdate, Stage, Submit
from protocol.planes import Layout, Plane

MEGABYTE = 1024 * 1024
SECRET = "xyzzyplugh"


@pytest.fixture
def quiet_logging() -> Iterator[None]:
    """The server's logger as it was before."""
    logger = logging.getLogger("likeness")
    before = logger.handlers, logger.level, logger.propagate
    yield
    for handler in logger.handlers:
        handler.close()
    logger.handlers, level, logger.propagate = before
    logger.setLevel(level)  # which is told to all that asked, as an attribute is not


# They do not grow ---------------------------------------------------------------------------------------------------------------------
def test_a_large_log_is_turned_over_when_a_worker_starts_and_three_old_ones_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "worker-cpu.log"
    for number in range(6):
        log.write_bytes(b"%d" % number * MEGABYTE)
        turn_over(log)
    assert not log.exists()
    kept = {path.name: path.read_bytes()[:1] for path in tmp_path.iterdir()}
    assert kept == {"worker-cpu.1.log": b"5", "worker-cpu.2.log": b"4", "worker-cpu.3.log": b"3"}


def test_a_small_log_is_gone_on_with(tmp_path: Path) -> None:
    log = tmp_path / "worker-cpu.log"
    log.write_bytes(b"x" * 1000)
    turn_over(log)
    assert log.read_bytes() == b"x" * 1000


TALK = """
import sys, time
from pathlib import Path

for part in range(80):
    while not (Path(sys.argv[1]) / str(part)).exists():
        time.sleep(0.002)
    print(*(f"{part:03d} {line:04d} all day" for line in range(6000)), sep="\\n", flush=True)
time.sleep(600)
"""
"""Prints a tenth of a megabyte whenever it is asked to."""


@pytest.mark.skipif(sys.platform == "win32", reason="an inherited file does not append there, so a log waits for the next start")
def test_a_worker_that_never_ends_and_prints_all_day_does_not_fill_the_disk(tmp_path: Path) -> None:
    """Eight megabytes, with a look at the log after every two, as one a second may see; its end is kept each time."""
    logs, asked = tmp_path / "logs", tmp_path / "asked"
    logs.mkdir()
    asked.mkdir()
    log = logs / "worker-cpu.log"
    process = WorkerProcess([sys.executable, "-c", TALK, str(asked)], log, {})
    largest, end = 0, time.monotonic() + 240
    for part in range(80):
        (asked / str(part)).touch()
        while f"{part:03d} 5999 all day" not in process.last_words():
            assert time.monotonic() < end
            time.sleep(0.002)
        largest = max(largest, sum(path.stat().st_size for path in logs.iterdir()))
        process._look_at = 0.0 if part % 20 == 19 else float("inf")
        process.receive()
    process.kill()
    sizes = {path.name: path.stat().st_size for path in logs.iterdir()}
    assert set(sizes) <= {"worker-cpu.log", "worker-cpu.1.log", "worker-cpu.2.log", "worker-cpu.3.log"}
    assert all(size <= MEGABYTE for size in sizes.values())
    assert largest < 8 * MEGABYTE
    text = (logs / "worker-cpu.1.log").read_text() + log.read_text()
    assert "\0" not in text, "the worker goes on at the beginning of the emptied file"
    assert (logs / "worker-cpu.1.log").stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("quiet_logging")
def test_the_servers_log_is_turned_over_at_a_megabyte(tmp_path: Path) -> None:
    log_to(tmp_path / "logs")
    for _ in range(60_000):
        logging.getLogger("likeness.jobs").info("job %s accepted", "a" * 32)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "logs").iterdir()}
    assert set(sizes) == {"server.log", "server.log.1", "server.log.2", "server.log.3"}
    assert max(sizes.values()) <= MEGABYTE


# They say nothing of what is drawn ------------------------------------------------------------------------------------------------------
def face() -> Plane:
    """A photo whose bytes can be found again."""
    return Plane(Layout.RGB8, Extent(16, 16), np.random.default_rng(7).integers(0, 256, 768, dtype=np.uint8).tobytes())


def told(folder: Path, photo: Plane) -> list[str]:
    """What the logs in `folder` tell of a job: a secret word, or a photo in any form in which a program prints bytes."""
    logs = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert logs, "a test of nothing"
    piece = bytes(photo.data)[len(photo.data) // 2 :][:24]
    forms = [
        SECRET.encode(),
        piece,
        piece.hex().encode(),
        base64.b64encode(piece),
        repr(piece)[2:-1].encode(),
        str(list(piece))[1:-1].encode(),
    ]
    return [f"{name}: {form!r}" for name, text in logs.items() for form in forms if form.lower() in text.lower()]


def ended(pair: Pair, client: Client, asked: Job) -> JobUpdate:
    job_id = client.submit(asked, note=f"layer {SECRET}")
    pair.until(lambda: any(update.stage.final for update in pair.of(client, JobUpdate, job_id)), timeout_s=600)
    return pair.of(client, JobUpdate, job_id)[-1]


def secret_job(words: str, seed: int) -> PictureJob:
    asked = job(seed, f"{SECRET} word={SECRET} {words}", negative=SECRET, preview_every=1)
    return replace(asked, subjects=(Subject(Photos((face(),))), Subject(Character(f"Aunt {SECRET}"))))


FAULTS = ("", "face_at=0", "bug_at=1", "full_at=0 rungs=all", "lost_at=1 times=1", "kill_at=1 times=1", "kill_at=0")


@pytest.mark.usefixtures("quiet_logging")
def test_no_prompt_no_name_and_no_face_is_in_a_log_whatever_goes_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = setup(tmp_path / "state")
    log_to(made.logs)
    pair = Pair(made)
    client = pair.client(uuid.uuid4().hex)
    stages = [ended(pair, client, secret_job(words, seed)).stage for seed, words in enumerate(FAULTS)]
    assert stages == [Stage.DONE, *[Stage.FAILED] * 3, Stage.DONE, Stage.DONE, Stage.FAILED]

    def broken(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(pair.service.broker, "_status", broken)
    client.ask_status()
    header = bytes(request_codec().encode(Submit(77, "d" * 32, secret_job("", 9)))[1])
    client._socket.send([b"LKNS\1\1", header.replace(b"\xa6prompt", b"\xa6promp\xff"), bytes(face().data)])
    client.rename_character(f"Aunt {SECRET}", SECRET)
    pair.until(lambda: len(pair.of(client, Refused)) == 2)
    pair.close()
    assert {path.name for path in made.logs.iterdir()} == {"server.log", "worker-cpu.log"}
    assert (made.logs / "server.log").read_text().count("accepted") == len(FAULTS)
    assert told(made.logs, face()) == []


def test_a_worker_that_prints_its_jobs_is_found_out(tmp_path: Path) -> None:
    """The unsafe twin."""
    pair = Pair(setup(tmp_path / "state", extra=("--talkative",)))
    ended(pair, pair.client(uuid.uuid4().hex), secret_job("", 1))
    pair.close()
    assert len(told(pair.setup.logs, face())) >= 2


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_logging")
def test_the_real_worker_and_its_libraries_do_not_quote_prompts_or_photos_either(tmp_path: Path) -> None:
    """diffusers quotes what is too long for the text encoder; a photo without a face, and a name that nobody has, are errors."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    command = [sys.executable, "-m", "backend.worker.main", "--device", "cpu", "--characters", str(characters_of(state))]
    pair = Pair(Setup(state, ("cpu",), lambda device: command, "test"))
    log_to(pair.setup.logs)
    client = pair.client(uuid.uuid4().hex)
    with Image.open(ROOT / "backend" / "sketch" / "samples" / "ada.png") as opened:
        ada = to_plane(np.asarray(opened.convert("RGB")))
    long = PictureJob(f"{SECRET} " * 150, negative=f"{SECRET} " * 150, extent=Extent(128, 128), sampling=Sampling(steps=1))
    jobs = [
        Embed((ada,)),
        replace(long, subjects=(Subject(Photos((ada,))),)),
        Embed((face(),)),
        MakeCharacter(f"Aunt {SECRET}", (ada,)),
        MakeCharacter(f"Aunt {SECRET}", (ada, ada)),
        replace(long, subjects=(Subject(Character(f"Uncle {SECRET}")),)),
        replace(long, model=SECRET),
    ]
    stages = [ended(pair, client, asked).stage for asked in jobs]
    pair.close()
    assert stages == [Stage.DONE, Stage.DONE, Stage.FAILED, Stage.DONE, Stage.FAILED, Stage.FAILED, Stage.FAILED]
    assert told(pair.setup.logs, ada) == []
    assert told(pair.setup.logs, face()) == []


def test_a_fault_while_reporting_ends_the_worker_without_its_words(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python itself would print the message of an exception that nobody caught."""

    class Channel:
        def send(self, *_: object) -> None:
            pass

    class Inbox:
        def __init__(self, channel: Channel) -> None:
            self.leases: queue.SimpleQueue = queue.SimpleQueue()
            self.leases.put((Lease("a" * 32, 1, "in", "out"), b""))

    def broken(*_: object) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr(serve, "_Inbox", Inbox)
    monkeypatch.setattr(serve, "_do", broken)
    assert serve.serve(Channel(), Nothing) == serve.FAULT
    printed = "".join(capfd.readouterr())
    assert "ValueError" in printed
    assert SECRET not in printed
