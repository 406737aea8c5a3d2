"""Characters are picked, made, renamed and deleted; faces are chosen; the five points are dragged."""

from __future__ import annotations

import pytest
from krita_presenter import face_points, person, photo, plane
from plugin_krita.protocol.geometry import Bounds

from plugin_krita.form import PersonRow, Pose


def names(presenter) -> list[str]:
    return [row.name for row in presenter.form.persons]


def test_a_click_on_a_tile_takes_its_character(docker, presenter, test_of_qt, application):
    from plugin_krita.qt import Qt

    tiles = docker.people.tiles
    middle = tiles.visualRect(tiles.model().index(1)).center()
    test_of_qt.mouseClick(tiles.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, middle)
    presenter.tick()
    assert names(presenter) == ["Ben"]
    assert [tile.chosen for tile in tiles.tiles()] == [False, True, False]


def test_another_click_takes_another_character_with_the_strengths_that_were_set(docker, presenter):
    presenter.change(persons=(PersonRow("Anna", 0.3, 1.1),))
    docker.people.pick("Carla", False)
    assert presenter.form.persons == (PersonRow("Carla", 0.3, 1.1),)
    docker.people.pick("Carla", False)
    assert names(presenter) == []


def test_ctrl_takes_characters_in_and_out(docker, presenter):
    for name in ("Anna", "Ben", "Carla", "Ben"):
        docker.people.pick(name, True)
    assert names(presenter) == ["Anna", "Carla"]
    docker.people.pick("Carla", False)
    assert names(presenter) == ["Carla"]


def test_return_on_a_tile_is_a_click(docker, presenter, test_of_qt):
    from plugin_krita.qt import Qt

    tiles = docker.people.tiles
    tiles.setCurrentIndex(tiles.model().index(2))
    test_of_qt.keyClick(tiles, Qt.Key.Key_Return)
    assert names(presenter) == ["Carla"]


def test_a_new_character_comes_from_the_layer_the_selection_or_files(docker, presenter, monkeypatch):
    from plugin_krita.qt import QtWidgets

    files = (["one.png", "two.jpg"], "")
    monkeypatch.setattr(QtWidgets.QFileDialog, "getOpenFileNames", staticmethod(lambda *_: files))
    for action in docker.people.new.menu().actions():
        action.trigger()
    assert presenter.asked == [("draft_from_layer",), ("draft_from_selection",), ("draft_from_files", ["one.png", "two.jpg"])]
    monkeypatch.setattr(QtWidgets.QFileDialog, "getOpenFileNames", staticmethod(lambda *_: ([], "")))
    docker.people.new.menu().actions()[2].trigger()
    assert len(presenter.asked) == 3


def actions_for(docker, name: str) -> dict[str, object]:
    from plugin_krita.qt import QtWidgets

    menu = QtWidgets.QMenu(docker)
    docker.people.fill_menu(menu, name)
    return {action.text().split()[0]: action for action in menu.actions() if action.text()}


def test_a_character_is_renamed_in_the_docker(docker, presenter, test_of_qt):
    from plugin_krita.qt import Qt

    actions_for(docker, "Anna")["Rename"].trigger()
    field = docker.people.question.field
    assert field.text() == "Anna"
    field.clear()
    test_of_qt.keyClicks(field, "Anne")
    test_of_qt.keyClick(field, Qt.Key.Key_Return)
    assert presenter.asked == [("rename_character", "Anna", "Anne")]
    assert not docker.people.question.isVisible()


def test_a_character_is_deleted_only_after_a_yes(docker, presenter, words, test_of_qt):
    from plugin_krita.qt import Qt

    actions_for(docker, "Ben")["Delete"].trigger()
    assert "cannot be undone" in words(docker.people)
    assert presenter.asked == []
    test_of_qt.keyClick(docker.people.question, Qt.Key.Key_Escape)
    assert not docker.people.question.isVisible()
    actions_for(docker, "Ben")["Delete"].trigger()
    docker.people.question.no.click()
    assert presenter.asked == []
    actions_for(docker, "Ben")["Delete"].trigger()
    docker.people.question.yes.click()
    assert presenter.asked == [("delete_character", "Ben")]


