"""What the backend takes over by handle, and what it does not: nothing outside of the sender's own folder is read, renamed or deleted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from backend.planefile import map_planes, read_planes
from backend.server import handover as handover_module
from backend.server.handover import Handover
from backend.server.queue import Entry, leased
from backend.server.spool import Spool
from protocol.errors import NotHandedOver
from protocol.handover import put, supported
from protocol.limits import HANDOVER_KEEP_S, SPOOL_BYTES_PER_CLIENT
from protocol.messages import Handed, Priority, Stage

pytestmark = pytest.mark.skipif(not supported(), reason="this system hands nothing over")
ANNA, BEN = "a" * 32, "b" * 32
PIXELS = b"pixels and mask"
SAID = (6, 9)
SECRET = b"fifteen letters"
assert len(SECRET) == len(PIXELS) == sum(SAID)


@dataclass
class Place:
    """A handover with two clients, and something outside that is nobody's business."""

    handover: Handover
    root: Path
    planes: Path
    secret: Path

    def folder(self, client: str = ANNA) -> Path:
        return self.root / str(self.handover.welcome(client))

    def lay(self, client: str = ANNA, data: bytes = PIXELS) -> str:
        handle = uuid.uuid4().hex
        put(self.folder(client), handle, [data])
        return handle

    def take(self, handle: str, client: str = ANNA, lengths: tuple[int, ...] = SAID) -> list[bytes]:
        loan = self.handover.loan(client)
        try:
            loan.take(Handed(handle, lengths))
            return read_planes(loan.path, lengths)
        finally:
            loan.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    planes, secret = tmp_path / "planes", tmp_path / "secret"
    planes.mkdir()
    secret.write_bytes(SECRET)
    made = Place(Handover(tmp_path / "handover", planes), tmp_path / "handover", planes, secret)
    made.handover.welcome(ANNA)
    made.handover.welcome(BEN)
    yield made
    made.handover.close()
    assert secret.read_bytes() == SECRET
    assert secret.stat().st_nlink == 1 or (tmp_path / "other name").exists()


def test_a_file_is_taken_over_whole_and_has_no_name_in_the_folder_any_more(place: Place) -> None:
    handle = place.lay()
    loan = place.handover.loan(ANNA)
    assert [len(plane) for plane in loan.take(Handed(handle, SAID))] == list(SAID)
    assert read_planes(loan.path, SAID) == [b"pixels", b" and mask"]
    assert list(place.folder().iterdir()) == []
    loan.close()
    assert list(place.planes.iterdir()) == []


def test_folders_and_files_are_the_users_alone_and_named_by_nothing_that_anybody_knows(place: Place) -> None:
    handle = place.lay()
    assert {path.stat().st_mode & 0o777 for path in (place.root, place.folder())} == {0o700}
    assert (place.folder() / handle).stat().st_mode & 0o777 == 0o600
    assert place.folder(ANNA) != place.folder(BEN)
    assert ANNA not in str(place.folder())


def symlink(place: Place, handle: str) -> None:
    (place.folder() / handle).symlink_to(place.secret)


def symlink_inside(place: Place, handle: str) -> None:
    (place.folder() / handle).symlink_to(place.lay())


def hard_link(place: Place, handle: str) -> None:
    (place.secret.parent / "other name").touch()
    os.link(place.secret, place.folder() / handle)


def pipe(place: Place, handle: str) -> None:
    os.mkfifo(place.folder() / handle)


def folder(place: Place, handle: str) -> None:
    (place.folder() / handle).mkdir()


def shorter(place: Place, handle: str) -> None:
    put(place.folder(), handle, [PIXELS[:-1]])


def longer(place: Place, handle: str) -> None:
    put(place.folder(), handle, [PIXELS, b"x"])


def nothing(place: Place, handle: str) -> None:
    pass


def open_to_others(place: Place, handle: str) -> None:
    put(place.folder(), handle, [PIXELS])
    place.folder().chmod(0o755)


def folder_elsewhere(place: Place, handle: str) -> None:
    """The client's folder is a link to where the secret lies, under the very handle."""
    where = place.folder()
    where.rmdir()
    elsewhere = place.secret.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    put(elsewhere, handle, [SECRET])
    where.symlink_to(elsewhere)


HOSTILE = [symlink, symlink_inside, hard_link, pipe, folder, shorter, longer, nothing, open_to_others, folder_elsewhere]


@pytest.mark.parametrize("lay", HOSTILE, ids=lambda lay: lay.__name__)
def test_what_is_no_ordinary_file_of_the_right_length_is_refused_and_its_name_taken_away(
    place: Place, lay: Callable[[Place, str], None]
) -> None:
    handle = uuid.uuid4().hex
    lay(place, handle)
    with pytest.raises(NotHandedOver):
        place.take(handle)
    assert list(place.planes.iterdir()) == []
    if lay is folder_elsewhere:
        assert (place.secret.parent / "elsewhere" / handle).read_bytes() == SECRET
    elif lay is not open_to_others:
        assert not os.path.lexists(place.folder() / handle)


