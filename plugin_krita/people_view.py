"""The character picker: who is to be painted, with what can be done to a character. A new one's draft takes its place while it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .draft_view import DraftView
from .glyphs import GlyphButton, IconSource
from .qt import Qt, QtWidgets
from .tiles import Tile, Tiles
from .view import Person
from .widgets import Pixmaps, Sentence, column, row

if TYPE_CHECKING:
    from .presenter import Presenter

PICTURES = "Pictures (*.png *.jpg *.jpeg *.webp *.bmp *.tif *.tiff)"
CHARACTERS = "Characters (*.likeness *.zip)"
WITHOUT_PHOTOS = "Character (*.likeness)"
WITH_PHOTOS = "Character with its photos (*.likeness)"
NOBODY = "No character yet. Make one from a layer, the selection or photos."


class Question(QtWidgets.QFrame):
    """A question inside the docker, with a field where words are asked for. Nothing waits for the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.setFrameShape(QtWidgets.QFrame.Shape.StyledPanel)
        self.words, self.field = Sentence(), QtWidgets.QLineEdit()
        self.yes, self.no = QtWidgets.QPushButton(), QtWidgets.QPushButton("Cancel")
        self.no.setToolTip("Do nothing.")
        layout = column(self, self.words, self.field, row(self.yes, self.no))
        layout.setContentsMargins(6, 6, 6, 6)
        self._then: Callable[[str], None] | None = None
        self.yes.setToolTip("Do it.")
        self.yes.clicked.connect(self._answer)
        self.field.returnPressed.connect(self._answer)
        self.no.clicked.connect(self.close_it)
        self.hide()

    def ask(self, words: str, yes: str, then: Callable[[str], None], given: str | None = None) -> None:
        """Show it. `then` is called with the field's words on yes; `given`: what the field holds at first, None for no field."""
        self._then = then
        self.words.say(words)
        self.yes.setText(yes)
        self.yes.setToolTip(f"{yes} the character.")
        self.field.setVisible(given is not None)
        self.field.setText(given or "")
        self.show()
        target = self.field if given is not None else self.no
        target.setFocus()
        self.field.selectAll()

    def close_it(self) -> None:
        """Nothing is done."""
        self._then = None
        self.hide()

    def _answer(self) -> None:
        then = self._then
        self.close_it()
        if then is not None:
            then(self.field.text().strip())

    def keyPressEvent(self, event: Any) -> None:
        """Escape is no."""
        if event.key() == Qt.Key.Key_Escape:
            self.close_it()
        else:
            super().keyPressEvent(event)


def source_menu(presenter: Presenter, parent: Any) -> Any:  # a QMenu
    """Where a photo of a person may come from."""
    menu = QtWidgets.QMenu(parent)
    menu.addAction("From the active layer").triggered.connect(lambda: presenter.draft_from_layer())
    menu.addAction("From the selection").triggered.connect(lambda: presenter.draft_from_selection())

    def files() -> None:
        paths, _ = QtWidgets.QFileDialog.getOpenFileNames(parent, "Photos of one person", "", PICTURES)
        if paths:
            presenter.draft_from_files(list(paths))

    menu.addAction("From files …").triggered.connect(files)
    return menu


