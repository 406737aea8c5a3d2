"""Saved characters, shared with Krita and with scripts: the backend's list, new ones, renaming, deleting, and character files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from .chores import Chores, Steps
from .protocol.desk.character_file import CharacterFile, exported, needs_photos, read_character_file, write_character_file
from .protocol.desk.errands import Answer, Errands
from .protocol.desk.roster import Roster
from .protocol.errors import InvalidRequest, LikenessError, NameTaken
from .protocol.jobs import About, ImportCharacter, MakeCharacter
from .protocol.limits import PHOTOS
from .protocol.messages import CharacterPhotos
from .protocol.planes import Plane
from .protocol.results import CharacterCard


class Pictures(Protocol):
    """What Blender does with picture files."""

    def png(self, plane: Plane, level: int = 1) -> Steps[bytes]:
        """A plane as PNG; with level 0 it is not compressed."""
        ...

    def open_png(self, data: bytes) -> Plane:
        """A PNG as a plane. Raises `LikenessError` when it is none."""
        ...


class People:
    """`renamed(old, new)` is called when a character has another name, with "" when it is gone."""

    def __init__(self, errands: Errands, chores: Chores, pictures: Pictures) -> None:
        self._errands, self._chores, self._pictures = errands, chores, pictures
        self._roster = Roster(errands, lambda cards: None)
        self.renamed: Callable[[str, str], None] = lambda old, new: None
        self.making = ""
        """The name of the character that is being made; "" when none is."""
        self.made = ""
        """The last that was made."""

    @property
    def cards(self) -> tuple[CharacterCard, ...]:
        """All of them, in the backend's order."""
        return self._roster.cards

    def refresh(self) -> None:
        """Ask for the list."""
        self._roster.refresh()

    def rename(self, old: str, new: str) -> None:
        """Give a character another name. Raises `InvalidRequest` for one that cannot be."""
        self._roster.rename(old, new, lambda new: self.renamed(old, new))

    def delete(self, name: str) -> None:
        """Delete a character with all that is kept of it."""
        self._roster.delete(name, lambda: self.renamed(name, ""))

    def make(self, name: str, photos: Sequence[Plane], face: int = 0, replace: bool = False, model: str = "") -> None:
        """Save a person from photos; `face` 0 is the largest face of each. Raises `InvalidRequest` for what cannot be."""
        name = name.strip()
        if not name:
            raise InvalidRequest("The character needs a name. Type one.")
        if not photos:
            raise InvalidRequest("There is no photo yet. Choose one or more picture files or images.")
        if len(photos) > PHOTOS:
            raise InvalidRequest(f"A character takes {PHOTOS} photos at most; more change nothing that can be seen. Choose fewer.")
        self._need_free(name, replace)
        self._send(MakeCharacter(name, tuple(photos), face or None, replace, model or None), name)

    def _need_free(self, name: str, replace: bool) -> None:
        if not replace and any(card.name == name for card in self.cards):
            raise NameTaken(f"There is a character called {name!r} already. Choose another name, or replace it.")

    def _send(self, job: MakeCharacter | ImportCharacter, name: str, notice: str = "") -> None:
        def failed(code: str, sentence: str) -> None:
            self.making = ""
            self._errands.say(sentence)
            if code == NameTaken.code:
                self.refresh()

        self._errands.errand(job, lambda outcome: self._done(name, notice), failed)
        self.making = name

    def _done(self, name: str, notice: str) -> None:
        self.making, self.made = "", name
        if notice:
            self._errands.say(f"{name} is imported. {notice}")
        self.refresh()

    def export(self, name: str, path: Path, photos: bool = False, about: About | None = None) -> None:
        """Write a character as one file; its photos travel only if `photos`. `about` instead of the notes that are kept with it."""

        def take(answer: Answer) -> None:
            if isinstance(answer, CharacterPhotos):
                self._chores.do(
                    self._written(path, answer, photos, about),
                    lambda _: self._errands.say(f"{name} is written to {path.name}."),
                    self._errands.say,
                )

        self._errands.ask(self._errands.client.export_character(name, photos), take)

    def _written(self, path: Path, answer: CharacterPhotos, wanted: bool, about: About | None) -> Steps[None]:
        photos: list[bytes] = []
        if needs_photos(answer) or wanted:
            for photo in answer.photos:
                photos.append((yield from self._pictures.png(photo)))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_character_file(path, exported(answer, photos, now, about))

    def import_file(self, path: Path, name: str = "", replace: bool = False) -> None:
        """Make a character from such a file, under its own name or this one; what the file says of consent and licence is said."""

        def then(read: tuple[CharacterFile, tuple[Plane, ...]]) -> None:
            try:
                self._bring(*read, name.strip(), replace)
            except LikenessError as error:
                self._errands.blame(error)

        self._chores.do(self._opened(path), then, self._errands.say)

    def _opened(self, path: Path) -> Steps[tuple[CharacterFile, tuple[Plane, ...]]]:
        character = read_character_file(path)
        planes: list[Plane] = []
        for photo in character.photos:
            planes.append(self._pictures.open_png(photo))  # Blender opens a file in one go
            yield
        return character, tuple(planes)

    def _bring(self, character: CharacterFile, photos: tuple[Plane, ...], name: str, replace: bool) -> None:
        name = name or character.name
        self._need_free(name, replace)
        self._send(character.job(photos, name, replace), name, character.notice)
