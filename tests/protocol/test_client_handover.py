"""A client hands planes over only where it can; what happens on the way is between it and the backend, and no host notices."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_backend import FakeBackend, pump

from protocol import handover as client_side
from protocol import outbox
from protocol.client import Client
from protocol.events import Link
from protocol.geometry import Extent
from protocol.handover import Courier, put, supported
from protocol.jobs import Canvas, PictureJob
from protocol.limits import HANDOVER_LEAST_BYTES, HANDOVER_PATIENCE_S
from protocol.messages import Cancel, Handed, Submit
from protocol.planes import Layout, Plane

pytestmark = pytest.mark.skipif(not supported(), reason="this system hands nothing over")


def canvas() -> Canvas:
    """Larger than what goes in the message anyway."""
    size = Extent(300, 300)
    assert size.area * 4 > HANDOVER_LEAST_BYTES
    return Canvas(Plane(Layout.RGBA8, size, os.urandom(size.area * 4)))


@pytest.fixture
def played(tmp_path: Path) -> Iterator[FakeBackend]:
    made = FakeBackend(tmp_path / "state")
    yield made
    made.stop()


@pytest.fixture
def alone(played: FakeBackend) -> Iterator[Client]:
    made = Client(played.folder, "c" * 32, handover=True)
    yield made
    made.close()


def offer(played: FakeBackend) -> Path:
    """What a backend of 1.4 does at a greeting."""
    played.handover = "f" * 32
    folder = played.folder / client_side.FOLDER / played.handover
    folder.mkdir(mode=0o700, parents=True)
    return folder


def submits(played: FakeBackend) -> list[Submit]:
    return [request for request in played.heard if isinstance(request, Submit)]


def test_an_old_backend_gets_frames(played: FakeBackend, alone: Client) -> None:
    pump(alone, played, lambda events: alone.link is Link.CONNECTED)
    sent = PictureJob("x", canvas=canvas())
    alone.submit(sent)
    pump(alone, played, lambda events: bool(submits(played)))
    assert submits(played)[0].job == sent


@pytest.mark.parametrize("spoil", [lambda folder: folder.chmod(0o755), lambda folder: folder.rmdir()], ids=["open to others", "gone"])
def test_a_folder_that_is_not_ours_alone_is_not_used(played: FakeBackend, alone: Client, spoil: Callable[[Path], None]) -> None:
    spoil(offer(played))
    pump(alone, played, lambda events: alone.link is Link.CONNECTED)
    alone.submit(PictureJob("x", canvas=canvas()))
    pump(alone, played, lambda events: bool(submits(played)))


def test_a_link_in_the_folders_place_gets_no_planes(played: FakeBackend, alone: Client, tmp_path: Path) -> None:
    folder, elsewhere = offer(played), tmp_path / "elsewhere"
    folder.rmdir()
    elsewhere.mkdir(mode=0o700)
    folder.symlink_to(elsewhere)
    pump(alone, played, lambda events: alone.link is Link.CONNECTED)
    alone.submit(PictureJob("x", canvas=canvas()))
    pump(alone, played, lambda events: bool(submits(played)))
    assert list(elsewhere.iterdir()) == []


def test_a_disk_that_takes_its_time_is_not_waited_for_and_its_file_taken_away(
    played: FakeBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, ahead = threading.Event(), [0.0]

    def slow(folder: Path, handle: str, planes: object) -> None:
        assert go_on.wait(300)
        put(folder, handle, planes)

    monkeypatch.setattr(client_side, "put", slow)
    folder = offer(played)
    client = Client(played.folder, "c" * 32, handover=True, clock=lambda: ahead[0])
    pump(client, played, lambda events: client.link is Link.CONNECTED)
    sent = client.submit(PictureJob("x", canvas=canvas()))
    client.cancel(sent)
    client.poll()
    played.serve()
    assert not [request for request in played.heard if isinstance(request, Submit | Cancel)], "the order is kept"
    ahead[0] += HANDOVER_PATIENCE_S + 0.1
    pump(client, played, lambda events: len([request for request in played.heard if isinstance(request, Submit | Cancel)]) == 2)
    assert [type(request) for request in played.heard if isinstance(request, Submit | Cancel)] == [Submit, Cancel]
    go_on.set()
    pump(client, played, lambda events: not client._outbox.busy)
    client.close()
    pump(Client(tmp_path, "d" * 32), None, lambda events: not list(folder.iterdir()))


def test_a_connection_that_breaks_sends_everything_again_in_frames(
    played: FakeBackend, alone: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "HANDOVER_PATIENCE_S", 300.0)  # a busy disk has its time
    folder = offer(played)
    seen: list[Handed] = []

    def borrow(handed: Handed) -> list[bytes]:
        seen.append(handed)
        return client_side.get(folder, handed)

    played.borrow = borrow
    pump(alone, played, lambda events: alone.link is Link.CONNECTED)
    sent = PictureJob("x", canvas=canvas())
    alone.submit(sent)
    pump(alone, played, lambda events: bool(submits(played)))
    assert submits(played)[0].job == sent
    played.stop()
    successor = FakeBackend(played.folder)
    pump(alone, successor, lambda events: bool(submits(successor)))
    assert submits(successor) == submits(played), "with the same number and the same planes, which the message has"
    assert len(seen) == 1
    successor.stop()


def test_without_the_wish_there_is_no_thread(played: FakeBackend) -> None:
    """Blender's Python has no room for one."""
    plain = Client(played.folder, "c" * 32)
    offer(played)
    before = threading.active_count()
    pump(plain, played, lambda events: plain.link is Link.CONNECTED)
    plain.submit(PictureJob("x", canvas=Canvas(Plane(Layout.RGB8, Extent(2, 2), bytes(12)))))
    pump(plain, played, lambda events: bool(submits(played)))
    assert threading.active_count() == before
    assert plain._outbox._courier is None
    plain.close()


def test_the_thread_lets_planes_go_once_they_are_written(tmp_path: Path) -> None:
    class Pixels(bytearray):
        """Bytes whose end can be seen."""

        gone = threading.Event()

        def __del__(self) -> None:
            self.gone.set()

    folder = tmp_path / client_side.FOLDER / ("f" * 32)
    folder.mkdir(mode=0o700, parents=True)
    courier = Courier()
    courier.enter(tmp_path, "f" * 32)
    courier.place(1, [Pixels(10)])
    courier.wait(300)
    assert Pixels.gone.wait(300)
    assert courier.done()[0].handle in [path.name for path in folder.iterdir()]
    courier.close()
