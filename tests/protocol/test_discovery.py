from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from protocol import discovery
from protocol.discovery import (
    CONNECTION_FILE,
    Connection,
    Lock,
    note_starting,
    read_connection,
    remove_connection,
    state_folder,
    write_connection,
)
from protocol.errors import NotRunning, Starting, UnsafeFolder, VersionMismatch
from protocol.transport import new_keys

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")


def connection(**changes: object) -> Connection:
    keys = new_keys()
    values = {
        "endpoint": "tcp://127.0.0.1:5555",
        "server_key": keys.public,
        "client_key": keys.public,
        "client_secret": keys.secret,
        "pid": 1,
        "started": 5.0,
        "epoch": "e" * 32,
        "version": (1, 0),
    }
    return Connection(**{**values, **changes})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = connection()
    write_connection(tmp_path / "state", written)
    assert read_connection(tmp_path / "state") == written


@POSIX
def test_folder_and_file_are_the_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_connection(tmp_path / "state", connection())
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / CONNECTION_FILE).stat().st_mode & 0o777 == 0o600


@POSIX
@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_place_that_others_can_read_is_refused(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "state"
    write_connection(folder, connection())
    (folder if what == "folder" else folder / CONNECTION_FILE).chmod(0o755)
    with pytest.raises(UnsafeFolder, match="chmod"):
        read_connection(folder)


@POSIX
def test_nothing_is_written_into_a_folder_that_others_can_enter(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o755)  # whatever the umask
    with pytest.raises(UnsafeFolder):
        write_connection(tmp_path / "state", connection())
    assert not (tmp_path / "state" / CONNECTION_FILE).exists()


def test_no_file_is_not_running_and_a_fresh_note_is_starting(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        read_connection(tmp_path / "state")
    note_starting(tmp_path / "state")
    with pytest.raises(Starting):
        read_connection(tmp_path / "state")
    old = time.time() - 3600
    os.utime(tmp_path / "state" / "starting", (old, old))
    with pytest.raises(NotRunning):
        read_connection(tmp_path / "state")


def test_another_major_version_says_so_before_anything_is_connected(tmp_path: Path) -> None:
    write_connection(tmp_path / "state", connection(version=(2, 0)))
    with pytest.raises(VersionMismatch):
        read_connection(tmp_path / "state")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"version": [1, 0]}', '{"version": "1"}', "[" * 4000, "x" * 5000, '{"version": [1e999, 0]}'],
)
def test_a_damaged_file_is_not_running(tmp_path: Path, text: str) -> None:
    write_connection(tmp_path / "state", connection())
    (tmp_path / "state" / CONNECTION_FILE).write_text(text)
    with pytest.raises(NotRunning):
        read_connection(tmp_path / "state")


@pytest.mark.parametrize("changes", [{"endpoint": "tcp://10.0.0.1:5555"}, {"endpoint": "tcp://127.0.0.1.evil:1"}, {"server_key": "short"}])
def test_a_file_that_points_elsewhere_is_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    write_connection(tmp_path / "state", connection(**changes))
    with pytest.raises(NotRunning, match="damaged"):
        read_connection(tmp_path / "state")


def test_a_backend_takes_only_its_own_file_away(tmp_path: Path) -> None:
    write_connection(tmp_path / "state", connection(epoch="a" * 32))
    remove_connection(tmp_path / "state", "b" * 32)
    assert read_connection(tmp_path / "state").epoch == "a" * 32
    remove_connection(tmp_path / "state", "a" * 32)
    with pytest.raises(NotRunning):
        read_connection(tmp_path / "state")


def test_a_reader_never_sees_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_connection(tmp_path / "state", connection(epoch="a" * 32))
    seen: list[str] = []
    replace = os.replace
    monkeypatch.setattr(discovery.os, "replace", lambda *names: (seen.append(read_connection(tmp_path / "state").epoch), replace(*names)))
    write_connection(tmp_path / "state", connection(epoch="b" * 32))
    assert [*seen, read_connection(tmp_path / "state").epoch] == ["a" * 32, "b" * 32]


def test_one_lock_and_the_system_frees_it_when_its_holder_is_killed(tmp_path: Path) -> None:
    holder = "import sys; from pathlib import Path; from protocol.discovery import Lock; lock = Lock(Path(sys.argv[1]));"
    code = holder + "print(lock.acquire(), flush=True); sys.stdin.read()"
    root = Path(discovery.__file__).parent.parent
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "s")], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline().strip() == b"True"
    mine = Lock(tmp_path / "s")
    assert mine.acquire() is False
    other.kill()
    other.communicate()
    assert mine.acquire() is True
    mine.release()


def test_who_may_wait_for_the_lock_has_it_once_it_is_free(tmp_path: Path) -> None:
    """Asking whether a backend runs takes the lock for a moment: that must not send away one that is just starting."""
    asking, starting = Lock(tmp_path / "s"), Lock(tmp_path / "s")
    assert asking.acquire()
    assert not starting.acquire()
    freed = threading.Timer(0.2, asking.release)
    freed.start()
    assert starting.acquire(60.0)
    freed.join()
    assert not asking.acquire(0.1)
    starting.release()


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "/h/.local/state/likeness"),
        ("linux", {"XDG_STATE_HOME": "/x"}, "/x/likeness"),
        ("darwin", {}, "/h/Library/Application Support/Likeness"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/Likeness"),
        ("win32", {"LIKENESS_STATE": "/mine"}, "/mine"),
    ],
)
def test_each_system_has_its_place(platform: str, environment: dict[str, str], expected: str) -> None:
    assert state_folder(environment, platform, Path("/h")) == Path(expected)
