"""Fields for numbers: Krita's slider with the number in it, and a field that says "auto" for none. The wheel scrolls the docker first."""

from __future__ import annotations

from typing import Any

from .qt import Qt, QtCore, QtGui, QtWidgets


class _Bar(QtWidgets.QLineEdit):
    """The text part of a slider: a filled bar that is dragged, and a field while a number is typed."""

    def __init__(self, slider: Any) -> None:  # the Slider
        super().__init__(slider)
        self.typing = False
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)
        self._set_cursor()

    def set_typing(self, typing: bool) -> None:
        """Turn from bar to field and back."""
        if typing != self.typing:
            self.typing = typing
            self._set_cursor()
            self.update()

    def _set_cursor(self) -> None:
        self.setCursor(Qt.CursorShape.IBeamCursor if self.typing else Qt.CursorShape.SizeHorCursor)

    def _drag(self, event: Any) -> None:
        place = event.position().x() if hasattr(event, "position") else event.x()
        self.parent().set_share(place / max(1, self.width() - 1))

    def mousePressEvent(self, event: Any) -> None:
        """Drag from here."""
        if self.typing or event.button() != Qt.MouseButton.LeftButton:
            super().mousePressEvent(event)
        else:
            self._drag(event)

    def mouseMoveEvent(self, event: Any) -> None:
        """Follow."""
        if self.typing:
            super().mouseMoveEvent(event)
        elif event.buttons() & Qt.MouseButton.LeftButton:
            self._drag(event)

    def mouseReleaseEvent(self, event: Any) -> None:
        """The right button asks for the field, as in Krita."""
        if self.typing:
            super().mouseReleaseEvent(event)
        elif event.button() == Qt.MouseButton.RightButton:
            self._type()

    def mouseDoubleClickEvent(self, event: Any) -> None:
        """Two clicks ask for it too."""
        if self.typing:
            super().mouseDoubleClickEvent(event)
        else:
            self._type()

    def _type(self) -> None:
        self.set_typing(True)
        self.parent().selectAll()

    def paintEvent(self, event: Any) -> None:
        """Draw the bar up to the value, and the words in the colour that each half asks for."""
        if self.typing:
            super().paintEvent(event)
            return
        painter = QtGui.QPainter(self)
        group = QtGui.QPalette.ColorGroup.Normal if self.isEnabled() else QtGui.QPalette.ColorGroup.Disabled
        roles = QtGui.QPalette.ColorRole
        words = self.rect().adjusted(3, 0, -3, 0)
        edge = round(self.width() * self.parent().share())
        halves = (
            (QtCore.QRect(0, 0, edge, self.height()), roles.Highlight, roles.HighlightedText),
            (QtCore.QRect(edge, 0, self.width() - edge, self.height()), roles.Base, roles.Text),
        )
        flags = Qt.AlignmentFlag.AlignCenter
        for half, fill, ink in halves:
            painter.setClipRect(half)
            painter.fillRect(half, self.palette().color(group, fill))
            painter.setPen(self.palette().color(group, ink))
            painter.drawText(words, flags, self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideMiddle, words.width()))


class QuietWheel:
    """A field that leaves the wheel to the docker unless it has been clicked."""

    def wheelEvent(self, event: Any) -> None:
        """Only for a field in use."""
        if self.hasFocus():  # type: ignore[attr-defined]  # the field it is mixed into has it
            super().wheelEvent(event)  # type: ignore[misc]  # the same
        else:
            event.ignore()


