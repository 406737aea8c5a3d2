"""What a value of each type looks like in a header, and within which bounds: read strictly, written strictly, never repaired.

Shapes are made once from the type hints of the dataclasses (`shape_of`). A number, string or tuple without a bound is a mistake in the
protocol and refused at that point, so that nothing unbounded can come over the wire.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Protocol, Union, cast

from .frozen import frozen
from .geometry import Extent
from .limits import Between, Hex, Items, Text
from .planes import Layout, Plane

Buffer = bytes | bytearray | memoryview
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class Problem(Exception):  # noqa: N818  (never leaves the codec, which makes an error of the tree from it)
    """A value that does not fit: where, and what is wrong."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where or 'the message'} {what}")


@dataclass
class Frames:
    """The planes beside a header: collected while writing, taken exactly once each while reading. `lenient`: unknown fields are allowed."""

    buffers: list[Buffer] = field(default_factory=list[Buffer])
    lenient: bool = False
    taken: set[int] = field(default_factory=set[int])


class Shape(Protocol):
    """How values of one type are written into a header and read from it."""

    def write(self, value: object, where: str, frames: Frames) -> object:
        """Python value -> header value; raises `Problem`."""
        ...

    def read(self, value: object, where: str, frames: Frames) -> object:
        """Header value -> Python value; raises `Problem`."""
        ...


@frozen
class _Int:
    bound: Between

    def write(self, value: object, where: str, frames: Frames) -> int:
        if type(value) is not int:
            raise Problem(where, f"is {_kind(value)}, not a whole number")
        if not self.bound.low <= value <= self.bound.high:
            raise Problem(where, f"is outside of {self.bound.low:g} to {self.bound.high:g}")
        return value

    read = write


@frozen
class _Float:
    bound: Between

    def write(self, value: object, where: str, frames: Frames) -> float:
        return self.read(float(value) if type(value) is int and abs(value) < 2**53 else value, where, frames)

    def read(self, value: object, where: str, frames: Frames) -> float:
        if type(value) is not float:
            raise Problem(where, f"is {_kind(value)}, not a number with a fraction")
        if not math.isfinite(value) or not self.bound.low <= value <= self.bound.high:
            raise Problem(where, f"is outside of {self.bound.low:g} to {self.bound.high:g}")
        return value


class _Bool:
    def write(self, value: object, where: str, frames: Frames) -> bool:
        if type(value) is not bool:
            raise Problem(where, f"is {_kind(value)}, not true or false")
        return value

    read = write


@frozen
class _Text:
    bound: Text

    def write(self, value: object, where: str, frames: Frames) -> str:
        if type(value) is not str:
            raise Problem(where, f"is {_kind(value)}, not text")
        if not self.bound.least <= len(value) <= self.bound.most:
            raise Problem(where, f"has {len(value)} characters; {self.bound.least} to {self.bound.most} are allowed")
        if (_CONTROL_BUT_LINES if self.bound.lines else _CONTROL).search(value):
            raise Problem(where, "has control characters or broken Unicode")
        return value

    read = write


@frozen
class _Hex:
    bound: Hex

    def write(self, value: object, where: str, frames: Frames) -> str:
        if type(value) is not str or len(value) != self.bound.length or not set(value) <= set("0123456789abcdef"):
            raise Problem(where, f"is not {self.bound.length} lower-case hexadecimal digits")
        return value

    read = write


@frozen
class _Enum:
    cls: type[Enum]

    def write(self, value: object, where: str, frames: Frames) -> str:
        if type(value) is not self.cls:
            raise Problem(where, f"is {_kind(value)}, not {self.cls.__name__}")
        return str(value.value)

    def read(self, value: object, where: str, frames: Frames) -> Enum:
        for member in self.cls:
            if type(value) is str and member.value == value:
                return member
        raise Problem(where, f"is none of {', '.join(str(member.value) for member in self.cls)}")


@frozen
class _Optional:
    inner: Shape

    def write(self, value: object, where: str, frames: Frames) -> object:
        return None if value is None else self.inner.write(value, where, frames)

    def read(self, value: object, where: str, frames: Frames) -> object:
        return None if value is None else self.inner.read(value, where, frames)


@frozen
class _Tuple:
    inner: Shape
    bound: Items

    def write(self, value: object, where: str, frames: Frames) -> list[object]:
        if type(value) is not tuple:
            raise Problem(where, f"is {_kind(value)}, not a tuple")
        items = cast("tuple[object, ...]", value)
        self._check(len(items), where)
        return [self.inner.write(item, f"{where}[{i}]", frames) for i, item in enumerate(items)]

    def read(self, value: object, where: str, frames: Frames) -> tuple[object, ...]:
        if type(value) is not list:
            raise Problem(where, f"is {_kind(value)}, not a list")
        items = cast("list[object]", value)
        self._check(len(items), where)
        return tuple(self.inner.read(item, f"{where}[{i}]", frames) for i, item in enumerate(items))

    def _check(self, length: int, where: str) -> None:
        if not self.bound.least <= length <= self.bound.most:
            raise Problem(where, f"has {length} items; {self.bound.least} to {self.bound.most} are allowed")


