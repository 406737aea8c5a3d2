"""What a message says whose planes were handed over in a file, and what it cannot say."""

from __future__ import annotations

import msgpack
import pytest

from protocol.codec import request_codec
from protocol.errors import BadMessage, LikenessError, TooLarge
from protocol.geometry import Extent
from protocol.jobs import Canvas, PictureJob
from protocol.limits import MESSAGE_BYTES
from protocol.messages import Handed, Submit
from protocol.planes import Layout, Plane
from protocol.version import PREAMBLE


def header(**handed: object) -> list[bytes]:
    plane = {"layout": "RGB8", "width": 1, "height": 1, "frame": 0}
    job = {"type": "picture-job", "canvas": {"picture": plane}}
    return [PREAMBLE, msgpack.packb({"kind": "submit", "request": 1, "job_id": "0" * 32, "job": job, "handed": handed})]


@pytest.mark.parametrize("handle", ["../../secret", "/etc/passwd", "..", "", "A" * 32, "a" * 31, "a" * 31 + "/", "a" * 31 + "\x00"])
def test_a_handle_that_says_a_way_never_reaches_a_folder(handle: str) -> None:
    def borrow(handed: Handed) -> list[bytes]:
        raise AssertionError("nobody must look for it")

    with pytest.raises(BadMessage, match=r"handed\.handle"):
        request_codec().decode(header(handle=handle, lengths=[3]), borrow)


@pytest.mark.parametrize(
    ("handed", "error"),
    [
        ({"handle": "a" * 32, "lengths": []}, BadMessage),
        ({"handle": "a" * 32, "lengths": [0]}, BadMessage),
        ({"handle": "a" * 32, "lengths": [-3]}, BadMessage),
        ({"handle": "a" * 32, "lengths": [2**40]}, BadMessage),
        ({"handle": "a" * 32, "lengths": [MESSAGE_BYTES // 4] * 5}, TooLarge),
        ({"handle": "a" * 32, "lengths": [3], "path": "x"}, BadMessage),
        ({"handle": "a" * 32}, BadMessage),
    ],
)
def test_lengths_that_cannot_be_are_refused_before_anybody_looks(handed: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        request_codec().decode(header(**handed), lambda handed: pytest.fail("nobody must look for it"))


def test_lengths_that_do_not_fit_the_planes_or_frames_beside_a_handle_are_refused() -> None:
    codec, good = request_codec(), header(handle="a" * 32, lengths=[3])
    assert codec.decode(good, lambda handed: [b"abc"]).job.canvas.picture.data == b"abc"
    for wrong, lent in (([*good, b"abc"], [b"abc"]), (good, [b"abcd"]), (good, []), (header(handle="a" * 32, lengths=[2]), [b"ab"])):
        with pytest.raises(LikenessError):
            codec.decode(wrong, lambda handed, lent=lent: lent)
    with pytest.raises(BadMessage, match="handed is no known field"):
        codec.decode(good)


def test_a_message_says_a_handle_instead_of_its_planes_and_nothing_else_changes() -> None:
    job = PictureJob("x", canvas=Canvas(Plane(Layout.RGB8, Extent(1, 2), b"abcdef"), Plane(Layout.A8, Extent(1, 2), b"gh")))
    codec = request_codec()
    message = Submit(1, "1" * 32, job)
    frames = codec.encode(message, "e" * 32)
    assert len(frames) == 2
    seen: list[Handed] = []
    assert codec.decode(frames, lambda handed: seen.append(handed) or [b"abcdef", b"gh"]) == message
    assert seen == [Handed("e" * 32, (6, 2))]