class PeopleView(QtWidgets.QWidget):
    """The saved characters as pictures; a click takes one, with Ctrl several."""

    WATCHES = frozenset({"persons", "form", "draft", "draft_name", "draft_sentence", "draft_faces"})

    def __init__(self, presenter: Presenter, icons: IconSource) -> None:
        super().__init__()
        self._presenter = presenter
        self._pixmaps = Pixmaps(160)
        self.tiles = Tiles(62, 2.3, NOBODY)
        self.question = Question()
        self.new = QtWidgets.QToolButton()
        self.new.setText("New character")
        self.new.setToolTip("Make a character from one or more photos of a person.")
        self.new.setPopupMode(QtWidgets.QToolButton.ToolButtonPopupMode.InstantPopup)
        self.new.setMenu(source_menu(presenter, self))
        self.new.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self.more = GlyphButton("dots", "Rename, delete, export or import a character.", icons)
        self.more.clicked.connect(self._more_menu)
        self.draft = DraftView(presenter, icons, source_menu(presenter, self))
        self._picker = QtWidgets.QWidget()
        column(self._picker, self.tiles, self.question, row(self.new, self.more))
        self.setLayout(column(None, self._picker, self.draft))
        self.tiles.clicked_tile.connect(self._click)
        self.tiles.menu_wanted.connect(self._tile_menu)
        self.setAcceptDrops(True)

    def refresh(self, names: frozenset[str]) -> None:
        """Show what changed."""
        if names & {"persons", "form"}:
            inside = {person.name for person in self._presenter.form.persons}
            people = self._presenter.persons
            self._pixmaps.keep(person.thumbnail for person in people)
            self.tiles.put(tuple(self._tile(person, person.name in inside) for person in people))
        if names & DraftView.WATCHES:
            drafting = bool(self._presenter.draft)
            self._picker.setVisible(not drafting)
            self.draft.setVisible(drafting)
            self.draft.refresh(names)

    def _tile(self, person: Person, chosen: bool) -> Tile:
        photos = "one photo" if person.photos == 1 else f"{person.photos} photos"
        tip = [f"{person.name}, made of {photos}."]
        if person.score is not None:
            tip.append(f"The face was found with a score of {person.score:.2f}.")
        if person.alike is not None:
            tip.append(f"The photos' faces are alike by at least {person.alike:.2f}.")
        tip.append("Click to paint this character; with Ctrl, to add it to the picture or take it out.")
        return Tile(person.name, person.name, self._pixmaps.of(person.thumbnail), "\n".join(tip), chosen)

    def chosen_name(self) -> str:
        """The first character in the picture that is saved, or ""."""
        saved = {person.name for person in self._presenter.persons}
        return next((person.name for person in self._presenter.form.persons if person.name in saved), "")

    def _click(self, name: str, with_others: bool) -> None:
        self.pick(name, with_others)
        self.refresh(frozenset({"form"}))  # at once: a calm tick is slower than a hand

    def pick(self, name: str, with_others: bool) -> None:
        """Paint this character alone, or take it in or out beside the others. Its own settings stay."""
        rows = self._presenter.form.persons
        place = next((place for place, person in enumerate(rows) if person.name == name), None)
        if place is not None and (with_others or len(rows) == 1):
            self._presenter.remove_person(place)
        elif with_others or not rows:
            self._presenter.add_person(name)
        else:
            kept = 0 if place is None else place
            for other in reversed(range(len(rows))):
                if other != kept:
                    self._presenter.remove_person(other)
            if place is None:
                self._presenter.change_person(0, name=name)

    def _more_menu(self) -> None:
        self._tile_menu(self.chosen_name(), self.more.mapToGlobal(self.more.rect().bottomLeft()))

    def _tile_menu(self, name: str, place: Any) -> None:
        menu = QtWidgets.QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.fill_menu(menu, name)
        menu.popup(place)

    def fill_menu(self, menu: Any, name: str) -> None:  # a QMenu
        """What can be done to this character; without one only Import can be chosen."""
        menu.clear()
        what = f" “{name}”" if name else ""
        for words, act in (
            (f"Rename{what} …", lambda: self._rename(name)),
            (f"Delete{what} …", lambda: self._delete(name)),
            (f"Export{what} …", lambda: self._export(name)),
        ):
            action = menu.addAction(words)
            action.setEnabled(bool(name))
            action.triggered.connect(act)
        menu.addSeparator()
        menu.addAction("Import …").triggered.connect(self._import)

    def _rename(self, name: str) -> None:
        def then(new: str) -> None:
            if new and new != name:
                self._presenter.rename_character(name, new)

        self.question.ask(f"New name of “{name}”:", "Rename", then, name)

    def _delete(self, name: str) -> None:
        words = f"Delete “{name}” with its photos? This cannot be undone."
        self.question.ask(words, "Delete", lambda _: self._presenter.delete_character(name))

    def _export(self, name: str) -> None:
        kinds = f"{WITHOUT_PHOTOS};;{WITH_PHOTOS}"
        path, kind = QtWidgets.QFileDialog.getSaveFileName(self, f"Export “{name}”", f"{name}.likeness", kinds)
        if path:
            path = path if path.lower().endswith(".likeness") else f"{path}.likeness"
            self._presenter.export_character(name, path, kind == WITH_PHOTOS)

    def _import(self) -> None:
        path, _ = QtWidgets.QFileDialog.getOpenFileName(self, "Import a character", "", CHARACTERS)
        if path:
            self._presenter.import_character(path)

    def dragEnterEvent(self, event: Any) -> None:
        """Picture files may be dropped here."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:
        """They become photos of the character that is being made."""
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self._presenter.draft_from_files(paths)
