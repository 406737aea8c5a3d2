"""LoRAs in the docker: chosen, weighed, taken out, said of when they are gone, and completed while a prompt is typed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from krita_presenter import model
from plugin_krita.protocol.results import LoraInfo

from plugin_krita.form import LoraRow, form_from

INK = LoraInfo("ink", "Pen and ink", ("ink drawing", "hatching"), 0.8)
OIL = LoraInfo("oil")


@pytest.fixture
def presenter(presenter):
    presenter.models = (replace(model("Sketch"), loras=(INK, OIL), embeddings=("easynegative",)), model("Plain"))
    return presenter


def typed(test_of_qt, field, text: str) -> None:
    for letter in text:
        test_of_qt.keyClick(field, letter)


def choose(chooser, value: object) -> None:
    """Pick a value as the artist does."""
    place = [offered for _, offered in chooser._offered].index(value)
    chooser.setCurrentIndex(place)
    chooser.activated.emit(place)


def popup(field):
    return field._list.popup()


def test_the_section_is_there_only_for_a_model_that_has_any(docker, presenter, settled):
    assert docker.sections["loras"].isVisible()
    presenter.change(model="plain")
    presenter.tick()
    settled()
    assert not docker.sections["loras"].isVisible()


def test_one_is_chosen_by_name_with_its_suggested_weight_and_is_not_offered_again(docker, presenter):
    assert [words for words, _ in docker.loras.add._offered] == ["Add a LoRA …", "ink (Pen and ink)", "oil"]
    choose(docker.loras.add, "ink")
    presenter.tick()
    assert presenter.form.loras == (LoraRow("ink", 0.8),)
    assert [words for words, _ in docker.loras.add._offered] == ["Add a LoRA …", "oil"]
    assert docker.loras.add.currentIndex() == 0
    assert docker.loras.cards[0].weight.text() == "ink: 0.80"


def test_each_has_a_weight_and_can_be_taken_out(docker, presenter):
    for name in ("ink", "oil"):
        presenter.add_lora(name)
    presenter.tick()
    docker.loras.cards[1].weight.setValue(-0.5)
    assert presenter.form.loras == (LoraRow("ink", 0.8), LoraRow("oil", -0.5))
    docker.loras.cards[0].remove.click()
    presenter.tick()
    assert presenter.form.loras == (LoraRow("oil", -0.5),)
    assert [card.weight.text() for card in docker.loras.cards] == ["oil: -0.50"]


def test_the_heading_counts_them_as_the_section_is_often_folded(docker, presenter):
    heading = docker.sections["loras"].heading
    assert heading.text() == "LoRAs"
    presenter.add_lora("ink")
    presenter.tick()
    assert heading.text() == "LoRAs (1)"


def test_one_that_is_gone_says_so_and_can_still_be_taken_out(docker, presenter, words):
    presenter.add_lora("old")
    presenter.tick()
    assert "Sketch has no LoRA called 'old'. Take it out, or put its file back." in words(docker.loras)
    presenter.change(model="plain")
    presenter.tick()
    assert "Plain has no LoRA called 'old'." in words(docker.loras)
    docker.loras.cards[0].remove.click()
    presenter.tick()
    assert not docker.sections["loras"].isVisible()


def test_trigger_words_that_the_prompt_lacks_are_offered(docker, presenter, settled):
    presenter.change(prompt="a fox, Ink Drawing")
    presenter.add_lora("ink")
    presenter.tick()
    button = docker.loras.cards[0].words
    settled()
    assert button.isVisible()
    assert button.text() == "Add to the prompt: hatching"
    button.click()
    assert presenter.asked[-1] == ("add_lora_words", 0)
    presenter.change(prompt="a fox, ink drawing, hatching")
    presenter.tick()
    assert not button.isVisible()


def test_a_model_with_more_than_can_be_listed_says_how_to_use_them(docker, presenter, words):
    presenter.put(models=(replace(presenter.models[0], unlisted=7),))
    assert "7 more are installed than can be listed. Write <lora:NAME:0.8> into the prompt for them." in words(docker.loras)


def test_a_file_that_comes_while_the_docker_is_open_is_offered(docker, presenter):
    presenter.put(models=(replace(presenter.models[0], loras=(INK, OIL, LoraInfo("new"))),))
    assert docker.loras.add._offered[-1] == ("new", "new")


def test_they_are_kept_with_the_other_settings(presenter):
    presenter.add_lora("ink")
    presenter.change_lora(0, 0.35)
    assert form_from(presenter.form.kept()).loras == (LoraRow("ink", 0.35),)
    assert form_from({"loras": "damaged"}).loras == ()


def test_a_tag_is_completed_by_return_and_one_step_back_undoes_it(docker, presenter, test_of_qt):
    from plugin_krita.qt import Qt

    field = docker.prompt.prompt
    field.setFocus()
    typed(test_of_qt, field, "a fox <lora:")
    assert field.suggestions == ("ink (Pen and ink)", "oil")
    typed(test_of_qt, field, "pen")
    assert field.suggestions == ("ink (Pen and ink)",)
    test_of_qt.keyClick(popup(field), Qt.Key.Key_Return)
    assert field.toPlainText() == presenter.form.prompt == "a fox <lora:ink:0.8>"
    assert not field.suggesting
    typed(test_of_qt, field, ", red")
    assert presenter.form.prompt == "a fox <lora:ink:0.8>, red"
    assert ("generate",) not in presenter.asked


@pytest.mark.parametrize("before", ["🙂🙂 ", "first line\nsecond 漢字 "])
def test_a_tag_is_completed_where_the_cursor_is(docker, presenter, test_of_qt, before):
    from plugin_krita.qt import Qt

    field = docker.prompt.prompt
    field.setPlainText(before + ", a hat")
    cursor = field.textCursor()
    cursor.setPosition(len(before.encode("utf-16-le")) // 2)
    field.setTextCursor(cursor)
    typed(test_of_qt, field, "<lora:oi")
    test_of_qt.keyClick(popup(field), Qt.Key.Key_Tab)
    assert field.toPlainText() == f"{before}<lora:oil:1>, a hat"


def test_escape_closes_the_list_and_keeps_what_was_typed(docker, test_of_qt):
    from plugin_krita.qt import Qt

    field = docker.prompt.prompt
    typed(test_of_qt, field, "<lora:in")
    assert field.suggesting
    test_of_qt.keyClick(popup(field), Qt.Key.Key_Escape)
    assert not field.suggesting
    assert field.toPlainText() == "<lora:in"


def test_a_word_of_the_prompt_stays_one_unless_a_suggestion_is_chosen(docker, presenter, test_of_qt):
    from plugin_krita.qt import Qt

    field = docker.prompt.prompt
    typed(test_of_qt, field, "easy")
    assert field.suggestions == ("easynegative",)
    test_of_qt.keyClick(popup(field), Qt.Key.Key_Return)
    assert field.toPlainText() == "easy\n"
    typed(test_of_qt, field, "eas")
    test_of_qt.keyClick(popup(field), Qt.Key.Key_Down)
    test_of_qt.keyClick(popup(field), Qt.Key.Key_Return)
    assert field.toPlainText() == "easy\neasynegative"


def test_shift_return_sends_while_the_list_is_open(docker, presenter, test_of_qt):
    from plugin_krita.qt import Qt

    field = docker.prompt.prompt
    typed(test_of_qt, field, "<lora:in")
    test_of_qt.keyClick(popup(field), Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert presenter.asked[-1] == ("generate",)
    assert not field.suggesting
    assert field.toPlainText() == "<lora:in"
