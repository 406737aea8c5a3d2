"""LoRAs in Blender's panel, in real Blender with a real backend."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def told(play, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIKENESS_TEST_PYTHON", sys.executable)
    return play("loras", alone=True)


def test_the_panel_is_there_only_while_there_is_something_to_choose_or_to_take_out(told):
    assert not told["nothing"]["shown"]
    assert told["listed"]["shown"]
    assert told["listed"]["menu"] == ["operator likeness.lora_add"] * 2
    assert told["gone"]["shown"]


def test_each_has_a_line_with_its_weight_once_and_goes_by_the_button(told):
    assert told["added_rows"] == [["ink", 0.5], ["oil", 1.0]]
    assert told["added"]["panel"] == [
        "list loras",
        *("label ink", "prop weight", "label oil", "prop weight"),
        *("menu LIKENESS_MT_loras", "operator likeness.lora_remove"),
    ]
    assert told["added"]["menu"] == ["label There are no others."]
    assert told["removed_rows"] == [["ink", 0.5]]


def test_they_are_asked_for_and_come_back_with_the_picture(told):
    assert told["asked"] == [[["ink", 0.5]], [["oil", 0.25]]]
    assert told["reused"] == [["ink", 0.5]]


def test_they_are_kept_in_the_file_and_in_what_is_kept_of_a_job(told):
    assert (told["fresh"], told["kept"]) == (0, [["watercolour", 1.0]])
    assert told["survives"]


def test_one_that_is_gone_says_so(told):
    words = " ".join(line.removeprefix("label ") for line in told["gone"]["panel"])
    assert "Paints one colour has no LoRA called 'watercolour'. Take it out, or put its file back." in words
