"""What both add-ons know of LoRAs: rows, sentences, and what a prompt that is being typed can become."""

from __future__ import annotations

import pytest

from protocol.desk.loras import (
    LoraRow,
    added,
    asked,
    beyond,
    bounded,
    completion,
    gone,
    missing_words,
    offered,
    rows_from,
    with_words,
)
from protocol.geometry import Extent
from protocol.jobs import Lora
from protocol.limits import LORAS
from protocol.results import LoraInfo, ModelInfo

INK = LoraInfo("ink", "", ("ink drawing",), 0.8)
OIL = LoraInfo("oil_v2", "Old masters")
THINK = LoraInfo("think")


def model(**more: object) -> ModelInfo:
    return ModelInfo("m", "Sketch", "sdxl", Extent(64, 64), loras=(INK, OIL, THINK), embeddings=("easynegative", "bad-hands"), **more)


def completed(text: str) -> list[str]:
    """The whole prompt for each suggestion, as it would be."""
    found = completion(text, model())
    return [] if found is None else [text[: len(text) - len(found.typed)] + one.text for one in found.choices]


def test_rows_come_back_from_json_and_what_is_damaged_is_left_out() -> None:
    kept = [{"name": "ink", "weight": 0.5}, {"name": ""}, {"weight": 1}, "oil", {"name": "a", "weight": float("nan")}, {"name": "b"}]
    assert rows_from(kept) == (LoraRow("ink", 0.5), LoraRow("b", 1.0))
    assert rows_from(None) == rows_from("ink") == ()


def test_each_name_is_there_once_within_the_bounds_of_a_job() -> None:
    assert bounded((LoraRow("Ink", 9), LoraRow("ink", 1), LoraRow("oil", -9))) == (LoraRow("Ink", 2.0), LoraRow("oil", -2.0))
    assert len(bounded(LoraRow(str(number)) for number in range(99))) == LORAS


def test_a_new_row_has_the_suggested_weight_or_one() -> None:
    rows = added(added((), "ink", model()), "oil_v2", model())
    assert rows == (LoraRow("ink", 0.8), LoraRow("oil_v2", 1.0))
    assert offered(rows, model()) == (THINK,)
    assert offered((), None) == ()


def test_a_weight_of_nought_asks_for_nothing() -> None:
    assert asked((LoraRow("ink", 0.5), LoraRow("oil", 0.0))) == (Lora("ink", 0.5),)


def test_one_that_is_gone_says_so_unless_the_model_cannot_tell_of_all() -> None:
    assert gone(LoraRow("INK"), model()) == ""
    assert gone(LoraRow("old"), model()) == "Sketch has no LoRA called 'old'. Take it out, or put its file back."
    assert gone(LoraRow("old"), model(unlisted=4)) == gone(LoraRow("old"), None) == ""
    assert "4 more" in beyond(model(unlisted=4))
    assert beyond(model()) == beyond(None) == ""


def test_trigger_words_are_missed_until_the_prompt_has_them() -> None:
    row = LoraRow("ink")
    assert missing_words(row, model(), "a cat") == ("ink drawing",)
    assert missing_words(row, model(), with_words("a cat, ", ("ink drawing",))) == ()
    assert with_words("a cat, ", ("x", "y")) == "a cat, x, y"
    assert with_words("", ("x",)) == "x"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("a cat <lora:", ["a cat <lora:ink:0.8>", "a cat <lora:oil_v2:1>", "a cat <lora:think:1>"]),
        ("a <LoRA:in", ["a <lora:ink:0.8>", "a <lora:think:1>"]),
        ("<lora:masters", ["<lora:oil_v2:1>"]),
        ("🙂 漢字 <lora:oi", ["🙂 漢字 <lora:oil_v2:1>"]),
        ("<lora:ink:0", []),
        ("<lora:ink:0.8>", []),
        ("<lora:nothing", []),
        ("<lora", []),
        ("<lora:\nink", []),
        ("ugly, eas", ["ugly, easynegative"]),
        ("ugly, (bad", ["ugly, (bad-hands"]),
        ("ea", []),
        ("easynegative", []),
        ("uneas", []),
    ],
)
def test_what_is_typed_becomes_a_tag_or_a_word(typed: str, expected: list[str]) -> None:
    assert completed(typed) == expected


def test_without_a_model_nothing_is_completed() -> None:
    assert completion("<lora:", None) is None


def test_a_name_that_a_tag_cannot_hold_is_not_offered_as_one() -> None:
    odd = ModelInfo("m", "M", "sdxl", Extent(64, 64), loras=(LoraInfo("a:b"), LoraInfo("fine")))
    found = completion("<lora:", odd)
    assert found is not None
    assert [one.text for one in found.choices] == ["<lora:fine:1>"]