def test_characters_are_exported_and_imported(docker, presenter, monkeypatch):
    from plugin_krita.qt import QtWidgets

    kinds = iter((0, 1))
    chosen = staticmethod(lambda *asked: ("out/anna", asked[3].split(";;")[next(kinds)]))
    monkeypatch.setattr(QtWidgets.QFileDialog, "getSaveFileName", chosen)
    monkeypatch.setattr(QtWidgets.QFileDialog, "getOpenFileName", staticmethod(lambda *_: ("in/ben.zip", "")))
    actions_for(docker, "Anna")["Export"].trigger()
    actions_for(docker, "Anna")["Export"].trigger()
    actions_for(docker, "Anna")["Import"].trigger()
    exports = [("export_character", "Anna", "out/anna.likeness", photos) for photos in (False, True)]
    assert presenter.asked == [*exports, ("import_character", "in/ben.zip")]


def test_without_a_character_only_import_can_be_chosen(docker, presenter):
    actions = actions_for(docker, docker.people.chosen_name())
    assert {name for name, action in actions.items() if action.isEnabled()} == {"Import"}


def test_a_draft_takes_the_pickers_place_and_shows_what_was_found(docker, presenter, words):
    sentence = "No face was found. Select the head and add it from the selection."
    presenter.put(
        draft=(photo(1, 1), photo(2, 3), photo(3, None), photo(4, 0, sentence)), draft_faces={2: 1}, draft_sentence="Give it a name."
    )
    seen = words(docker.people)
    assert not docker.people.tiles.isVisible()
    for part in ("holiday_1.jpg", "Face 2 of 3.", "Looking for a face", sentence, "Give it a name."):
        assert part in seen
    presenter.put(draft=())
    assert docker.people.tiles.isVisible()
    assert "holiday_1.jpg" not in words(docker.people)


def test_boxes_are_drawn_around_the_faces_the_chosen_one_in_the_highlight(docker, presenter, settled):
    from plugin_krita.qt import QtGui

    presenter.put(draft=(photo(1, 2),), draft_faces={1: 1})
    settled()
    picture = docker.people.draft.cards[1].picture
    highlight = picture.palette().color(QtGui.QPalette.ColorRole.Highlight).name()

    def on_the_edge(face: int) -> str:
        box = picture.face_rect(presenter.draft[0].faces[face].box)
        return picture.grab().toImage().pixelColor(round(box.center().x()), round(box.top())).name()

    assert on_the_edge(1) == highlight
    assert on_the_edge(0) != highlight
    presenter.put(draft_faces={1: 0})
    assert on_the_edge(0) == highlight


def test_a_click_on_a_face_chooses_it(docker, presenter, test_of_qt, settled):
    from plugin_krita.qt import Qt

    presenter.put(draft=(photo(7, 3),))
    settled()
    picture = docker.people.draft.cards[7].picture
    for face in (1, 0):
        middle = picture.face_rect(presenter.draft[0].faces[face].box).center().toPoint()
        test_of_qt.mouseClick(picture, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, middle)
    assert presenter.asked == [("draft_choose_face", 7, 1), ("draft_choose_face", 7, 0)]


def test_a_draft_is_named_saved_replaced_and_dropped(docker, presenter, test_of_qt):
    presenter.put(draft=(photo(1, 1), photo(2, 1)))
    draft = docker.people.draft
    assert not draft.save.isEnabled()
    test_of_qt.keyClicks(draft.name, "Dora")
    presenter.tick()
    assert presenter.draft_name == "Dora"
    draft.save.click()
    presenter.put(draft_name="Anna")
    assert draft.save.text() == "Replace"
    draft.save.click()
    draft.cards[2].remove.click()
    draft.drop.click()
    asked = [call for call in presenter.asked if call[0] != "draft_rename"]
    assert asked == [("draft_save", False), ("draft_save", True), ("draft_remove", 2), ("draft_clear",)]


