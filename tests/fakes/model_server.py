"""A Hub on 127.0.0.1 that does what servers do to downloads: cuts, ignores ranges, changes files under way, flips bits, lies, refuses."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Fault:
    """What is wrong with one answer. Everything that is not set is as it should be."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Bytes of the body that come before the connection ends."""
    ignore_range: bool = False
    ignore_if_range: bool = False
    wrong_start: bool = False
    flip: int | None = None
    """Offset in the file of a byte that arrives wrong."""
    become: bytes | None = None
    """The file has other contents from now on."""
    length: int | None = None
    """A Content-Length that is a lie."""
    hold: threading.Event | None = None
    """After `cut_after` bytes, silence until this is set."""


@dataclass
class Asked:
    path: str
    headers: dict[str, str]

    @property
    def start(self) -> int:
        found = re.match(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(found[1]) if found else 0


def etag_of(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves in mid-answer is what is being tested."""


class FakeHub:
    def __init__(self, linked: bool = False) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, deque[Fault]] = {}
        self.always: Fault | None = None
        self.asked: list[Asked] = []
        self.linked = linked
        """Whether the answers name the file's hash, as the real Hub's do."""
        self.etags = True
        self.storage: FakeHub | None = None
        """Where `resolve/` redirects to."""
        self.sent = threading.Semaphore(0)
        """Released whenever an answer is being held."""
        self.server = QuietServer(("127.0.0.1", 0), handler_of(self))
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def put(self, repository: str, path: str, content: bytes, *faults: Fault, revision: str = "main") -> str:
        place = f"/{repository}/resolve/{revision}/{path}"
        self.files[place] = content
        self.faults[place] = deque(faults)
        return place

    def fault(self, path: str) -> Fault:
        waiting = self.faults.get(path)
        return self.always or (waiting.popleft() if waiting else Fault())


@contextmanager
def running(hub: FakeHub) -> Iterator[FakeHub]:
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


def handler_of(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def do_GET(self) -> None:
            path = urlsplit(self.path).path  # a proxy is asked with the whole address
            hub.asked.append(Asked(self.path, {name.lower(): value for name, value in self.headers.items()}))
            fault = hub.fault(path)
            if fault.become is not None:
                hub.files[path] = fault.become
            if fault.status is not None:
                return self.refuse(fault.status, fault.headers)
            if path not in hub.files:
                return self.refuse(404, {})
            content = hub.files[path]
            named = {"X-Repo-Commit": "c" * 40, "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"'} if hub.linked else {}
            if hub.storage is not None:
                return self.refuse(302, {**named, "Location": f"{hub.storage.endpoint}{path}"})
            return self.give(content, fault, named)

        def refuse(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def give(self, content: bytes, fault: Fault, named: dict[str, str]) -> None:
            asked, etag = hub.asked[-1], etag_of(content)
            same = fault.ignore_if_range or asked.headers.get("if-range") in (None, etag)
            start = asked.start if same and not fault.ignore_range else 0
            if start and start >= len(content):
                return self.refuse(416, {"Content-Range": f"bytes */{len(content)}"})
            if fault.flip is not None:
                content = content[: fault.flip] + bytes([content[fault.flip] ^ 1]) + content[fault.flip + 1 :]
            claimed = start - 1 if fault.wrong_start and start else start
            body = content[claimed:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {claimed}-{len(content) - 1}/{len(content)}")
            if hub.etags:
                self.send_header("ETag", etag)
            for name, value in named.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body) if fault.length is None else fault.length))
            self.end_headers()
            self.wfile.write(body if fault.cut_after is None else body[: fault.cut_after])
            self.wfile.flush()
            if fault.hold is not None:
                hub.sent.release()
                fault.hold.wait(300)
            self.close_connection = True

    return Handler
