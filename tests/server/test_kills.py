"""A worker is killed wherever it may be, or goes round in circles: the job is done again, and only its result is left."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from running_backend import QUICK, Pair, job, setup
from scripted_worker import pixels

from protocol.client import Client
from protocol.events import WorkerChanged
from protocol.geometry import Extent
from protocol.messages import Fetched, JobUpdate, Stage
from protocol.results import WorkerStage

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
WATCHFUL = replace(QUICK, step_s=2.0)
"""A step of the scripted worker takes milliseconds; on a busy machine one may take longer once, so only tests of loops are so strict."""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(setup(tmp_path / "state"))
    yield pair
    pair.close()


@pytest.fixture
def watchful(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(setup(tmp_path / "state", patience=WATCHFUL))
    yield pair
    pair.close()


def final(pair: Pair, client: Client, job_id: str) -> JobUpdate:
    pair.until(lambda: any(update.stage.final for update in pair.of(client, JobUpdate, job_id)))
    return pair.of(client, JobUpdate, job_id)[-1]


def check_picture(pair: Pair, client: Client, job_id: str, seed: int) -> None:
    client.fetch(job_id)
    pair.until(lambda: pair.of(client, Fetched, job_id))
    assert bytes(pair.of(client, Fetched, job_id)[-1].outcome.pictures[0].picture.data) == pixels(seed, Extent(8, 8)).data


def parts(pair: Pair) -> list[str]:
    return [path.name for path in (pair.setup.state / "spool" / "planes").iterdir() if path.suffix == ".part"]


@pytest.mark.parametrize("place", ["load", "decode", "save"])
def test_a_worker_killed_while_it_loads_decodes_or_saves_costs_nothing_but_time(own: Pair, place: str) -> None:
    client = own.client()
    job_id = client.submit(job(9, f"kill_in={place} times=1"))
    assert final(own, client, job_id).attempt == 2
    check_picture(own, client, job_id, 9)
    assert (own.setup.state / "script" / "9").read_bytes() == b".."
    assert len([update for update in own.of(client, JobUpdate, job_id) if update.stage.final]) == 1


@pytest.mark.parametrize("kills", [1, 2])
def test_a_worker_killed_before_it_is_ready_is_started_again_and_does_what_waits(own: Pair, kills: int) -> None:
    (own.setup.state / "script" / "start-kills").write_text(str(kills))
    client = own.client()
    job_id = client.submit(job(3))
    assert final(own, client, job_id).attempt == 1, "no job was at work, so none is to blame"
    check_picture(own, client, job_id, 3)


def test_half_a_result_of_a_killed_attempt_is_not_left_behind(own: Pair) -> None:
    client = own.client()
    waiting = client.submit(job(4, "kill_in=save times=2"))
    assert final(own, client, waiting).attempt == 3
    assert parts(own) == []
    set_aside = client.submit(job(5, "kill_in=save"))
    assert final(own, client, set_aside).fault.code == "poison-job"
    assert parts(own) == []


def test_half_a_result_of_a_cancelled_job_is_not_left_behind_when_its_worker_had_to_be_killed(own: Pair) -> None:
    client = own.client()
    job_id = client.submit(job(4, "stall_in=save"))
    own.until(lambda: parts(own))
    client.cancel(job_id)
    assert final(own, client, job_id).stage is Stage.CANCELLED
    following = client.submit(job(5))
    assert final(own, client, following).stage is Stage.DONE
    assert parts(own) == []
    assert [update.stage for update in own.of(client, JobUpdate, job_id) if update.stage.final] == [Stage.CANCELLED]


def test_a_job_in_an_endless_loop_is_noticed_and_done_again(watchful: Pair) -> None:
    client = watchful.client()
    job_id = client.submit(job(6, "steps=3 loop_at=1 times=1"))
    assert final(watchful, client, job_id).attempt >= 2
    check_picture(watchful, client, job_id, 6)


def test_a_job_that_always_loops_is_set_aside_and_said_and_the_next_job_works(watchful: Pair) -> None:
    client = watchful.client(uuid.uuid4().hex)
    endless, good = client.submit(job(7, "steps=3 loop_at=1")), client.submit(job(8))
    fault = final(watchful, client, endless).fault
    assert fault.code == "poison-job"
    assert "no progress" in fault.sentence
    assert final(watchful, client, good).stage is Stage.DONE
    check_picture(watchful, client, good, 8)
    well = (WorkerStage.READY, WorkerStage.WORKING)
    watchful.until(lambda: watchful.of(client, WorkerChanged)[-1].stage in well)
