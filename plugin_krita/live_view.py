"""What follows the brush: the newest live picture, what it follows, and the two things that can be done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .glyphs import GlyphButton, IconSource
from .qt import QtWidgets
from .widgets import Picture, Sentence, column, row

if TYPE_CHECKING:
    from .presenter import Presenter

TALLEST = 320
"""Pixels: larger than the preview of a picture under way, as this is what the artist looks at while she paints."""


class LiveView(QtWidgets.QWidget):
    """Takes no room while live is off."""

    def __init__(self, presenter: Presenter, icons: IconSource) -> None:
        super().__init__()
        self._presenter = presenter
        self.picture = Picture(TALLEST)
        self.words = Sentence()
        self.keep = QtWidgets.QPushButton("Keep")
        self.keep.setToolTip("Make a layer of this picture, at its place. One Undo takes it back.")
        self.full = QtWidgets.QPushButton("Make in full")
        self.full.setToolTip("Generate it in full size and quality, with this seed and these settings. It becomes alike, not the same.")
        self.dice = GlyphButton("dice", "Throw the dice: another seed for the live pictures.", icons)
        for button in (self.keep, self.full):
            button.setMinimumWidth(60)
        line = row(self.keep, self.full, self.dice)
        line.setStretch(0, 1)
        line.setStretch(1, 1)
        self.setLayout(column(None, self.words, self.picture, line))
        self.keep.clicked.connect(lambda: presenter.keep_live())
        self.full.clicked.connect(lambda: presenter.live_in_full())
        self.dice.clicked.connect(lambda: presenter.throw_live_dice())
        self._shown: object = None
        self.hide()

    def refresh(self) -> None:
        """Show what there is."""
        live = self._presenter.live
        self.setVisible(live is not None)
        picture = None if live is None else live.picture
        if picture is not self._shown:
            self._shown = picture
            self.picture.show_plane(picture)
        if live is not None:
            self.words.say(live.words)
            self.picture.setToolTip(live.tip)
            for button in (self.keep, self.full):
                button.setEnabled(picture is not None)
