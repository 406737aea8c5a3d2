"""What the server and a worker say to each other, over a socket pair that only the two have. Pixels stay in the spool's files.

A message is `[header, blob, …]`, each with its length before it; headers are read as strictly as those of the network.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
from collections.abc import Sequence
from functools import cache
from typing import Annotated, TypeAlias, get_args

from protocol.codec import Codec
from protocol.errors import InvalidRequest
from protocol.frozen import frozen
from protocol.jobs import Job
from protocol.limits import MODELS, PLANES, Bytes, Count, Items, JobId, Name, Note, Seconds, Sentence, Text
from protocol.planes import Plane
from protocol.results import ModelInfo, Outcome
from protocol.shapes import Buffer

Place = Annotated[str, Text(4096, least=1)]
"""A file of the spool: the server tells its own child, nobody else."""
Lengths = Annotated[tuple[Bytes, ...], Items(PLANES)]
_LARGEST = 64 * 1024 * 1024
"""A preview as RGBA8 of 4096 x 4096; results travel in files."""


@frozen
class Lease:
    """To the worker: do this job. The blob is the job's header; its planes lie in `input`, its result's belong into `output`."""

    job_id: JobId
    attempt: Count
    input: Place
    output: Place
    lengths: Lengths = ()
    own: bool = False
    """Nobody but the server ever had the file of the planes open, so it can be mapped; see `planefile`."""


@frozen
class Stop:
    """To the worker: nobody wants this job any more."""

    job_id: JobId


@frozen
class Leave:
    """To the worker: end."""


@frozen
class Ready:
    """From the worker: it has loaded what it needs and waits for a job."""

    title: Note = ""
    models: Annotated[tuple[ModelInfo, ...], Items(MODELS)] = ()


@frozen
class Stock:
    """From the worker: which models there are now, as folders changed."""

    models: Annotated[tuple[ModelInfo, ...], Items(MODELS)] = ()


@frozen
class Beat:
    """From the worker, each second: it lives, and this is how its device stands."""

    memory_total: Bytes | None = None
    memory_free: Bytes | None = None
    loaded: Annotated[tuple[Name, ...], Items(64)] = ()
    plan: Sentence = ""


@frozen
class Step:
    """From the worker: the job advances."""

    job_id: JobId
    attempt: Count
    step: Count
    steps: Count
    seconds_left: Seconds | None = None


@frozen
class Shown:
    """From the worker: what the picture looks like."""

    job_id: JobId
    attempt: Count
    step: Count
    picture: Plane


@frozen
class Finished:
    """From the worker: the planes are in the file; the blob is the outcome's header."""

    job_id: JobId
    attempt: Count
    lengths: Lengths = ()


@frozen
class Failed:
    """From the worker: why not (also `cancelled`)."""

    job_id: JobId
    attempt: Count
    code: Note
    sentence: Sentence


@frozen
class Unfit:
    """From the worker, instead of `Ready`: why it cannot work here at all (there is no such device). It ends."""

    code: Note
    sentence: Sentence


ToWorker: TypeAlias = Lease | Stop | Leave
FromWorker: TypeAlias = Ready | Unfit | Stock | Beat | Step | Shown | Finished | Failed
Word: TypeAlias = ToWorker | FromWorker


