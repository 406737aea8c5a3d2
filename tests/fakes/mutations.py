"""Messages that were right once: bits flipped, bytes cut, frames moved, and values of the header put in the place of others."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import msgpack
from sample_messages import sample

from protocol.codec import Codec
from protocol.version import PREAMBLE

SEEDS = 200
DEEP = b"\x91" * 60_000
"""A nesting that no stack holds."""
VALUES = [None, True, 0, -1, 2**31, 2**53 + 1, 2**64 - 1, 0.5, -1e308, float("nan"), float("inf"), "", "\0", "../../x", "ü" * 5000, [], {}]
"""What stands in the place of a value: other types, and numbers and texts at and over their bounds."""


def mutated(kinds: Sequence[type], rounds: int, seed: int) -> Iterator[list[bytes]]:
    """`rounds` mutations of random messages of these kinds."""
    rng = random.Random(seed)
    codec = Codec(tuple(kinds))
    whole = [[bytes(frame) for frame in codec.encode(sample(rng.choice(kinds), rng))] for _ in range(SEEDS)]
    for _ in range(rounds):
        frames = list(rng.choice(whole))
        if rng.random() < 0.3:
            change_value(frames, rng)
        else:
            change_bytes(frames, rng)
        yield frames


def change_bytes(frames: list[bytes], rng: random.Random) -> None:
    """Something happens to the bytes of a frame, or to the frames."""
    where = min(rng.choice((0, 1, 1, 1, 1, 1, 2)), len(frames) - 1)
    body = bytearray(frames[where])
    match rng.randrange(7):
        case 0 if body:
            body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        case 1 if body:
            body[rng.randrange(len(body))] = rng.choice(b"\xc0\xc1\xc4\xc6\xc7\xc9\xca\xcb\xcf\xd3\xd4\xdb\xdc\xdd\xde\xdf\x91\x81\xff")
        case 2:
            del body[rng.randint(0, len(body)) :]
        case 3:
            body[rng.randint(0, len(body)) : 0] = rng.randbytes(rng.randint(1, 9))
        case 4:
            body[: rng.randint(0, len(body))] = DEEP[: rng.choice((10, 1000, 60_000))]
        case 5:
            frames.insert(rng.randint(0, len(frames)), rng.randbytes(rng.randint(0, 5)))
        case _:
            at = rng.randint(0, len(body))
            body[at : at + 4] = rng.randbytes(4)
    frames[where] = bytes(body)


def change_value(frames: list[bytes], rng: random.Random) -> None:
    """The header stays msgpack, but one value of it becomes another, goes, or comes twice."""
    frames[0] = PREAMBLE
    header = msgpack.unpackb(frames[1])
    inner, key = header, rng.choice(list(header))
    while isinstance(inner[key], dict | list) and inner[key] and rng.random() < 0.7:
        inner = inner[key]
        key = rng.choice(list(inner)) if isinstance(inner, dict) else rng.randrange(len(inner))
    match rng.randrange(6):
        case 0 if isinstance(inner, dict):
            del inner[key]
        case 1 if isinstance(inner, dict):
            inner[rng.choice(["path", "kind", "type", "", "ü" * 300])] = rng.choice(VALUES)
        case 2 if isinstance(inner, list):
            inner *= rng.choice((2, 300))
        case _:
            inner[key] = rng.choice(VALUES)
    frames[1] = msgpack.packb(header)
