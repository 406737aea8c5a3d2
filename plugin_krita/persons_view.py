"""The characters that are in the picture: how strongly each is held, where it goes, and where the first one's face goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .face_editor import FaceEditor
from .form import PersonRow, Pose
from .glyphs import GlyphButton, IconSource
from .numbers import Slider
from .qt import QtWidgets
from .widgets import Choices, Elided, column, grid, row

if TYPE_CHECKING:
    from .presenter import Presenter

LIKENESS = "How strongly the face is made like the character (the image adapter's scale)."
STRUCTURE = "How strictly the face keeps to its five keypoints (IdentityNet's conditioning scale)."
POSES: tuple[tuple[str, object], ...] = (
    ("as on the canvas", Pose.CANVAS),
    ("as in the photo", Pose.PHOTO),
    ("five points by hand", Pose.HAND),
)


class PersonCard(QtWidgets.QWidget):
    """One character: likeness, structure, and with several of them its name and region."""

    def __init__(self, presenter: Presenter, number: int, icons: IconSource) -> None:
        super().__init__()
        self._presenter, self._number = presenter, number
        self.name = Elided()
        font = self.name.font()
        font.setBold(True)
        self.name.setFont(font)
        self.remove = GlyphButton("cross", "Take this character out of the picture.", icons)
        self.likeness = Slider("Likeness", LIKENESS, 0.0, 1.5)
        self.structure = Slider("Structure", STRUCTURE, 0.0, 1.5)
        self.region = Choices("Where this character is painted: everywhere, in the selection, or where a layer is opaque.")
        self.heading = QtWidgets.QWidget()
        column(self.heading, row(self.name, self.remove))
        self.where = QtWidgets.QWidget()
        column(self.where, grid((("Region", self.region),)))
        self.setLayout(column(None, self.heading, self.likeness, self.structure, self.where))
        self.likeness.moved.connect(lambda value: presenter.change_person(self._number, likeness=value))
        self.structure.moved.connect(lambda value: presenter.change_person(self._number, structure=value))
        self.region.picked.connect(lambda region: presenter.change_person(self._number, region=region))
        self.remove.clicked.connect(lambda: presenter.remove_person(self._number))

    def show_person(self, person: PersonRow, alone: bool) -> None:
        """Show this character's settings; `alone`: it is the only one."""
        self.name.setText(person.name)
        self.name.setToolTip(person.name)
        self.heading.setVisible(not alone)
        self.where.setVisible(not alone or person.region is not None)
        self.likeness.put(person.likeness)
        self.structure.put(person.structure)
        layers = tuple((layer.name, layer.key) for layer in self._presenter.layers)
        self.region.offer((("everywhere", None), ("the selection", "selection"), *layers), person.region, "a layer that is gone")


class PersonsView(QtWidgets.QWidget):
    """A card for each character in the picture, then the place of the first one's face."""

    WATCHES = frozenset({"form", "layers", "pose_picture", "pose_bounds", "pose_points"})

    def __init__(self, presenter: Presenter, icons: IconSource) -> None:
        super().__init__()
        self._presenter, self._icons = presenter, icons
        self.cards: list[PersonCard] = []
        self._column = column()
        self.pose = Choices(
            "Where the first character's face goes: over the face that the canvas has under the selection, "
            "framed as in its photo, or on five points that you move."
        )
        self._pose_row = QtWidgets.QWidget()
        column(self._pose_row, grid((("Face", self.pose),)))
        self.editor = FaceEditor(presenter)
        self.setLayout(column(None, self._column, self._pose_row, self.editor))
        self.pose.picked.connect(lambda pose: presenter.change(pose=pose))

    def refresh(self, names: frozenset[str]) -> None:
        """Show what changed."""
        form = self._presenter.form
        if names & {"form", "layers"}:
            self._show_cards(form.persons)
            self.pose.offer(POSES, form.pose)
            self._pose_row.setVisible(bool(form.persons))
            self.editor.setVisible(bool(form.persons) and form.pose is Pose.HAND)
        self.editor.refresh(names)

    def _show_cards(self, persons: tuple[PersonRow, ...]) -> None:
        while len(self.cards) > len(persons):
            card = self.cards.pop()
            self._column.removeWidget(card)
            card.hide()
            card.deleteLater()
        while len(self.cards) < len(persons):
            self.cards.append(PersonCard(self._presenter, len(self.cards), self._icons))
            self._column.addWidget(self.cards[-1])
        for card, person in zip(self.cards, persons):  # noqa: B905 - equally many
            card.show_person(person, len(persons) == 1)
