"""The settings that are right by themselves most of the time: negative prompt, seed, model, quality, guidance scale and the mask's edge."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from .form import Quality
from .glyphs import GlyphButton, IconSource
from .numbers import AutoNumber, Number
from .prompt_edit import PromptEdit
from .qt import QtWidgets
from .view import Choice
from .widgets import Choices, column, grid, row

if TYPE_CHECKING:
    from .presenter import Presenter

LARGEST_SEED = 2**31 - 1
MOST_GROWN = 1024
GROW = (
    "How many pixels around the selection are worked out with it, so that it fits in; only what is within the selection is shown. "
    "Below 0 the selection shrinks: so much of its edge stays nearly as it is."
)


def chosen_model(models: tuple[Choice, ...], named: str | None) -> Choice | None:
    """The model that will paint: the one that the form names, else the first."""
    return next((model for model in models if model.id == named), models[0] if models else None)


class AdvancedView(QtWidgets.QWidget):
    """A field for each, with plain labels."""

    WATCHES = frozenset({"form", "models"})

    def __init__(self, presenter: Presenter, icons: IconSource) -> None:
        super().__init__()
        self._presenter = presenter
        self._dice = random.SystemRandom()
        self.negative = PromptEdit("What is not to be seen (negative prompt)", 2)
        self.negative.setToolTip("The negative prompt: what the picture is to keep away from.")
        self.seed = Number("The same seed with the same settings makes the same picture. Typing one locks it.", 0, LARGEST_SEED)
        self.dice = GlyphButton("dice", "Throw the dice for another seed.", icons)
        self.lock = GlyphButton("unlocked", "", icons)
        self.lock.setCheckable(True)
        self.model = Choices("The model that paints.")
        self.quality = Choices("How many steps: a draft is quick, fine takes the longest.")
        self.guidance = AutoNumber("How strictly the picture keeps to the prompt (guidance scale).", (0.0, 30.0), 0.5, 1)
        self.feather = AutoNumber("How softly the painted part goes over into the canvas, in pixels.", (0, 1024), 1, 0, " px")
        self.grow = Number(GROW, -MOST_GROWN, MOST_GROWN)
        self.grow.setSuffix(" px")
        self.live = QtWidgets.QCheckBox("Show the picture under way")
        self.live.setToolTip("Show it on the canvas and in the docker while it is painted. It gets clearer with every step.")
        seed = row(self.seed, self.dice, self.lock)
        seed.setStretch(0, 1)
        fields = grid(
            (
                ("Seed", seed),
                ("Model", self.model),
                ("Quality", self.quality),
                ("Guidance scale", self.guidance),
                ("Feather", self.feather),
                ("Grow", self.grow),
            )
        )
        self.setLayout(column(None, self.negative, fields, self.live))
        self.negative.edited.connect(lambda words: presenter.change(negative=words))
        self.negative.sent.connect(lambda: presenter.generate())
        self.seed.typed.connect(lambda seed: presenter.change(seed=seed, seed_locked=True))
        self.dice.clicked.connect(lambda: presenter.change(seed=self._dice.randint(0, LARGEST_SEED), seed_locked=True))
        self.lock.clicked.connect(lambda locked: presenter.change(seed_locked=bool(locked)))
        self.model.picked.connect(lambda model: presenter.change(model=model))
        self.quality.picked.connect(lambda quality: presenter.change(quality=quality))
        self.guidance.typed.connect(lambda value: presenter.change(guidance_scale=value))
        self.feather.typed.connect(lambda value: presenter.change(feather=value))
        self.grow.typed.connect(lambda value: presenter.change(grow=value))
        self.live.clicked.connect(lambda on: presenter.change(live_preview=bool(on)))

    def refresh(self, _names: frozenset[str]) -> None:
        """Show the form and the models on offer."""
        form, models = self._presenter.form, self._presenter.models
        self.negative.put(form.negative)
        self.seed.put(form.seed)
        self.lock.setChecked(form.seed_locked)
        self.lock.turn("locked" if form.seed_locked else "unlocked")
        self.lock.tell(
            "The seed is locked: every Generate takes this one."
            if form.seed_locked
            else "Every Generate takes a new seed. Click to lock it."
        )
        self.model.offer(
            ((f"automatic ({models[0].title})" if models else "automatic", None), *((model.title, model.id) for model in models)),
            form.model,
            f"{form.model} (not installed)",
        )
        self.quality.offer(tuple((_quality(quality, chosen_model(models, form.model)), quality) for quality in Quality), form.quality)
        self.guidance.put(form.guidance_scale)
        self.feather.put(form.feather)
        self.grow.put(form.grow or 0)
        self.live.setChecked(form.live_preview)


def _quality(quality: Quality, chosen: Choice | None) -> str:
    """The preset's name, with its steps where the model is known."""
    return quality.value if chosen is None else f"{quality.value} ({max(1, round(chosen.steps * quality.share))} steps)"
