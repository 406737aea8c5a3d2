"""The docker as one thing: redraws only what changed, quickly, in a narrow place, in any theme, and goes without a trace."""

from __future__ import annotations

import gc
import time
import weakref
from statistics import median

import pytest
from krita_presenter import FakePresenter, person, photo, plane, progress, result

from plugin_krita.form import GuideRow, Mode, PersonRow, Pose, PromptRow

FRAME_S = 0.016
"""One redraw of a screen, in seconds."""


def fill(presenter) -> None:
    """As much as an artist may have: 40 characters, 60 results, a long prompt, everything open."""
    presenter.form = presenter.form.changed(
        prompt="a portrait in oil, " * 200,
        negative="blurry, " * 100,
        mode=Mode.REFINE,
        folded=(),
        persons=(PersonRow("Person 1"), PersonRow("Person 2", region="l1")),
        image_prompts=(PromptRow("l1"), PromptRow("l2")),
        guides=(GuideRow("l3"),),
        pose=Pose.HAND,
    )
    presenter.persons = tuple(person(f"Person {number}", 2, number * 6) for number in range(40))
    presenter.results = tuple(result(str(number), 0.9 - number / 100, number * 4) for number in range(60))
    presenter.preview = plane(160, 200)
    presenter.progress = progress()


def test_only_the_parts_that_show_a_change_are_asked_to_redraw(docker, presenter, monkeypatch):
    redrawn = []
    for part in docker._parts:
        monkeypatch.setattr(part, "refresh", lambda names, part=part: redrawn.append((type(part).__name__, names)))
    presenter.put(progress=progress())
    assert redrawn == [("PromptView", frozenset({"progress"}))]
    redrawn.clear()
    presenter.put(results=(result("a", 0.5),))
    assert redrawn == [("ResultsView", frozenset({"results"}))]
    redrawn.clear()
    presenter.put(backend=presenter.backend)
    assert redrawn == [("StateLine", frozenset({"backend"}))]


@pytest.mark.parametrize("name", ["form", "persons", "results", "progress", "preview", "backend", "layers", "document", "notice"])
def test_a_redraw_of_a_full_docker_is_shorter_than_a_frame(make, presenter, application, name, settled):
    fill(presenter)
    docker = make(presenter)
    fill(presenter)
    docker.show_changes(frozenset({"form", "persons", "results"}))
    settled()
    spent = []
    for turn in range(15):
        if name == "preview":
            presenter.preview = plane(160, 200, turn)
        if name == "progress":
            presenter.progress = progress(turn / 15)
        start = time.thread_time()
        docker.show_changes(frozenset({name}))
        application.processEvents()
        spent.append(time.thread_time() - start)
    assert median(spent) < FRAME_S


def test_scrolling_a_full_docker_is_quick_too(make, presenter, application):
    fill(presenter)
    docker = make(presenter)
    bar = docker.results.tiles.verticalScrollBar()
    spent = []
    for turn in range(15):
        start = time.thread_time()
        bar.setValue(turn * 40)
        application.processEvents()
        spent.append(time.thread_time() - start)
    assert median(spent) < FRAME_S


@pytest.mark.parametrize("full", [False, True], ids=["empty", "full"])
def test_nothing_is_cut_off_at_260_pixels(make, presenter, settled, full):
    if full:
        fill(presenter)
        presenter.notice = "A sentence with /a/very/long/path/that/has/no/place/to/break/in/it/and/goes/on/and/on/and/on.png in it."
    docker = make(presenter, 260, 900)
    if full:
        fill(presenter)
        docker.show_changes(frozenset({"form"}))
    settled()
    assert docker.width() == 260
    assert docker.scroll.horizontalScrollBar().maximum() == 0


def test_a_docker_that_has_room_does_not_scroll(make, presenter, settled):
    presenter.notice = "The picture could not be painted. Try a smaller selection, or another model that needs less memory. " * 2
    docker = make(presenter, 300, 460)
    presenter.change(folded=("people", "results", "guides", "advanced"))
    presenter.tick()
    settled()
    assert docker.prompt.notice.isVisible()
    assert docker.scroll.verticalScrollBar().maximum() == 0


def test_a_long_sentence_does_not_make_the_docker_tall(docker, presenter, settled):
    from plugin_krita.view import Backend, Light

    low = docker.minimumSizeHint().height()
    presenter.put(backend=Backend(Light.TROUBLE, "The backend does not answer, and nobody knows why that is so. " * 6))
    settled()
    assert docker.minimumSizeHint().height() <= low + 20


def test_tiles_are_as_high_as_their_rows_and_scroll_when_there_are_many(make, presenter, settled):
    docker = make(presenter)
    low = docker.people.tiles.height()
    presenter.put(persons=tuple(person(f"P{number}") for number in range(40)))
    settled()
    tiles = docker.people.tiles
    assert low < tiles.height() < 260
    assert tiles.verticalScrollBar().maximum() > 0
    assert low >= tiles.gridSize().height()