class Channel:
    """One end of the pipe. Sending may come from several threads; receiving from one."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._codec = Codec[Word](get_args(Word))
        self._lock = threading.Lock()
        self._in = bytearray()
        self._out = bytearray()

    def fileno(self) -> int:
        """For a poller."""
        return self._socket.fileno()

    def send(self, word: Word, blob: bytes | None = None) -> None:
        """Say something; raises `OSError` when the other side is gone. An end that does not block keeps the rest for `flush`."""
        header, planes = self._codec.encode_header(word)
        parts: Sequence[Buffer] = [header, *planes, *([blob] if blob is not None else [])]
        lengths = [memoryview(part).nbytes for part in parts]
        data = struct.pack(f">2I{len(parts)}I", len(parts), len(planes), *lengths) + b"".join(parts)
        with self._lock:
            if self._socket.getblocking():
                self._socket.sendall(data)
            else:
                self._out += data
                self._push()

    def flush(self) -> None:
        """Send what did not fit before."""
        with self._lock:
            self._push()

    def receive(self) -> list[tuple[Word, bytes]]:
        """What came, each with its blob. On an end that blocks, waits for something. Raises `EOFError` when the other side is gone."""
        try:
            data = self._socket.recv(1 << 20)
        except BlockingIOError:
            return []
        except OSError as error:
            raise EOFError(str(error)) from error
        if not data:
            raise EOFError("the other side is gone")
        self._in += data
        return self._words()

    def close(self) -> None:
        """Close this end; the other side sees it."""
        self._socket.close()

    def _push(self) -> None:
        while self._out:
            try:
                sent = self._socket.send(self._out)
            except BlockingIOError:
                return
            del self._out[:sent]

    def _words(self) -> list[tuple[Word, bytes]]:
        found: list[tuple[Word, bytes]] = []
        while (message := self._take()) is not None:
            planes, (header, *rest) = message
            found.append((self._codec.decode_header(header, rest[:planes]), rest[planes] if len(rest) > planes else b""))
        return found

    def _take(self) -> tuple[int, list[bytes]] | None:
        """The next whole message: how many of its parts are planes, and the parts."""
        if len(self._in) < 8:
            return None
        count, planes = struct.unpack_from(">2I", self._in)
        if not 1 <= count <= 3 or planes > 1:
            raise EOFError("the other side speaks another language")
        at = 8 + 4 * count
        if len(self._in) < at:
            return None
        lengths = struct.unpack_from(f">{count}I", self._in, 8)
        if sum(lengths) > _LARGEST:
            raise EOFError("the other side speaks another language")
        if len(self._in) < at + sum(lengths):
            return None
        parts: list[bytes] = []
        for length in lengths:
            parts.append(bytes(self._in[at : at + length]))
            at += length
        del self._in[:at]
        return planes, parts


def decode_job(header: bytes, planes: Sequence[Buffer]) -> Job:
    """The job of a lease."""
    return _jobs().decode_header(header, planes)


def encode_outcome(outcome: Outcome) -> tuple[bytes, list[Buffer]]:
    """An outcome's header, and its planes for the file; raises `InvalidRequest` for one that has no place on the wire."""
    return _outcomes().encode_header(outcome)


def can_tell(models: tuple[ModelInfo, ...]) -> bool:
    """Whether what is told of these models has room in one header, beside a device's title, also on the way to a client."""
    try:
        _ready().encode_header(Ready("x" * 256, models))
    except InvalidRequest:
        return False
    return True


@cache
def _ready() -> Codec[Ready]:
    return Codec[Ready]((Ready,))


@cache
def _jobs() -> Codec[Job]:
    """Made once: reading all the dataclasses takes as long as sending a picture of 1024 x 1024."""
    return Codec[Job](get_args(Job))


@cache
def _outcomes() -> Codec[Outcome]:
    return Codec[Outcome](get_args(Outcome))


def channel_pair() -> tuple[Channel, socket.socket]:
    """The server's end, which never blocks, and the socket for the child."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    return Channel(ours), theirs


def inherited_channel(handle: str) -> Channel:
    """The worker's end by what its command line says: a descriptor, or on Windows `-` for a socket shared over standard input."""
    if sys.platform == "win32":
        (length,) = struct.unpack(">I", sys.stdin.buffer.read(4))
        connection = socket.fromshare(sys.stdin.buffer.read(length))
    else:
        connection = socket.socket(fileno=int(handle))
        os.set_inheritable(connection.fileno(), False)
    connection.setblocking(True)
    return Channel(connection)
