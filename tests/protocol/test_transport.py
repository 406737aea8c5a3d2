"""Nobody gets in. Each attack is shown to work against the twin without CURVE, so that the test is known to bite."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import zmq

from protocol import transport
from protocol.discovery import Connection
from protocol.limits import FRAME_BYTES
from protocol.transport import ClientSocket, KeyPair, ServerSocket, Sign, new_keys, require_encryption

PATIENCE_S = 300.0
"""For what must come; it is not waited for longer than it takes."""


@dataclass
class Door:
    """A server socket and the keys that open it."""

    context: zmq.Context[zmq.Socket[bytes]]
    socket: ServerSocket
    server: KeyPair
    client: KeyPair

    @property
    def port(self) -> int:
        return int(self.socket.endpoint.rsplit(":", 1)[1])

    def connection(self, server: KeyPair | None = None, client: KeyPair | None = None) -> Connection:
        server, client = server or self.server, client or self.client
        return Connection(self.socket.endpoint, server.public, client.public, client.secret, 1, 0.0, "e" * 32, (1, 0))

    def heard(self, seconds: float = 0.3) -> list[list[bytes]]:
        """All messages of the next moments."""
        found, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            found += self._waiting()
        return found

    def next_message(self) -> list[bytes]:
        """The next message, for which a busy machine is given its time."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for message in self._waiting():
                return message
        raise AssertionError("nothing was heard")

    def _waiting(self) -> Iterator[list[bytes]]:
        self.socket.wait(0.02)
        while (message := self.socket.receive()) is not None:
            yield [bytes(frame) for frame in message[1]]


@pytest.fixture(autouse=True)
def nobody_is_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake may take a busy machine longer than the second after which silent peers are left."""
    monkeypatch.setattr(transport, "HANDSHAKE_MS", 60_000)


@pytest.fixture
def door() -> Iterator[Door]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    server, client = new_keys(), new_keys()
    made = Door(context, ServerSocket(context, server, client.public), server, client)
    yield made
    made.socket.close()
    context.destroy(linger=0)


@pytest.fixture
def unsafe_port() -> Iterator[tuple[int, zmq.Socket[bytes]]]:
    """The twin: a ROUTER as ZeroMQ makes it by default."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.LINGER, 0)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    yield port, router
    context.destroy(linger=0)


def outcome(door: Door, connection: Connection) -> tuple[Sign, bool]:
    """The first sign of a connection that then tries to speak, and whether the server heard it."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    client = ClientSocket(context, connection)
    signs: list[Sign] = []
    end = time.monotonic() + PATIENCE_S
    while not signs and time.monotonic() < end:
        door.socket.wait(0.02)
        signs += client.signs()
    client.send([b"hello"])
    heard = [door.next_message()] if signs == [Sign.OPEN] else door.heard(0.2)
    client.close()
    context.destroy(linger=0)
    return signs[0], bool(heard)


def test_the_right_keys_open(door: Door) -> None:
    assert outcome(door, door.connection()) == (Sign.OPEN, True)


def test_another_server_key_does_not(door: Door) -> None:
    assert outcome(door, door.connection(server=new_keys())) == (Sign.STRANGER, False)


def test_a_client_key_that_is_not_on_the_list_does_not_although_it_knows_the_server(door: Door) -> None:
    assert outcome(door, door.connection(client=new_keys())) == (Sign.KEY_UNKNOWN, False)


def test_a_port_where_nobody_listens_is_told_apart(door: Door) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    nobody = Connection(endpoint, door.server.public, door.client.public, door.client.secret, 1, 0.0, "e", (1, 0))
    assert outcome(door, nobody) == (Sign.REFUSED, False)


def test_it_listens_on_this_computer_only_and_on_a_port_of_the_systems_choice(door: Door) -> None:
    assert door.socket.endpoint.startswith("tcp://127.0.0.1:")
    assert door.port > 1023


def test_large_frames_go_through_whole(door: Door) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    client = ClientSocket(context, door.connection())
    pixels = random.Random(1).randbytes(5 * 1024 * 1024)
    while not client.send([b"a", memoryview(pixels)]):
        door.socket.wait(0.01)
    assert door.next_message() == [b"a", pixels]
    client.close()
    context.destroy(linger=0)


# The sled: HTTP bytes whose body re-synchronises ZeroMQ's oldest framing (ZMTP/1.0), as a page can post them with fetch(mode: 'no-cors').
COMMAND = b"steal the face"
SLED = bytes([2]) * 4096 + b"".join([b"\1\0", bytes([1 + len(COMMAND), 0]), COMMAND]) * 8
POST = (
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:153.0)\r\nAccept: */*\r\n"
    b"Content-Type: text/plain\r\nContent-Length: " + str(len(SLED)).encode() + b"\r\nOrigin: null\r\n\r\n" + SLED
)


def post(port: int, data: bytes, wait_s: float = 0.3) -> bytes:
    """Send raw bytes; what came back until the other side closed or `wait_s` passed."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as raw:
        try:
            raw.sendall(data)
            while chunk := raw.recv(4096):
                got += chunk
        except OSError:
            pass
    return got


