"""CURVE sockets of the server and the client, with every option in one place. There is no way to make one without encryption.

Why always CURVE: under ZeroMQ's default (NULL) a web page can post bytes to a port on 127.0.0.1 that libzmq delivers as a message. With
CURVE, and a list of the one key that may enter, not one byte of it reaches the program.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import Enum

import zmq
from zmq.utils import z85

from .discovery import Connection
from .errors import NoEncryption, NotRunning
from .frozen import frozen
from .limits import FRAME_BYTES, HANDSHAKE_MS, RECEIVE_QUEUE, SEND_QUEUE
from .shapes import Buffer

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_ZAP_DOMAIN = b"likeness"
_OLDEST_LIBZMQ = (4, 3, 3)
"""Before it, a peer without a key could starve a CURVE socket (CVE-2020-15166)."""


@frozen
class KeyPair:
    """A CURVE key pair as Z85 text of 40 characters each."""

    public: str
    secret: str


def new_keys() -> KeyPair:
    """A fresh key pair; raises `NoEncryption`."""
    require_encryption()
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def require_encryption() -> None:
    """Raise `NoEncryption` unless this libzmq has CURVE and is new enough."""
    version = zmq.zmq_version_info()
    if not zmq.has("curve"):
        raise NoEncryption(f"{(NoEncryption.__doc__ or '').strip()} {NoEncryption.cure}")
    if version < _OLDEST_LIBZMQ:
        raise NoEncryption(f"This Python's ZeroMQ library is {zmq.zmq_version()}; before 4.3.3 it can be starved. {NoEncryption.cure}")


def _set_common(socket: zmq.Socket[bytes]) -> None:
    socket.setsockopt(zmq.LINGER, 0)  # closing never waits, also with an absent peer
    socket.setsockopt(zmq.MAXMSGSIZE, FRAME_BYTES)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.SNDHWM, SEND_QUEUE)
    socket.setsockopt(zmq.RCVHWM, RECEIVE_QUEUE)
    socket.setsockopt(zmq.IPV6, 0)


class ServerSocket:
    """The backend's door: a CURVE ROUTER on 127.0.0.1, on a port of the system's choice, that one client key may enter."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: KeyPair, allowed_client: str) -> None:
        require_encryption()
        self._allowed = z85.decode(allowed_client)
        self._zap = context.socket(zmq.ROUTER)
        self._zap.setsockopt(zmq.LINGER, 0)
        self._zap.bind(_ZAP_ENDPOINT)
        self._router = context.socket(zmq.ROUTER)
        _set_common(self._router)
        self._router.setsockopt(zmq.CURVE_SERVER, 1)
        self._router.setsockopt(zmq.CURVE_SECRETKEY, keys.secret.encode())
        self._router.setsockopt(zmq.ZAP_DOMAIN, _ZAP_DOMAIN)
        self._router.setsockopt(zmq.BACKLOG, 1024)  # with libzmq's 100, a burst of peers makes the next one wait a second to try again
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a peer that is full or gone is an answer, not silence
        self._router.setsockopt(zmq.HEARTBEAT_IVL, 10_000)  # forgets peers whose computer went to sleep
        self._router.setsockopt(zmq.HEARTBEAT_TIMEOUT, 30_000)
        self._router.bind("tcp://127.0.0.1:*")
        self.endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT)
        self._poller = zmq.Poller()
        self._poller.register(self._zap, zmq.POLLIN)
        self._poller.register(self._router, zmq.POLLIN)

    def wait(self, timeout_s: float, descriptors: Iterable[int] = ()) -> None:
        """Return when a message came, one of `descriptors` can be read, or after `timeout_s`; keys of new peers are judged on the way."""
        extra = [descriptor for descriptor in descriptors if descriptor >= 0]
        for descriptor in extra:
            self._poller.register(descriptor, zmq.POLLIN)
        try:
            ready = dict(self._poller.poll(max(0, round(timeout_s * 1000))))
        finally:
            for descriptor in extra:
                self._poller.unregister(descriptor)
        if self._zap in ready:
            self._judge()

    def receive(self) -> tuple[bytes, list[Buffer]] | None:
        """The next message as (peer, frames), or None. Frames are views into libzmq's memory."""
        try:
            peer, *frames = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        return peer.bytes, [frame.buffer for frame in frames]

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> bool:
        """Hand a message to libzmq; False if the peer is gone or does not read. Never waits."""
        try:
            self._router.send_multipart([peer, *frames], zmq.NOBLOCK, copy=False)
        except (zmq.Again, zmq.ZMQError):
            return False
        return True

    def close(self) -> None:
        """Close at once."""
        self._router.close(linger=0)
        self._zap.close(linger=0)

    def _judge(self) -> None:
        """Answer ZAP requests (rfc.zeromq.org/spec/27): 200 for the one key in our domain, 400 for everything else."""
        while True:
            try:
                peer, empty, *request = self._zap.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            number = request[1] if len(request) > 1 else b""
            domain, mechanism, credentials = (request[2:3], request[5:6], request[6:])
            good = domain == [_ZAP_DOMAIN] and mechanism == [b"CURVE"] and credentials == [self._allowed]
            status = (b"200", b"OK") if good else (b"400", b"Unknown key")
            self._zap.send_multipart([peer, empty, b"1.0", number, *status, b"", b""], zmq.NOBLOCK)


