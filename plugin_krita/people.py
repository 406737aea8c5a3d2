"""Saved characters: the picker's list, renaming and deleting, and character files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from .desk import Desk
from .host import Host
from .protocol.desk.character_file import CharacterFile, damaged, exported, needs_photos, read_character_file, write_character_file
from .protocol.desk.errands import Answer
from .protocol.desk.roster import Roster
from .protocol.errors import LikenessError, NameTaken
from .protocol.geometry import Point
from .protocol.jobs import AnalyseFaces
from .protocol.messages import CharacterPhotos
from .protocol.planes import Plane
from .protocol.results import CharacterCard, Faces, Outcome
from .view import Person


class People:
    """`offer(name, photos, sentence)` is called with an imported character whose name is taken, so that it can be given another."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.persons: tuple[Person, ...] = ()
        self.offer: Callable[[str, tuple[Plane, ...], str], None] = lambda name, photos, sentence: None
        self._roster = Roster(desk, self._listed)
        self._poses: dict[str, tuple[Plane, tuple[Point, ...]]] = {}

    def refresh(self) -> None:
        """Ask for the whole list; the old one is shown until the new one is complete."""
        self._roster.refresh()

    def _listed(self, cards: tuple[CharacterCard, ...]) -> None:
        self.persons = tuple(_person(card) for card in cards)

    # One character ---------------------------------------------------------------------------------------------------------------------
    def rename(self, old: str, new: str) -> None:
        """Give a character another name, also in the form."""

        def done(new: str) -> None:
            form = self._desk.form
            rows = tuple(replace(row, name=new) if row.name == old else row for row in form.persons)
            self._desk.form = form.changed(persons=rows)

        self._roster.rename(old, new, done)

    def delete(self, name: str) -> None:
        """Delete a character with all that is kept of it, and take it out of the form."""

        def done() -> None:
            form = self._desk.form
            self._desk.form = form.changed(persons=tuple(row for row in form.persons if row.name != name))

        self._roster.delete(name, done)

    def export(self, name: str, path: str, photos: bool = False) -> None:
        """Write a character as one file; its photos travel only if `photos`."""
        host = self._desk.host

        def take(answer: Answer) -> None:
            if isinstance(answer, CharacterPhotos):
                self._desk.background.do(
                    lambda: write_character(host, Path(path), answer, photos),
                    lambda _: host.tell(f"{name} is written to {Path(path).name}."),
                    self._desk.say,
                )

        self._desk.ask(self._desk.client.export_character(name, photos), take)

    def import_file(self, path: str) -> None:
        """Make a character from such a file."""
        host = self._desk.host
        self._desk.background.do(lambda: read_character(host, Path(path)), lambda read: self._bring(*read), self._desk.say)

    def _bring(self, character: CharacterFile, photos: tuple[Plane, ...]) -> None:
        """Save it; one whose name is taken becomes the draft where it has photos."""
        name = character.name

        def failed(code: str, sentence: str) -> None:
            if code == NameTaken.code and photos:
                self.offer(name, photos, sentence)
            elif code == NameTaken.code:
                self._desk.say(f"There is a character called {name!r} already. Rename or delete that one, then import the file again.")
            else:
                self._desk.say(sentence)

        def saved() -> None:
            if character.notice:
                self._desk.say(f"{name} is imported. {character.notice}")
            self.refresh()

        if any(person.name == name for person in self.persons):
            failed(NameTaken.code, f"There is a character called {name!r} already. Choose another name, or replace it.")
            return
        try:
            self._desk.errand(character.job(photos), lambda outcome: saved(), failed)
        except LikenessError as error:
            self._desk.blame(error)

    # Its pose --------------------------------------------------------------------------------------------------------------------------
    def pose_of(self, name: str, then: Callable[[tuple[Point, ...]], None], failed: Callable[[str], None]) -> None:
        """The five points of a character's face, measured on its thumbnail (a close-up of its first photo), in the thumbnail's pixels."""
        person = next((one for one in self.persons if one.name == name), None)
        if person is None:
            failed(f"There is no character called {name!r} any more. Choose another one.")
            return
        known = self._poses.get(name)
        if known is not None and known[0] == person.thumbnail:
            then(known[1])
            return
        none = f"The photo of {name} shows no face that could be measured. Choose “as on the canvas”, or place the five points by hand."

        def take(outcome: Outcome) -> None:
            if not isinstance(outcome, Faces) or not outcome.faces:
                failed(none)
                return
            self._poses[name] = (person.thumbnail, outcome.faces[0].keypoints)
            then(outcome.faces[0].keypoints)

        self._desk.errand(AnalyseFaces(person.thumbnail, model=self._desk.form.model), take, lambda code, sentence: failed(sentence))


def write_character(host: Host, path: Path, answer: CharacterPhotos, photos: bool) -> None:
    """Write a character file, whole or not at all. Raises `InvalidRequest` where there is nobody to write."""
    wanted = needs_photos(answer) or photos
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_character_file(path, exported(answer, [host.png(photo) for photo in answer.photos] if wanted else [], now))


def read_character(host: Host, path: Path) -> tuple[CharacterFile, tuple[Plane, ...]]:
    """What a character file holds. Raises `BadPicture` when it is none, is damaged, or holds more than the limits allow."""
    character = read_character_file(path)
    try:
        return character, tuple(host.from_png(photo) for photo in character.photos)
    except ValueError as error:
        raise damaged(path) from error


def _person(card: CharacterCard) -> Person:
    alike = min(card.alike) if len(card.alike) > 1 else None
    return Person(card.name, card.thumbnail, len(card.scores), min(card.scores, default=None), alike)
