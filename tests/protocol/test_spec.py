from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import msgpack
import pytest
from spec_tables import examples, tables

import protocol
from protocol import limits
from protocol.codec import reply_codec, request_codec
from protocol.messages import Reply, Request
from protocol.planes import Layout
from protocol.version import PREAMBLE, VERSION

SPEC = (Path(protocol.__file__).parent / "SPEC.md").read_text(encoding="utf-8")
EXAMPLES = list(examples(SPEC))


def planes_in(header: object) -> list[dict[str, object]]:
    """Every plane map of a header, sorted by its frame."""
    if isinstance(header, dict):
        if header.keys() == {"layout", "width", "height", "frame"}:
            return [header]
        header = list(header.values())
    found = [plane for item in header for plane in planes_in(item)] if isinstance(header, list) else []
    return sorted(found, key=lambda plane: plane["frame"])


@pytest.mark.parametrize(("side", "text"), EXAMPLES, ids=[json.loads(text)["kind"] for _, text in EXAMPLES])
def test_every_example_is_a_message_and_is_written_the_same_way(side: str, text: str) -> None:
    header = json.loads(text)
    codec = request_codec() if side == "request" else reply_codec()
    frames = [bytes(plane["width"] * plane["height"] * Layout(plane["layout"]).channels) for plane in planes_in(header)]
    message = codec.decode([PREAMBLE, msgpack.packb(header), *frames])
    again = codec.encode(message)
    assert msgpack.unpackb(again[1]) == header
    assert [bytes(frame) for frame in again[2:]] == frames


def test_every_kind_has_an_example() -> None:
    shown = {json.loads(text)["kind"] for _, text in EXAMPLES}
    kinds = {re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower() for cls in (*get_args(Request), *get_args(Reply))}
    assert shown == kinds


def test_the_bytes_of_the_first_example_are_the_ones_in_the_specification() -> None:
    block = re.search(r"```hex\n(.*?)```", SPEC, re.DOTALL)
    assert block is not None
    assert msgpack.unpackb(bytes.fromhex(block[1])) == json.loads(EXAMPLES[0][1])


def test_the_tables_are_those_of_the_code() -> None:
    assert SPEC.split("<!-- tables -->\n")[1].strip() == tables().strip()


def test_the_version_and_the_limits_in_the_text_are_those_of_the_code() -> None:
    assert f"version {VERSION.major}.{VERSION.minor}\n" in SPEC
    prose = " ".join(SPEC.split())  # wherever its lines break
    for words in (
        f"{limits.HEADER_BYTES // 1024} KiB",
        f"2 to {limits.PLANES + 2} frames",
        f"over {limits.FRAME_BYTES // 2**20} MiB",
        f"at most {limits.MESSAGE_BYTES // 2**20} MiB",
        f"1 to {limits.SIDE} pixels a side, at most {limits.PIXELS} in all",
        f"{limits.QUEUED_PER_CLIENT} jobs may wait per client, {limits.JOBS_PER_CLIENT} be unacknowledged",
        f"silent for {limits.LOST_S:g} seconds",
        f"after {limits.RESEND_S:g} seconds",
    ):
        assert words in prose


def test_no_message_can_carry_a_path_an_address_or_code() -> None:
    named = set(re.findall(r"^\| `(\w+)`", SPEC, re.MULTILINE))
    assert named
    assert not {name for name in named if re.search(r"path|file|url|uri|module|code|script|command|eval|template", name)} - {"code"}
