"""Jobs up and results down by handle, through the whole backend; and whoever cannot do that never notices."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_backend import Pair, job, setup

from backend.server.handover import Handover, Loan
from backend.server.queue import Limits
from protocol import handover as client_side
from protocol import outbox
from protocol.client import Client
from protocol.discovery import CONNECTION_FILE
from protocol.errors import Busy
from protocol.events import Link, Refused
from protocol.geometry import Extent
from protocol.handover import put, supported
from protocol.jobs import Canvas, PictureJob
from protocol.limits import HANDOVER_LEAST_BYTES
from protocol.messages import Accepted, Fetched, Handed, JobUpdate
from protocol.planes import Layout, Plane

pytestmark = pytest.mark.skipif(not supported(), reason="this system hands nothing over")
SIDE = 300
assert SIDE * SIDE * 4 > HANDOVER_LEAST_BYTES


def canvas(seed: int = 1) -> Canvas:
    """Two planes, together larger than what goes in the message anyway."""
    size = Extent(SIDE, SIDE)
    return Canvas(Plane(Layout.RGBA8, size, os.urandom(size.area * 4)), Plane(Layout.A8, size, bytes([seed]) * size.area))


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = Pair(setup(tmp_path_factory.mktemp("backend") / "state", limits=Limits(queued=8, kept=1000)))
    yield pair
    pair.close()


@pytest.fixture
def client(backend: Pair) -> Iterator[Client]:
    yield from connected(backend)


def connected(pair: Pair, *, handover: bool = True) -> Iterator[Client]:
    made = pair.client(uuid.uuid4().hex, handover=handover)
    pair.until(lambda: made.link is Link.CONNECTED)
    yield made
    pair.clients.remove(made)
    made.close()


class Ways:
    """Counts how planes went."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.up = self.down = 0
        take, get = Loan.take, client_side.get

        def taking(loan: Loan, handed: Handed) -> object:
            taken = take(loan, handed)
            self.up += 1
            return taken

        def getting(folder: Path, handed: Handed) -> list[bytes]:
            got = get(folder, handed)
            self.down += 1
            return got

        monkeypatch.setattr(Loan, "take", taking)
        monkeypatch.setattr(client_side, "get", getting)

    @property
    def both(self) -> tuple[int, int]:
        return self.up, self.down


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch)


@pytest.fixture(autouse=True)
def a_disk_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or planes that a busy disk takes longer than a second for would go in the message."""
    monkeypatch.setattr(outbox, "HANDOVER_PATIENCE_S", 300.0)


def there_and_back(pair: Pair, client: Client, words: str = "echo") -> None:
    """The canvas comes back with all its bytes, nothing is refused, and no file is left."""
    sent = canvas()
    job_id = client.submit(PictureJob(words, canvas=sent, preview_every=0))
    pair.until(lambda: any(update.stage.final for update in pair.of(client, JobUpdate, job_id)))
    client.fetch(job_id)
    pair.until(lambda: pair.of(client, Fetched, job_id))
    (fetched,) = pair.of(client, Fetched, job_id)
    assert bytes(fetched.outcome.pictures[0].picture.data) == bytes(sent.picture.data)
    client.acknowledge(job_id)
    pair.until(lambda: client.idle)
    assert pair.of(client, Refused) == []
    assert [path for path in (pair.setup.state / "handover").rglob("*") if path.is_file()] == []


def test_planes_go_up_and_down_by_handle_bit_for_bit(backend: Pair, client: Client, ways: Ways) -> None:
    there_and_back(backend, client)
    assert ways.both == (1, 1)


def test_a_client_that_does_not_ask_for_it_gets_frames(backend: Pair, ways: Ways) -> None:
    """Also an old one: what it does not say is no."""
    for old in connected(backend, handover=False):
        there_and_back(backend, old)
    assert ways.both == (0, 0)


def test_small_planes_go_in_the_message(backend: Pair, client: Client, ways: Ways) -> None:
    job_id = client.submit(job(1))
    backend.until(lambda: any(update.stage.final for update in backend.of(client, JobUpdate, job_id)))
    client.fetch(job_id)
    backend.until(lambda: backend.of(client, Fetched, job_id))
    assert ways.both == (0, 0)


def test_the_worker_and_the_spool_have_the_same_bytes_either_way(backend: Pair, client: Client, tmp_path: Path) -> None:
    """A job that is sent again in frames is the same job, byte for byte; another one is not."""
    given = PictureJob("hold=never", canvas=canvas(), preview_every=0)
    job_id = client.submit(given)
    backend.until(lambda: backend.of(client, Accepted))
    for plain in connected(backend, handover=False):
        plain._client_id = client._client_id
        plain._greeted = False
        backend.until(lambda plain=plain: plain._greeted)
        plain.submit(given, job_id=job_id)
        backend.until(lambda plain=plain: backend.of(plain, Accepted))
        plain.submit(PictureJob("hold=never", canvas=canvas(), preview_every=0), job_id=job_id)
        backend.until(lambda plain=plain: backend.of(plain, Refused))
        assert backend.of(plain, Refused)[0].error.code == "job-id-conflict"
        plain.submit(given, job_id=job_id)
        plain.cancel(job_id)
        backend.until(lambda plain=plain: plain.idle)


def test_a_file_that_vanished_on_the_way_is_sent_again_and_nobody_notices(
    backend: Pair, client: Client, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_and_lose(folder: Path, handle: str, planes: object) -> None:
        put(folder, handle, planes)
        (folder / handle).unlink()

    monkeypatch.setattr(client_side, "put", put_and_lose)
    there_and_back(backend, client)
    assert ways.both == (0, 0)


def test_a_file_that_was_cut_short_on_the_way_is_sent_again_and_nobody_notices(
    backend: Pair, client: Client, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_and_cut(folder: Path, handle: str, planes: object) -> None:
        put(folder, handle, planes)
        os.truncate(folder / handle, 1000)

    monkeypatch.setattr(client_side, "put", put_and_cut)
    sent = client.submit(PictureJob("echo", canvas=canvas(), preview_every=0))
    backend.until(lambda: backend.of(client, Accepted))
    assert backend.of(client, Refused) == []
    assert ways.up == 0
    client.cancel(sent)


def test_a_result_that_cannot_be_read_is_fetched_in_the_message(
    backend: Pair, client: Client, ways: Ways, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(folder: Path, handed: Handed) -> list[bytes]:
        raise OSError(errno.EIO, "a broken disk")

    monkeypatch.setattr(client_side, "get", get)
    sent = canvas()
    job_id = client.submit(PictureJob("echo", canvas=sent, preview_every=0))
    backend.until(lambda: any(update.stage.final for update in backend.of(client, JobUpdate, job_id)))
    client.fetch(job_id)
    backend.until(lambda: backend.of(client, Fetched, job_id))
    assert bytes(backend.of(client, Fetched, job_id)[0].outcome.pictures[0].picture.data) == bytes(sent.picture.data)
    client.acknowledge(job_id)
    backend.until(lambda: client.idle)


def test_a_full_disk_sends_frames(backend: Pair, client: Client, ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    def put_nothing(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(client_side, "put", put_nothing)
    there_and_back(backend, client)
    assert ways.up == 0


def test_a_client_whose_folder_is_on_another_machine_sends_frames(backend: Pair, ways: Ways, tmp_path: Path) -> None:
    """As over `ssh -L`, with the connection file copied; or in a sandbox that shows nothing else."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    shutil.copy(backend.setup.state / CONNECTION_FILE, elsewhere)
    (elsewhere / CONNECTION_FILE).chmod(0o600)
    far = Client(elsewhere, uuid.uuid4().hex, handover=True)
    backend.clients.append(far)
    backend.events[far] = []
    there_and_back(backend, far)
    assert ways.both == (0, 0)
    backend.clients.remove(far)
    far.close()


