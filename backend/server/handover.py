"""Planes that clients on this computer hand over in files: taken over and given out by handle, within one folder for each client.

A client says a handle and nothing else. It is looked up in that client's own folder, whose name nobody else was told; no link is followed,
and only an ordinary file of this user with one name and the very length that was said is taken. It then gets a name in the spool and loses
the other, without a copy. A result goes the other way: a second name in the client's folder, until the client has acknowledged it.

Who wrote a file, or can open a result, may still have it open and make it shorter. So what passed through here is read and never looked at
through a map: that would end the process. A file that lies in a folder at two looks in a row was left there by somebody who died, or by a
client that means no good, and is taken away.
"""

from __future__ import annotations

import mmap
import os
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from protocol.discovery import make_private_folder
from protocol.errors import ConnectionProblem, NotHandedOver
from protocol.handover import OPEN_FILE, OPEN_FOLDER, check_file, entered, supported
from protocol.limits import HANDOVER_FILES, HANDOVER_KEEP_S, HANDOVER_LEAST_BYTES, SPOOL_BYTES_PER_CLIENT
from protocol.messages import Handed

_NO_FOLDER = -1
_AT_START = 16 * HANDOVER_FILES
"""Files of clients of an earlier run that are taken away at once; more go with later looks."""


class Handover:
    """The folder `folder`, and who may use what in it. Files are taken over into `planes`, which must be on the same drive.

    Without a folder, or where the system or the drive cannot do it, no client is welcome, and planes go in messages. `point` is told each
    step, for tests.
    """

    def __init__(self, folder: Path | None, planes: Path, *, point: Callable[[str], None] = lambda name: None) -> None:
        self._planes, self._point = planes, point
        self._names: dict[str, str] = {}
        self._offered: dict[str, tuple[str, str]] = {}
        """Job -> client and handle of its result."""
        self._seen: dict[str, frozenset[str]] = {}
        self._look_at = 0.0
        self._root = _open(folder, planes) if folder is not None else _NO_FOLDER
        self._sweep_strangers(_AT_START)

    def welcome(self, client: str) -> str | None:
        """The name of this client's folder, which is made; None: it cannot hand anything over."""
        if self._root == _NO_FOLDER:
            return None
        name = self._names.setdefault(client, uuid.uuid4().hex)
        try:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=self._root)
        except OSError:
            return None
        return name

    def leave(self, client: str) -> None:
        """This client is not connected any more; the next look takes its folder away."""
        self._seen.pop(self._names.pop(client, ""), None)

    def loan(self, client: str) -> Loan:
        """For one message of this client."""
        return Loan(self._root, self._names.get(client), self._planes, self._point)

    def offer(self, client: str, job_id: str, path: Path, size: int) -> str | None:
        """A handle under which this client finds the result in `path`, until `free`; None: it must go in the message."""
        name = self._names.get(client)
        if name is None or size < HANDOVER_LEAST_BYTES:
            return None
        self.free(job_id)
        handle = uuid.uuid4().hex
        try:
            with entered(name, self._root) as within:
                os.link(path, handle, dst_dir_fd=within, follow_symlinks=False)
        except OSError:
            return None
        self._offered[job_id] = client, handle
        return handle

    def free(self, job_id: str) -> None:
        """The client has read the result of this job."""
        client, handle = self._offered.pop(job_id, ("", ""))
        name = self._names.get(client)
        if name is not None:
            with suppress(OSError), entered(name, self._root) as within:
                os.unlink(handle, dir_fd=within)

    def bytes_of(self, client: str) -> int:
        """Bytes of files that this client has put down and not handed over; they count as its jobs do."""
        name = self._names.get(client)
        if name is None:
            return 0
        with suppress(OSError), entered(name, self._root) as within:
            return _sizes(within, self._handles())
        return 0

    def sweep(self, now: float) -> None:
        """From time to time: take away what lay there the last time too, and what belongs to nobody."""
        if self._root == _NO_FOLDER or now < self._look_at:
            return
        self._look_at = now + HANDOVER_KEEP_S
        for name in self._names.values():
            with suppress(OSError), entered(name, self._root, to_clear=True) as within:
                self._look(name, within)
        lying = set[str]().union(*self._seen.values())
        self._offered = {job_id: (client, handle) for job_id, (client, handle) in self._offered.items() if handle in lying}
        self._sweep_strangers(HANDOVER_FILES)

    def close(self) -> None:
        """Nobody is connected any more."""
        self._names.clear()
        self._sweep_strangers(_AT_START)
        if self._root != _NO_FOLDER:
            os.close(self._root)
        self._root = _NO_FOLDER

    # Inside --------------------------------------------------------------------------------------------------------------------------
    def _handles(self) -> set[str]:
        """Of results, which count as their jobs'."""
        return {handle for _, handle in self._offered.values()}

    def _look(self, name: str, within: int) -> None:
        names = _names(within, HANDOVER_FILES + 1)
        crowded = len(names) > HANDOVER_FILES or _sizes(within, self._handles()) > SPOOL_BYTES_PER_CLIENT
        old = names if crowded else names & self._seen.get(name, frozenset())
        for stale in old:
            _remove(stale, within)
        self._seen[name] = names - old

    def _sweep_strangers(self, most: int) -> None:
        """Take away folders of clients of an earlier run or of a closed connection, `most` files of them."""
        if self._root == _NO_FOLDER:
            return
        with suppress(OSError):
            for name in _names(self._root, most) - set(self._names.values()):
                with suppress(OSError), entered(name, self._root, to_clear=True) as within:
                    for stale in _names(within, most):
                        _remove(stale, within)
                        most -= 1
                _remove(name, self._root)
                if most <= 0:
                    return


