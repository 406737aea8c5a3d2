"""Every state of the presenter can be seen, and every click reaches it."""

from __future__ import annotations

import pytest
from krita_presenter import plane, progress, result

from plugin_krita.form import Mode
from plugin_krita.view import Backend, Light


@pytest.mark.parametrize(
    ("light", "sentence", "can_start"),
    [
        (Light.OFF, "The backend is off.", True),
        (Light.WAIT, "The backend is starting, 4 s so far.", False),
        (Light.READY, "The backend is ready: Sketch on the processor.", False),
        (Light.BUSY, "The backend paints for another program.", False),
        (Light.TROUBLE, "The backend does not answer. Start it again.", True),
    ],
)
def test_the_state_line_says_how_the_backend_is(docker, presenter, words, light, sentence, can_start):
    from plugin_krita.docker import LIGHTS

    presenter.put(backend=Backend(light, sentence, can_start))
    assert sentence in words(docker.state)
    assert docker.state.start.isVisible() is can_start
    assert docker.state.lamp.toolTip() == LIGHTS[light][1]
    middle = docker.state.lamp.grab().toImage().pixelColor(6, 6)
    assert middle.name() == LIGHTS[light][0]


def test_the_start_button_starts_the_backend(docker, presenter):
    presenter.put(backend=Backend(Light.OFF, "The backend is off.", True))
    docker.state.start.click()
    assert presenter.asked == [("start_backend",)]


def test_without_a_document_the_docker_says_what_to_do(docker, presenter, words):
    presenter.put(document=None, layers=(), can_generate=False, why_not="Open a document first.")
    assert not docker.prompt.generate.isEnabled()
    assert "Open a document first." in words(docker.prompt)
    assert "Paints" not in words(docker.prompt)
    assert not docker.guides.guides.add.isEnabled()


def test_without_a_selection_the_docker_says_so(docker, presenter, words):
    from dataclasses import replace

    presenter.put(document=replace(presenter.document, selection=None), can_generate=False, why_not="Select what is to be painted.")
    assert "Select what is to be painted." in words(docker.prompt)
    presenter.change(mode=Mode.REFINE)
    presenter.put(can_generate=True, why_not="")
    assert "Changes the canvas, 3000 x 2000 px." in words(docker.prompt)


@pytest.mark.parametrize(("mode", "word"), [(Mode.FILL, "Fill"), (Mode.REFINE, "Refine"), (Mode.EXPAND, "Expand"), (Mode.NEW, "Generate")])
def test_the_word_of_the_button_follows_the_mode(docker, presenter, mode, word):
    docker.prompt.modes[mode].click()
    presenter.tick()
    assert docker.prompt.generate.text() == word
    assert docker.prompt.change.isVisible() is (mode is Mode.REFINE)


def test_generate_and_cancel_reach_the_presenter(docker, presenter):
    docker.prompt.generate.click()
    presenter.put(progress=progress())
    docker.prompt.cancel.click()
    assert presenter.asked == [("generate",), ("cancel",)]