def test_a_client_killed_before_it_submits_leaves_nothing_for_long(backend: Pair, client: Client) -> None:
    handover = backend.service._handover
    folder = backend.setup.state / "handover" / handover.welcome(client._client_id)
    put(folder, "d" * 32, [bytes(1000)])
    assert handover.bytes_of(client._client_id) == 1000
    for _ in range(2):
        handover._look_at = 0.0
        handover.sweep(1.0)
    assert list(folder.iterdir()) == []


def test_what_lies_in_the_folder_counts_against_the_clients_limit(backend: Pair, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handover, "bytes_of", lambda handover, who: 2**30)
    client.submit(job(1))
    backend.until(lambda: backend.of(client, Refused))
    assert isinstance(backend.of(client, Refused)[0].error, Busy)


def test_a_job_whose_file_its_client_makes_shorter_fails_alone(backend: Pair, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map would end the worker three times, and with it whatever else it had loaded."""
    kept: list[int] = []

    def put_and_keep(folder: Path, handle: str, planes: object) -> None:
        put(folder, handle, planes)
        kept.append(os.open(folder / handle, os.O_RDWR))

    monkeypatch.setattr(client_side, "put", put_and_keep)
    before = client.submit(job(5, f"hold={client._client_id}"))
    backend.until(lambda: any(update.step for update in backend.of(client, JobUpdate, before)))
    job_id = client.submit(PictureJob("echo", canvas=canvas(), preview_every=0))
    backend.until(lambda: [event for event in backend.of(client, Accepted) if event.job_id == job_id])
    os.ftruncate(kept[0], 100)
    os.close(kept[0])
    (backend.setup.state / "script" / client._client_id).touch()
    backend.until(lambda: any(update.stage.final for update in backend.of(client, JobUpdate, job_id)))
    last = backend.of(client, JobUpdate, job_id)[-1]
    assert last.fault.code == "interrupted"
    assert last.attempt == 1


def test_a_result_that_its_client_makes_shorter_ends_nobody_but_itself(
    backend: Pair, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = client.submit(PictureJob("echo", canvas=canvas(), preview_every=0))
    backend.until(lambda: any(update.stage.final for update in backend.of(client, JobUpdate, job_id)))

    def cut(folder: Path, handed: Handed) -> list[bytes]:
        os.truncate(folder / handed.handle, 100)
        raise OSError

    monkeypatch.setattr(client_side, "get", cut)
    client.fetch(job_id)
    backend.until(lambda: backend.of(client, Refused))
    assert backend.of(client, Refused)[0].error.code == "interrupted"
    client.ask_status()
    backend.until(lambda: client.idle)


def test_a_result_that_is_being_sent_from_a_map_is_not_given_away(backend: Pair, client: Client, ways: Ways) -> None:
    """Or a client could make it shorter while it is sent."""
    job_id = client.submit(PictureJob("echo", canvas=canvas(), preview_every=0))
    backend.until(lambda: any(update.stage.final for update in backend.of(client, JobUpdate, job_id)))
    for plain in connected(backend, handover=False):
        plain._client_id = client._client_id
        plain._greeted = False
        backend.until(lambda plain=plain: plain._greeted)
        plain.fetch(job_id)
        backend.until(lambda plain=plain: backend.of(plain, Fetched, job_id))
    client.fetch(job_id)
    backend.until(lambda: backend.of(client, Fetched, job_id))
    assert ways.down == 0
