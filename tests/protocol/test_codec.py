from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Annotated, get_args

import msgpack
import msgpack.fallback
import pytest
from job_planes import planes_of
from sample_messages import plane, sample

from protocol.codec import Codec, reply_codec, request_codec
from protocol.errors import BadMessage, BadPicture, InvalidRequest, TooLarge, Unsupported, VersionMismatch
from protocol.geometry import Extent, Point
from protocol.jobs import Guide, GuideKind, PictureJob, Sampling
from protocol.limits import FRAME_BYTES, HEADER_BYTES, LISTED_LORAS, PLANES, Between, Items
from protocol.messages import Hello, Models, Ping, Pong, Reply, Request, Submit
from protocol.planes import Layout, Plane
from protocol.results import LoraInfo, ModelInfo, WorkerStage
from protocol.version import PREAMBLE

JOB_ID = "0123456789abcdef" * 2
DECODERS = [pytest.param(msgpack.unpackb, id="C"), pytest.param(msgpack.fallback.unpackb, id="pure")]


def pack(value: object) -> bytes:
    return msgpack.packb(value)


def frames_of(header: object, *planes: bytes, preamble: bytes = PREAMBLE) -> list[bytes]:
    return [preamble, header if isinstance(header, bytes) else pack(header), *planes]


def submit_header(**job: object) -> dict[str, object]:
    return {"kind": "submit", "request": 1, "job_id": JOB_ID, "job": {"type": "picture-job", **job}}


@pytest.mark.parametrize("kind", [*get_args(Request), *get_args(Reply)], ids=lambda cls: cls.__name__)
def test_every_kind_of_message_survives_the_wire(kind: type) -> None:
    codec = request_codec() if kind in get_args(Request) else reply_codec()
    rng = random.Random(kind.__name__)
    for _ in range(40):
        message = sample(kind, rng)
        assert codec.decode([bytes(frame) for frame in codec.encode(message)]) == message


@pytest.mark.parametrize("unpack", DECODERS)
def test_both_msgpack_decoders_read_the_same(unpack: object) -> None:
    rng = random.Random(5)
    codec = Codec(get_args(Request), unpack)
    for _ in range(100):
        message = sample(rng.choice(get_args(Request)), rng)
        assert codec.decode(request_codec().encode(message)) == message


def test_planes_travel_as_frames_of_their_own_and_are_not_copied() -> None:
    pixels = bytearray(b"\1" * 64)
    message = Submit(1, JOB_ID, PictureJob(guides=(Guide(GuideKind.DEPTH, Plane(Layout.RGBA8, Extent(4, 4), pixels)),)))
    _, header, frame = request_codec().encode(message)
    pixels[5] = 77
    assert frame[5] == 77
    assert len(header) < 800
    decoded = request_codec().decode([PREAMBLE, header, frame])
    assert planes_of(decoded.job)[0].data is frame


def test_frames_travel_in_the_order_of_the_fields() -> None:
    rng = random.Random(1)
    for _ in range(50):
        job = sample(PictureJob, rng)
        frames = request_codec().encode(Submit(1, JOB_ID, job))[2:]
        assert [bytes(frame) for frame in frames] == [bytes(found.data) for found in planes_of(job)]


def test_whole_numbers_are_taken_for_fractions_from_programs_but_not_from_the_wire() -> None:
    job = PictureJob(guides=(Guide(GuideKind.KEYPOINTS, keypoints=(Point(1, 2),) * 5, weight=1),))
    decoded = request_codec().decode(request_codec().encode(Submit(1, JOB_ID, job)))
    assert decoded.job.guides[0].weight == 1.0
    header = submit_header(sampling={"guidance_scale": 7})
    with pytest.raises(BadMessage, match=r"job\.sampling\.guidance_scale"):
        request_codec().decode(frames_of(header))


