"""`likeness bench protocol` ends with a sentence when what it measures dies, and does not wait for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_backend import FakeBackend, pump

from backend.speed import protocol_goals
from backend.speed.rivals import RawCurve
from protocol.client import Client
from protocol.errors import Lost, ServiceError
from protocol.events import Link
from protocol.geometry import Extent
from protocol.jobs import PictureJob


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Connected to a backend that then dies."""
    backend = FakeBackend(tmp_path)
    made = Client(tmp_path, "c" * 32)
    pump(made, backend, lambda events: made.link is Link.CONNECTED)
    backend.stop()
    yield made
    made.close()


@pytest.mark.parametrize(
    "measure", [protocol_goals._pid, lambda client: protocol_goals._round_trip(client, PictureJob("x", extent=Extent(8, 8)))]
)
def test_a_backend_that_dies_while_it_is_measured_is_said(client: Client, measure: Callable[[Client], object]) -> None:
    """Or else it would wait for a minute, and then say that there was no answer."""
    with pytest.raises(Lost, match="ended while it was measured"):
        measure(client)


def test_a_backend_that_never_answers_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_goals, "WAIT_S", 0.5)
    backend = FakeBackend(tmp_path)
    client = Client(tmp_path, "c" * 32)
    pump(client, backend, lambda events: client.link is Link.CONNECTED)
    with pytest.raises(ServiceError, match="did not answer in time"):
        protocol_goals._pid(client)
    client.close()
    backend.stop()


def test_a_rival_that_dies_is_said(tmp_path: Path) -> None:
    with RawCurve(tmp_path) as rival:
        rival.process.kill()
        rival.process.wait()
        with pytest.raises(ServiceError, match="compared with ended"):
            rival.round_trip([b"x"], 8)