@frozen
class Record:
    """A dataclass as a map of its fields. Missing fields take their defaults; unknown ones are refused unless the sender is newer."""

    cls: type[Any]
    fields: Mapping[str, Shape]
    required: frozenset[str]

    def write(self, value: object, where: str, frames: Frames) -> dict[str, object]:
        """Dataclass -> map."""
        if type(value) is not self.cls:
            raise Problem(where, f"is {_kind(value)}, not {self.cls.__name__}")
        return {name: shape.write(getattr(value, name), _under(where, name), frames) for name, shape in self.fields.items()}

    def read(self, value: object, where: str, frames: Frames) -> object:
        """Map -> dataclass."""
        return self.read_fields(_as_map(value, where), where, frames, frozenset())

    def read_fields(self, value: dict[object, object], where: str, frames: Frames, known: frozenset[str]) -> object:
        """As `read`, for a map that has the keys `known` besides the fields."""
        if not frames.lenient and not value.keys() <= self.fields.keys() | known:
            unknown = next(key for key in value if key not in self.fields and key not in known)
            raise Problem(_under(where, str(unknown)[:40]), "is no known field")
        if not self.required <= value.keys():
            raise Problem(_under(where, min(self.required - value.keys())), "is missing")
        read = {name: shape.read(value[name], _under(where, name), frames) for name, shape in self.fields.items() if name in value}
        return self.cls(**read)


@frozen
class Tagged:
    """One of several dataclasses: the map has the key `tag` besides the fields."""

    tag: str
    records: Mapping[str, Record]

    def write(self, value: object, where: str, frames: Frames) -> dict[str, object]:
        """Dataclass -> map with its tag."""
        name = tag_of(cast("type[Any]", type(value)))
        if name not in self.records:
            raise Problem(where, f"is {_kind(value)}, not one of {', '.join(self.records)}")
        return {self.tag: name, **self.records[name].write(value, where, frames)}

    def read(self, value: object, where: str, frames: Frames) -> object:
        """Map with a tag -> dataclass."""
        fields = _as_map(value, where)
        name = fields.get(self.tag)
        if type(name) is not str or name not in self.records:
            raise Problem(_under(where, self.tag), f"is none of {', '.join(self.records)}")
        return self.records[name].read_fields(fields, where, frames, frozenset((self.tag,)))


class _Plane:
    """A plane as a map {layout, width, height, frame}: `frame` counts the raw frames behind the header from 0."""

    KEYS = frozenset(("layout", "width", "height", "frame"))

    def write(self, value: object, where: str, frames: Frames) -> dict[str, object]:
        if type(value) is not Plane:
            raise Problem(where, f"is {_kind(value)}, not a plane")
        value.check()
        frames.buffers.append(memoryview(value.data).cast("B"))
        return {
            "layout": value.layout.value,
            "width": value.extent.width,
            "height": value.extent.height,
            "frame": len(frames.buffers) - 1,
        }

    def read(self, value: object, where: str, frames: Frames) -> Plane:
        found = _as_map(value, where)
        if not found.keys() >= self.KEYS or (found.keys() != self.KEYS and not frames.lenient):
            raise Problem(where, "has not the fields layout, width, height, frame")
        layout = _Enum(Layout).read(found["layout"], _under(where, "layout"), frames)
        width, height, index = found["width"], found["height"], found["frame"]
        if type(width) is not int or type(height) is not int or type(index) is not int:
            raise Problem(where, "has a size or frame number that is no whole number")
        if not 0 <= index < len(frames.buffers) or index in frames.taken:
            raise Problem(_under(where, "frame"), "is no frame of its own in this message")
        frames.taken.add(index)
        plane = Plane(cast(Layout, layout), Extent(width, height), frames.buffers[index])
        plane.check()
        return plane


def tag_of(cls: type[Any]) -> str:
    """`PictureJob` -> `picture-job`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()


def tagged(tag: str, classes: tuple[type[Any], ...]) -> Tagged:
    """The shape of a union of dataclasses."""
    return Tagged(tag, {tag_of(cls): _record(cls) for cls in classes})


def shape_of(hint: object) -> Shape:
    """The shape of a type hint; `TypeError` for a hint that has no place on the wire."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        inner, *bounds = typing.get_args(hint)
        return _bounded(inner, bounds[0])
    if origin in (Union, types.UnionType):
        parts = typing.get_args(hint)
        rest = tuple(part for part in parts if part is not type(None))
        shape = shape_of(rest[0]) if len(rest) == 1 else tagged("type", rest)
        return _Optional(shape) if len(rest) < len(parts) else shape
    if hint is bool:
        return _Bool()
    if hint is Plane:
        return _Plane()
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _Enum(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(cast("type[Any]", hint)):
        return _record(cast("type[Any]", hint))
    raise TypeError(f"{hint!r} has no bound or no place on the wire.")


def _bounded(inner: object, bound: object) -> Shape:
    match bound:
        case Between() if inner is int:
            return _Int(bound)
        case Between() if inner is float:
            return _Float(bound)
        case Text() if inner is str:
            return _Text(bound)
        case Hex() if inner is str:
            return _Hex(bound)
        case Items() if typing.get_origin(inner) is tuple:
            return _Tuple(shape_of(typing.get_args(inner)[0]), bound)
        case _:
            raise TypeError(f"{inner!r} cannot be bounded by {bound!r}.")


@functools.cache  # jobs and pictures are parts of many messages; each is looked through once
def _record(cls: type[Any]) -> Record:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = dataclasses.fields(cls)
    required = frozenset(f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING)
    return Record(cls, {f.name: shape_of(hints[f.name]) for f in fields}, required)


def _as_map(value: object, where: str) -> dict[object, object]:
    if type(value) is not dict:
        raise Problem(where, f"is {_kind(value)}, not a map")
    return cast("dict[object, object]", value)


def _under(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _kind(value: object) -> str:
    return "nothing" if value is None else f"of the type {type(value).__name__}"
