"""The smallest backend that satisfies the client: a real CURVE socket, whose answers a test writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import zmq

from protocol.client import Client
from protocol.codec import Borrow, reply_codec, request_codec
from protocol.discovery import Connection, remove_connection, write_connection
from protocol.messages import Hello, Ping, Pong, Reply, Request, Welcome
from protocol.results import WorkerStage
from protocol.transport import ServerSocket, new_keys
from protocol.version import VERSION


class FakeBackend:
    """Greets and answers pings; `answer(request)` gives the replies to all else. `mute` stops it from answering at all."""

    def __init__(self, folder: Path, answer: Callable[[Request], list[Reply]] = lambda request: []) -> None:
        self.folder, self.answer, self.mute, self.jobs = folder, answer, False, ()
        self.handover: str | None = None
        self.models = 0
        self.borrow: Borrow | None = None
        self.heard: list[Request] = []
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        server, client = new_keys(), new_keys()
        self.socket = ServerSocket(self.context, server, client.public)
        self.connection = Connection(
            self.socket.endpoint, server.public, client.public, client.secret, 1, time.time(), "e" * 32, (VERSION.major, VERSION.minor)
        )
        self.peer = b""
        write_connection(folder, self.connection)

    def serve(self) -> None:
        """Answer all that waits."""
        self.socket.wait(0)
        while (message := self.socket.receive()) is not None:
            self.peer, frames = message
            request = request_codec().decode(frames, self.borrow)
            self.heard.append(request)
            if not self.mute:
                for reply in self._replies(request):
                    self.say(reply)

    def _replies(self, request: Request) -> list[Reply]:
        match request:
            case Hello():
                return [Welcome(request.request, "0", "e" * 32, WorkerStage.READY, handover=self.handover), *self.answer(request)]
            case Ping():
                return [Pong(request.request, WorkerStage.READY, self.jobs, models=self.models)]
            case _:
                return self.answer(request)

    def say(self, reply: Reply, handle: str | None = None) -> None:
        self.socket.send(self.peer, reply_codec().encode(reply, handle))

    def stop(self, leave_file: bool = True) -> None:
        if not leave_file:
            remove_connection(self.folder, self.connection.epoch)
        self.socket.close()
        self.context.destroy(linger=0)


def pump(client: Client, backend: FakeBackend | None, until: Callable[[list[object]], bool], timeout_s: float = 300.0) -> list[object]:
    """Poll both in turn until `until(events)`; the events."""
    events: list[object] = []
    deadline = time.monotonic() + timeout_s
    while not until(events):
        assert time.monotonic() < deadline, f"still waiting; heard so far: {events}"
        events += client.poll()
        if backend is not None:
            backend.serve()
        client.wait(0.01)
    return events