def test_shift_return_in_the_prompt_generates_and_return_is_a_new_line(docker, presenter, test_of_qt):
    from plugin_krita.qt import Qt

    field = docker.prompt.prompt
    test_of_qt.keyClicks(field, "a coat")
    test_of_qt.keyClick(field, Qt.Key.Key_Return)
    assert ("generate",) not in presenter.asked
    assert presenter.form.prompt == "a coat\n"
    test_of_qt.keyClick(field, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert presenter.asked[-1] == ("generate",)
    assert presenter.form.prompt == "a coat\n"


def test_a_shortcut_of_kritas_does_not_take_shift_return_from_the_prompt(docker, presenter, test_of_qt):
    from plugin_krita.qt import Qt, QtGui, QtWidgets

    taken = []
    shortcut = (QtGui.QShortcut if hasattr(QtGui, "QShortcut") else QtWidgets.QShortcut)(QtGui.QKeySequence("Shift+Return"), docker)
    shortcut.activated.connect(lambda: taken.append("by Krita"))
    docker.activateWindow()
    docker.prompt.prompt.setFocus()
    test_of_qt.keyClick(docker.prompt.prompt, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert (taken, presenter.asked) == ([], [("generate",)])
    test_of_qt.keyClick(docker.prompt.generate, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert taken == ["by Krita"]


def test_typing_keeps_its_place_while_the_form_is_shown_again(docker, presenter, test_of_qt):
    from plugin_krita.qt import Qt

    field = docker.prompt.prompt
    test_of_qt.keyClicks(field, "red coat")
    for _ in range(4):
        test_of_qt.keyClick(field, Qt.Key.Key_Left)
    for letter in "long ":
        test_of_qt.keyClicks(field, letter)
        presenter.tick()
    assert presenter.form.prompt == "red long coat"
    field.undo()
    assert presenter.form.prompt != "red long coat"


def test_progress_is_shown_with_its_words_and_what_waits(docker, presenter, words):
    assert not docker.prompt.progress.isVisible()
    presenter.put(progress=progress(0.4, "step 12 of 30, 6 s left", 2))
    assert "step 12 of 30, 6 s left (+2)" in words(docker.prompt)
    assert docker.prompt.bar.value() == 400
    presenter.put(progress=progress(1.0, "100 %: taking it"))
    assert "100 %: taking it" in words(docker.prompt)
    presenter.put(progress=None)
    assert not docker.prompt.progress.isVisible()


def test_the_live_preview_is_drawn_and_goes_again(docker, presenter, settled):
    presenter.put(preview=plane(64, 80, 200))
    settled()
    live = docker.prompt.live
    assert live.isVisible()
    place = live.picture_rect()
    assert abs(place.width() / place.height() - 0.8) < 0.02
    shown, expected = live.grab().toImage(), presenter.preview.data
    corner = shown.pixelColor(place.x(), place.y())
    assert abs(corner.blue() - expected[0]) <= 4
    assert abs(corner.red() - expected[2]) <= 4
    presenter.put(preview=None)
    assert not live.isVisible()


def test_a_notice_is_shown_until_there_is_none(docker, presenter, words):
    presenter.put(notice="The picture could not be painted. Try a smaller selection.")
    assert "Try a smaller selection." in words(docker)
    presenter.put(notice="")
    assert "Try a smaller selection." not in words(docker)
    assert not docker.prompt.notice.isVisible()


def test_a_notice_that_was_read_is_taken_away_by_its_cross(docker, presenter, words):
    presenter.put(notice="The picture could not be painted. Try a smaller selection.")
    docker.prompt.notice.dismiss.click()
    presenter.tick()
    assert presenter.asked == [("dismiss",)]
    assert "Try a smaller selection." not in words(docker)
    assert not docker.prompt.notice.isVisible()


def test_results_are_shown_in_the_presenters_order_with_their_similarity(docker, presenter):
    presenter.put(results=(result("a", 0.78), result("b", 0.61, applied=True), result("c", None)))
    tiles = docker.results.tiles.tiles()
    assert [(tile.key, tile.caption, tile.ticked) for tile in tiles] == [("a", "0.78", False), ("b", "0.61", True), ("c", "–", False)]
    assert "Seed 1234567" in tiles[0].tip
    assert not docker.results.apply.isEnabled()


def test_a_click_previews_a_result_and_another_hides_it(docker, presenter, test_of_qt, settled):
    from plugin_krita.qt import Qt

    presenter.put(results=(result("a", 0.78), result("b", 0.61)))
    settled()
    tiles = docker.results.tiles

    def click(place: int) -> None:
        middle = tiles.visualRect(tiles.model().index(place)).center()
        test_of_qt.mouseClick(tiles.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, middle)

    click(1)
    presenter.put(results=(result("a", 0.78), result("b", 0.61, shown=True)))
    click(1)
    assert presenter.asked == [("show", "b"), ("show", None)]


def test_what_is_shown_can_be_applied_masked_reused_and_discarded(docker, presenter):
    presenter.put(results=(result("a", 0.78), result("b", 0.61, shown=True)))
    for button in (docker.results.apply, docker.results.apply_mask, docker.results.reuse, docker.results.discard):
        assert button.isEnabled()
        button.click()
    assert presenter.asked == [("apply", "b", False), ("apply", "b", True), ("reuse", "b"), ("discard", "b")]


def test_pictures_of_a_document_that_is_gone_can_be_taken_here(docker, presenter, words):
    assert not docker.results.take.isVisible()
    presenter.put(waiting="Pictures for “Unnamed” wait, but the document is not open.")
    assert "“Unnamed” wait" in words(docker.results)
    docker.results.take.click()
    assert presenter.asked == [("take_waiting",)]
    presenter.put(waiting="")
    assert not docker.results.take.isVisible()
