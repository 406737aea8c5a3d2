"""A new character while it is made: its photos with the faces that were found, which of them is meant, and its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .glyphs import GlyphButton, IconSource
from .protocol.geometry import Box
from .qt import Qt, QtCore, QtGui, QtWidgets
from .view import DraftPhoto
from .widgets import GAP, Elided, Picture, Sentence, column, row

if TYPE_CHECKING:
    from .presenter import Presenter


class FacesPicture(Picture):
    """A photo with a box and the detector's score around every face; a click on a box chooses its face."""

    chose = QtCore.pyqtSignal(int)
    """Index of the face that was clicked."""

    def __init__(self, tallest: int) -> None:
        super().__init__(tallest)
        self._photo: DraftPhoto | None = None
        self._chosen = 0

    def show_photo(self, photo: DraftPhoto, chosen: int) -> None:
        """Show this photo; `chosen`: index of the face that is meant."""
        if self._photo is None or photo.picture is not self._photo.picture:
            self.show_plane(photo.picture)
        self._photo, self._chosen = photo, chosen
        many = photo.faces is not None and len(photo.faces) > 1
        self.setToolTip("Click the face of the person that is meant." if many else "")
        self.setCursor(Qt.CursorShape.PointingHandCursor if many else Qt.CursorShape.ArrowCursor)
        self.update()

    def face_rect(self, box: Box) -> Any:  # a QRectF
        """Where a box of the photo lies in this widget."""
        assert self._photo is not None
        place, extent = self.picture_rect(), self._photo.picture.extent
        across, down = place.width() / extent.width, place.height() / extent.height
        corner = QtCore.QPointF(place.x() + box.left * across, place.y() + box.top * down)
        return QtCore.QRectF(corner, QtCore.QSizeF((box.right - box.left) * across, (box.bottom - box.top) * down))

    def paintEvent(self, event: Any) -> None:
        """The photo, then the boxes, the chosen one last."""
        super().paintEvent(event)
        if self._photo is None or not self._photo.faces:
            return
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        small = self.font()
        small.setPointSizeF(max(6.0, small.pointSizeF() * 0.85))
        painter.setFont(small)
        several = list(enumerate(self._photo.faces))
        for index, face in sorted(several, key=lambda pair: pair[0] == self._chosen):
            self._draw(painter, self.face_rect(face.box), f"{face.score:.2f}", index == self._chosen)

    def _draw(self, painter: Any, box: Any, score: str, chosen: bool) -> None:
        roles = QtGui.QPalette.ColorRole
        line = self.palette().color(roles.Highlight) if chosen else QtGui.QColor(0, 0, 0, 170)
        # A dark line below the coloured one, so that the box is seen on any photo.
        # The theme's lightest colour reads on the dark line in any theme.
        light = max((self.palette().color(role) for role in (roles.Text, roles.Base)), key=lambda colour: colour.lightness())
        ink = self.palette().color(roles.HighlightedText) if chosen else light
        wide = 3.0 if chosen else 1.0
        for colour, width in ((QtGui.QColor(0, 0, 0, 150), wide + 2), (line if chosen else ink, wide)):
            painter.setPen(QtGui.QPen(colour, width))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(box)
        metrics = QtGui.QFontMetricsF(painter.font())
        label = QtCore.QRectF(0, 0, metrics.horizontalAdvance(score) + 6, metrics.height())
        label.moveTopLeft(box.bottomLeft())
        if label.bottom() > self.height():
            label.moveBottomLeft(box.bottomLeft())
        label.moveRight(min(label.right(), float(self.width())))
        painter.fillRect(label, line)
        painter.setPen(ink)
        painter.drawText(label, Qt.AlignmentFlag.AlignCenter, score)

    def mousePressEvent(self, event: Any) -> None:
        """Choose the smallest face below the pointer: it lies in front of a larger box."""
        place = event.position() if hasattr(event, "position") else QtCore.QPointF(event.pos())
        faces = self._photo.faces if self._photo is not None and self._photo.faces else ()
        rects = [(index, self.face_rect(face.box)) for index, face in enumerate(faces)]
        hit = [(rect.width() * rect.height(), index) for index, rect in rects if rect.contains(place)]
        if hit:
            self.chose.emit(min(hit)[1])


