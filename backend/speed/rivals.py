"""What `likeness bench protocol` compares with: raw CURVE, and PNG over HTTP and a websocket. Each answers in a process of its own."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import zmq
from numpy.typing import NDArray
from PIL import Image

from protocol.discovery import Connection, read_connection, write_connection
from protocol.errors import ConnectionProblem, ServiceError
from protocol.shapes import Buffer
from protocol.transport import ClientSocket, ServerSocket, new_keys

_ROOT = Path(__file__).resolve().parents[2]
_WEBSOCKET_ID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, section 1.3."""


class Child:
    """A module of ours as a program in another process."""

    def __init__(self, *arguments: str, module: str = "backend.speed.rivals") -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", module, *arguments]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)

    def first_line(self) -> str:
        """What it says when it is ready."""
        assert self.process.stdout is not None  # it was asked for
        return self.process.stdout.readline().decode().strip()

    def check_alive(self) -> None:
        """Raise `ServiceError` for a process that ended: there is nothing to compare with."""
        if self.process.poll() is not None:
            raise ServiceError("The program that the backend is compared with ended by itself. Run the measurement again.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()


class RawCurve(Child):
    """Bytes up and bytes down through the same sockets as ours, without any protocol."""

    def __init__(self, folder: Path) -> None:
        super().__init__("curve", str(folder))
        self.first_line()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = ClientSocket(self._context, read_connection(folder))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        self._socket.close()
        self._context.destroy(linger=0)

    def round_trip(self, frames: Sequence[Buffer], answer_bytes: int) -> None:
        """Send the frames; wait for that many bytes."""
        while not self._socket.send([struct.pack(">Q", answer_bytes), *frames]):
            self.check_alive()
            self._socket.wait(0.001)
        while self._socket.receive() is None:
            self.check_alive()
            self._socket.wait(0.5)


class PngServer(Child):
    """PNG of level 1 by HTTP PUT; the answer as PNG of level 1 over a websocket."""

    def __init__(self) -> None:
        super().__init__("png")
        port = int(self.first_line())
        self._port = port
        self._websocket = socket.create_connection(("127.0.0.1", port))
        self._stream = self._websocket.makefile("rb")
        key = base64.b64encode(os.urandom(16))
        head = b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " + key
        self._websocket.sendall(head + b"\r\nSec-WebSocket-Version: 13\r\n\r\n")
        _read_head(self._stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()
        self._websocket.close()
        super().__exit__(kind, error, trace)

    def round_trip(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Encode a picture (H, W, 4), put it, wait for the answer, decode it."""
        data = _to_png(picture)
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.sendall(b"PUT /image HTTP/1.1\r\nHost: x\r\nContent-Length: " + str(len(data)).encode() + b"\r\n\r\n" + data)
            with connection.makefile("rb") as stream:
                _read_head(stream)
        (length,) = struct.unpack(">Q", self._stream.read(10)[2:])
        return _from_png(self._stream.read(length))


def resident_bytes(pid: int) -> int:
    """Memory of a process; 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, AttributeError):
        return 0


def _to_png(picture: NDArray[np.uint8]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG", compress_level=1)
    return data.getvalue()


def _from_png(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


def _read_head(stream: IO[bytes]) -> dict[bytes, bytes]:
    stream.readline()
    found: dict[bytes, bytes] = {}
    while line := stream.readline().strip():
        name, _, value = line.partition(b":")
        found[name.lower()] = value.strip()
    return found


def _serve_curve(folder: Path) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    server, client = new_keys(), new_keys()
    door = ServerSocket(context, server, client.public)
    write_connection(
        folder, Connection(door.endpoint, server.public, client.public, client.secret, os.getpid(), time.time(), "0" * 32, (1, 0))
    )
    print("ready", flush=True)
    answer = b""
    while True:
        door.wait(1.0)
        while (message := door.receive()) is not None:
            (length,) = struct.unpack(">Q", message[1][0])
            answer = answer if len(answer) == length else bytes(length)
            door.send(message[0], [answer])


def _serve_png() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        websocket, _ = listener.accept()
        with websocket, websocket.makefile("rb") as stream:
            accept = base64.b64encode(hashlib.sha1(_read_head(stream)[b"sec-websocket-key"] + _WEBSOCKET_ID).digest())
            head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            websocket.sendall(head + accept + b"\r\n\r\n")
            while True:
                _answer_put(listener, websocket)


def _answer_put(listener: socket.socket, websocket: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as stream:
        picture = _from_png(stream.read(int(_read_head(stream)[b"content-length"])))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    data = _to_png(picture)
    websocket.sendall(b"\x82\x7f" + struct.pack(">Q", len(data)) + data)


if __name__ == "__main__":
    try:
        _serve_png() if sys.argv[1] == "png" else _serve_curve(Path(sys.argv[2]))
    except (ConnectionProblem, KeyboardInterrupt):
        sys.exit(1)
