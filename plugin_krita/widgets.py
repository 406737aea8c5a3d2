"""Building blocks of the docker that Qt has not, or not as Krita's own dockers have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .numbers import QuietWheel
from .picture_files import image_of
from .protocol.planes import Plane
from .qt import Qt, QtCore, QtGui, QtWidgets

GAP = 4
"""Pixels between widgets of the docker, as in Krita's."""
MOST_PIXELS = 640
"""A side of a picture in the docker: twice the width that a docker usually has, for fine screens."""


class Pixmaps:
    """Pixmaps of planes, made once each; what is no longer shown is forgotten at `keep`."""

    def __init__(self, side: int) -> None:
        """`side`: the longest side of a pixmap in pixels."""
        self._side = side
        self._made: dict[int, tuple[Plane, Any]] = {}

    def of(self, plane: Plane) -> Any:  # a QPixmap
        """The picture, scaled down to fit."""
        if id(plane) not in self._made:
            self._made[id(plane)] = (plane, QtGui.QPixmap.fromImage(image_of(plane, self._side)))
        return self._made[id(plane)][1]

    def keep(self, planes: Iterable[Plane]) -> None:
        """Forget the others."""
        wanted = {id(plane) for plane in planes}
        self._made = {key: made for key, made in self._made.items() if key in wanted}


def column(parent: Any = None, *parts: Any) -> Any:
    """A column of widgets without margins; with a parent widget it becomes its layout."""
    return _filled(QtWidgets.QVBoxLayout(parent), parts)


def row(*parts: Any) -> Any:
    """A row of widgets without margins."""
    return _filled(QtWidgets.QHBoxLayout(), parts)


def _filled(layout: Any, parts: tuple[Any, ...]) -> Any:
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(GAP)
    for part in parts:
        if isinstance(part, QtWidgets.QLayout):
            layout.addLayout(part)
        else:
            layout.addWidget(part)
    return layout


def grid(rows: Iterable[tuple[str, Any]]) -> Any:
    """Labels at the left and their widgets at the right, which share the width that is left."""
    layout = QtWidgets.QGridLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(GAP)
    layout.setColumnStretch(1, 1)
    for number, (words, part) in enumerate(rows):
        label = QtWidgets.QLabel(words)
        layout.addWidget(label, number, 0)
        if isinstance(part, QtWidgets.QLayout):
            layout.addLayout(part, number, 1)
        else:
            label.setBuddy(part)
            layout.addWidget(part, number, 1)
    return layout


