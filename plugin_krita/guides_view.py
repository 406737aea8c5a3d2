"""Layers that lend something to the picture: image prompts (style, composition, …) and guides (depth, lines, a skeleton …)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .advanced_view import chosen_model
from .form import GuideRow, PromptRow
from .glyphs import GlyphButton, IconSource
from .numbers import Slider
from .protocol.jobs import GuideKind, Lends
from .qt import QtWidgets
from .view import Choice
from .widgets import Choices, Sentence, column, row

if TYPE_CHECKING:
    from .presenter import Presenter

Kinds = tuple[tuple[str, object], ...]
"""What can be chosen: words and values."""
LENDS: Kinds = (
    ("style", Lends.STYLE.value),
    ("composition", Lends.COMPOSITION.value),
    ("face", Lends.FACE.value),
    ("everything", Lends.ALL.value),
)
KINDS: Kinds = tuple((kind.value, kind.value) for kind in GuideKind if kind is not GuideKind.KEYPOINTS)


@dataclass(frozen=True)
class Lending:
    """What a list of layers is for. `field` is the form's name of its rows, `kind` the name of what can be chosen in each of them."""

    field: str
    kind: str
    most: int
    words: str
    """On the button that adds one."""
    tip: str
    row: Callable[[str, str], PromptRow | GuideRow]
    """From a layer's key and what is chosen to a row with the usual weight."""
    kinds: Callable[[Choice | None], Kinds]
    """What can be chosen with a model; None: no model is known yet. The first is chosen for a new row."""


def _guide_kinds(model: Choice | None) -> Kinds:
    """Those of the model; all while none is known."""
    return KINDS if model is None else tuple(kind for kind in KINDS if kind[1] in model.guides)


IMAGE_PROMPTS = Lending(
    field="image_prompts",
    kind="lends",
    most=8,
    words="Add an image prompt",
    tip="An image prompt is a layer that lends its style, its composition, its face or everything.",
    row=PromptRow,
    kinds=lambda _model: LENDS,
)
GUIDES = Lending(
    field="guides",
    kind="kind",
    most=7,
    words="Add a guide",
    tip="A guide is a layer with depth, lines, edges, normals or a skeleton that the new picture follows.",
    row=GuideRow,
    kinds=_guide_kinds,
)


class LayerRow(QtWidgets.QWidget):
    """One layer, what it lends, and how strongly. `changed` is told the values that the artist set, `removed` that it is to go."""

    def __init__(self, tip: str, icons: IconSource, changed: Callable[[str, object], None], removed: Callable[[], None]) -> None:
        """`changed` gets "layer", "kind" or "weight", and the value."""
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
        self.layer.picked.connect(lambda key: changed("layer", key))
        self.kind.picked.connect(lambda kind: changed("kind", kind))
        self.weight.moved.connect(lambda value: changed("weight", value))
        self.remove.clicked.connect(lambda: removed())


class LayerList(QtWidgets.QWidget):
    """The layers that lend something, with a button that adds the active one."""

    def __init__(self, presenter: Presenter, lending: Lending, icons: IconSource) -> None:
        super().__init__()
        self._presenter, self._lending, self._icons = presenter, lending, icons
        self.cards: list[LayerRow] = []
        self._column = column()
        self.add = QtWidgets.QToolButton()
        self.add.setText(lending.words)
        self.add.setToolTip(lending.tip)
        self.add.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self.setLayout(column(None, self._column, self.add))
        self.add.clicked.connect(self.add_active)

    def kinds(self) -> Kinds:
        """What such a layer can be with the chosen model."""
        return self._lending.kinds(chosen_model(self._presenter.models, self._presenter.form.model))

    def rows(self) -> tuple[Any, ...]:
        """The form's rows."""
        return getattr(self._presenter.form, self._lending.field)

    def add_active(self) -> None:
        """Take the active layer, or the topmost one."""
        layers, kinds = self._presenter.layers, self.kinds()
        active = next((layer for layer in layers if layer.active), layers[0] if layers else None)
        if active is not None and kinds:
            self._put((*self.rows(), self._lending.row(active.key, str(kinds[0][1]))))

    def set_value(self, number: int, name: str, value: object) -> None:
        """Set "layer", "kind" or "weight" of one row."""
        name = self._lending.kind if name == "kind" else name
        self._put(tuple(replace(old, **{name: value}) if place == number else old for place, old in enumerate(self.rows())))

    def take_out(self, number: int) -> None:
        """Remove one row."""
        self._put(tuple(old for place, old in enumerate(self.rows()) if place != number))

    def _put(self, rows: tuple[Any, ...]) -> None:
        self._presenter.change(**{self._lending.field: rows})

    def _card(self, number: int) -> LayerRow:
        return LayerRow(
            self._lending.tip,
            self._icons,
            lambda name, value: self.set_value(number, name, value),
            lambda: self.take_out(number),
        )

    def refresh(self) -> None:
        """Show the form's rows."""
        rows, kinds = self.rows(), self.kinds()
        while len(self.cards) > len(rows):
            card = self.cards.pop()
            self._column.removeWidget(card)
            card.hide()
            card.deleteLater()
        while len(self.cards) < len(rows):
            self.cards.append(self._card(len(self.cards)))
            self._column.addWidget(self.cards[-1])
        layers = tuple((layer.name, layer.key) for layer in self._presenter.layers)
        for card, values in zip(self.cards, rows):  # noqa: B905 - equally many
            chosen = getattr(values, self._lending.kind)
            card.layer.offer(layers, values.layer, "a layer that is gone")
            card.kind.offer(kinds, chosen, f"{chosen} (not with this model)")
            card.weight.put(values.weight)
        self.add.setEnabled(bool(layers) and bool(kinds) and len(rows) < self._lending.most)


class GuidesView(QtWidgets.QWidget):
    """Both lists."""

    WATCHES = frozenset({"form", "layers", "models", "document"})

    def __init__(self, presenter: Presenter, icons: IconSource) -> None:
        super().__init__()
        self._presenter = presenter
        self.image_prompts, self.guides = LayerList(presenter, IMAGE_PROMPTS, icons), LayerList(presenter, GUIDES, icons)
        self.words = Sentence()
        self.setLayout(column(None, self.image_prompts, self.guides, self.words))

    def refresh(self, _names: frozenset[str]) -> None:
        """Show the form."""
        self.image_prompts.refresh()
        self.guides.refresh()
        if not self._presenter.layers:
            self.words.say("Open a document with a layer first.")
        else:
            self.words.say("" if self.guides.kinds() else "This model takes no guides.")
