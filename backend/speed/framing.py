"""G4: a picture there and back in three framings: ours (a header, and planes as parts of their own), one msgpack body, shared memory.

All three over the same plain sockets, since that is what framing can change; with encryption, as everything of ours is sent, the
encryption takes longer than all of them, and is measured beside them. The answer is the picture itself, and is compared.
"""

from __future__ import annotations

import mmap
import statistics
import struct
import sys
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]  # it has none
import numpy as np
import zmq
from numpy.typing import NDArray

from protocol.codec import reply_codec, request_codec
from protocol.errors import ServiceError
from protocol.geometry import Extent
from protocol.jobs import Canvas, PictureJob
from protocol.messages import Fetched, Submit
from protocol.planes import Layout, Plane
from protocol.results import MadePicture, Pictures
from protocol.shapes import Buffer

from .goals import Figure
from .rivals import Child, RawCurve
from .turns import Clock, Way, check_same, in_turns

BODY, SHARED = 0.5, 4.0
_msgpack = cast("Any", msgpack)  # it has no type hints
_ID = "a" * 32


def framing(side: int, rounds: int, clock: Clock) -> list[Figure]:
    """Our framing beside the two others, `rounds` times each in turns."""
    pixels = np.random.default_rng(3).integers(0, 256, (side, side, 4), dtype=np.uint8)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        echo = stack.enter_context(Echo(folder, pixels.nbytes))
        curve = stack.enter_context(RawCurve(folder / "curve"))
        ways: dict[str, Way] = {
            "ours": lambda: partial(check_same, echo.ours(pixels), pixels),
            "one body": lambda: partial(check_same, echo.one_body(pixels), pixels),
            "shared memory": lambda: partial(check_same, echo.shared(pixels), pixels),
            "with CURVE": lambda: curve.round_trip([pixels.data], pixels.nbytes),
        }
        rows = in_turns(ways, rounds, clock)
    middle = {name: statistics.median(row[name] for row in rows) for name in ways}

    def figure(what: str, other: str, target: float) -> Figure:
        ratio = statistics.median(row["ours"] / row[other] for row in rows)
        return Figure(
            "G4", f"our framing, beside {what}", ratio, target, "", "pixels equal", {"ours": middle["ours"], other: middle[other]}
        )

    beside = figure("shared memory", "shared memory", SHARED)
    return [
        figure("one msgpack body", "one body", BODY),
        replace(beside, seconds={**beside.seconds, "with CURVE": middle["with CURVE"]}),
    ]


class Echo(Child):
    """A process that gives every picture back in the framing that it came in."""

    def __init__(self, folder: Path, size: int) -> None:
        self._shared = folder / uuid.uuid4().hex
        self._shared.write_bytes(bytes(2 * size))
        super().__init__(str(self._shared), str(size), module="backend.speed.framing")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.connect(self.first_line())
        self._memory = _memory(self._shared)
        self._requests, self._replies = request_codec(), reply_codec()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        self._context.destroy(linger=0)

    def ours(self, picture: NDArray[np.uint8]) -> Buffer:
        """The message of the protocol: a header, and the plane as it lies there."""
        canvas = Canvas(Plane(Layout.RGBA8, _extent(picture), picture.data.cast("B")))
        message = self._requests.encode(Submit(1, _ID, PictureJob("x", canvas=canvas)))
        reply = self._replies.decode([frame.buffer for frame in self._exchange(b"ours", message)])
        if not isinstance(reply, Fetched) or not isinstance(reply.outcome, Pictures):
            raise ServiceError("The program that is measured with answered something else.")
        return reply.outcome.pictures[0].picture.data

    def one_body(self, picture: NDArray[np.uint8]) -> Buffer:
        """Everything in one msgpack map, the pixels as its `bin`."""
        body: bytes = _msgpack.packb({"kind": "submit", "job_id": _ID, "picture": picture.data.cast("B")})
        (answer,) = self._exchange(b"body", [body])
        return _msgpack.unpackb(answer.buffer)["picture"]

    def shared(self, picture: NDArray[np.uint8]) -> Buffer:
        """A message that says that the pixels are in a piece of memory that both processes have."""
        size = picture.nbytes
        self._memory[:size] = picture.data.cast("B")
        self._exchange(b"shared", [struct.pack(">Q", size)])
        return memoryview(self._memory)[size : 2 * size]

    def _exchange(self, way: bytes, frames: Sequence[Buffer]) -> list[zmq.Frame]:
        self._socket.send_multipart([way, *frames], copy=False)
        while not self._socket.poll(500):
            self.check_alive()
        return self._socket.recv_multipart(copy=False)


def _memory(path: Path) -> mmap.mmap:
    """A file that two processes have mapped: memory that they share, on every system."""
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


def _extent(picture: NDArray[np.uint8]) -> Extent:
    return Extent(picture.shape[1], picture.shape[0])


def _serve(shared: Path, size: int) -> None:
    """Answer until the parent ends this process."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    memory, requests, replies = _memory(shared), request_codec(), reply_codec()
    print(f"tcp://127.0.0.1:{port}", flush=True)
    while True:
        peer, way, *frames = socket.recv_multipart(copy=False)
        given = [frame.buffer for frame in frames]
        match way.bytes:
            case b"ours":
                request = requests.decode(given)
                assert isinstance(request, Submit)
                assert isinstance(request.job, PictureJob)
                assert request.job.canvas is not None
                made = Pictures((MadePicture(request.job.canvas.picture, 1),), "echo")
                socket.send_multipart([peer, *replies.encode(Fetched(1, request.job_id, made))], copy=False)
            case b"body":
                body = _msgpack.unpackb(given[0])
                socket.send_multipart([peer, _msgpack.packb({**body, "kind": "fetched"})], copy=False)
            case _:
                memory[size : 2 * size] = memory[:size]
                socket.send_multipart([peer, b"there"], copy=False)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
