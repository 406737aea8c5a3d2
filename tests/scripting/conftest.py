"""A whole backend with a scripted worker, in a process of its own, for the tests of one file."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from running_backend import start_process

from backend.scripting import Studio


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    state = tmp_path_factory.mktemp("scripts") / "state"
    process = start_process(state)
    deadline = time.monotonic() + 300
    while not (state / "connection.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with Studio(state, start=False) as made:
        yield made
    process.kill()
    process.wait()