def test_files_dropped_on_the_characters_become_photos(docker, presenter):
    from plugin_krita.qt import Qt, QtCore, QtGui

    data = QtCore.QMimeData()
    data.setUrls([QtCore.QUrl.fromLocalFile("/tmp/a.png"), QtCore.QUrl("https://example.org/b.png")])
    place = QtCore.QPointF(5, 5)
    event = QtGui.QDropEvent(place, Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    docker.people.dropEvent(event)
    assert presenter.asked == [("draft_from_files", ["/tmp/a.png"])]


@pytest.fixture
def editor(docker, presenter, settled):
    """The five points over a face of the canvas."""
    bounds = Bounds(1000, 800, 400, 500)
    presenter.change(persons=(PersonRow("Anna"),), pose=Pose.HAND)
    presenter.put(pose_picture=plane(80, 100), pose_bounds=bounds, pose_points=face_points(bounds))
    presenter.asked.clear()
    settled()
    return docker.persons.editor


def test_a_face_is_asked_for_under_the_selection(docker, presenter, words):
    presenter.change(persons=(PersonRow("Anna"),), pose=Pose.HAND)
    presenter.asked.clear()
    presenter.tick()
    assert "Select the place of the head" in words(docker.persons)
    docker.persons.editor.ask.click()
    assert presenter.asked == [("ask_pose",)]


@pytest.mark.parametrize("index", range(5))
def test_each_of_the_five_points_can_be_dragged(editor, presenter, test_of_qt, index):
    from plugin_krita.qt import Qt, QtCore

    before = presenter.pose_points
    start = editor.points.place_of(before[index]).toPoint()
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    test_of_qt.mousePress(editor.points, left, none, start)
    drag(editor.points, start + QtCore.QPoint(12, -9))
    test_of_qt.mouseRelease(editor.points, left, none, start + QtCore.QPoint(12, -9))
    assert [call[0] for call in presenter.asked] == ["set_pose"]
    scale = presenter.pose_bounds.width / editor.points.picture_rect().width()
    for place, (old, new) in enumerate(zip(before, presenter.pose_points, strict=True)):
        across, down = (12 * scale, -9 * scale) if place == index else (0, 0)
        assert new.x - old.x == pytest.approx(across, abs=2 * scale)
        assert new.y - old.y == pytest.approx(down, abs=2 * scale)


def drag(widget, place) -> None:
    """Move the pointer with the button held: QTest's own move does not hold it."""
    from plugin_krita.qt import Qt, QtCore, QtGui, QtWidgets

    event = QtGui.QMouseEvent(
        QtCore.QEvent.Type.MouseMove,
        QtCore.QPointF(place),
        QtCore.QPointF(widget.mapToGlobal(place)),
        Qt.MouseButton.NoButton,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    QtWidgets.QApplication.sendEvent(widget, event)


def test_a_point_does_not_leave_the_picture(editor, presenter, test_of_qt):
    from plugin_krita.qt import Qt, QtCore

    start = editor.points.place_of(presenter.pose_points[0]).toPoint()
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    test_of_qt.mousePress(editor.points, left, none, start)
    drag(editor.points, QtCore.QPoint(-500, -500))
    test_of_qt.mouseRelease(editor.points, left, none, QtCore.QPoint(-500, -500))
    assert (presenter.pose_points[0].x, presenter.pose_points[0].y) == (1000, 800)


def test_a_click_beside_the_points_moves_none(editor, presenter, test_of_qt):
    from plugin_krita.qt import Qt

    corner = editor.points.picture_rect().topLeft()
    test_of_qt.mouseClick(editor.points, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, corner)
    assert presenter.asked == []


def test_the_point_that_was_clicked_moves_with_the_arrow_keys(editor, presenter, test_of_qt):
    from plugin_krita.qt import Qt

    before = presenter.pose_points[2]
    place = editor.points.place_of(before).toPoint()
    test_of_qt.mouseClick(editor.points, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
    test_of_qt.keyClick(editor.points, Qt.Key.Key_Right)
    test_of_qt.keyClick(editor.points, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    after = presenter.pose_points[2]
    assert (after.x - before.x, after.y - before.y) == (1, 10)


def test_what_is_known_of_a_character_is_in_its_tooltip(docker, presenter):
    presenter.put(persons=(person("Anna", 3), person("Ben")))
    anna, ben = docker.people.tiles.tiles()
    assert "3 photos" in anna.tip
    assert "0.74" in anna.tip
    assert "one photo" in ben.tip