def test_a_web_page_that_posts_frames_is_not_heard(door: Door) -> None:
    post(door.port, POST)
    assert door.heard() == []


def test_the_same_page_commands_the_twin_without_curve(unsafe_port: tuple[int, zmq.Socket[bytes]]) -> None:
    port, router = unsafe_port
    post(port, POST)
    assert router.poll(PATIENCE_S * 1000), "the twin must be commandable, or the test above proves nothing"


def null_client(port: int) -> tuple[zmq.Context[zmq.Socket[bytes]], zmq.Socket[bytes]]:
    """The socket is handed on too: one that is collected makes its context wait for ever until the message is taken."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.connect(f"tcp://127.0.0.1:{port}")
    dealer.send(b"let me in")
    return context, dealer


def test_plain_zeromq_is_not_heard(door: Door) -> None:
    context, _dealer = null_client(door.port)
    assert door.heard() == []
    context.destroy(linger=0)


def test_plain_zeromq_commands_the_twin(unsafe_port: tuple[int, zmq.Socket[bytes]]) -> None:
    port, router = unsafe_port
    context, _dealer = null_client(port)
    assert router.poll(PATIENCE_S * 1000)
    context.destroy(linger=0)


def test_plain_passwords_are_not_heard(door: Door) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.plain_username, dealer.plain_password = b"admin", b"admin"
    dealer.connect(door.socket.endpoint)
    dealer.send(b"let me in")
    assert door.heard() == []
    context.destroy(linger=0)


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
        random.Random(3).randbytes(1_000_000),
        b"\xff" * 64,
    ],
    ids=["http", "tls", "random", "ones"],
)
def test_noise_on_the_port_is_not_heard_and_the_next_client_is_served(door: Door, noise: bytes) -> None:
    post(door.port, noise)
    assert door.heard(0.1) == []
    assert outcome(door, door.connection()) == (Sign.OPEN, True)


def test_a_frame_over_the_limit_closes_the_connection_also_of_a_client_with_our_key(door: Door) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    client = ClientSocket(context, door.connection())
    client._dealer.setsockopt(zmq.MAXMSGSIZE, -1)
    while not client.send([bytes(FRAME_BYTES + 1)]):
        door.socket.wait(0.01)
    assert door.heard(1.0) == []
    client.close()
    context.destroy(linger=0)
    assert outcome(door, door.connection()) == (Sign.OPEN, True)


def test_a_second_peer_cannot_take_over_the_address_of_the_first(door: Door) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    peers = []
    for text in (b"first", b"second"):
        dealer = context.socket(zmq.DEALER)
        dealer.curve_serverkey, dealer.curve_publickey, dealer.curve_secretkey = (
            door.server.public.encode(),
            door.client.public.encode(),
            door.client.secret.encode(),
        )
        dealer.setsockopt(zmq.ROUTING_ID, b"same")
        dealer.connect(door.socket.endpoint)
        dealer.send(text)
        peers.append(dealer)
        if text == b"first":
            assert door.next_message() == [text]
    assert door.heard(0.5) == []
    assert door.socket.send(b"same", [b"reply"])
    assert peers[0].poll(PATIENCE_S * 1000)
    assert not peers[1].poll(100)
    context.destroy(linger=0)


def test_sending_to_a_peer_that_is_gone_is_an_answer(door: Door) -> None:
    assert door.socket.send(b"nobody", [b"x"]) is False


def test_this_libzmq_can_encrypt() -> None:
    require_encryption()
