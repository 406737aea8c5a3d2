"""The LoRAs that the picture is drawn with: a slider for each, and a chooser of those that the model has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .advanced_view import chosen_model
from .form import LoraRow
from .glyphs import GlyphButton, IconSource
from .numbers import Slider
from .protocol.desk.loras import MOST, beyond, gone, info_of, label_of, missing_words, offered
from .protocol.limits import LORAS
from .qt import QtWidgets
from .view import Choice
from .widgets import Choices, Sentence, column, row

if TYPE_CHECKING:
    from .presenter import Presenter

TIP = "How strongly this LoRA acts: 0 not at all, 1 as it was trained, below 0 against that."


class LoraCard(QtWidgets.QWidget):
    """One LoRA: its weight, and what is wrong with it or missing for it."""

    def __init__(self, presenter: Presenter, number: int, icons: IconSource) -> None:
        super().__init__()
        self.weight = Slider("", TIP, -MOST, MOST)
        self.remove = GlyphButton("cross", "Take this LoRA out.", icons)
        self.problem = Sentence()
        self.words = QtWidgets.QToolButton()
        self.words.setToolTip("This LoRA was trained with these trigger words. Click to put them at the end of the prompt.")
        self.words.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
        line = row(self.weight, self.remove)
        line.setStretch(0, 1)
        self.setLayout(column(None, line, self.problem, self.words))
        self.weight.moved.connect(lambda value: presenter.change_lora(number, value))
        self.remove.clicked.connect(lambda: presenter.remove_lora(number))
        self.words.clicked.connect(lambda: presenter.add_lora_words(number))

    def show_lora(self, lora: LoraRow, model: Choice | None, prompt: str) -> None:
        """Show this row as it stands with `model` and `prompt`."""
        info = info_of(model, lora.name)
        self.weight.setPrefix(f"{lora.name}: ")
        self.weight.setAccessibleName(lora.name)
        self.weight.setToolTip(f"{lora.name if info is None else label_of(info)}. {TIP} Drag, or double-click to type a number.")
        self.weight.put(lora.weight)
        self.problem.say(gone(lora, model))
        words = missing_words(lora, model, prompt)
        self.words.setText(f"Add to the prompt: {', '.join(words)}")
        self.words.setVisible(bool(words))


class LorasView(QtWidgets.QWidget):
    """A card for each, then the chooser."""

    WATCHES = frozenset({"form", "models"})

    def __init__(self, presenter: Presenter, icons: IconSource) -> None:
        super().__init__()
        self._presenter, self._icons = presenter, icons
        self.cards: list[LoraCard] = []
        self._column = column()
        self.add = Choices("LoRAs change how the model draws. Those of the chosen model are listed.")
        self.note = Sentence()
        self.setLayout(column(None, self._column, self.add, self.note))
        self.add.picked.connect(self._add)

    @property
    def needed(self) -> bool:
        """Whether there is anything to choose or to take out."""
        model = self._model()
        return bool(self._presenter.form.loras) or (model is not None and bool(model.loras))

    @property
    def title(self) -> str:
        """The section's heading, which counts what is chosen: it is often folded."""
        count = len(self._presenter.form.loras)
        return f"LoRAs ({count})" if count else "LoRAs"

    def _model(self) -> Choice | None:
        return chosen_model(self._presenter.models, self._presenter.form.model)

    def _add(self, name: object) -> None:
        if name:
            self._presenter.add_lora(str(name))
        self.add.setCurrentIndex(0)

    def refresh(self, _names: frozenset[str]) -> None:
        """Show the form's rows and what the model has besides."""
        form, model = self._presenter.form, self._model()
        while len(self.cards) > len(form.loras):
            card = self.cards.pop()
            self._column.removeWidget(card)
            card.hide()
            card.deleteLater()
        while len(self.cards) < len(form.loras):
            self.cards.append(LoraCard(self._presenter, len(self.cards), self._icons))
            self._column.addWidget(self.cards[-1])
        for card, lora in zip(self.cards, form.loras):  # noqa: B905 - equally many
            card.show_lora(lora, model, form.prompt)
        others = offered(form.loras, model)
        self.add.offer((("Add a LoRA …", ""), *((label_of(info), info.name) for info in others)), "")
        self.add.setVisible(bool(others))
        self.add.setEnabled(len(form.loras) < LORAS)
        self.note.say(beyond(model))
