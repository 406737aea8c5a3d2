"""A hundred thousand messages that are not right, through the real doors: the broker's hearing, and the client's reading of replies.

Both msgpack decoders. What comes out is an answer or an error of the tree; nothing else escapes, nothing takes long, nothing is kept.
`LIKENESS_MUTATIONS=400000 python -m pytest tests/server/test_mutations.py` takes more of them, and others at each run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import msgpack
import msgpack.fallback
import pytest
from inner_backend import InnerBackend
from memory import resident_bytes
from mutations import mutated

from protocol import errors
from protocol.client import Client
from protocol.codec import Borrow, Codec
from protocol.events import Link
from protocol.messages import Hello, Reply, Request

DECODERS = {"C": msgpack.unpackb, "pure": msgpack.fallback.unpackb}
MUTATIONS = int(os.environ.get("LIKENESS_MUTATIONS", "100000"))
ROUNDS = {"C": MUTATIONS * 4 // 10, "pure": MUTATIONS // 10}
"""For each side: with both, all of them."""
SEED = int.from_bytes(os.urandom(4), "big") if "LIKENESS_MUTATIONS" in os.environ else 11
ME = b"me"
HANG_S = 0.05
GROWTH = 6 << 20
"""Whoever keeps what is refused keeps 2 KB of a message on the average: 16 MB of the 10,000 that the slower decoder hears. Who keeps
nothing grows by 0.2 MB."""
CODES = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LikenessError)}


@dataclass
class Tally:
    """What came of the messages."""

    refused: int = 0
    answered: int = 0
    slow: list[float] = field(default_factory=list)
    grown: int = 0


def hammer(hear: Callable[[list[bytes]], bool], messages: Iterator[list[bytes]], warm: int) -> Tally:
    """Put every message in at the door; `hear` says whether it was refused. Memory counts from the message number `warm` on."""
    tally, before = Tally(), 0
    for number, frames in enumerate(messages):
        if number == warm:
            before = resident_bytes()
        start = time.thread_time()
        refused = hear(frames)
        if time.thread_time() - start > HANG_S:  # once more: garbage may just have been collected, a message that hangs does so again
            start = time.thread_time()
            hear(frames)
            tally.slow += [took for took in [time.thread_time() - start] if took > HANG_S]
        tally.refused += refused
        tally.answered += not refused
    tally.grown = resident_bytes() - before
    return tally


class BrokersDoor:
    """The broker's hearing, as frames of a connection that has greeted come to it."""

    def __init__(self, folder: Path, unpack: Callable[..., object]) -> None:
        self.backend = InnerBackend(folder)
        self.backend.broker._requests = Codec(get_args(Request), unpack)
        self.backend.say(ME.decode(), Hello(0, "c" * 32))
        self.backend.answers()
        self.heard = 0

    def __call__(self, frames: list[bytes]) -> bool:
        self.backend.hear(ME, list(frames))
        answers = self.backend.door.sent
        self.backend.door.sent = []
        self.heard += 1
        if self.heard % 64 == 0:
            self.backend.turn()
        codes = [msgpack.unpackb(bytes(sent[1])).get("code") for _, sent in answers[:1]]
        assert set(codes) - {None} <= CODES
        return bool(codes and codes[0])


class Wire:
    """A connection that hands over what a test put into it."""

    def __init__(self) -> None:
        self.frames: list[list[bytes]] = []

    def signs(self) -> list[object]:
        return []

    def receive(self) -> list[bytes] | None:
        return self.frames.pop() if self.frames else None

    def send(self, frames: object) -> bool:
        return True

    def close(self) -> None:
        pass


class ClientsDoor:
    """The client's reading, as replies come to it. What it refuses it drops, and its next heartbeat asks again."""

    def __init__(self, folder: Path, unpack: Callable[..., object]) -> None:
        self.client = Client(folder, "c" * 32)
        self.client._replies = Codec(get_args(Reply), unpack)
        self.wire = Wire()
        self.refused = 0
        read = self.client._replies.decode

        def counted(frames: list[bytes], borrow: Borrow | None = None) -> Reply:
            try:
                return read(frames, borrow)
            except errors.LikenessError:
                self.refused += 1
                raise

        self.client._replies.decode = counted

    def __call__(self, frames: list[bytes]) -> bool:
        client = self.client
        client._socket, client._open, client._greeted, client.link = self.wire, True, True, Link.CONNECTED
        client._last_heard = time.monotonic()
        before, self.wire.frames = self.refused, [list(frames)]
        client.poll()
        return self.refused > before


DOORS = {"broker": (BrokersDoor, get_args(Request)), "client": (ClientsDoor, get_args(Reply))}


def through(side: str, decoder: str, folder: Path, rounds: int) -> Tally:
    door, kinds = DOORS[side]
    made = door(folder, DECODERS[decoder])
    tally = hammer(made, mutated(kinds, rounds, SEED), warm=rounds // 4)
    if isinstance(made, BrokersDoor):
        assert made.backend.faults == []
        made.backend.close()
    else:
        made.client.close()
    return tally


def check(tally: Tally, rounds: int) -> None:
    assert tally.slow == []
    assert tally.refused > rounds * 0.6
    assert tally.answered > rounds * 0.01, "mutations that nobody could see would prove nothing"
    assert tally.grown < GROWTH


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("side", DOORS)
def test_mutated_messages_are_answered_or_refused_with_an_error_of_the_tree_and_leave_memory_flat(
    side: str, decoder: str, tmp_path: Path
) -> None:
    check(through(side, decoder, tmp_path, ROUNDS[decoder]), ROUNDS[decoder])


def test_a_decoder_that_trusts_what_it_reads_lets_faults_of_the_program_through(tmp_path: Path) -> None:
    """The unsafe twin: what the other tests would see."""

    class Trusting(Codec):
        def decode(self, frames):
            fields = msgpack.unpackb(frames[1], strict_map_key=False)
            return Hello(fields["request"], fields["client"], fields["program"])

    door = BrokersDoor(tmp_path, msgpack.unpackb)
    door.backend.broker._requests = Trusting(get_args(Request))
    hammer(door, mutated(get_args(Request), 500, seed=11), warm=0)
    assert door.backend.faults
    door.backend.close()


def test_a_door_that_keeps_what_it_refuses_does_not_leave_memory_flat(tmp_path: Path) -> None:
    """The unsafe twin for memory."""
    kept: list[list[bytes]] = []
    door = BrokersDoor(tmp_path, msgpack.unpackb)

    def hear(frames: list[bytes]) -> bool:
        kept.append(frames)
        return door(frames)

    tally = hammer(hear, mutated(get_args(Request), 10_000, seed=11), warm=2_500)
    door.backend.close()
    assert tally.grown >= GROWTH