class PhotoCard(QtWidgets.QWidget):
    """One photo of the draft with its label, a button that takes it out, and what is wrong with it."""

    def __init__(self, presenter: Presenter, number: int, icons: IconSource) -> None:
        super().__init__()
        self.picture = FacesPicture(240)
        self.label, self.words = Elided(), Sentence()
        self.remove = GlyphButton("cross", "Take this photo out.", icons)
        self.setLayout(column(None, row(self.label, self.remove), self.picture, self.words))
        self.layout().addStretch(1)
        self.remove.clicked.connect(lambda: presenter.draft_remove(number))
        self.picture.chose.connect(lambda face: presenter.draft_choose_face(number, face))

    def show_photo(self, photo: DraftPhoto, chosen: int) -> None:
        """Show this photo."""
        self.label.setText(photo.label)
        self.label.setToolTip(photo.label)
        self.picture.show_photo(photo, chosen)
        self.words.say(photo.sentence or _found(photo, chosen))


def _found(photo: DraftPhoto, chosen: int) -> str:
    if photo.faces is None:
        return "Looking for a face …"
    if not photo.faces:
        return "No face was found."
    return f"Face {chosen + 1} of {len(photo.faces)}. Click another one to choose it." if len(photo.faces) > 1 else ""


class DraftView(QtWidgets.QFrame):
    """The photos in one or two columns, the name, and Save."""

    WATCHES = frozenset({"draft", "draft_name", "draft_sentence", "draft_faces", "persons"})

    def __init__(self, presenter: Presenter, icons: IconSource, menu: Any) -> None:  # the menu that adds photos
        super().__init__()
        self._presenter, self._icons = presenter, icons
        self.cards: dict[int, PhotoCard] = {}
        self._grid = QtWidgets.QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(GAP + 2)
        self.name = QtWidgets.QLineEdit()
        self.name.setPlaceholderText("Name of the character")
        self.name.setMaxLength(80)
        self.words = Sentence()
        self.add = QtWidgets.QToolButton()
        self.add.setText("Add a photo")
        self.add.setToolTip("Several photos of one person make a better likeness than one.")
        self.add.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        self.add.setMenu(menu)
        self.add.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self.save = QtWidgets.QPushButton("Save")
        self.drop = QtWidgets.QPushButton("Cancel")
        self.drop.setToolTip("Forget these photos.")
        self.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
        self.setLayout(column(None, self._grid, self.add, self.name, self.words, row(self.save, self.drop)))
        self.layout().setContentsMargins(6, 4, 6, 6)
        self.name.textEdited.connect(presenter.draft_rename)
        self.name.returnPressed.connect(self._save)
        self.save.clicked.connect(self._save)
        self.drop.clicked.connect(lambda: presenter.draft_clear())
        self.hide()

    def refresh(self, names: frozenset[str]) -> None:
        """Show what changed."""
        if names & {"draft", "draft_faces"}:
            self._show_photos()
        if self.name.text() != self._presenter.draft_name:
            self.name.setText(self._presenter.draft_name)
        self.words.say(self._presenter.draft_sentence)
        self.save.setEnabled(bool(self._presenter.draft) and bool(self._presenter.draft_name.strip()))
        self.save.setText("Replace" if self._taken() else "Save")
        self.save.setToolTip("Save these photos in the place of the character of that name." if self._taken() else "Save the character.")

    def _taken(self) -> bool:
        return self._presenter.draft_name.strip() in {person.name for person in self._presenter.persons}

    def _save(self) -> None:
        if self.save.isEnabled():
            self._presenter.draft_save(replace=self._taken())

    def _show_photos(self) -> None:
        photos = self._presenter.draft
        gone = set(self.cards) - {photo.number for photo in photos}
        for number in gone:
            card = self.cards.pop(number)
            self._grid.removeWidget(card)
            card.hide()
            card.deleteLater()
        columns = 1 if len(photos) < 2 else 2
        self._grid.setColumnStretch(0, 1)
        self._grid.setColumnStretch(1, columns - 1)
        for place, photo in enumerate(photos):
            if photo.number not in self.cards:
                self.cards[photo.number] = PhotoCard(self._presenter, photo.number, self._icons)
            card = self.cards[photo.number]
            card.show_photo(photo, self._presenter.draft_faces.get(photo.number, 0))
            self._grid.addWidget(card, place // columns, place % columns)
