"""The connection file: where it is on each system, written privately and at once, read with suspicion; and the lock of the one backend.

It holds the endpoint and the keys of one run of the backend. Both key pairs are new at every start: nothing that is left on the disk opens
a later backend, and the server's secret key is never written. The file is mode 0600 in a folder of mode 0700. On Windows it lies in
%LOCALAPPDATA%, which only the user, the system and administrators can read.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, cast

from .errors import ConnectionProblem, NotRunning, Starting, UnsafeFolder, VersionMismatch
from .frozen import frozen
from .version import VERSION, Version, mismatch_sentence

CONNECTION_FILE = "connection.json"
_STARTING_FILE = "starting"
_LOCK_FILE = "lock"
_STARTING_S = 30.0
"""A backend answers within a second; a note that is older than this was left by one that died."""
_LARGEST = 4096


@frozen
class Connection:
    """All that a client needs. Keys are Z85 text of 40 characters; `started` is seconds since 1970."""

    endpoint: str
    server_key: str
    client_key: str
    client_secret: str
    pid: int
    started: float
    epoch: str
    version: tuple[int, int]


def state_folder(environment: Mapping[str, str], platform: str = sys.platform, home: Path | None = None) -> Path:
    """Where this user's backend keeps its connection file, log and spool. `LIKENESS_STATE` overrides the system's place."""
    home = home or Path.home()
    if override := environment.get("LIKENESS_STATE"):
        return Path(override).expanduser().absolute()
    match platform:
        case "win32":
            return Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local") / "Likeness"
        case "darwin":
            return home / "Library" / "Application Support" / "Likeness"
        case _:
            return Path(environment.get("XDG_STATE_HOME") or home / ".local" / "state") / "likeness"


def make_private_folder(folder: Path) -> None:
    """Make `folder` for this user alone; raises `UnsafeFolder` if it is there and others can enter it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_private(folder)


def write_private(path: Path, data: bytes) -> None:
    """Write `data` so that nobody else ever can read it and no reader ever sees half of it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_connection(folder: Path, connection: Connection) -> None:
    """Say where the backend is; the note that it starts is taken away."""
    make_private_folder(folder)
    write_private(folder / CONNECTION_FILE, json.dumps(asdict(connection)).encode())
    (folder / _STARTING_FILE).unlink(missing_ok=True)


def note_starting(folder: Path) -> None:
    """Say that a backend is starting, before it can be connected to."""
    make_private_folder(folder)
    write_private(folder / _STARTING_FILE, str(os.getpid()).encode())


def remove_connection(folder: Path, epoch: str) -> None:
    """Take away the connection file of the backend with this epoch; another's stays."""
    try:
        if read_connection(folder).epoch == epoch:
            (folder / CONNECTION_FILE).unlink(missing_ok=True)
    except ConnectionProblem:
        pass


def read_connection(folder: Path) -> Connection:
    """The connection file. Raises `NotRunning`, `Starting`, `VersionMismatch`, or `UnsafeFolder`.

    That it is there does not mean that somebody answers: the process may have died. Only connecting tells.
    """
    path = folder / CONNECTION_FILE
    try:
        with path.open("rb") as file:
            _check_private(folder)
            _check_private(path)
            text = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise _absent(folder) from None
    except OSError as error:
        raise NotRunning(f"The connection file {path} cannot be read ({error.strerror}). {NotRunning.cure}") from error
    return _parse(path, text)


def is_starting(folder: Path) -> bool:
    """Whether a backend noted that it starts, not long ago."""
    try:
        return 0 <= time.time() - (folder / _STARTING_FILE).stat().st_mtime < _STARTING_S
    except OSError:
        return False


def _absent(folder: Path) -> ConnectionProblem:
    return Starting() if is_starting(folder) else NotRunning()


def _parse(path: Path, text: bytes) -> Connection:
    try:
        value = cast("dict[str, object]", json.loads(text)) if len(text) <= _LARGEST else {}
        version = Version(*(int(number) for number in cast("list[int]", value["version"])))
        if version.major != VERSION.major:
            raise VersionMismatch(mismatch_sentence(version))
        return _checked(
            Connection(
                endpoint=str(value["endpoint"]),
                server_key=str(value["server_key"]),
                client_key=str(value["client_key"]),
                client_secret=str(value["client_secret"]),
                pid=int(cast("int", value["pid"])),
                started=float(cast("float", value["started"])),
                epoch=str(value["epoch"]),
                version=(version.major, version.minor),
            )
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise NotRunning(f"The connection file {path} is damaged. Delete it, then start the backend again.") from error


def _checked(connection: Connection) -> Connection:
    """The file is not trusted to send faces elsewhere: only this computer, only whole keys."""
    keys = (connection.server_key, connection.client_key, connection.client_secret)
    if not connection.endpoint.startswith("tcp://127.0.0.1:") or any(len(key) != 40 or not key.isascii() for key in keys):
        raise ValueError(connection.endpoint)
    return connection


def _check_private(path: Path) -> None:
    if sys.platform == "win32":
        return
    status = path.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise UnsafeFolder(
            f"Other users of this computer can read or change {path} (mode {status.st_mode & 0o777:o}), which guards your pictures. "
            f"Make it yours alone: chmod go= '{path}'."
        )


class Lock:
    """The lock of the one backend of a folder, held as long as its process lives; the system frees it however that ends."""

    def __init__(self, folder: Path) -> None:
        make_private_folder(folder)
        self._path = folder / _LOCK_FILE
        self._file: IO[bytes] | None = None

    def acquire(self, wait_s: float = 0.0) -> bool:
        """Take the lock; False if another process still has it after `wait_s` seconds."""
        file, end = self._path.open("ab"), time.monotonic() + wait_s
        while True:
            try:
                _lock(file.fileno())
            except OSError:
                if time.monotonic() >= end:
                    file.close()
                    return False
                time.sleep(0.02)
            else:
                self._file = file
                return True

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