class Sentence(QtWidgets.QLabel):
    """A sentence that wraps; empty, it takes no room."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        # A long word (a path) must not make the docker wider than the artist wants it.
        self.setMinimumWidth(40)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Minimum)
        self.hide()

    def minimumSizeHint(self) -> Any:
        """One line: Qt guesses the height of a narrow label, and the docker would scroll over nothing."""
        return QtCore.QSize(40, self.fontMetrics().height())

    def say(self, words: str) -> None:
        """Show other words."""
        if words != self.text():
            self.setText(words)
        self.setVisible(bool(words))


class Elided(QtWidgets.QLabel):
    """A plain label of one line that is cut with an ellipsis where the docker is narrow; its tooltip has the whole."""

    def minimumSizeHint(self) -> Any:
        """A few letters."""
        return QtCore.QSize(24, super().minimumSizeHint().height())

    def paintEvent(self, _event: Any) -> None:
        """Draw what fits."""
        painter = QtGui.QPainter(self)
        words = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, self.width())
        self.style().drawItemText(
            painter, self.rect(), int(self.alignment()), self.palette(), self.isEnabled(), words, self.foregroundRole()
        )


class Choices(QuietWheel, QtWidgets.QComboBox):
    """A chooser of named values. The wheel scrolls the docker unless the chooser has been clicked."""

    picked = QtCore.pyqtSignal(object)
    """The value that the artist chose; not sent for `offer`."""

    def __init__(self, tip: str, parent: Any = None) -> None:
        super().__init__(parent)
        self.setToolTip(tip)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(5)
        self.setMinimumWidth(60)
        self._offered: tuple[tuple[str, object], ...] = ()
        self.activated.connect(self._pick)

    def offer(self, choices: Iterable[tuple[str, object]], chosen: object, missing: str = "") -> None:
        """Show these words for these values. `missing`: the words for a chosen value that is not among them."""
        offered = tuple(choices)
        if chosen not in [value for _, value in offered] and missing:
            offered = (*offered, (missing, chosen))
        if offered != self._offered:
            self._offered = offered
            self.clear()
            self.addItems([words for words, _ in offered])
        place = next((place for place, (_, value) in enumerate(offered) if value == chosen), -1)
        if place != self.currentIndex():
            self.setCurrentIndex(place)

    def _pick(self, place: int) -> None:
        self.picked.emit(self._offered[place][1])


class Toggle(QtWidgets.QToolButton):
    """A button that stays down; while it is on it has the palette's highlight, which the style's own sunken look hardly shows."""

    def __init__(self, words: str, tip: str) -> None:
        super().__init__()
        self.setText(words)
        self.setToolTip(tip)
        self.setCheckable(True)

    def paintEvent(self, _event: Any) -> None:
        """As the style draws it, in other colours while it is on."""
        option = QtWidgets.QStyleOptionToolButton()
        self.initStyleOption(option)
        roles = QtGui.QPalette.ColorRole
        if self.isChecked():
            palette = QtGui.QPalette(option.palette)
            palette.setColor(roles.Button, palette.color(roles.Highlight))
            palette.setColor(roles.ButtonText, palette.color(roles.HighlightedText))
            option.palette = palette
        QtWidgets.QStylePainter(self).drawComplexControl(QtWidgets.QStyle.ComplexControl.CC_ToolButton, option)


class Section(QtWidgets.QWidget):
    """A part of the docker under a heading that folds it away."""

    def __init__(self, name: str, title: str, body: Any, fold: Callable[[str, bool], None]) -> None:
        """`fold` is told the name and whether it is folded, when the artist clicks."""
        super().__init__()
        self.name, self.body = name, body
        self.heading = QtWidgets.QToolButton()
        self.heading.setText(title)
        self.heading.setAutoRaise(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self.heading.setToolTip("Click to fold this part away, or to open it.")
        font = self.heading.font()
        font.setBold(True)
        self.heading.setFont(font)
        self.heading.clicked.connect(lambda: fold(self.name, not self.body.isHidden()))
        self.setLayout(column(None, self.heading, body))
        self.set_folded(False)

    def set_folded(self, folded: bool) -> None:
        """Show or hide what is under the heading."""
        self.heading.setArrowType(Qt.ArrowType.RightArrow if folded else Qt.ArrowType.DownArrow)
        self.body.setVisible(not folded)


class Picture(QtWidgets.QWidget):
    """One picture, as large as the width allows and at most `tallest` pixels high; without one it takes no room."""

    def __init__(self, tallest: int, parent: Any = None) -> None:
        super().__init__(parent)
        self._tallest = tallest
        self._pixmap: Any = None
        policy = QtWidgets.QSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.hide()

    def show_plane(self, plane: Plane | None) -> None:
        """Show another picture, or none."""
        size = self._pixmap.size() if self._pixmap is not None else None
        self._pixmap = QtGui.QPixmap.fromImage(image_of(plane, MOST_PIXELS)) if plane is not None else None
        self.setVisible(plane is not None)
        if self._pixmap is not None and self._pixmap.size() != size:
            self.updateGeometry()
        self.update()

    def hasHeightForWidth(self) -> bool:
        """The picture keeps its proportions."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Pixels."""
        if self._pixmap is None:
            return 0
        return min(self._tallest, max(1, round(self._pixmap.height() * width / max(1, self._pixmap.width()))))

    def sizeHint(self) -> Any:
        """At the usual width of a docker."""
        return QtCore.QSize(200, self.heightForWidth(200))

    def picture_rect(self) -> Any:
        """Where the picture is drawn: in the middle, with its proportions."""
        size = self._pixmap.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        return QtCore.QRect(QtCore.QPoint((self.width() - size.width()) // 2, (self.height() - size.height()) // 2), size)

    def paintEvent(self, _event: Any) -> None:
        """Draw it."""
        if self._pixmap is not None:
            painter = QtGui.QPainter(self)
            painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawPixmap(self.picture_rect(), self._pixmap)
