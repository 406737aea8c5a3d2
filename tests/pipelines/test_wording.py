"""The notation of prompts: weights, breaks, escapes; as A1111 reads them, but a bracket without a partner is a bracket."""

from __future__ import annotations

import pytest

from backend.pipelines.plan import plan
from backend.pipelines.wording import is_plain, passages, words
from protocol.errors import InvalidRequest
from protocol.jobs import PictureJob


def read(prompt):
    return [[(piece.text, round(piece.weight, 4)) for piece in passage] for passage in passages(prompt)]


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("a (cat) sat", [("a ", 1), ("cat", 1.1), (" sat", 1)]),
        ("a ((cat)) sat", [("a ", 1), ("cat", 1.21), (" sat", 1)]),
        ("[dull] sky", [("dull", 0.9091), (" sky", 1)]),
        ("(red hat:1.3), sea", [("red hat", 1.3), (", sea", 1)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1), (" c", 0.5)]),
        ("(masterpiece:1.2), (good, ((sharp)):1.1)", [("masterpiece", 1.2), (", ", 1), ("good, ", 1.1), ("sharp", 1.331)]),
        ("(a:.5)", [("a", 0.5)]),
        ("( a cat : 1.5 )", [(" a cat ", 1.5)]),
    ],
)
def test_brackets_weigh(prompt, pieces):
    assert read(prompt) == [pieces]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (r"a \(b\) c", "a (b) c"), (r"\[x\]", "[x]"), (r"\\", "\\"), ("a smile :) and (more", "a smile :) and (more"), ("a) b]", "a) b]"),
        ("at 12:30", "at 12:30"), ("back\\slash", "back\\slash"), ("{a}", "{a}"), ("", ""), ("breakBREAKing", "breakBREAKing"),
    ],
)  # fmt: skip
def test_what_weighs_nothing_is_the_text_itself(prompt, text):
    assert is_plain(passages(prompt))
    assert words(passages(prompt)[0]) == text


def test_a_break_begins_a_passage_and_keeps_the_weight():
    assert read("a (b BREAK c:1.5) d") == [[("a ", 1), ("b", 1.5)], [("c", 1.5), (" d", 1)]]
    assert read("a\nBREAK\nb") == [[("a", 1)], [("b", 1)]]
    assert read("BREAK a BREAK") == [[("a", 1)]]


@pytest.mark.parametrize("prompt", ["a [cat:dog:0.5]", "[cat|dog]", "[cat:0.25]"])
def test_words_that_change_between_steps_are_refused_with_the_reason(prompt):
    with pytest.raises(InvalidRequest, match="change between steps"):
        passages(prompt)


@pytest.mark.parametrize("prompt", ["(a:-1)", "(a:11)", "(" * 30 + "a" + ")" * 30])
def test_weights_out_of_range_are_refused(prompt):
    with pytest.raises(InvalidRequest, match=r"weight|count more"):
        passages(prompt)


def test_a_job_is_refused_before_anything_is_loaded(parts):
    with pytest.raises(InvalidRequest, match="change between steps"):
        plan(PictureJob(negative="[a|b]"), parts["sd15"].model)
