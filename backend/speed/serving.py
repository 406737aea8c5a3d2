"""G11 and G12: how fair a busy backend is to several clients, how much they get done, and how soon it answers meanwhile.

The real backend, with a worker that computes through each step and draws nothing. Times are those that clients see.
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import zmq

from protocol.client import Client
from protocol.codec import reply_codec, request_codec
from protocol.discovery import read_connection
from protocol.errors import Lost, ServiceError
from protocol.events import Link
from protocol.geometry import Extent
from protocol.jobs import PictureJob, Sampling
from protocol.limits import PING_S
from protocol.messages import Hello, JobUpdate, Ping, Pong, Reply, Request, Stage
from protocol.transport import ClientSocket

from ..launch import connect
from .goals import Figure, high

HELD, EACH = 6, 10
"""Jobs that the first client has waiting; and jobs of each of two clients."""
STEPS = 10
"""Of a job here: 50 ms of the processor."""
WAIT, MORE, UNEVEN = 1.2, 1 / 0.98, 0.05
PINGS, PAUSE_S = 400, 0.004
MIDDLE_S, HIGH_S = 0.001, 0.020
ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client saw of its job, and when."""

    at: float
    client: int
    job_id: str
    stage: Stage


class Crowd:
    """Several clients, heard in one thread. `seen` is in the order in which things came."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self._clients = clients
        self.seen: list[Seen] = []

    def submit(self, client: int, steps: int = STEPS, previews: int = 0) -> str:
        """One job of a client's."""
        job = PictureJob("busy", extent=Extent(8, 8), sampling=Sampling(steps=steps), preview_every=previews)
        return self._clients[client].submit(job)

    def hear(self) -> None:
        """Note what came."""
        for number, client in enumerate(self._clients):
            for event in client.poll():
                if isinstance(event, JobUpdate):
                    self.seen.append(Seen(time.perf_counter(), number, event.job_id, event.stage))
                    if event.stage is Stage.DONE:
                        client.acknowledge(event.job_id)
            if client.link is not Link.CONNECTED:
                raise Lost(f"The backend ended while it was measured, so there is no figure. {client.sentence}")

    def until(self, jobs: Sequence[str], stage: Stage) -> float:
        """The moment at which all these jobs had come to this stage."""
        end = time.monotonic() + ANSWER_S
        while True:
            came = {seen.job_id: seen.at for seen in reversed(self.seen) if seen.stage is stage}
            if all(job in came for job in jobs):
                return max(came[job] for job in jobs)
            if time.monotonic() > end:
                raise ServiceError("The backend did not do its jobs in time. Look into its log.")
            self.hear()
            time.sleep(0.0005)


def queueing(client: Client, state: Path, rounds: int) -> list[Figure]:
    """G11: the wait of a second client, what two clients get done beside one, and how even two are served."""
    waits: list[float] = []
    more: list[float] = []
    uneven: list[float] = []
    order = ""
    with ExitStack() as stack:
        second = connect(state, start=False, program="bench")
        stack.callback(second.close)
        crowd = Crowd((client, second))
        crowd.until([crowd.submit(0), crowd.submit(1)], Stage.DONE)
        for _ in range(rounds):
            waits.append(_wait(crowd))
            both, first_half = _both(crowd)
            more.append(both / _alone(crowd))
            order = "".join("ab"[number] for number in first_half)
            uneven.append(1 - jain([first_half.count(number) for number in (0, 1)]))
    return [
        Figure("G11", f"a second client's wait, of {HELD} jobs held, in jobs", statistics.median(waits), WAIT),
        Figure(
            "G11", f"{2 * EACH} jobs of two clients, beside one client's", statistics.median(more), MORE, "", "at least 0.98 of its rate"
        ),
        Figure("G11", "unevenness (1 - Jain's index), two clients", statistics.median(uneven), UNEVEN, "", f"half of {2 * EACH}: {order}"),
    ]


def heartbeat(client: Client, state: Path, rounds: int) -> list[Figure]:
    """G12: pings of a second client while the worker computes and previews go to the first."""
    crowd = Crowd((client,))
    times: list[float] = []
    missed = 0
    with ExitStack() as stack:
        pinger = Pinger(state)
        stack.callback(pinger.close)
        for _ in range(PINGS):
            if not [job for job, update in client.jobs().items() if update is None or not update.stage.final]:
                crowd.submit(0, 200, 1)
            crowd.hear()
            took = pinger.ping()
            times.append(took)
            missed += took > PING_S
            time.sleep(PAUSE_S)
    for job in client.jobs():
        client.acknowledge(job)
    crowd.hear()
    detail = f"{PINGS} pings while a worker computes and sends previews"
    return [
        Figure("G12", "a ping's way under load, median", statistics.median(times), MIDDLE_S, "s", detail),
        Figure("G12", "a ping's way under load, 99 in 100", high(times, 0.99), HIGH_S, "s"),
        Figure("G12", "heartbeats that were not answered in time", missed, 0, "calls"),
    ]


class Pinger:
    """A client that only pings, and counts the time."""

    def __init__(self, state: Path) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = ClientSocket(self._context, read_connection(state))
        self._requests, self._replies = request_codec(), reply_codec()
        self._number = 1
        self._ask(Hello(0, uuid.uuid4().hex, "ping"))

    def ping(self) -> float:
        """Seconds until the answer."""
        self._number += 1
        begin = time.perf_counter()
        while not isinstance(answer := self._ask(Ping(self._number)), Pong) or answer.request != self._number:
            pass
        return time.perf_counter() - begin

    def close(self) -> None:
        """Leave."""
        self._socket.close()
        self._context.destroy(linger=0)

    def _ask(self, request: Request) -> Reply:
        end = time.monotonic() + ANSWER_S
        while not self._socket.send(self._requests.encode(request)):
            self._check(end)
            self._socket.signs()
            self._socket.wait(0.01)
        while (frames := self._socket.receive()) is None:
            self._check(end)
            self._socket.wait(0.5)
        return self._replies.decode(frames)

    @staticmethod
    def _check(end: float) -> None:
        if time.monotonic() > end:
            raise ServiceError("The backend did not answer in time. Look into its log.")


def jain(shares: Sequence[float]) -> float:
    """Jain's index of fairness (Jain, Chiu and Hawe 1984, DEC-TR-301): 1 when all get the same."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


def _wait(crowd: Crowd) -> float:
    """How long the second client's job waits while the first client has six, in times of its own."""
    held = [crowd.submit(0) for _ in range(HELD)]
    crowd.until(held[:1], Stage.RUNNING)
    begin = time.perf_counter()
    job = crowd.submit(1)
    running, done = crowd.until([job], Stage.RUNNING), crowd.until([job], Stage.DONE)
    crowd.until(held, Stage.DONE)
    return (running - begin) / (done - running)


def _both(crowd: Crowd) -> tuple[float, list[int]]:
    """Seconds of the jobs of two clients, and whose the first half of them were."""
    begin, before = time.perf_counter(), len(crowd.seen)
    jobs = [crowd.submit(number % 2) for number in range(2 * EACH)]
    took = crowd.until(jobs, Stage.DONE) - begin
    ended = [seen.client for seen in crowd.seen[before:] if seen.stage is Stage.DONE]
    return took, ended[:EACH]


def _alone(crowd: Crowd) -> float:
    """Seconds of as many jobs of the first client."""
    begin = time.perf_counter()
    return crowd.until([crowd.submit(0) for _ in range(2 * EACH)], Stage.DONE) - begin