def test_the_wheel_scrolls_the_docker_and_changes_no_setting(make, presenter, application):
    from plugin_krita.qt import Qt, QtCore, QtGui, QtWidgets

    presenter.form = presenter.form.changed(persons=(PersonRow("Anna"),), mode=Mode.REFINE)
    docker = make(presenter)
    before = presenter.form
    fields = [*docker.findChildren(QtWidgets.QAbstractSpinBox), *docker.findChildren(QtWidgets.QComboBox)]
    assert len(fields) >= 8
    for field in fields:
        event = QtGui.QWheelEvent(
            QtCore.QPointF(5, 5),
            QtCore.QPointF(field.mapToGlobal(QtCore.QPoint(5, 5))),
            QtCore.QPoint(0, 0),
            QtCore.QPoint(0, 120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QtWidgets.QApplication.sendEvent(field, event)
    assert presenter.form == before


def test_every_control_has_a_tooltip_in_plain_words(make, presenter):
    from plugin_krita.qt import QtWidgets

    fill(presenter)
    presenter.draft = (photo(1, 2),)
    docker = make(presenter)
    kinds = (QtWidgets.QAbstractButton, QtWidgets.QComboBox, QtWidgets.QAbstractSpinBox, QtWidgets.QPlainTextEdit)
    silent = [
        (type(control).__name__, getattr(control, "text", lambda: "")())
        for kind in kinds
        for control in docker.findChildren(kind)
        if not control.toolTip() and not control.objectName().startswith("qt_")
    ]
    assert silent == []


def test_colours_are_the_palettes_in_another_theme_too(make, presenter, settled):
    from plugin_krita.qt import QtGui, QtWidgets

    docker = make(presenter)
    kept = QtWidgets.QApplication.palette()
    try:
        light = QtGui.QPalette(QtGui.QColor("#d6d6d6"), QtGui.QColor("#d6d6d6"))
        before = docker.people.more.icon().pixmap(16, 16).toImage()
        QtWidgets.QApplication.setPalette(light)
        settled()
        image = docker.grab().toImage()
        assert image.pixelColor(2, 2).name() == "#d6d6d6"
        assert docker.people.more.icon().pixmap(16, 16).toImage() != before
    finally:
        QtWidgets.QApplication.setPalette(kept)


def test_kritas_own_icons_are_taken_where_it_lends_them(application, presenter):
    from plugin_krita.docker import DockerBody
    from plugin_krita.qt import QtGui

    asked = []

    def lend(name: str):
        asked.append(name)
        if name == "locked":
            return QtGui.QIcon()  # Krita gives an empty one for a name that it does not know
        pixmap = QtGui.QPixmap(16, 16)
        pixmap.fill(QtGui.QColor("#123456"))
        return QtGui.QIcon(pixmap)

    docker = DockerBody(presenter, None, lend)
    assert docker.people.more.icon().pixmap(16, 16).toImage().pixelColor(8, 8).name() == "#123456"
    assert "hamburger_menu_dots" in asked
    presenter.change(seed_locked=True)
    presenter.tick()
    assert not docker.advanced.lock.icon().isNull()
    docker.deleteLater()


def test_a_docker_that_is_dropped_is_collected_and_the_presenter_goes_on(application, settled):
    from plugin_krita.docker import DockerBody

    presenter = FakePresenter()
    fill(presenter)
    docker = DockerBody(presenter)
    docker.show()
    settled()
    gone = weakref.ref(docker)
    docker.close()
    del docker
    for _ in range(3):
        gc.collect()
        application.processEvents()
    assert gone() is None
    presenter.put(notice="Nobody hears this.")


def test_a_docker_that_qt_has_deleted_is_silent(application):
    from plugin_krita.docker import DockerBody
    from plugin_krita.qt import QtCore, QtWidgets

    presenter = FakePresenter()
    parent = QtWidgets.QWidget()
    docker = DockerBody(presenter, parent)
    parent.deleteLater()
    QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
    presenter.put(notice="Nobody hears this.")
    assert docker is not None


def test_no_timer_runs_in_the_docker(docker):
    from plugin_krita.qt import QtCore

    named = [timer for timer in docker.findChildren(QtCore.QTimer) if timer.isActive() and timer.objectName() == ""]
    ours = [timer for timer in named if type(timer.parent()).__module__.startswith("plugin_krita")]
    assert ours == []


def test_a_large_photo_is_shown_quickly_and_stays_small(make, presenter, application):
    from plugin_krita.protocol.geometry import Extent
    from plugin_krita.protocol.planes import Layout, Plane

    from plugin_krita.view import DraftPhoto

    docker = make(presenter)
    large = Plane(Layout.BGRA8, Extent(2048, 1536), bytes((10, 200, 90, 255)) * (2048 * 1536))
    presenter.draft = (DraftPhoto(1, "large.jpg", large),)
    docker.show_changes(frozenset({"draft"}))
    settle_time = []
    for _ in range(9):
        start = time.thread_time()
        docker.people.draft.cards[1].picture.repaint()
        settle_time.append(time.thread_time() - start)
    assert median(settle_time) < FRAME_S
    picture = docker.people.draft.cards[1].picture
    assert picture.grab().toImage().pixelColor(picture.picture_rect().center()).getRgb()[:3] == (90, 200, 10)
