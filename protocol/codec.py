"""Strict dataclass <-> multipart frames: `[preamble, header, plane, plane, …]`. Rejects, never repairs; planes are not copied.

The header is one msgpack map with the key `kind` and the fields of the dataclass. Whatever arrives, `decode` returns a valid message or
raises an error of the tree; it allocates nothing by a length that somebody declared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, cast, get_args

import msgpack  # pyright: ignore[reportMissingTypeStubs]  # it has none

from .errors import BadMessage, InvalidRequest, TooLarge, Unsupported
from .limits import FRAME_BYTES, HEADER_BYTES, HEADER_ITEMS, MESSAGE_BYTES, PLANES
from .messages import Handed, Reply, Request
from .planes import Layout
from .shapes import Buffer, Frames, Problem, shape_of, tagged
from .version import PREAMBLE, VERSION, Version, read_preamble

M = TypeVar("M")
Borrow = Callable[[Handed], Sequence[Buffer]]
"""Finds planes that were handed over in a file; raises `NotHandedOver`."""
_msgpack = cast("Any", msgpack)  # it has no type hints
_unpackb: Callable[..., Any] = _msgpack.unpackb
_packb: Callable[..., bytes] = _msgpack.packb
_UnpackException: type[Exception] = _msgpack.UnpackException


class Codec(Generic[M]):
    """Frames for one union of dataclasses. `unpack` is msgpack's `unpackb`; a test hands over the pure Python one."""

    def __init__(self, kinds: tuple[type[M], ...], unpack: Callable[..., Any] = _unpackb) -> None:
        self._shape = tagged("kind", kinds)
        self._handed = shape_of(Handed)
        self._unpack = unpack

    def encode(self, message: M, handle: str | None = None) -> list[Buffer]:
        """`[preamble, header, *planes]`; raises `InvalidRequest` (or `TooLarge`) naming the field that is outside of its bounds.

        With a `handle`, of a file that has the planes one behind the other: `[preamble, header]`, which says so.
        """
        header, planes = self.encode_header(message, handle)
        return [PREAMBLE, header] if handle is not None else [PREAMBLE, header, *planes]

    def encode_header(self, message: M, handle: str | None = None) -> tuple[bytes, list[Buffer]]:
        """Header and planes without the preamble, as the spool keeps them."""
        frames = Frames()
        try:
            value = self._shape.write(message, "", frames)
            if handle is not None:
                handed = Handed(handle, tuple(memoryview(plane).nbytes for plane in frames.buffers))
                value["handed"] = self._handed.write(handed, "handed", frames)
            header = _packb(value, use_bin_type=True)
        except Problem as problem:
            raise InvalidRequest(f"{problem}. {InvalidRequest.cure}") from problem
        _check_sizes(header, frames.buffers, TooLarge)
        return header, frames.buffers

    def decode(self, frames: Sequence[Buffer], borrow: Borrow | None = None) -> M:
        """The message in `frames`; planes refer to the frames' memory, or to what `borrow` gives for those that were handed over.

        Raises `VersionMismatch`, `Unsupported` (unknown kind), `BadMessage`, `TooLarge`, `BadPicture`, and what `borrow` raises.
        """
        if not 2 <= len(frames) <= 2 + PLANES:
            raise BadMessage(f"The message has {len(frames)} frames; 2 to {2 + PLANES} are allowed. {BadMessage.cure}")
        return self.decode_header(frames[1], frames[2:], read_preamble(bytes(frames[0][:16])), borrow)

    def decode_header(self, header: Buffer, planes: Sequence[Buffer] = (), version: Version = VERSION, borrow: Borrow | None = None) -> M:
        """The message of a header and its planes, written by a side of this version."""
        _check_sizes(header, planes, BadMessage)
        frames = Frames(list(planes), lenient=version.minor > VERSION.minor)
        try:
            value = self._header(header)
            if value["kind"] not in self._shape.records:
                raise Unsupported(f"The message is of the kind {value['kind'][:40]!r}, which this side does not know. {Unsupported.cure}")
            if borrow is not None and "handed" in value:
                frames.buffers = self._borrowed(value.pop("handed"), frames, borrow)
            message = self._shape.read(value, "", frames)
        except Problem as problem:
            raise BadMessage(f"The message does not follow the specification: {problem}. {BadMessage.cure}") from problem
        if len(frames.taken) != len(frames.buffers):
            raise BadMessage(f"{len(frames.buffers) - len(frames.taken)} frames of the message are not referred to. {BadMessage.cure}")
        return cast(M, message)

    def plane_lengths(self, header: Buffer) -> list[int]:
        """The byte length of each plane that a header of ours refers to, in the order of their frames; for files that keep both."""
        try:
            return [length for _, length in sorted(_planes_in(self._header(header)))]
        except (Problem, LookupError, TypeError, ValueError) as problem:
            raise BadMessage(f"The header is damaged: {problem}. {BadMessage.cure}") from problem

    def request_number(self, frames: Sequence[Buffer]) -> int:
        """The number that a rejection of these frames should carry: the request's if it can be read at all, else 0."""
        try:
            number = self._header(frames[1])["request"] if len(frames[1]) <= HEADER_BYTES else 0
        except (Problem, LookupError, TypeError):
            return 0
        return number if type(number) is int and 0 <= number <= 2**53 else 0

    def _borrowed(self, value: object, frames: Frames, borrow: Borrow) -> list[Buffer]:
        """The planes of a message that has none behind it, each of the length that it says."""
        handed = cast(Handed, self._handed.read(value, "handed", frames))
        if frames.buffers:
            raise Problem("handed", "stands in a message that has frames")
        if sum(handed.lengths) > MESSAGE_BYTES:
            raise TooLarge(f"The pictures of the message have {sum(handed.lengths)} bytes; {MESSAGE_BYTES} are allowed. {TooLarge.cure}")
        buffers = list(borrow(handed))
        if [memoryview(buffer).nbytes for buffer in buffers] != list(handed.lengths):
            raise Problem("handed", "has other lengths than what lies there")
        return buffers

    def _header(self, header: Buffer) -> dict[str, Any]:
        try:
            value = self._unpack(
                header,
                raw=False,
                strict_map_key=True,
                object_pairs_hook=_distinct,
                ext_hook=_no_extension,
                max_str_len=HEADER_BYTES,
                max_bin_len=0,
                max_array_len=HEADER_ITEMS,
                max_map_len=HEADER_ITEMS,
                max_ext_len=16,
            )
        except (ValueError, TypeError, RecursionError, OverflowError, _UnpackException) as error:
            raise Problem("the header", f"is no msgpack map ({type(error).__name__})") from error
        if type(value) is not dict:
            raise Problem("the header", "is no map")
        found = cast("dict[str, Any]", value)
        if type(found.get("kind")) is not str:
            raise Problem("kind", "is missing or no text")
        return found


