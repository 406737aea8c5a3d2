"""Two devices, two workers: jobs side by side, in a fair order, and the death of one is nothing to the other."""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_backend import Pair, job, setup
from scripted_worker import begun, let_go, pixels

from protocol.client import Client
from protocol.geometry import Extent
from protocol.messages import Accepted, Fetched, JobUpdate, Stage, StatusReport

HELD = "steps=3 hold=go"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(setup(tmp_path / "state", devices=("a", "b")))
    pair.until(lambda: len(pair.service._supervisor.idle()) == 2)
    yield pair
    pair.close()


def steps(pair: Pair, client: Client, job_id: str) -> list[int]:
    return [update.step for update in pair.of(client, JobUpdate, job_id) if update.step]


def final(pair: Pair, client: Client, job_id: str) -> JobUpdate:
    pair.until(lambda: any(update.stage.final for update in pair.of(client, JobUpdate, job_id)))
    return pair.of(client, JobUpdate, job_id)[-1]


def working(pair: Pair) -> dict[str, str | None]:
    """Which device is at which job, as the backend's status tells it."""
    asker = pair.client(uuid.uuid4().hex)
    asker.ask_status()
    pair.until(lambda: pair.of(asker, StatusReport))
    return {device.device: device.job_id for device in pair.of(asker, StatusReport)[-1].status.devices}


def test_two_jobs_are_done_side_by_side(own: Pair) -> None:
    client = own.client()
    first, second = client.submit(job(1, HELD)), client.submit(job(2, HELD))
    own.until(lambda: steps(own, client, first) and steps(own, client, second))
    assert {update.stage for update in client.jobs().values()} == {Stage.RUNNING}
    assert set(working(own).values()) == {first, second}
    let_go(own.setup.state, "go")
    for seed, job_id in enumerate((first, second), 1):
        assert final(own, client, job_id).stage is Stage.DONE
        client.fetch(job_id)
        own.until(lambda job_id=job_id: own.of(client, Fetched, job_id))
        assert bytes(own.of(client, Fetched, job_id)[-1].outcome.pictures[0].picture.data) == pixels(seed, Extent(8, 8)).data


def test_one_clients_long_queue_does_not_take_both_devices_from_another(own: Pair) -> None:
    """The first two of the many are at work already; the other's only job is next, before the rest of them."""
    many, few = own.client(uuid.uuid4().hex), own.client(uuid.uuid4().hex)
    queue = [many.submit(job(seed, HELD)) for seed in range(6)]
    own.until(lambda: len(own.of(many, JobUpdate)) >= 6 and len([one for one in working(own).values() if one]) == 2)
    only = few.submit(job(10, "steps=1"))
    own.until(lambda: own.of(few, Accepted, only))
    let_go(own.setup.state, "go")
    assert final(own, few, only).stage is Stage.DONE
    assert final(own, many, queue[-1]).stage is Stage.DONE
    assert begun(own.setup.state).index(10) <= 2 + 1, "after the two at work, and perhaps beside another"


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_one_worker_is_killed_and_the_other_goes_on(own: Pair) -> None:
    client = own.client()
    jobs = [client.submit(job(seed, HELD)) for seed in (1, 2)]
    own.until(lambda: all(steps(own, client, job_id) for job_id in jobs))
    slots = {slot.device: slot for slot in own.service._supervisor._slots}
    victim, spared = slots["a"].work.job_id, slots["b"].work.job_id
    survivor = slots["b"].process.pid
    os.kill(slots["a"].process.pid, signal.SIGKILL)
    let_go(own.setup.state, "go")
    assert final(own, client, spared).attempt == 1
    assert final(own, client, victim).attempt == 2
    assert slots["b"].process.pid == survivor
    assert [client.jobs()[job_id].stage for job_id in jobs] == [Stage.DONE] * 2
    assert steps(own, client, spared) == sorted(steps(own, client, spared)), "its steps were never begun again"
