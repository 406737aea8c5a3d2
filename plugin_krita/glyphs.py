"""Small icons: Krita's own where it lends them, else drawn with a few lines in the palette's text colour, so that they fit every theme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .qt import Qt, QtCore, QtGui, QtWidgets

IconSource = Callable[[str], Any]
"""From the name of an icon of Krita's to a QIcon, or None where there is none."""

SIDE = 16
"""Pixels of the square that the glyphs are drawn in."""

KRITA_NAMES = {
    "plus": "list-add",
    "cross": "close-tab",
    "dots": "hamburger_menu_dots",
    "locked": "locked",
    "unlocked": "unlocked",
}
"""Krita's names for the glyphs; those that it lacks are always drawn."""


def no_icons(_name: str) -> None:
    """The icon source where there is no Krita."""
    return None


def glyph(name: str, colour: Any, ratio: float = 1.0) -> Any:
    """A drawn icon in one colour; `ratio` is the device's pixels per pixel of the layout."""
    pixmap = QtGui.QPixmap(round(SIDE * ratio), round(SIDE * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(QtGui.QColor(0, 0, 0, 0))
    painter = QtGui.QPainter(pixmap)
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    pen = QtGui.QPen(colour, 1.5)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    painter.setPen(pen)
    _DRAWN[name](painter, colour)
    painter.end()
    return QtGui.QIcon(pixmap)


def _line(painter: Any, *places: float) -> None:
    painter.drawLine(QtCore.QPointF(places[0], places[1]), QtCore.QPointF(places[2], places[3]))


def _plus(painter: Any, _colour: Any) -> None:
    _line(painter, 8, 3, 8, 13)
    _line(painter, 3, 8, 13, 8)


def _cross(painter: Any, _colour: Any) -> None:
    _line(painter, 4, 4, 12, 12)
    _line(painter, 12, 4, 4, 12)


def _dots(painter: Any, colour: Any) -> None:
    _spots(painter, colour, ((3.5, 8), (8, 8), (12.5, 8)))


def _spots(painter: Any, colour: Any, places: tuple[tuple[float, float], ...]) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    for x, y in places:
        painter.drawEllipse(QtCore.QPointF(x, y), 1.3, 1.3)


def _dice(painter: Any, colour: Any) -> None:
    painter.drawRoundedRect(QtCore.QRectF(2, 2, 12, 12), 2.5, 2.5)
    _spots(painter, colour, ((5.2, 5.2), (8, 8), (10.8, 10.8)))


def _lock(painter: Any, colour: Any, shackle_x: float) -> None:
    painter.drawArc(QtCore.QRectF(shackle_x, 2, 6, 8), 0, 180 * 16)
    painter.setBrush(colour)
    painter.drawRoundedRect(QtCore.QRectF(3, 7, 10, 7), 1.5, 1.5)


def _locked(painter: Any, colour: Any) -> None:
    _lock(painter, colour, 5)


def _unlocked(painter: Any, colour: Any) -> None:
    _lock(painter, colour, 9)


_DRAWN = {"plus": _plus, "cross": _cross, "dots": _dots, "dice": _dice, "locked": _locked, "unlocked": _unlocked}


class GlyphButton(QtWidgets.QToolButton):
    """A flat button with a small icon and a tooltip in plain words, which is its name for screen readers too."""

    def __init__(self, name: str, tip: str, icons: IconSource = no_icons, parent: Any = None) -> None:
        super().__init__(parent)
        self._name, self._icons = name, icons
        self.setAutoRaise(True)
        self.setIconSize(QtCore.QSize(SIDE, SIDE))
        self.tell(tip)
        self._draw()

    def tell(self, tip: str) -> None:
        """Change what the tooltip says."""
        self.setToolTip(tip)
        self.setAccessibleName(tip)

    def turn(self, name: str) -> None:
        """Show another glyph."""
        if name != self._name:
            self._name = name
            self._draw()

    def _draw(self) -> None:
        lent = self._icons(KRITA_NAMES[self._name]) if self._name in KRITA_NAMES else None
        if lent is None or lent.isNull():
            lent = glyph(self._name, self.palette().color(QtGui.QPalette.ColorRole.ButtonText), self.devicePixelRatioF())
        self.setIcon(lent)

    def changeEvent(self, event: Any) -> None:
        """Draw anew in the colours of another theme."""
        if event.type() == QtCore.QEvent.Type.PaletteChange:
            self._draw()
        super().changeEvent(event)