class Sign(Enum):
    """What a client's connection did."""

    OPEN = "open"
    """The handshake succeeded: the right server, and our key is allowed."""
    REFUSED = "refused"
    """Nothing listens there."""
    CLOSED = "closed"
    """It was open, and is not any more."""
    STRANGER = "stranger"
    """The handshake failed: another server key, or no ZeroMQ with CURVE at all."""
    KEY_UNKNOWN = "key-unknown"
    """The server does not allow our key."""


_SIGNS = {
    zmq.EVENT_HANDSHAKE_SUCCEEDED: Sign.OPEN,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: Sign.STRANGER,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: Sign.STRANGER,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: Sign.KEY_UNKNOWN,
    zmq.EVENT_DISCONNECTED: Sign.CLOSED,
    zmq.EVENT_CLOSED: Sign.REFUSED,
}


def _event(frame: bytes) -> zmq.Event:
    """What libzmq's monitor tells of, from its first frame: 16 bits of event, 32 of value. pyzmq's own reader imports asyncio for it, which
    takes a quarter of all that the server imports."""
    number, _ = struct.unpack("=hi", frame)
    return zmq.Event(number)


class ClientSocket:
    """One connection to the backend: a CURVE DEALER that does not reconnect by itself, since a new backend has new keys."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], connection: Connection) -> None:
        require_encryption()
        self._dealer = context.socket(zmq.DEALER)
        _set_common(self._dealer)
        self._dealer.setsockopt(zmq.IMMEDIATE, 1)  # nothing is queued for a peer that is not there
        self._dealer.setsockopt(zmq.RECONNECT_IVL, -1)
        try:
            self._dealer.setsockopt(zmq.CURVE_SERVERKEY, connection.server_key.encode())
            self._dealer.setsockopt(zmq.CURVE_PUBLICKEY, connection.client_key.encode())
            self._dealer.setsockopt(zmq.CURVE_SECRETKEY, connection.client_secret.encode())
            self._monitor = self._dealer.get_monitor_socket()
            self._monitor.setsockopt(zmq.LINGER, 0)
            self._dealer.connect(connection.endpoint)
        except zmq.ZMQError as error:  # keys that are none, a port that is none
            self._dealer.close()
            raise NotRunning(f"The backend's connection file is damaged. {NotRunning.cure}") from error

    def signs(self) -> list[Sign]:
        """What the connection did since the last call."""
        found: list[Sign] = []
        while True:
            try:
                message = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.ZMQError:
                return found
            sign = _SIGNS.get(_event(message[0]))
            if sign is not None:
                found.append(sign)

    def receive(self) -> list[Buffer] | None:
        """The frames of the next message, or None."""
        try:
            return [frame.buffer for frame in self._dealer.recv_multipart(zmq.NOBLOCK, copy=False)]
        except zmq.ZMQError:
            return None

    def send(self, frames: Sequence[Buffer]) -> bool:
        """Hand a message to libzmq; False if the connection is not open or full. Never waits."""
        try:
            self._dealer.send_multipart(list(frames), zmq.NOBLOCK, copy=False)
        except zmq.ZMQError:
            return False
        return True

    def wait(self, timeout_s: float) -> None:
        """Return when something came, or after `timeout_s`. For scripts; hosts use a timer."""
        poller = zmq.Poller()
        poller.register(self._dealer, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        poller.poll(max(0, round(timeout_s * 1000)))

    def close(self) -> None:
        """Close at once."""
        self._dealer.disable_monitor()
        self._monitor.close(linger=0)
        self._dealer.close(linger=0)
