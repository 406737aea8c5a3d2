"""A real browser on a hostile page cannot reach the backend; the same page commands the twin without CURVE.

Needs chromium, google-chrome or microsoft-edge on the machine (`apt-get install chromium`); without one, only the raw bytes that a browser
sends are tried (test_transport).
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import zmq

from protocol.transport import ServerSocket, new_keys

NAMES = ("chromium", "google-chrome", "chromium-browser", "microsoft-edge")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
PAGE = """<title>free wallpapers</title><script>
const port = %d, command = new TextEncoder().encode("steal the face");
const sled = new Uint8Array(4096).fill(2), frame = new Uint8Array([1, 0, 1 + command.length, 0, ...command]);
const body = new Uint8Array([...sled, ...Array(8).fill([...frame]).flat()]);
const tried = [];
for (let i = 0; i < 3; i++) {
  tried.push(fetch(`http://127.0.0.1:${port}/`, {method: "POST", mode: "no-cors", body}).catch(() => 0));
  const old = new XMLHttpRequest(); old.open("POST", `http://127.0.0.1:${port}/x`);
  tried.push(new Promise(done => { old.onloadend = done; })); old.send(body);
  try {
    const ws = new WebSocket(`ws://127.0.0.1:${port}/`); ws.onopen = () => ws.send(body);
    tried.push(new Promise(done => { ws.onclose = done; }));
  } catch (e) {}
}
const moment = new Promise(done => setTimeout(done, 3000));
Promise.race([Promise.all(tried), moment]).then(() => fetch("/tried"));
</script>"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium-like browser on this machine (apt-get install chromium)")


class Site:
    """A web server with one page that attacks `port`, and says so when it did what it can: `tried`."""

    def __init__(self, port: int) -> None:
        self.tried = tried = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/tried":
                    tried.set()
                data = (PAGE % port).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/"


@pytest.fixture
def visit(tmp_path: Path) -> Iterator[Callable[[int, Callable[[], bool]], bool]]:
    """Open the page that attacks a port; whether `heard()` came true before the page had tried all, and a moment after."""
    sites: list[Site] = []

    def run(port: int, heard: Callable[[], bool]) -> bool:
        site = Site(port)
        sites.append(site)
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        debugging = ["--remote-debugging-port=0"]  # or else it would end as soon as the page is there
        command = [str(BROWSER), *flags, *debugging, f"--user-data-dir={tmp_path / 'profile'}", site.address]
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 180
        try:
            while not site.tried.is_set():
                assert time.monotonic() < end, "the browser has not shown the page"
                if heard():
                    return True
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                if heard():
                    return True
        finally:
            browser.kill()
            browser.wait()
        return False

    yield run
    for site in sites:
        site.server.shutdown()
        site.server.server_close()


def test_the_page_commands_the_twin_without_curve(visit: Callable[[int, Callable[[], bool]], bool]) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.LINGER, 0)
    port = router.bind_to_random_port("tcp://127.0.0.1")

    def commanded() -> bool:
        return router.poll(50) > 0 and router.recv_multipart()[-1] == b"steal the face"

    try:
        assert visit(port, commanded), "the twin must be commandable, or the test below proves nothing"
    finally:
        context.destroy(linger=0)


def test_the_page_is_not_heard_by_the_backends_door(visit: Callable[[int, Callable[[], bool]], bool]) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    server, client = new_keys(), new_keys()
    door = ServerSocket(context, server, client.public)
    port = int(door.endpoint.rsplit(":", 1)[1])

    def heard() -> bool:
        door.wait(0.05)
        return door.receive() is not None

    try:
        assert not visit(port, heard)
    finally:
        door.close()
        context.destroy(linger=0)