class Loan:
    """What one message hands over. What was taken and not kept by then is deleted by `close`."""

    def __init__(self, root: int, name: str | None, planes: Path, point: Callable[[str], None]) -> None:
        self._root, self._name, self._planes, self._point = root, name, planes, point
        self.path: Path | None = None
        """The file that was taken over, now in the spool's folder."""

    def take(self, handed: Handed) -> Sequence[memoryview]:
        """Take the file over; its planes, which have the right lengths and must not be looked at.

        Raises `NotHandedOver`; then nothing has this name in the client's folder any more.
        """
        if self._name is None:
            raise NotHandedOver
        try:
            with entered(self._name, self._root) as within:
                try:
                    memory = self._taken(within, handed)
                except (OSError, ValueError):
                    _remove(handed.handle, within)
                    raise
        except (OSError, ValueError) as error:
            raise NotHandedOver from error
        planes: list[memoryview] = []
        for length in handed.lengths:
            planes.append(memory[:length])
            memory = memory[length:]
        return planes

    def close(self) -> None:
        """Delete what nobody kept."""
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _taken(self, within: int, handed: Handed) -> memoryview:
        size = sum(handed.lengths)
        descriptor = os.open(handed.handle, OPEN_FILE, dir_fd=within)
        try:
            check_file(os.fstat(descriptor), size, names=1)
            path = self._planes / f"{handed.handle}.taken"
            os.link(handed.handle, path, src_dir_fd=within, follow_symlinks=False)
            self.path = path
            self._point("handover.linked")
            os.unlink(handed.handle, dir_fd=within)
            self._point("handover.taken")
            found, linked = os.fstat(descriptor), os.lstat(path)
            check_file(found, size, names=1)
            if (found.st_dev, found.st_ino) != (linked.st_dev, linked.st_ino):
                raise OSError("another file came in its place meanwhile")
            return memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ))
        finally:
            os.close(descriptor)


def _open(folder: Path, planes: Path) -> int:
    """The folder as a descriptor, if files can really go from it into `planes`."""
    if not supported():
        return _NO_FOLDER
    try:
        make_private_folder(folder)
        root = os.open(folder, OPEN_FOLDER)
    except (OSError, ConnectionProblem):
        return _NO_FOLDER
    probe = uuid.uuid4().hex
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=root))
        try:
            os.link(probe, planes / probe, src_dir_fd=root, follow_symlinks=False)
            (planes / probe).unlink()
        finally:
            os.unlink(probe, dir_fd=root)
    except OSError:  # another drive, or one that has no links
        os.close(root)
        return _NO_FOLDER
    return root


def _names(within: int, most: int) -> frozenset[str]:
    with os.scandir(within) as entries:
        return frozenset(entry.name for entry in islice(entries, most))


def _sizes(within: int, but: Collection[str]) -> int:
    """Bytes of the files of a folder; of one with too many, as many as no client may have."""
    with os.scandir(within) as entries:
        found = list(islice(entries, HANDOVER_FILES + 1))
        if len(found) > HANDOVER_FILES:
            return SPOOL_BYTES_PER_CLIENT
        return sum(entry.stat(follow_symlinks=False).st_size for entry in found if entry.name not in but)


def _remove(name: str, within: int) -> None:
    """Delete what has this name itself: never what a link leads to, nor a folder that has something in it."""
    try:
        os.unlink(name, dir_fd=within)
    except OSError:
        with suppress(OSError):
            os.rmdir(name, dir_fd=within)
