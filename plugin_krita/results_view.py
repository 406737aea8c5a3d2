"""The finished pictures of the document, best first: a click shows one on the canvas, and then it is taken, thrown away or used again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .qt import QtWidgets
from .tiles import Tile, Tiles
from .view import Result
from .widgets import GAP, Pixmaps, Sentence, column

if TYPE_CHECKING:
    from .presenter import Presenter

EMPTY = "Finished pictures wait here until you take them."


class ResultsView(QtWidgets.QWidget):
    """Thumbnails with their similarity, and what can be done with the one that is shown."""

    WATCHES = frozenset({"results", "waiting"})

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self._presenter = presenter
        self._pixmaps = Pixmaps(192)
        self.tiles = Tiles(80, 2.4, EMPTY)
        self.apply = _button("Apply", "Make a layer of the picture that is shown. One Undo takes it back.")
        self.apply_mask = _button("Apply with mask", "Make a layer of it that has the selection as its transparency mask.")
        self.reuse = _button("Reuse", "Put its prompt, seed and settings into the fields above.")
        self.discard = _button("Discard", "Throw the picture that is shown away.")
        self.buttons = QtWidgets.QWidget()
        buttons = QtWidgets.QGridLayout(self.buttons)
        buttons.setContentsMargins(0, 0, 0, 0)
        buttons.setSpacing(GAP)
        for place, button in enumerate((self.apply, self.apply_mask, self.reuse, self.discard)):
            buttons.addWidget(button, place // 2, place % 2)
            buttons.setColumnStretch(place % 2, 1)
        self.waiting = Sentence()
        self.take = _button("Take them here", "Add them to the results of this document.")
        self.setLayout(column(None, self.tiles, self.buttons, self.waiting, self.take))
        self.tiles.clicked_tile.connect(lambda key, _held: self._click(key))
        self.apply.clicked.connect(lambda: self._with_shown(presenter.apply))
        self.apply_mask.clicked.connect(lambda: self._with_shown(lambda key: presenter.apply(key, transparency_mask=True)))
        self.reuse.clicked.connect(lambda: self._with_shown(presenter.reuse))
        self.take.clicked.connect(lambda: presenter.take_waiting())
        self.discard.clicked.connect(lambda: self._with_shown(presenter.discard))

    def shown(self) -> Result | None:
        """The result that is previewed on the canvas."""
        return next((result for result in self._presenter.results if result.shown), None)

    def _with_shown(self, act: object) -> None:
        result = self.shown()
        if result is not None and callable(act):
            act(result.key)

    def _click(self, key: str) -> None:
        shown = self.shown()
        self._presenter.show(None if shown is not None and shown.key == key else key)

    def refresh(self, _names: frozenset[str]) -> None:
        """Show the results."""
        self.waiting.say(self._presenter.waiting)
        self.take.setVisible(bool(self._presenter.waiting))
        results = self._presenter.results
        self._pixmaps.keep(result.thumbnail for result in results)
        self.tiles.put(tuple(self._tile(result) for result in results))
        self.buttons.setVisible(bool(results))
        for button in (self.apply, self.apply_mask, self.reuse, self.discard):
            button.setEnabled(self.shown() is not None)

    def _tile(self, result: Result) -> Tile:
        similarity = "–" if result.similarity is None else f"{result.similarity:.2f}"
        tip = [
            result.prompt or "Without a prompt.",
            f"Seed {result.seed}, {result.bounds.width} x {result.bounds.height} pixels.",
            "No similarity was measured." if result.similarity is None else f"Similarity to the character: {similarity}.",
            *(["It has been applied."] if result.applied else []),
            "Click to hide it on the canvas." if result.shown else "Click to see it on the canvas.",
        ]
        return Tile(result.key, similarity, self._pixmaps.of(result.thumbnail), "\n".join(tip), result.shown, result.applied)


def _button(words: str, tip: str) -> QtWidgets.QPushButton:
    button = QtWidgets.QPushButton(words)
    button.setToolTip(tip)
    button.setMinimumWidth(60)
    return button