class Slider(QuietWheel, QtWidgets.QDoubleSpinBox):
    """A number between two ends: drag the bar, use the arrows, or double-click and type, as in Krita's own dockers."""

    moved = QtCore.pyqtSignal(float)
    """The artist set another value."""

    def __init__(self, words: str, tip: str, lowest: float, highest: float, parent: Any = None) -> None:
        super().__init__(parent)
        self.setRange(lowest, highest)
        self.setSingleStep(0.05)
        self.setDecimals(2)
        self.setPrefix(f"{words}: ")
        self.setToolTip(f"{tip} Drag, or double-click to type a number.")
        self.setAccessibleName(words)
        self.setKeyboardTracking(False)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumWidth(60)
        self._bar = _Bar(self)
        self.setLineEdit(self._bar)
        self.valueChanged.connect(self.moved)
        self.editingFinished.connect(lambda: self._bar.set_typing(False))

    def put(self, value: float) -> None:
        """Show a value without telling anybody; a number that is being typed stays."""
        if not self._bar.typing and abs(value - self.value()) > 1e-6:
            self.blockSignals(True)
            self.setValue(value)
            self.blockSignals(False)
            self._bar.update()

    def share(self) -> float:
        """The value as a share of the way from the lower to the upper end, 0 … 1."""
        return (self.value() - self.minimum()) / (self.maximum() - self.minimum())

    def set_share(self, share: float) -> None:
        """Set the value by its share of the way, as the artist does by dragging."""
        self.setValue(self.minimum() + min(1.0, max(0.0, share)) * (self.maximum() - self.minimum()))

    def resizeEvent(self, event: Any) -> None:
        """The bar fills the frame, as Krita's does: the style leaves room around a field."""
        super().resizeEvent(event)
        option = QtWidgets.QStyleOptionSpinBox()
        self.initStyleOption(option)
        spin, parts = QtWidgets.QStyle.ComplexControl.CC_SpinBox, QtWidgets.QStyle.SubControl
        buttons = self.style().subControlRect(spin, option, parts.SC_SpinBoxUp, self)
        self._bar.setGeometry(2, 2, max(1, buttons.left() - 3), self.height() - 4)

    def keyPressEvent(self, event: Any) -> None:
        """Typing a digit opens the field; Escape closes it."""
        if event.key() == Qt.Key.Key_Escape and self._bar.typing:
            self._bar.set_typing(False)
            return
        if not self._bar.typing and event.text() and event.text() in "0123456789.,":
            self._bar.set_typing(True)
            self.selectAll()
        super().keyPressEvent(event)

    def focusOutEvent(self, event: Any) -> None:
        """Back to the bar."""
        super().focusOutEvent(event)
        self._bar.set_typing(False)


class Number(QuietWheel, QtWidgets.QSpinBox):
    """A whole number."""

    typed = QtCore.pyqtSignal(int)
    """The artist set another value."""

    def __init__(self, tip: str, lowest: int, highest: int, parent: Any = None) -> None:
        super().__init__(parent)
        self.setRange(lowest, highest)
        self.setToolTip(tip)
        self.setKeyboardTracking(False)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumWidth(44)
        self.valueChanged.connect(self.typed)

    def put(self, value: int) -> None:
        """Show a value without telling anybody."""
        if value != self.value():
            self.blockSignals(True)
            self.setValue(value)
            self.blockSignals(False)


class AutoNumber(QuietWheel, QtWidgets.QDoubleSpinBox):
    """A number, or "auto" one step below the lowest one."""

    typed = QtCore.pyqtSignal(object)
    """The number that the artist set, or None for auto."""

    def __init__(self, tip: str, ends: tuple[float, float], step: float, decimals: int, suffix: str = "") -> None:
        super().__init__()
        self._decimals, self._lowest = decimals, ends[0]
        self.setDecimals(decimals)
        self.setRange(ends[0] - step, ends[1])
        self.setSingleStep(step)
        self.setSuffix(suffix)
        self.setSpecialValueText("auto")
        self.setToolTip(f'{tip} The lowest step is "auto".')
        self.setKeyboardTracking(False)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumWidth(60)
        self.valueChanged.connect(self._tell)

    def _tell(self, value: float) -> None:
        auto = value < self._lowest
        self.typed.emit(None if auto else round(value) if self._decimals == 0 else value)

    def put(self, value: float | None) -> None:
        """Show a value, None for auto, without telling anybody."""
        shown = self.minimum() if value is None else value
        if abs(shown - self.value()) > 1e-6:
            self.blockSignals(True)
            self.setValue(shown)
            self.blockSignals(False)