HOSTILE = {
    "nothing": (b"", "no msgpack map"),
    "a number": (pack(7), "no map"),
    "an array": (pack([1]), "no map"),
    "half a header": (pack({"kind": "ping", "request": 1})[:-1], "no msgpack map"),
    "bytes after the header": (pack({"kind": "ping", "request": 1}) + b"\0", "no msgpack map"),
    "nesting of 60,000": (b"\x91" * 60_000 + b"\xc0", "no msgpack map"),
    "nesting of 900": (b"\x82\xa4kind\xa4ping\xa7request" + b"\x91" * 900 + b"\xc0", "request is of the type list"),
    "an array of 4 G items": (b"\x82\xa4kind\xa4ping\xa7request\xdd\xff\xff\xff\xff", "no msgpack map"),
    "a map of 4 G items": (b"\xdf\xff\xff\xff\xff", "no msgpack map"),
    "a text of 4 GB": (b"\x82\xa4kind\xa4ping\xa7request\xdb\xff\xff\xff\xff", "no msgpack map"),
    "60,000 nothings": (b"\xdc\xea\x60" + b"\xc0" * 60_000, "no msgpack map"),
    "a key twice": (b"\x82\xa4kind\xa4ping\xa4kind\xa4ping", "twice"),
    "a key twice, deeper": (b"\x82\xa4kind\xa4ping\xa7request\x82\xa1a\1\xa1a\2", "twice"),
    "a number as key": (b"\x82\xa4kind\xa4ping\1\1", "no msgpack map"),
    "bytes as key": (b"\x82\xa4kind\xa4ping\xc4\0\1", "no text"),
    "an extension": (b"\x82\xa4kind\xa4ping\xa7request\xd4\5\0", "extension"),
    "a time": (b"\x82\xa4kind\xa4ping\xa7request\xd6\xff\0\0\0\1", "Timestamp"),
    "a broken text": (b"\x82\xa4kind\xa4ping\xa7request\xa1\xff", "no msgpack map"),
    "half a pair of surrogates": (b"\x82\xa4kind\xa4ping\xa7request\xa3\xed\xa0\x80", "no msgpack map"),
    "no kind": (pack({"request": 1}), "kind is missing"),
    "a kind that is no text": (pack({"kind": ["ping"]}), "kind is missing or no text"),
    "an unknown field": (pack({"kind": "ping", "request": 1, "path": "/"}), "path is no known field"),
    "a missing field": (pack({"kind": "ping"}), "request is missing"),
    "true as a number": (pack({"kind": "ping", "request": True}), "request is of the type bool"),
    "a number below": (pack({"kind": "ping", "request": -1}), "request is outside"),
    "a huge number": (pack({"kind": "ping", "request": 2**64 - 1}), "request is outside"),
}


