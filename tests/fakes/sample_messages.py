"""Valid messages made at random from the type hints alone: an oracle that knows nothing of the codec's shapes."""

from __future__ import annotations

import dataclasses
import random
import types
import typing
from enum import Enum

from protocol.geometry import Extent
from protocol.limits import Between, Hex, Items, Text
from protocol.planes import Layout, Plane

LETTERS = "abc ÄÖ漢字🙂 \u202e'\"\\/%{}"


def plane(rng: random.Random, layout: Layout | None = None) -> Plane:
    layout = layout or rng.choice(list(Layout))
    extent = Extent(rng.randint(1, 8), rng.randint(1, 8))
    return Plane(layout, extent, rng.randbytes(extent.area * layout.channels))


def sample(hint: object, rng: random.Random) -> object:
    """A random value of the type `hint`, within its bounds."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _bounded(parts[0], parts[1], rng)
    if origin in (typing.Union, types.UnionType):
        return sample(rng.choice(parts), rng)
    if hint is type(None):
        return None
    if hint is bool:
        return rng.random() < 0.5
    if hint is Plane:
        return plane(rng)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return rng.choice(list(hint))
    hints = typing.get_type_hints(hint, include_extras=True)
    return hint(**{field.name: sample(hints[field.name], rng) for field in dataclasses.fields(hint)})


def _bounded(kind: object, bound: object, rng: random.Random) -> object:
    match bound:
        case Between(low=low, high=high) if kind is int:
            return rng.choice([int(low), int(high), rng.randint(int(low), int(high))])
        case Between(low=low, high=high):
            return rng.choice([float(low), float(high), rng.uniform(low, high)])
        case Text(most=most, least=least):
            return "".join(rng.choice(LETTERS) for _ in range(rng.randint(least, min(most, 20))))
        case Hex(length=length):
            return "".join(rng.choice("0123456789abcdef") for _ in range(length))
        case Items(most=most, least=least):
            inner = typing.get_args(kind)[0]
            return tuple(sample(inner, rng) for _ in range(rng.randint(least, max(least, min(most, 3)))))
    raise TypeError(bound)
