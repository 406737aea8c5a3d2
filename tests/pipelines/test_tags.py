"""`<lora:NAME:WEIGHT>` in a prompt, as artists paste it."""

from __future__ import annotations

import pytest

from backend.pipelines.tags import tagged, untagged
from protocol.errors import InvalidRequest
from protocol.jobs import Lora, PictureJob


@pytest.mark.parametrize(
    ("prompt", "text", "found"),
    [
        ("a hat", "a hat", ()),
        ("a hat <lora:ink:0.5>, red", "a hat, red", (Lora("ink", 0.5),)),
        ("<lora:ink>a hat <LORA:my oil v2:-1.5>", "a hat", (Lora("ink"), Lora("my oil v2", -1.5))),
        ("a <lyco:ink:1> <zebra>", "a <zebra>", (Lora("ink"),)),
        ("a <lora ink> (hat:1.2)", "a <lora ink> (hat:1.2)", ()),
    ],
)
def test_tags_are_taken_out_of_the_text(prompt, text, found):
    assert tagged(prompt) == (text, found)


def test_they_join_what_the_job_asks_for_and_a_job_without_them_stays_itself():
    job = PictureJob(prompt="a <lora:ink:0.5> hat", loras=(Lora("oil"),))
    assert untagged(job) == PictureJob(prompt="a hat", loras=(Lora("oil"), Lora("ink", 0.5)))
    plain = PictureJob(prompt="a hat")
    assert untagged(plain) is plain


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("<lora:ink:much>", "cannot be meant"),
        ("<lora:ink:9>", "-4 to 4"),
        ("<lora:ink:nan>", "cannot be meant"),
        ("<lora:ink:1:0.5>", "one weight|more than one"),
        ("<hypernet:ink:1>", "hypernetwork"),
    ],
)
def test_a_tag_that_cannot_be_meant_is_refused(prompt, words):
    with pytest.raises(InvalidRequest, match=words):
        tagged(prompt)
