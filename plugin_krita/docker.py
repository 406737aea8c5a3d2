"""The inside of the docker: the state line, below it the sections in a scroll area. It asks the presenter, and draws what it says."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from .advanced_view import AdvancedView
from .glyphs import IconSource, no_icons
from .guides_view import GuidesView
from .loras_view import LorasView
from .people_view import PeopleView
from .persons_view import PersonsView
from .prompt_view import PromptView
from .qt import Qt, QtCore, QtGui, QtWidgets, is_deleted
from .results_view import ResultsView
from .view import Light
from .widgets import GAP, Section, Sentence, column, row

if TYPE_CHECKING:
    from .presenter import Presenter

LIGHTS = {
    Light.OFF: ("#808080", "The backend is off."),
    Light.WAIT: ("#d9a13b", "The backend is starting."),
    Light.READY: ("#5aa469", "The backend is ready."),
    Light.BUSY: ("#4a90d9", "The backend is at work."),
    Light.TROUBLE: ("#cc5a52", "Something is wrong."),
}
"""The only colours of our own; each has words as well."""


class Lamp(QtWidgets.QWidget):
    """A small coloured light."""

    def __init__(self) -> None:
        super().__init__()
        self._light = Light.OFF
        self.setFixedSize(12, 12)

    def put(self, light: Light) -> None:
        """Show another colour."""
        self._light = light
        self.setToolTip(LIGHTS[light][1])
        self.setAccessibleName(LIGHTS[light][1])
        self.update()

    def paintEvent(self, _event: Any) -> None:
        """A disc."""
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QtGui.QColor(LIGHTS[self._light][0]))
        painter.drawEllipse(QtCore.QRectF(1.5, 1.5, 9, 9))


class StateLine(QtWidgets.QWidget):
    """How the backend is, and the button that starts it."""

    WATCHES = frozenset({"backend"})

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self._presenter = presenter
        self.lamp, self.words = Lamp(), Sentence()
        self.start = QtWidgets.QToolButton()
        self.start.setText("Start")
        self.start.setToolTip("Start the backend on this machine.")
        line = row(self.lamp, self.words, self.start)
        line.setStretch(1, 1)
        line.setAlignment(self.lamp, Qt.AlignmentFlag.AlignVCenter)
        self.setLayout(line)
        self.start.clicked.connect(lambda: presenter.start_backend())

    def refresh(self, _names: frozenset[str]) -> None:
        """Show the state."""
        backend = self._presenter.backend
        self.lamp.put(backend.light)
        self.words.say(backend.sentence)
        self.start.setVisible(backend.can_start)


class Inside(QtWidgets.QWidget):
    """What the scroll area holds. Its height follows from its width alone."""

    def minimumSizeHint(self) -> Any:
        """Qt would take the height that the sentences have in the narrowest docker, and scroll over nothing."""
        return QtCore.QSize(self.layout().minimumSize().width(), 0)


class DockerBody(QtWidgets.QWidget):
    """Everything in the docker. It owns no timer: whoever makes it ticks the presenter, which tells what changed."""

    def __init__(self, presenter: Presenter, parent: Any = None, icons: IconSource = no_icons) -> None:  # a QWidget
        """`icons`: from the name of one of Krita's icons to the icon, or None."""
        super().__init__(parent)
        self._presenter = presenter
        self.state = StateLine(presenter)
        self.people, self.persons = PeopleView(presenter, icons), PersonsView(presenter, icons)
        self.prompt, self.results = PromptView(presenter, icons), ResultsView(presenter)
        self.guides, self.advanced = GuidesView(presenter, icons), AdvancedView(presenter, icons)
        self.loras = LorasView(presenter, icons)
        who = QtWidgets.QWidget()
        who.setLayout(column(None, self.people, self.persons))
        parts = (
            ("people", "Character", who),
            ("prompt", "Picture", self.prompt),
            ("results", "Results", self.results),
            ("loras", "LoRAs", self.loras),
            ("guides", "Image prompts and guides", self.guides),
            ("advanced", "Advanced", self.advanced),
        )
        self.sections = {name: Section(name, title, body, self._fold) for name, title, body in parts}
        self._parts = (self.state, self.people, self.persons, self.prompt, self.results, self.loras, self.guides, self.advanced)
        self._lay_out()
        self.show_changes(frozenset().union(*(part.WATCHES for part in self._parts)))
        presenter.listen(_listener(self))

    def _lay_out(self) -> None:
        inside = Inside()
        inside.setLayout(column(None, *self.sections.values()))
        inside.layout().setContentsMargins(GAP, 0, GAP, GAP)
        inside.layout().setSpacing(GAP + 2)
        inside.layout().addStretch(1)
        self.scroll = QtWidgets.QScrollArea()
        self.scroll.setWidget(inside)
        self.scroll.setWidgetResizable(True)
        self.scroll.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        # The sections lie on the docker's own background, as in Krita's dockers.
        self.scroll.viewport().setAutoFillBackground(False)
        inside.setAutoFillBackground(False)
        self.state.layout().setContentsMargins(GAP + 2, GAP, GAP, 0)
        self.setLayout(column(None, self.state, self.scroll))

    def show_changes(self, names: frozenset[str]) -> None:
        """Redraw the parts that show one of these attributes of the presenter."""
        for part in self._parts:
            seen = names & part.WATCHES
            if seen:
                part.refresh(seen)
        if names & self.loras.WATCHES:
            self.sections["loras"].setVisible(self.loras.needed)
            self.sections["loras"].heading.setText(self.loras.title)
        if "form" in names:
            for name, section in self.sections.items():
                section.set_folded(name in self._presenter.form.folded)

    def _fold(self, name: str, folded: bool) -> None:
        others = tuple(other for other in self._presenter.form.folded if other != name)
        self._presenter.change(folded=(*others, name) if folded else others)
        self.sections[name].set_folded(folded)  # at once: a calm tick is slower than a hand

    def minimumSizeHint(self) -> Any:
        """A few lines: Qt would take the height that a long sentence has in the narrowest docker, and make Krita's window taller."""
        return QtCore.QSize(200, self.fontMetrics().height() * 8)

    def sizeHint(self) -> Any:
        """A docker's usual place."""
        return QtCore.QSize(300, 600)


def _listener(body: DockerBody) -> Any:  # what Presenter.listen takes
    """What the presenter calls: it does not keep the docker alive, and is silent once Qt has deleted it."""
    kept = weakref.ref(body)

    def heard(names: frozenset[str]) -> None:
        docker = kept()
        if docker is not None and not is_deleted(docker):
            docker.show_changes(names)

    return heard