@pytest.mark.parametrize("unpack", DECODERS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_header_that_is_not_right_is_refused_with_the_place_in_it(name: str, unpack: object) -> None:
    header, words = HOSTILE[name]
    with pytest.raises(BadMessage, match=words):
        Codec(get_args(Request), unpack).decode(frames_of(header))


PLANE = {"layout": "RGBA8", "width": 2, "height": 2, "frame": 0}
BAD_JOBS = {
    "sampling.steps": {"sampling": {"steps": 10**9}},
    "sampling.seed": {"sampling": {"seed": -1}},
    "sampling.guidance_scale": {"sampling": {"guidance_scale": float("nan")}},
    "count": {"count": 0},
    "prompt": {"prompt": "x" * 4001},
    "negative": {"negative": "nul\0"},
    "model": {"model": ""},
    "canvas.strength": {"canvas": {"picture": PLANE, "strength": 1.5}},
    "canvas.picture": {"canvas": {}},
    "guides[0].kind": {"guides": [{"kind": "pickle"}]},
    "guides[0].window.start": {"guides": [{"kind": "depth", "window": {"start": float("inf")}}]},
    "image_prompts[0].lends": {"image_prompts": [{"reference": PLANE, "lends": 3}]},
    "subjects[0].who.type": {"subjects": [{"who": {"type": "path", "name": "../../x"}}]},
    "subjects[0].who.pictures": {"subjects": [{"who": {"type": "photos", "pictures": []}}]},
    "subjects": {"subjects": [{}] * 9},
}


@pytest.mark.parametrize("place", BAD_JOBS)
def test_a_value_outside_of_its_bounds_is_refused_and_named(place: str) -> None:
    with pytest.raises(BadMessage) as refused:
        request_codec().decode(frames_of(submit_header(**BAD_JOBS[place]), b"x" * 16))
    assert f"job.{place}" in str(refused.value).replace(" is missing", "")


def canvas(**changes: object) -> dict[str, object]:
    return submit_header(canvas={"picture": {"layout": "RGBA8", "width": 2, "height": 2, "frame": 0, **changes}})


def test_a_plane_with_the_declared_size_is_taken() -> None:
    assert request_codec().decode(frames_of(canvas(), b"x" * 16)).job.canvas.picture.extent == Extent(2, 2)


BAD_PLANES = {
    "one byte short": (canvas(), [b"x" * 15], BadPicture),
    "one byte long": (canvas(), [b"x" * 17], BadPicture),
    "no width": (canvas(width=0), [b""], BadPicture),
    "a negative width": (canvas(width=-4, height=-1), [b"x" * 16], BadPicture),
    "a width of 2^31": (canvas(width=2**31), [b"x" * 16], TooLarge),
    "a width of 2^31 by 2^31": (canvas(width=2**31, height=2**31), [b"x" * 16], TooLarge),
    "more pixels than the limit": (canvas(width=16384, height=16384), [b"x" * 16], TooLarge),
    "a width that is no number": (canvas(width="2"), [b"x" * 16], BadMessage),
    "seven channels": (canvas(layout="RGBA56"), [b"x" * 16], BadMessage),
    "a frame that is not there": (canvas(frame=1), [b"x" * 16], BadMessage),
    "a frame number below 0": (canvas(frame=-1), [b"x" * 16], BadMessage),
    "a frame that nobody refers to": (canvas(), [b"x" * 16, b"y"], BadMessage),
    "no frame": (canvas(), [], BadMessage),
    "a path": (canvas(path="/etc/passwd"), [b"x" * 16], BadMessage),
}


@pytest.mark.parametrize("name", BAD_PLANES)
def test_a_plane_that_is_not_as_declared_is_refused(name: str) -> None:
    header, planes, error = BAD_PLANES[name]
    with pytest.raises(error):
        request_codec().decode(frames_of(header, *planes))


def test_a_frame_cannot_be_used_twice() -> None:
    plane_map = {"layout": "RGBA8", "width": 2, "height": 2, "frame": 0}
    header = submit_header(image_prompts=[{"reference": plane_map}, {"reference": plane_map}])
    with pytest.raises(BadMessage, match="no frame of its own"):
        request_codec().decode(frames_of(header, b"x" * 16))


@pytest.mark.parametrize("frames", [[], [PREAMBLE], [PREAMBLE, pack({"kind": "ping", "request": 1}), *[b""] * (PLANES + 1)]])
def test_too_few_or_too_many_frames_are_refused_before_the_header_is_read(frames: list[bytes]) -> None:
    with pytest.raises(BadMessage, match="frames"):
        request_codec().decode(frames)


def test_a_header_over_64_kib_is_refused_before_it_is_read() -> None:
    def forbidden(*args: object, **kwargs: object) -> object:
        pytest.fail("the header was read")

    with pytest.raises(BadMessage, match="header"):
        Codec(get_args(Request), forbidden).decode([PREAMBLE, b"\0" * (HEADER_BYTES + 1)])


def test_planes_that_are_too_large_together_are_refused_on_both_sides() -> None:
    big = memoryview(bytearray(1)).cast("B")
    pixels = memoryview(bytes(8192 * 8192 * 4))
    assert pixels.nbytes == FRAME_BYTES
    one = Guide(GuideKind.DEPTH, Plane(Layout.RGBA8, Extent(8192, 8192), pixels))
    with pytest.raises(TooLarge):
        request_codec().encode(Submit(1, JOB_ID, PictureJob(guides=(one, one, one))))
    with pytest.raises(TooLarge):
        request_codec().decode([PREAMBLE, pack({"kind": "ping", "request": 1}), pixels, pixels, pixels, big])


def test_a_newer_minor_version_may_have_fields_that_we_do_not_know() -> None:
    header = {"kind": "ping", "request": 3, "mood": {"nested": [1, 2]}}
    newer = PREAMBLE[:5] + bytes([PREAMBLE[5] + 1])
    assert request_codec().decode(frames_of(header, preamble=newer)) == Ping(3)
    with pytest.raises(BadMessage):
        request_codec().decode(frames_of(header))


def test_an_unknown_kind_is_unsupported_and_not_broken() -> None:
    with pytest.raises(Unsupported, match="levitate"):
        request_codec().decode(frames_of({"kind": "levitate", "request": 3}))


@pytest.mark.parametrize(("change", "side"), [(1, "Update this side"), (-1, "Update the other side")])
def test_another_major_version_says_which_side_is_older(change: int, side: str) -> None:
    other = PREAMBLE[:4] + bytes([PREAMBLE[4] + change, 0])
    with pytest.raises(VersionMismatch, match=side):
        request_codec().decode(frames_of({"anything": 1}, preamble=other))


@pytest.mark.parametrize("preamble", [b"", b"LKNS", b"GET / HTTP/1.1", PREAMBLE + b"\0", b"lkns\1\0"])
def test_a_preamble_of_something_else_is_refused(preamble: bytes) -> None:
    with pytest.raises(BadMessage, match="preamble"):
        request_codec().decode(frames_of({"kind": "ping", "request": 1}, preamble=preamble))


def test_the_sender_refuses_what_the_receiver_would_refuse() -> None:
    for job in (PictureJob(count=33), PictureJob(prompt="\0"), PictureJob(prompt="\ud800"), PictureJob(sampling=Sampling(seed=-1))):
        with pytest.raises(InvalidRequest, match="job"):
            request_codec().encode(Submit(1, JOB_ID, job))
    with pytest.raises(InvalidRequest, match="job_id"):
        request_codec().encode(Submit(1, JOB_ID.upper(), PictureJob()))
    with pytest.raises(InvalidRequest, match=r"guides is of the type list"):
        request_codec().encode(Submit(1, JOB_ID, replace(PictureJob(), guides=[])))


def test_a_rejection_can_name_the_request_it_answers() -> None:
    codec = request_codec()
    assert codec.request_number(frames_of({"kind": "levitate", "request": 9})) == 9
    for header in (b"\xff", pack([]), pack({"kind": "x", "request": -1}), pack({"kind": "x", "request": "1"}), pack({"kind": "x"})):
        assert codec.request_number(frames_of(header)) == 0
    assert codec.request_number([PREAMBLE]) == 0


def test_a_message_with_an_unbounded_field_cannot_be_made_part_of_the_protocol() -> None:
    @dataclass(frozen=True)
    class Bounded:
        size: Annotated[int, Between(0, 9)]
        names: Annotated[tuple[Annotated[float, Between(0, 1)], ...], Items(2)] = ()

    class Unbounded:
        pass

    Codec((Bounded,))
    for hint in ("int", "str", "float", "bytes", "tuple[int, ...]", "object", "dict[str, int]"):
        unsafe = dataclass(type("Unsafe", (Unbounded,), {"__annotations__": {"size": hint}, "__module__": __name__}))
        with pytest.raises(TypeError, match="no bound"):
            Codec((unsafe,))


def test_a_greeting_is_as_small_as_it_should_be() -> None:
    assert sum(map(len, request_codec().encode(Hello(1, JOB_ID, "krita 5.2")))) < 100


def test_a_plane_of_numpy_rows_is_taken_as_it_lies() -> None:
    pixels = memoryview(bytes(range(48))).cast("B", (4, 4, 3))
    found = Plane(Layout.RGB8, Extent(4, 4), pixels)
    frames = request_codec().encode(Submit(1, JOB_ID, PictureJob(guides=(Guide(GuideKind.DEPTH, found),))))
    assert bytes(frames[2]) == bytes(range(48))
    assert plane(random.Random(0)).data


def test_a_backend_of_1_4_tells_of_no_loras_and_is_understood() -> None:
    """A client of 1.5 reads what a backend of 1.4 writes; that an older side passes over what it does not know is shown above."""
    told = ModelInfo("m", "M", "sdxl", Extent(64, 64), loras=(LoraInfo("ink", "Pen", ("ink",), 0.8),), embeddings=("bad",), unlisted=2)
    header = msgpack.unpackb(bytes(reply_codec().encode(Models(1, (told,)))[1]))
    for later in ("loras", "embeddings", "unlisted"):
        del header["models"][0][later]
    older = PREAMBLE[:5] + bytes([4])
    assert reply_codec().decode(frames_of(header, preamble=older)) == Models(1, (ModelInfo("m", "M", "sdxl", Extent(64, 64)),))
    pong = {"kind": "pong", "request": 1, "worker": "ready", "jobs": [], "sentence": ""}
    assert reply_codec().decode(frames_of(pong, preamble=older)) == Pong(1, WorkerStage.READY)


def test_no_model_tells_of_more_loras_than_are_allowed() -> None:
    many = tuple(LoraInfo(f"{number}") for number in range(LISTED_LORAS + 1))
    assert reply_codec().encode(Models(1, (ModelInfo("m", "M", "sdxl", Extent(64, 64), loras=many[1:]),)))
    with pytest.raises(InvalidRequest, match="512"):
        reply_codec().encode(Models(1, (ModelInfo("m", "M", "sdxl", Extent(64, 64), loras=many),)))
