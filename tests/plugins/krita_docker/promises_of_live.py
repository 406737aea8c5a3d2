"""Live in the docker: off it takes no room but its button, on it shows what follows, says what it follows, and offers what can be done."""

from __future__ import annotations

from krita_presenter import plane
from plugin_krita.protocol.planes import Layout

from plugin_krita.view import Live

PICTURE = plane(320, 320, 120, Layout.RGB8)


def test_live_is_off_and_takes_no_room(docker):
    assert not docker.prompt.follow.isChecked()
    assert not docker.prompt.following.isVisible()
    assert "follow what you paint" in docker.prompt.follow.toolTip()


def test_a_click_turns_it_on_and_another_one_off(docker, presenter):
    docker.prompt.follow.click()
    assert presenter.form.live
    presenter.put(live=Live("Follows the canvas."))
    assert docker.prompt.follow.isChecked()
    assert docker.prompt.following.isVisible()
    assert "turn it off" in docker.prompt.follow.toolTip()
    docker.prompt.follow.click()
    presenter.put(live=None)
    assert not docker.prompt.follow.isChecked()
    assert not docker.prompt.following.isVisible()
    assert [call for call in presenter.asked if call[0] == "turn_live"] == [("turn_live", True), ("turn_live", False)]


def test_the_picture_is_shown_with_what_is_known_of_it_and_the_words_say_what_is_followed(docker, presenter):
    presenter.put(live=Live("Follows the selection.", PICTURE, "Seed 5."))
    view = docker.prompt.following
    assert view.words.text() == "Follows the selection."
    assert view.picture.isVisible()
    assert view.picture.toolTip() == "Seed 5."
    presenter.put(live=Live("Live waits. Open a document first."))
    assert not view.picture.isVisible()
    assert view.words.isVisible()


def test_without_a_picture_there_is_nothing_to_keep(docker, presenter):
    presenter.put(live=Live("Follows the canvas."))
    view = docker.prompt.following
    assert not view.keep.isEnabled()
    assert not view.full.isEnabled()
    presenter.put(live=Live("Follows the canvas.", PICTURE))
    for button in (view.keep, view.full, view.dice):
        assert button.isEnabled()
        button.click()
    assert presenter.asked[-3:] == [("keep_live",), ("live_in_full",), ("throw_live_dice",)]


def test_a_newer_picture_of_the_same_size_moves_nothing(docker, presenter):
    presenter.put(live=Live("Follows the canvas.", PICTURE))
    view = docker.prompt.following
    before = [part.geometry() for part in (view.words, view.picture, view.keep, docker.prompt.follow)]
    presenter.put(live=Live("Follows the canvas.", plane(320, 320, 30, Layout.RGB8), working=True))
    assert [part.geometry() for part in (view.words, view.picture, view.keep, docker.prompt.follow)] == before


def test_the_buttons_stand_under_the_picture_and_within_the_docker(make, presenter):
    docker = make(presenter)
    docker.resize(260, 900)
    presenter.put(live=Live("Follows the canvas.", PICTURE))
    view = docker.prompt.following
    assert view.keep.y() >= view.picture.y() + view.picture.height()
    assert view.keep.y() == view.full.y()
    for part in (view.keep, view.full, view.dice, docker.prompt.follow):
        assert part.mapTo(docker, part.rect().topRight()).x() <= docker.width()
