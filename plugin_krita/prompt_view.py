"""What is to be painted, and the way there: mode, prompt, Generate, and then progress, the live preview and what went wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .advanced_view import chosen_model
from .form import Form, Mode
from .glyphs import GlyphButton, IconSource
from .host import DocumentCard
from .live_view import LiveView
from .numbers import Number, Slider
from .prompt_edit import PromptEdit as PromptEdit
from .protocol.desk.loras import completion
from .qt import Qt, QtWidgets
from .widgets import Picture, Sentence, Toggle, column, row

if TYPE_CHECKING:
    from .presenter import Presenter

MODES = (
    (Mode.FILL, "Fill", "Paint what is selected anew (inpaint)."),
    (Mode.REFINE, "Refine", "Change what is selected, or the whole canvas, by the change strength (image-to-image)."),
    (Mode.EXPAND, "Expand", "Paint the transparent part of the selection or canvas, and a little over its border (outpaint)."),
    (Mode.NEW, "New", "Paint a new picture into the selection's box, or of the canvas's size."),
)


LIVE_OFF = "Live: small, quick pictures follow what you paint, as this mode would paint it. They stay in the docker."
LIVE_ON = "Live is on. Click to turn it off."


def aim(form: Form, document: DocumentCard | None) -> str:
    """One sentence on which pixels Generate will paint."""
    if document is None:
        return ""
    box = document.selection
    size = f"{box.width} x {box.height} px" if box is not None else f"{document.width} x {document.height} px"
    place = "the selection" if box is not None else "the canvas"
    return {
        Mode.FILL: f"Paints {place} anew, {size}.",
        Mode.REFINE: f"Changes {place}, {size}.",
        Mode.EXPAND: f"Paints what is transparent in {place}, {size}.",
        Mode.NEW: f"Paints a new picture into {place}, {size}.",
    }[form.mode]


class Notice(QtWidgets.QFrame):
    """What the artist must know, with the style's own sign for a warning and a cross that takes it away."""

    def __init__(self, icons: IconSource) -> None:
        super().__init__()
        self.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
        self.words = Sentence()
        sign = QtWidgets.QLabel()
        sign.setPixmap(self.style().standardIcon(QtWidgets.QStyle.StandardPixmap.SP_MessageBoxWarning).pixmap(16, 16))
        self.dismiss = GlyphButton("cross", "Take this notice away.", icons)
        line = row(sign, self.words, self.dismiss)
        line.setContentsMargins(6, 4, 2, 4)
        line.setStretch(1, 1)
        line.setAlignment(sign, Qt.AlignmentFlag.AlignTop)
        line.setAlignment(self.dismiss, Qt.AlignmentFlag.AlignTop)
        self.setLayout(line)
        self.hide()

    def say(self, words: str) -> None:
        """Show other words; without any it takes no room."""
        self.words.say(words)
        self.setVisible(bool(words))


class PromptView(QtWidgets.QWidget):
    """The heart of the docker."""

    WATCHES = frozenset({"form", "button", "can_generate", "why_not", "progress", "preview", "notice", "document", "live"})

    def __init__(self, presenter: Presenter, icons: IconSource) -> None:
        super().__init__()
        self._presenter = presenter
        self.modes = {mode: self._mode_button(mode, words, tip) for mode, words, tip in MODES}
        self.prompt = PromptEdit("What is to be seen? Shift+Return generates.", 4)
        self.prompt.setToolTip("Describe the picture. Shift+Return generates. After <lora: the model's LoRAs are listed.")
        self.prompt.completes = lambda before: completion(before, chosen_model(presenter.models, presenter.form.model))
        self.change = Slider("Change", "How much Refine changes: low keeps what is there, 1 keeps nothing.", 0.05, 1.0)
        self.words = Sentence()
        self.generate = QtWidgets.QPushButton()
        self.generate.setMinimumWidth(80)
        font = self.generate.font()
        font.setBold(True)
        self.generate.setFont(font)
        self.count = Number("How many pictures, 1 to 16. Each has a seed of its own.", 1, 16)
        self.count.setPrefix("× ")
        self.follow = Toggle("Live", "")
        self.following = LiveView(presenter, icons)
        self.bar = QtWidgets.QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setMinimumWidth(60)
        self.cancel = GlyphButton("cross", "Cancel the picture under way.", icons)
        self.progress = QtWidgets.QWidget()
        self.progress.setLayout(row(self.bar, self.cancel))
        self.progress.hide()
        self.live = Picture(200)
        self.live.setToolTip("The picture under way. It gets clearer with every step.")
        self.notice = Notice(icons)
        modes = row(*self.modes.values())
        modes.setSpacing(0)
        going = row(self.generate, self.count, self.follow)
        going.setStretch(0, 1)
        # What is small comes first: a picture must not push the bar and the notice out of sight.
        self.setLayout(
            column(None, modes, self.prompt, self.change, self.words, going, self.progress, self.notice, self.following, self.live)
        )
        self.prompt.edited.connect(lambda words: presenter.change(prompt=words))
        self.prompt.sent.connect(lambda: presenter.generate())
        self.change.moved.connect(lambda value: presenter.change(change=value))
        self.count.typed.connect(lambda value: presenter.change(count=value))
        self.generate.clicked.connect(lambda: presenter.generate())
        self.follow.clicked.connect(lambda on: presenter.turn_live(bool(on)))
        self.cancel.clicked.connect(lambda: presenter.cancel())
        self.notice.dismiss.clicked.connect(lambda: presenter.dismiss())

    def _mode_button(self, mode: Mode, words: str, tip: str) -> Toggle:
        button = Toggle(words, tip)
        button.setAutoExclusive(True)
        button.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        button.clicked.connect(lambda: self._presenter.change(mode=mode))
        return button

    def refresh(self, names: frozenset[str]) -> None:
        """Show what changed."""
        presenter = self._presenter
        if "form" in names:
            self.modes[presenter.form.mode].setChecked(True)
            self.prompt.put(presenter.form.prompt)
            self.change.put(presenter.form.change)
            self.change.setVisible(presenter.form.mode is Mode.REFINE)
            self.count.put(presenter.form.count)
            self.follow.setChecked(presenter.form.live)
            self.follow.setToolTip(LIVE_ON if presenter.form.live else LIVE_OFF)
        if names & {"form", "button", "can_generate", "why_not", "document"}:
            self.generate.setText(presenter.button)
            self.generate.setEnabled(presenter.can_generate)
            self.generate.setToolTip("Shift+Return in the prompt does the same." if presenter.can_generate else presenter.why_not)
            self.words.say(aim(presenter.form, presenter.document) if presenter.can_generate else presenter.why_not)
        if "live" in names:
            self.following.refresh()
        if "progress" in names:
            self._show_progress()
        if "preview" in names:
            self.live.show_plane(presenter.preview)
        if "notice" in names:
            self.notice.say(presenter.notice)

    def _show_progress(self) -> None:
        progress = self._presenter.progress
        self.progress.setVisible(progress is not None)
        if progress is not None:
            self.bar.setValue(round(min(1.0, max(0.0, progress.share)) * 1000))
            behind = f" (+{progress.waiting})" if progress.waiting else ""
            self.bar.setFormat(progress.words + behind)
            waiting = f" {progress.waiting} more of yours wait behind it." if progress.waiting else ""
            self.bar.setToolTip(progress.words + "." + waiting)
