"""The field for a prompt: some lines, sent with Shift+Return, with a list of what the letters that are being typed can become."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .protocol.desk.loras import Completion
from .qt import Qt, QtCore, QtGui, QtWidgets

_CHOOSES = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Tab)


class PromptEdit(QtWidgets.QPlainTextEdit):
    """A field of some lines. Shift+Return sends, Tab goes on to the next field."""

    sent = QtCore.pyqtSignal()
    edited = QtCore.pyqtSignal(str)

    def __init__(self, asks: str, lines: int) -> None:
        super().__init__()
        self.setPlaceholderText(asks)
        self.setTabChangesFocus(True)
        metrics = self.fontMetrics()
        self.setFixedHeight(round(metrics.lineSpacing() * lines + 2 * (self.document().documentMargin() + self.frameWidth())))
        self.setMinimumWidth(60)
        self.completes: Callable[[str], Completion | None] = lambda before: None
        """What the text up to the cursor can become."""
        self._offered: Completion | None = None
        self._list = QtWidgets.QCompleter(self)
        self._list.setWidget(self)
        self._list.setCompletionMode(QtWidgets.QCompleter.CompletionMode.UnfilteredPopupCompletion)
        self._words = QtCore.QStringListModel(self)
        self._list.setModel(self._words)
        self._list.activated.connect(self._complete)
        self.textChanged.connect(lambda: self.edited.emit(self.toPlainText()))

    def put(self, words: str) -> None:
        """Show other words without telling anybody; the cursor stays where it can."""
        if words == self.toPlainText():
            return
        place = self.textCursor().position()
        self.blockSignals(True)
        self.setPlainText(words)
        self.blockSignals(False)
        cursor = self.textCursor()
        cursor.setPosition(min(place, len(words.encode("utf-16-le")) // 2))
        self.setTextCursor(cursor)

    def event(self, event: Any) -> bool:
        """Keep Shift+Return from Krita's own shortcuts while the field has the focus: it would be sent twice."""
        if event.type() == QtCore.QEvent.Type.ShortcutOverride and _sends(event):
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: Any) -> None:
        """Shift+Return sends. What the open list knows to do with a key is left to it."""
        if _sends(event):
            self._list.popup().hide()
            self.sent.emit()
        elif self.suggesting and self._for_the_list(event.key()):
            event.ignore()
        else:
            super().keyPressEvent(event)
            if event.text():  # not for keys that only move
                self._suggest()

    def focusNextPrevChild(self, forward: bool) -> bool:
        """Tab chooses from the list while it is open."""
        return not (self.suggesting and self._for_the_list(Qt.Key.Key_Tab)) and bool(super().focusNextPrevChild(forward))

    @property
    def suggesting(self) -> bool:
        """Whether the list is open."""
        return bool(self._list.popup().isVisible())

    @property
    def suggestions(self) -> tuple[str, ...]:
        """What the list offers at the moment."""
        return tuple(self._words.stringList()) if self.suggesting else ()

    def _for_the_list(self, key: object) -> bool:
        """Return and Tab are the list's once something in it is chosen, else the prompt's."""
        return key == Qt.Key.Key_Escape or (key in _CHOOSES and bool(self._list.popup().currentIndex().isValid()))

    def _suggest(self) -> None:
        """Open the list with what the typed letters can become, or close it."""
        cursor, move = self.textCursor(), QtGui.QTextCursor
        cursor.movePosition(move.MoveOperation.StartOfBlock, move.MoveMode.KeepAnchor)
        found = self._offered = self.completes(cursor.selectedText())
        popup = self._list.popup()
        if found is None:
            popup.hide()
            return
        self._words.setStringList([one.words for one in found.choices])
        place = self.cursorRect()
        place.setWidth(popup.sizeHintForColumn(0) + popup.verticalScrollBar().sizeHint().width())
        self._list.complete(place)
        # Return and Tab take the first; with a word of the prompt they stay what they are until one is chosen with the arrows.
        first = self._list.completionModel().index(0 if found.typed.startswith("<") else -1, 0)
        popup.setCurrentIndex(first)

    def _complete(self, words: str) -> None:
        """Put what was chosen in the place of the typed letters: one step back undoes it."""
        chosen = next((one for one in self._offered.choices if one.words == words), None) if self._offered is not None else None
        if chosen is None or self._offered is None:
            return
        cursor, move = self.textCursor(), QtGui.QTextCursor
        typed = len(self._offered.typed.encode("utf-16-le")) // 2  # Qt counts as UTF-16 does
        cursor.setPosition(max(0, cursor.position() - typed), move.MoveMode.KeepAnchor)
        cursor.insertText(chosen.text)
        self.setTextCursor(cursor)
        self._offered = None


def _sends(event: Any) -> bool:
    shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
    return shift and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