@pytest.mark.parametrize("lay", [symlink, hard_link], ids=lambda lay: lay.__name__)
def test_a_rename_without_a_look_would_bring_the_secret_into_the_spool(place: Place, lay: Callable[[Place, str], None]) -> None:
    """The unsafe twin."""
    handle = uuid.uuid4().hex
    lay(place, handle)
    os.replace(place.folder() / handle, place.planes / "job.in")
    assert read_planes(place.planes / "job.in", SAID) == [SECRET[:6], SECRET[6:]]


def test_another_clients_file_is_not_there_for_us(place: Place) -> None:
    handle = place.lay(BEN)
    with pytest.raises(NotHandedOver):
        place.take(handle, ANNA)
    assert place.take(handle, BEN) == [b"pixels", b" and mask"]
    with pytest.raises(NotHandedOver):
        place.take(place.lay(), "f" * 32)


def test_a_file_that_is_exchanged_while_it_is_taken_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = place.lay()
    check = handover_module.check_file

    def exchange(*given: object, **more: object) -> None:
        monkeypatch.setattr(handover_module, "check_file", check)
        check(*given, **more)
        (place.folder() / handle).unlink()
        (place.folder() / handle).symlink_to(place.secret)

    monkeypatch.setattr(handover_module, "check_file", exchange)
    with pytest.raises(NotHandedOver):
        place.take(handle)
    assert list(place.planes.iterdir()) == []


def test_a_handle_that_is_not_looked_at_would_lead_out_of_the_folder(place: Place) -> None:
    """The unsafe twin: a system opens whatever a name says."""
    within = os.open(place.folder(), os.O_RDONLY)
    found = os.open("../../secret", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=within)
    assert os.read(found, 99) == SECRET
    os.close(found)
    os.close(within)


# What may change after it was taken --------------------------------------------------------------------------------------------------
def test_a_file_that_its_client_makes_shorter_later_is_an_error_and_no_death(place: Place) -> None:
    handle = place.lay()
    kept_open = os.open(place.folder() / handle, os.O_RDWR)
    loan = place.handover.loan(ANNA)
    loan.take(Handed(handle, SAID))
    os.ftruncate(kept_open, 3)
    os.close(kept_open)
    with pytest.raises(OSError, match="shorter"):
        read_planes(loan.path, SAID)
    loan.close()


def test_a_process_that_looks_at_such_a_file_through_a_map_dies(tmp_path: Path) -> None:
    """The unsafe twin: why such files are read."""
    path = tmp_path / "planes"
    path.write_bytes(bytes(3 * 4096))
    code = (
        "import sys, os; from pathlib import Path; from backend.planefile import map_planes; path = Path(sys.argv[1]);"
        "plane, = map_planes(path, [3 * 4096]); os.truncate(path, 0); print(plane[5000])"
    )
    died = subprocess.run([sys.executable, "-c", code, str(path)], cwd=Path(handover_module.__file__).parents[2], timeout=300, check=False)
    assert died.returncode == -signal.SIGBUS


# Results -----------------------------------------------------------------------------------------------------------------------------
def test_a_result_lies_in_its_clients_folder_until_it_is_acknowledged(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover_module, "HANDOVER_LEAST_BYTES", 1)
    result = place.planes / "job.1.out"
    result.write_bytes(PIXELS)
    handle = place.handover.offer(ANNA, "job", result, len(PIXELS))
    assert (place.folder() / handle).read_bytes() == PIXELS
    assert list(place.folder(BEN).iterdir()) == []
    assert place.handover.bytes_of(ANNA) == 0, "it counts as its job's"
    again = place.handover.offer(ANNA, "job", result, len(PIXELS))
    assert [path.name for path in place.folder().iterdir()] == [again]
    place.handover.free("job")
    assert list(place.folder().iterdir()) == []
    assert result.read_bytes() == PIXELS


def test_small_results_and_those_of_clients_that_take_no_files_go_in_the_message(place: Place) -> None:
    result = place.planes / "job.1.out"
    result.write_bytes(PIXELS)
    assert place.handover.offer(ANNA, "job", result, len(PIXELS)) is None
    assert place.handover.offer("f" * 32, "job", result, 10**9) is None


# What is left behind ------------------------------------------------------------------------------------------------------------------
def test_what_a_client_that_died_left_counts_and_is_swept_at_the_second_look(place: Place) -> None:
    handle = place.lay()
    assert place.handover.bytes_of(ANNA) == len(PIXELS)
    assert place.handover.bytes_of(BEN) == 0
    place.handover.sweep(1.0)
    place.handover.sweep(HANDOVER_KEEP_S)  # not yet time for another look
    assert (place.folder() / handle).exists()
    fresh = place.lay()
    place.handover.sweep(1.0 + HANDOVER_KEEP_S)
    assert [path.name for path in place.folder().iterdir()] == [fresh]


