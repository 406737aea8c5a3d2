"""The docker on the real presenter, with a real backend whose worker paints plain colours: from the prompt to a layer by clicks alone."""

from __future__ import annotations

import pytest


@pytest.fixture
def stage(application, tmp_path):
    from krita_host import Document
    from krita_stage import Stage, painting

    pair = painting(tmp_path / "state")
    made = Stage(tmp_path / "krita", tmp_path / "state", Document("one", name="portrait.kra"))
    made.serve(pair)
    yield made
    made.presenter.close()
    pair.close()


@pytest.fixture
def body(stage):
    from plugin_krita.docker import DockerBody

    docker = DockerBody(stage.presenter)
    docker.resize(300, 900)
    docker.show()
    yield docker
    docker.close()
    docker.deleteLater()


def test_from_the_prompt_to_a_layer_by_clicks(stage, body, words, settled, test_of_qt):
    from plugin_krita.qt import Qt

    stage.document.select(20, 10, 30, 30)
    assert not body.prompt.generate.isEnabled()
    assert stage.presenter.why_not in words(body.prompt)
    stage.until(body.prompt.generate.isEnabled)
    stage.until(lambda: "30 x 30 px" in words(body.prompt))
    test_of_qt.keyClicks(body.prompt.prompt, "a plain colour")
    body.prompt.count.setValue(2)
    test_of_qt.keyClick(body.prompt.prompt, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    stage.until(lambda: len(body.results.tiles.tiles()) == 2)
    settled()
    tiles = body.results.tiles
    other = next(place for place, tile in enumerate(tiles.tiles()) if not tile.chosen)
    middle = tiles.visualRect(tiles.model().index(other)).center()
    test_of_qt.mouseClick(tiles.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, middle)
    stage.until(lambda: tiles.tiles()[other].chosen)
    assert [tile.chosen for tile in tiles.tiles()].count(True) == 1
    before = len(stage.document.undo)
    body.results.apply.click()
    stage.until(lambda: tiles.tiles()[other].ticked)
    assert len(stage.document.undo) == before + 1
    assert body.prompt.notice.words.text() == ""


def test_a_form_set_in_one_docker_is_shown_in_another_window(stage, body, settled):
    from plugin_krita.docker import DockerBody

    other = DockerBody(stage.presenter)
    body.prompt.count.setValue(7)
    body.sections["advanced"].heading.click()
    stage.presenter.tick()
    assert other.prompt.count.value() == 7
    assert not other.advanced.isHidden()
    other.deleteLater()
