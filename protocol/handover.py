"""Handing planes over in files: what a file must be, and a client's thread that writes and reads, so that no host waits for a disk.

Both sides have the folder `handover` of the state folder. The backend makes a folder in it for each client, under a random name that only
that client is told, and a file in it has a random name too: whoever names a file names nothing else. What cannot be done is no error; the
planes then go in the message.
"""

from __future__ import annotations

import os
import queue
import stat
import threading
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .frozen import frozen
from .messages import Handed
from .shapes import Buffer

FOLDER = "handover"
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
"""No link is followed, no child inherits it, and a pipe in a file's place keeps nobody waiting."""
OPEN_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _SAFE
OPEN_FILE = os.O_RDONLY | _SAFE
_MAKE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE


def supported() -> bool:
    """Whether this system can open a file relative to a folder, and refuse links: POSIX can, Windows cannot."""
    return hasattr(os, "O_NOFOLLOW") and hasattr(os, "O_DIRECTORY") and {os.open, os.unlink, os.mkdir, os.link} <= os.supports_dir_fd


@contextmanager
def entered(folder: Path | str, within: int | None = None, *, to_clear: bool = False) -> Generator[int]:
    """A descriptor of a folder that is no link and, unless it is `to_clear` it, ours alone; raises `OSError`."""
    descriptor = os.open(folder, OPEN_FOLDER, dir_fd=within)
    try:
        found = os.fstat(descriptor)
        if not to_clear and (found.st_uid != os.getuid() or found.st_mode & 0o077):
            raise PermissionError("the folder is not this user's alone")
        yield descriptor
    finally:
        os.close(descriptor)


def check_file(found: os.stat_result, size: int, names: int | None = None) -> None:
    """Raise `OSError` unless this is an ordinary file of ours with `size` bytes, and with as many `names` as it should have."""
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_size != size:
        raise OSError("it is no file of this user with the length that was said")
    if names is not None and found.st_nlink != names:
        raise OSError("the file has another name elsewhere")


def read_exactly(descriptor: int, length: int) -> bytes:
    """The next `length` bytes of a file. Read and not mapped: where a mapped file has become shorter, looking at it ends the process."""
    parts: list[bytes] = []
    left = length
    while left:
        part = os.read(descriptor, left)
        if not part:
            raise OSError("the file is shorter than was said")
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def put(folder: Path, handle: str, planes: Sequence[Buffer]) -> None:
    """Write planes one behind the other into a new file of this user's alone; raises `OSError`, and then nothing is left."""
    with entered(folder) as within:
        descriptor = os.open(handle, _MAKE_FILE, 0o600, dir_fd=within)
        try:
            for plane in planes:
                rest = memoryview(plane).cast("B")
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
        except OSError:
            os.unlink(handle, dir_fd=within)
            raise
        finally:
            os.close(descriptor)


def get(folder: Path, handed: Handed) -> list[bytes]:
    """The planes of a file; raises `OSError`."""
    with entered(folder) as within:
        descriptor = os.open(handed.handle, OPEN_FILE, dir_fd=within)
        try:
            check_file(os.fstat(descriptor), sum(handed.lengths))
            return [read_exactly(descriptor, length) for length in handed.lengths]
        finally:
            os.close(descriptor)


def drop(folder: Path, handle: str) -> None:
    """Take a file away, if it is still there."""
    with suppress(OSError), entered(folder) as within:
        os.unlink(handle, dir_fd=within)


class Apart(Exception):  # noqa: N818  (no failure: the planes of a reply lie apart from it, and are read first)
    """`handed` says where."""

    def __init__(self, handed: Handed) -> None:
        super().__init__()
        self.handed = handed


def apart(handed: Handed) -> Sequence[Buffer]:
    """Planes in a file are not read while a host waits: raises `Apart`."""
    raise Apart(handed)


@frozen
class Placed:
    """The planes of the request `number` lie in `folder` under `handle`; None: they could not be written."""

    number: int
    folder: Path
    handle: str | None


@frozen
class Brought:
    """The planes of the reply to request `number`; None: they could not be read."""

    number: int
    planes: tuple[bytes, ...] | None


class Courier:
    """Writes and reads for one client, in a thread that starts with the first file. Nothing here waits for a disk but `wait`.

    A host whose Python has no room for threads makes none.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._todo: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Placed | Brought] = queue.SimpleQueue()
        self._heard = threading.Event()
        self._thread: threading.Thread | None = None
        self._under_way = 0

    @property
    def open(self) -> bool:
        """Whether planes can be handed over on this connection."""
        return self._folder is not None

    def enter(self, state: Path, name: str | None) -> None:
        """Begin with the folder that the backend made for this client, if it is there and ours."""
        self._folder = None
        if name is None or not supported():
            return
        folder = state / FOLDER / name
        with suppress(OSError), entered(folder):
            self._folder = folder

    def leave(self) -> None:
        """Hand nothing over any more; a new connection enters again."""
        self._folder = None

    def place(self, number: int, planes: Sequence[Buffer]) -> None:
        """Begin to write the planes of a request; `Placed` follows. Only while this is `open`."""
        folder, handle = self._entered(), uuid.uuid4().hex

        def write() -> None:
            try:
                put(folder, handle, planes)
            except OSError:
                self._tell(Placed(number, folder, None))
            else:
                self._tell(Placed(number, folder, handle))

        self._begin(write)

    def bring(self, number: int, handed: Handed) -> None:
        """Begin to read the planes of a reply; `Brought` follows. Only while this is `open`."""
        folder = self._entered()

        def read() -> None:
            try:
                planes = tuple(get(folder, handed))
            except (OSError, MemoryError):
                self._tell(Brought(number, None))
            else:
                self._tell(Brought(number, planes))

        self._begin(read)

    def drop(self, placed: Placed) -> None:
        """Take a file away that was not sent."""
        handle = placed.handle
        if handle is not None and self._thread is not None:
            self._todo.put(lambda: drop(placed.folder, handle))

    @property
    def busy(self) -> bool:
        """Whether something is being written or read."""
        return self._under_way > 0

    def done(self) -> list[Placed | Brought]:
        """What is written and read since the last call."""
        self._heard.clear()
        found: list[Placed | Brought] = []
        with suppress(queue.Empty):
            while True:
                found.append(self._done.get_nowait())
        self._under_way -= len(found)
        return found

    def wait(self, timeout_s: float) -> None:
        """Return when something is written or read, or after `timeout_s`."""
        self._heard.wait(timeout_s)

    def close(self) -> None:
        """End the thread once it has done what it was asked for; nobody waits for that."""
        self._folder = None
        if self._thread is not None:
            self._todo.put(None)
            self._thread = None

    def _entered(self) -> Path:
        if self._folder is None:
            raise RuntimeError("enter() comes first")
        return self._folder

    def _begin(self, work: Callable[[], None]) -> None:
        self._under_way += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="likeness files", daemon=True)
            self._thread.start()
        self._todo.put(work)

    def _tell(self, what: Placed | Brought) -> None:
        self._done.put(what)
        self._heard.set()

    def _run(self) -> None:
        while (work := self._todo.get()) is not None:
            work()
            del work  # and with it the planes, which would otherwise lie here until the next ones come