def _planes_in(value: object) -> Iterator[tuple[int, int]]:
    """(frame, bytes) of every plane map within a header."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if fields.keys() == {"layout", "width", "height", "frame"}:
            yield fields["frame"], fields["width"] * fields["height"] * Layout(fields["layout"]).channels
        value = list(fields.values())
    if isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _planes_in(item)


def _distinct(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or not all(type(key) is str for key in found):
        raise Problem("the header", "has a map with a key twice, or with a key that is no text")
    return found


def _no_extension(code: int, data: bytes) -> object:
    raise Problem("the header", f"has a msgpack extension (type {code})")


def _check_sizes(header: Buffer, planes: Sequence[Buffer], error: type[TooLarge] | type[BadMessage]) -> None:
    if len(header) > HEADER_BYTES:
        raise error(f"The header has {len(header)} bytes; {HEADER_BYTES} are allowed. {error.cure}")
    if len(planes) > PLANES:
        raise error(f"The message has {len(planes)} pictures; {PLANES} are allowed. {error.cure}")
    sizes = [memoryview(plane).nbytes for plane in planes]
    if any(size > FRAME_BYTES for size in sizes) or sum(sizes) > MESSAGE_BYTES:
        raise TooLarge(f"The pictures of the message have {sum(sizes)} bytes; {MESSAGE_BYTES} are allowed. {TooLarge.cure}")


def request_codec() -> Codec[Request]:
    """The codec of what clients send."""
    return Codec[Request](get_args(Request))


def reply_codec() -> Codec[Reply]:
    """The codec of what the backend sends."""
    return Codec[Reply](get_args(Reply))
