"""What the docker's promises need: Qt without a screen, a presenter that remembers, a docker in Krita's dark colours."""

from __future__ import annotations

import importlib
import os

import pytest

BINDING = os.environ.get("DOCKER_BINDING", "PyQt5")
"""Loaded before the plug-in looks, which then takes the same one."""


@pytest.fixture(scope="session")
def application():
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    importlib.import_module(f"{BINDING}.QtCore")
    from plugin_krita import qt

    assert qt.BINDING == BINDING
    made = qt.QtWidgets.QApplication([])
    made.setStyle("Fusion")
    made.setPalette(dark(qt.QtGui))
    font = made.font()
    font.setPointSize(9)  # what Krita has
    made.setFont(font)
    return made


def dark(gui):
    """Krita's default dark colours."""
    colour, roles, off = gui.QColor, gui.QPalette.ColorRole, gui.QPalette.ColorGroup.Disabled
    palette = gui.QPalette(colour("#31363b"), colour("#31363b"))
    for role, name in (
        (roles.Base, "#232629"),
        (roles.WindowText, "#eff0f1"),
        (roles.Text, "#eff0f1"),
        (roles.ButtonText, "#eff0f1"),
        (roles.Highlight, "#3daee9"),
        (roles.HighlightedText, "#eff0f1"),
    ):
        palette.setColor(role, colour(name))
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        palette.setColor(off, role, colour("#7f8487"))
    return palette


@pytest.fixture
def test_of_qt(application):
    return importlib.import_module(f"{BINDING}.QtTest").QTest


@pytest.fixture
def presenter(application):
    from krita_presenter import FakePresenter, model, person
    from plugin_krita.protocol.geometry import Bounds

    from plugin_krita.host import DocumentCard, LayerCard

    fake = FakePresenter()
    fake.document = DocumentCard("d", 3000, 2000, "Untitled", Bounds(10, 20, 412, 516))
    fake.layers = (LayerCard("l1", "Background"), LayerCard("l2", "Sketch", True), LayerCard("l3", "Depth"))
    fake.models = (model("Sketch"), model("Plain", subjects=False, guides=()))
    fake.persons = (person("Anna", 3), person("Ben"), person("Carla"))
    fake.can_generate = True
    return fake


@pytest.fixture
def docker(application, presenter, make):
    return make(presenter)


@pytest.fixture
def make(application):
    """Make a docker that is shown, for a presenter; all sections are open."""
    from plugin_krita.docker import DockerBody

    made = []

    def build(fake, width: int = 300, height: int = 900):
        fake.change(folded=())
        fake.asked.clear()
        body = DockerBody(fake)
        body.resize(width, height)
        body.show()
        fake.tick()
        settle(application)
        made.append(body)
        return body

    yield build
    for body in made:
        body.close()
        body.deleteLater()
    settle(application)


def settle(application) -> None:
    """Let Qt lay out and draw: each level of the docker asks the next one for room."""
    for _ in range(12):
        application.processEvents()


@pytest.fixture
def settled(application):
    return lambda: settle(application)


@pytest.fixture
def words(application):
    """Everything that can be read in a widget at the moment."""
    from plugin_krita.qt import QtWidgets

    def read(widget) -> str:
        settle(application)
        labels = [label.text() for label in widget.findChildren(QtWidgets.QLabel) if label.isVisible()]
        buttons = [button.text() for button in widget.findChildren(QtWidgets.QAbstractButton) if button.isVisible()]
        bars = [bar.text() for bar in widget.findChildren(QtWidgets.QProgressBar) if bar.isVisible()]
        return "\n".join(labels + buttons + bars)

    return read
