"""Layers that lend something to the picture: image prompts (style, composition, …) and guides (depth, lines, a skeleton …)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .advanced_view import chosen_model
from .form import GuideRow, PromptRow
from .glyphs import GlyphButton, IconSource
from .numbers import Slider
from .protocol.jobs import GuideKind, Lends
from .qt import QtWidgets
from .widgets import Choices, Sentence, column, row

if TYPE_CHECKING:
    from .presenter import Presenter

LENDS: tuple[tuple[str, object], ...] = (
    ("style", Lends.STYLE.value),
    ("composition", Lends.COMPOSITION.value),
    ("face", Lends.FACE.value),
    ("everything", Lends.ALL.value),
)
KINDS: tuple[tuple[str, object], ...] = tuple((kind.value, kind.value) for kind in GuideKind if kind is not GuideKind.KEYPOINTS)


class LayerCard(QtWidgets.QWidget):
    """One layer, what it lends, and how strongly."""

    def __init__(self, list_of: Rows, number: int, tip: str, icons: IconSource) -> None:
        super().__init__()
        self.layer = Choices("The layer whose pixels are used.")
        self.kind = Choices(tip)
        self.weight = Slider("Weight", "How strongly this layer counts.", 0.0, 1.5)
        self.remove = GlyphButton("cross", "Take this layer out.", icons)
        choosers = row(self.layer, self.kind)
        choosers.setStretch(0, 1)
        choosers.setStretch(1, 1)
        strength = row(self.weight, self.remove)
        strength.setStretch(0, 1)
        self.setLayout(column(None, choosers, strength))
        self.layer.picked.connect(lambda key: list_of.set_values(number, layer=key))
        self.kind.picked.connect(lambda kind: list_of.set_values(number, **{list_of.KIND: kind}))
        self.weight.moved.connect(lambda value: list_of.set_values(number, weight=value))
        self.remove.clicked.connect(lambda: list_of.take_out(number))


class Rows(QtWidgets.QWidget):
    """A list of such layers with a button that adds the active one."""

    FIELD = ""
    KIND = ""
    WORDS = ""
    TIP = ""
    MOST = 0

    def __init__(self, presenter: Presenter, icons: IconSource) -> None:
        super().__init__()
        self._presenter, self._icons = presenter, icons
        self.cards: list[LayerCard] = []
        self._column = column()
        self.add = QtWidgets.QToolButton()
        self.add.setText(self.WORDS)
        self.add.setToolTip(self.TIP)
        self.add.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self.setLayout(column(None, self._column, self.add))
        self.add.clicked.connect(self.add_active)

    def new_row(self, layer: str) -> Any:  # noqa: ANN401 - a row of the form
        """A row for this layer with the usual values."""
        raise NotImplementedError

    def kinds(self) -> tuple[tuple[str, object], ...]:
        """What such a layer can be, as the model allows."""
        raise NotImplementedError

    def rows(self) -> tuple[Any, ...]:
        """The form's rows."""
        return getattr(self._presenter.form, self.FIELD)

    def add_active(self) -> None:
        """Take the active layer, or the topmost one."""
        layers = self._presenter.layers
        active = next((layer for layer in layers if layer.active), layers[0] if layers else None)
        if active is not None:
            self._presenter.change(**{self.FIELD: (*self.rows(), self.new_row(active.key))})

    def set_values(self, number: int, **values: object) -> None:
        """Set some values of one row."""
        changed = tuple(replace(old, **values) if place == number else old for place, old in enumerate(self.rows()))
        self._presenter.change(**{self.FIELD: changed})

    def take_out(self, number: int) -> None:
        """Remove one row."""
        self._presenter.change(**{self.FIELD: tuple(old for place, old in enumerate(self.rows()) if place != number)})

    def refresh(self) -> None:
        """Show the form's rows."""
        rows = self.rows()
        while len(self.cards) > len(rows):
            card = self.cards.pop()
            self._column.removeWidget(card)
            card.hide()
            card.deleteLater()
        while len(self.cards) < len(rows):
            self.cards.append(LayerCard(self, len(self.cards), self.TIP, self._icons))
            self._column.addWidget(self.cards[-1])
        layers = tuple((layer.name, layer.key) for layer in self._presenter.layers)
        for card, values in zip(self.cards, rows):  # noqa: B905 - equally many
            card.layer.offer(layers, values.layer, "a layer that is gone")
            card.kind.offer(self.kinds(), getattr(values, self.KIND), f"{getattr(values, self.KIND)} (not with this model)")
            card.weight.put(values.weight)
        self.add.setEnabled(bool(layers) and len(rows) < self.MOST)


class ImagePrompts(Rows):
    """Layers as image prompts."""

    FIELD, KIND, MOST = "image_prompts", "lends", 8
    WORDS = "Add an image prompt"
    TIP = "An image prompt is a layer that lends its style, its composition, its face or everything."

    def new_row(self, layer: str) -> PromptRow:
        """Style, at the usual weight."""
        return PromptRow(layer)

    def kinds(self) -> tuple[tuple[str, object], ...]:
        """All of them."""
        return LENDS


class Guides(Rows):
    """Layers as guides."""

    FIELD, KIND, MOST = "guides", "kind", 7
    WORDS = "Add a guide"
    TIP = "A guide is a layer with depth, lines, edges, normals or a skeleton that the new picture follows."

    def new_row(self, layer: str) -> GuideRow:
        """The first kind that the model has."""
        kinds = self.kinds()
        return GuideRow(layer, str(kinds[0][1])) if kinds else GuideRow(layer)

    def kinds(self) -> tuple[tuple[str, object], ...]:
        """Those of the chosen model; all while no model is known."""
        form, models = self._presenter.form, self._presenter.models
        chosen = chosen_model(models, form.model)
        return KINDS if chosen is None else tuple(kind for kind in KINDS if kind[1] in chosen.guides)


class GuidesView(QtWidgets.QWidget):
    """Both lists."""

    WATCHES = frozenset({"form", "layers", "models", "document"})

    def __init__(self, presenter: Presenter, icons: IconSource) -> None:
        super().__init__()
        self._presenter = presenter
        self.image_prompts, self.guides = ImagePrompts(presenter, icons), Guides(presenter, icons)
        self.words = Sentence()
        self.setLayout(column(None, self.image_prompts, self.guides, self.words))

    def refresh(self, _names: frozenset[str]) -> None:
        """Show the form."""
        self.image_prompts.refresh()
        self.guides.refresh()
        kinds = self.guides.kinds()
        self.guides.add.setEnabled(self.guides.add.isEnabled() and bool(kinds))
        if not self._presenter.layers:
            self.words.say("Open a document with a layer first.")
        else:
            self.words.say("" if kinds else "This model takes no guides.")