def test_a_folder_with_too_many_files_or_bytes_is_emptied_at_the_first_look(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover_module, "HANDOVER_FILES", 3)
    for _ in range(4):
        place.lay()
    assert place.handover.bytes_of(ANNA) == SPOOL_BYTES_PER_CLIENT, "no further job is accepted meanwhile"
    place.handover.sweep(1.0)
    assert list(place.folder().iterdir()) == []
    with (place.folder() / ("e" * 32)).open("wb") as sparse:
        sparse.truncate(SPOOL_BYTES_PER_CLIENT + 1)
    place.handover.sweep(2.0 + HANDOVER_KEEP_S)
    assert list(place.folder().iterdir()) == []


def test_a_look_deletes_links_and_not_what_they_lead_to(place: Place) -> None:
    symlink(place, "1" * 32)
    hard_link(place, "2" * 32)
    (place.folder() / "full").mkdir()
    (place.folder() / "full" / "file").touch()
    for number in range(3):
        place.handover.sweep(1.0 + number * HANDOVER_KEEP_S)
    assert [path.name for path in place.folder().iterdir()] == ["full"], "folders in folders are not looked into"
    assert place.secret.read_bytes() == SECRET


def test_a_start_sweeps_what_an_earlier_run_left_and_follows_no_link(place: Place) -> None:
    place.lay()
    (place.root / ("d" * 32)).symlink_to(place.secret.parent)
    (place.root / "a file").touch()
    again = Handover(place.root, place.planes)
    assert list(place.root.iterdir()) == []
    assert place.secret.exists()
    again.close()


def test_a_client_that_left_has_its_folder_taken_away(place: Place) -> None:
    where = place.folder()
    place.lay()
    place.handover.leave(ANNA)
    place.handover.sweep(1.0)
    assert not where.exists()
    assert place.folder() != where


def test_a_folder_that_others_can_enter_or_a_drive_without_links_hands_nothing_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planes").mkdir()
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    assert Handover(tmp_path / "open", tmp_path / "planes").welcome(ANNA) is None

    def no_links(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(handover_module, "supported", lambda: True)
    unlinked = Handover(tmp_path / "private", tmp_path / "planes")
    assert unlinked.welcome(ANNA) is None
    assert list((tmp_path / "private").iterdir()) == []
    with pytest.raises(NotHandedOver):
        unlinked.loan(ANNA).take(Handed("a" * 32, SAID))
    unlinked.sweep(1.0)
    unlinked.close()


# Deaths ------------------------------------------------------------------------------------------------------------------------------
POINTS = ["handover.linked", "handover.taken", "add.renamed", "add.committed"]


@pytest.mark.parametrize("name", POINTS)
def test_a_server_killed_while_it_takes_over_loses_nothing_accepted_and_leaves_no_stray_file(tmp_path: Path, name: str) -> None:
    job = Entry("1" * 32, ANNA, Priority.INTERACTIVE, 1)
    child = os.fork()
    if child == 0:
        try:
            point = lambda reached: os.kill(os.getpid(), signal.SIGKILL) if reached == name else None  # noqa: E731
            spool = Spool(tmp_path / "spool", point=point)
            handover = Handover(tmp_path / "handover", spool.planes_folder, point=point)
            put(tmp_path / "handover" / handover.welcome(ANNA), "c" * 32, [PIXELS])
            loan = handover.loan(ANNA)
            planes = loan.take(Handed("c" * 32, SAID))
            spool.add(job, "", b"header", planes, loan.path)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, "it must have been killed at its point"
    spool = Spool(tmp_path / "spool")
    Handover(tmp_path / "handover", spool.planes_folder).close()
    kept = [kept.entry.job_id for kept in spool.load()]
    assert kept == ([job.job_id] if name == "add.committed" else [])
    assert [path.name for path in spool.planes_folder.iterdir()] == [f"{job_id}.in" for job_id in kept]
    assert list((tmp_path / "handover").iterdir()) == []
    if not kept:
        spool.add(job, "", b"header", [b"pixels", b" and mask"])  # what its client, which heard nothing, does next
    assert spool.same(job.job_id, b"header", [b"pixels", b" and mask"]), "and if it was kept, it is the same job"
    spool.close()


def test_a_job_that_was_handed_over_is_kept_like_any_other(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    handover = Handover(tmp_path / "handover", spool.planes_folder)
    put(tmp_path / "handover" / handover.welcome(ANNA), "c" * 32, [PIXELS])
    job, loan = Entry("1" * 32, ANNA, Priority.INTERACTIVE, 1), handover.loan(ANNA)
    spool.add(job, "", b"header", loan.take(Handed("c" * 32, SAID)), loan.path)
    loan.close()
    spool.close()
    again = Spool(tmp_path / "spool", boot="after a power cut")
    assert [bytes(plane) for plane in map_planes(again.job(job.job_id).path, SAID)] == [b"pixels", b" and mask"]
    again.end(replace(leased(job), stage=Stage.CANCELLED), ("cancelled", "x"))
    again.close()
    handover.close()
