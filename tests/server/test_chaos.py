"""Nothing accepted is lost and nothing comes twice, while workers and the backend are killed at random.

`LIKENESS_CHAOS_JOBS` says how many jobs the long run has, 300 if nothing is said; a sixth as many workers and a thirtieth as many
backends are killed. The run by hand, `LIKENESS_CHAOS_JOBS=1000 python -m pytest tests/server/test_chaos.py`: 161 workers and 33 backends
killed, every job exactly one result with the right pixels, 222 s on two busy cores.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_backend import job, start_process
from scripted_worker import pixels

from protocol.client import Client
from protocol.events import Link, Refused
from protocol.geometry import Extent
from protocol.jobs import Canvas, PictureJob
from protocol.messages import Accepted, Fetched, JobUpdate, Stage

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
TEXT = "steps=3 step_s=0.004"
LARGE = Extent(300, 300)
"""Larger than what goes in the message anyway."""


class Victims:
    """The backend's process and its workers."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.backend = start_process(state)
        self.kills: Counter[str] = Counter()

    def kill_worker(self) -> None:
        pid = self.backend.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return
        for child in children:
            with contextlib.suppress(ProcessLookupError):  # it died since, of the kill before this one
                os.kill(int(child), signal.SIGKILL)
                self.kills["worker"] += 1

    def kill_backend(self) -> None:
        self.backend.kill()
        self.backend.wait()
        self.kills["backend"] += 1
        self.backend = start_process(self.state)

    def close(self) -> None:
        self.backend.terminate()
        try:
            self.backend.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.backend.kill()
            self.backend.wait()


@pytest.fixture
def victims(tmp_path: Path) -> Iterator[Victims]:
    made = Victims(tmp_path / "state")
    yield made
    made.close()


def handed_job(seed: int) -> PictureJob:
    """One whose planes go up and down by handle, and whose picture is its canvas."""
    return PictureJob(f"echo {TEXT}", canvas=Canvas(pixels(seed, LARGE)), preview_every=0)


def live_through(
    victims: Victims, jobs: int, worker_kills: int, backend_kills: int, seed: int, *, handed: bool = False
) -> tuple[Counter[str], Counter[str]]:
    """Send `jobs` jobs and take their pictures while processes die; how often each job became final, and was fetched."""
    rng = random.Random(seed)
    deaths = [victims.kill_worker] * worker_kills + [victims.kill_backend] * backend_kills
    rng.shuffle(deaths)
    due = sorted(rng.sample(range(1, jobs), len(deaths)))
    client = Client(victims.state, "c" * 32, program="chaos", handover=handed)
    seeds: dict[str, int] = {}
    final: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    deadline = time.monotonic() + 120 + jobs * 3
    while len(taken) < jobs:
        assert time.monotonic() < deadline, f"{len(taken)} of {jobs} after {victims.kills}; {client.link} {client.sentence}"
        while len(seeds) < jobs and len(seeds) - len(taken) < 20:
            seeds[client.submit(handed_job(len(seeds)) if handed else job(len(seeds), TEXT))] = len(seeds)
        for event in client.poll():
            match event:
                case JobUpdate() if event.stage.final:
                    assert event.stage is Stage.DONE, event
                    final[event.job_id] += 1
                    client.fetch(event.job_id)
                case Fetched():
                    picture = event.outcome.pictures[0].picture
                    assert bytes(picture.data) == pixels(seeds[event.job_id], LARGE if handed else Extent(8, 8)).data
                    taken[event.job_id] += 1
                    client.acknowledge(event.job_id)
                case Refused():
                    pytest.fail(f"refused: {event}")
                case _:
                    pass
        while due and len(taken) >= due[0]:
            due.pop(0)
            deaths.pop()()
        client.wait(0.01)
    client.close()
    assert set(final) == set(taken) == set(seeds)
    return final, taken


def test_thirty_jobs_survive_kills_of_workers_and_backend(victims: Victims) -> None:
    final, taken = live_through(victims, jobs=30, worker_kills=3, backend_kills=2, seed=1)
    assert set(final.values()) == set(taken.values()) == {1}
    assert victims.kills["backend"] == 2


def test_twenty_jobs_whose_planes_go_by_handle_survive_the_same(victims: Victims) -> None:
    final, taken = live_through(victims, jobs=20, worker_kills=2, backend_kills=2, seed=2, handed=True)
    assert set(final.values()) == set(taken.values()) == {1}
    assert victims.kills["backend"] == 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_three_hundred_jobs_survive_sixty_kills(victims: Victims) -> None:
    jobs = int(os.environ.get("LIKENESS_CHAOS_JOBS", "300"))
    final, taken = live_through(victims, jobs, worker_kills=jobs // 6, backend_kills=jobs // 30, seed=int.from_bytes(os.urandom(4), "big"))
    assert set(final.values()) == set(taken.values()) == {1}
    print(f"{jobs} jobs, killed: {dict(victims.kills)}", file=sys.stderr)


def test_a_host_that_is_killed_with_its_jobs_accepted_finds_all_of_them(victims: Victims) -> None:
    first = Client(victims.state, "a" * 32)
    wanted = {first.submit(job(seed, TEXT)) for seed in range(5)}
    accepted: set[str] = set()
    deadline = time.monotonic() + 120
    while accepted != wanted:
        assert time.monotonic() < deadline
        accepted |= {event.job_id for event in first.poll() if isinstance(event, Accepted)}
        first.wait(0.01)
    first.close()
    victims.kill_backend()
    second = Client(victims.state, "a" * 32)
    done: set[str] = set()
    while done != wanted:
        assert time.monotonic() < deadline + 120
        done |= {event.job_id for event in second.poll() if isinstance(event, JobUpdate) and event.stage is Stage.DONE}
        second.wait(0.01)
    assert second.link is Link.CONNECTED
    second.close()
