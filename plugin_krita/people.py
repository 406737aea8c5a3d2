"""Saved characters: the picker's list, renaming and deleting, and character files (the ZIP of backend/character_files.py)."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .desk import Answer, Desk
from .host import Host
from .protocol.errors import BadPicture, InvalidRequest, LikenessError, NameTaken
from .protocol.geometry import Point
from .protocol.jobs import AnalyseFaces, MakeCharacter
from .protocol.limits import MESSAGE_BYTES, PHOTOS
from .protocol.messages import CharacterPhotos, Characters
from .protocol.planes import Plane
from .protocol.results import CharacterCard, Faces, Outcome
from .view import Person

FORMAT = 1
_NOTE = "character.json"
MOST_PAGES = 100
PHOTO_BYTES = MESSAGE_BYTES // PHOTOS


class People:
    """`offer(name, photos, sentence)` is called with an imported character whose name is taken, so that it can be given another."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.persons: tuple[Person, ...] = ()
        self.offer: Callable[[str, tuple[Plane, ...], str], None] = lambda name, photos, sentence: None
        self._page: list[Person] = []
        self._asking = self._again = False
        self._poses: dict[str, tuple[Plane, tuple[Point, ...]]] = {}

    # The list --------------------------------------------------------------------------------------------------------------------------
    def refresh(self) -> None:
        """Ask for the whole list, page by page; the old one is shown until the new one is complete."""
        if self._asking:
            self._again = True
            return
        self._asking, self._page = True, []
        self._ask_page(None, 0)

    def disconnected(self) -> None:
        """No answer is to be expected any more."""
        self._asking = self._again = False

    def _ask_page(self, after: str | None, number: int) -> None:
        def take(answer: Answer) -> None:
            if not isinstance(answer, Characters):
                return
            self._page += [_person(card) for card in answer.characters]
            if answer.more and answer.characters and number < MOST_PAGES:
                self._ask_page(answer.characters[-1].name, number + 1)
                return
            self.persons, self._asking = tuple(self._page), False
            if self._again:
                self._again = False
                self.refresh()

        def failed(code: str, sentence: str) -> None:
            self._asking = False
            self._desk.say(sentence)

        self._desk.ask(self._desk.client.ask_characters(after), take, failed)

    # One character ---------------------------------------------------------------------------------------------------------------------
    def rename(self, old: str, new: str) -> None:
        """Give a character another name, also in the form."""
        new = new.strip()
        if new == old:
            return
        if not new:
            raise InvalidRequest("A character needs a name. Type at least one letter.")
        if any(person.name == new for person in self.persons):
            raise NameTaken(f"There is a character called {new!r} already. Choose another name, or delete that one first.")

        def done(answer: Answer) -> None:
            form = self._desk.form
            rows = tuple(replace(row, name=new) if row.name == old else row for row in form.persons)
            self._desk.form = form.changed(persons=rows)
            self.refresh()

        self._desk.ask(self._desk.client.rename_character(old, new), done)

    def delete(self, name: str) -> None:
        """Delete a character with all that is kept of it, and take it out of the form."""

        def done(answer: Answer) -> None:
            form = self._desk.form
            self._desk.form = form.changed(persons=tuple(row for row in form.persons if row.name != name))
            self.refresh()

        self._desk.ask(self._desk.client.delete_character(name), done)

    def export(self, name: str, path: str) -> None:
        """Write a character's photos as one file."""
        host = self._desk.host

        def take(answer: Answer) -> None:
            if isinstance(answer, CharacterPhotos):
                self._desk.background.do(
                    lambda: write_character(host, Path(path), answer.name, answer.photos),
                    lambda _: host.tell(f"{name} is written to {Path(path).name}."),
                    self._desk.say,
                )

        self._desk.ask(self._desk.client.export_character(name), take)

    def import_file(self, path: str) -> None:
        """Make a character from such a file."""
        host = self._desk.host
        self._desk.background.do(lambda: read_character(host, Path(path)), lambda read: self._make(*read), self._desk.say)

    def _make(self, name: str, photos: tuple[Plane, ...]) -> None:
        def failed(code: str, sentence: str) -> None:
            if code == NameTaken.code:
                self.offer(name, photos, sentence)
            else:
                self._desk.say(sentence)

        if any(person.name == name for person in self.persons):
            failed(NameTaken.code, f"There is a character called {name!r} already. Choose another name, or replace it.")
            return
        try:
            self._desk.errand(MakeCharacter(name, photos), lambda outcome: self.refresh(), failed)
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


def write_character(host: Host, path: Path, name: str, photos: tuple[Plane, ...]) -> None:
    """Write a character file, whole or not at all. Raises `InvalidRequest` for one without photos of its own."""
    if not photos:
        raise InvalidRequest(f"{name!r} is a blend of others and has no photos of its own. Export the people it is made of instead.")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_NOTE, json.dumps({"format": FORMAT, "name": name, "photos": len(photos)}, ensure_ascii=False))
        for number, photo in enumerate(photos, 1):
            archive.writestr(f"photo-{number}.png", host.png(photo))
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(data.getvalue())
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise InvalidRequest(f"{path} cannot be written: {error.strerror or error}. Choose another place.") from error


def read_character(host: Host, path: Path) -> tuple[str, tuple[Plane, ...]]:
    """Name and photos of a character file. Raises `BadPicture` when it is none, is damaged, or holds more than the limits allow."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(_NOTE).file_size > 4096:
                raise ValueError("the note is too long")
            note = json.loads(archive.read(_NOTE))
            count, name = int(note["photos"]), note["name"]
            if note["format"] != FORMAT or not 1 <= count <= PHOTOS or not isinstance(name, str) or not 1 <= len(name) <= 80:
                raise ValueError("another format")
            return name, tuple(_photo(host, archive, number) for number in range(1, count + 1))
    except OSError as error:
        raise BadPicture(f"{path} cannot be read: {error.strerror or error}. Choose another file.") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise BadPicture(f"{path.name} is no character that Likeness exported, or it is damaged. Export it again.") from error


def _photo(host: Host, archive: zipfile.ZipFile, number: int) -> Plane:
    info = archive.getinfo(f"photo-{number}.png")
    if info.file_size > PHOTO_BYTES:
        raise ValueError("a photo is too large")
    data = archive.read(info)
    # The size is read from the PNG's own header: a small file can hold a picture that fills the memory.
    if data[:8] != b"\x89PNG\r\n\x1a\n" or int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big") * 4 > PHOTO_BYTES:
        raise ValueError("no PNG, or too large")
    return host.from_png(data)


def _person(card: CharacterCard) -> Person:
    alike = min(card.alike) if len(card.alike) > 1 else None
    return Person(card.name, card.thumbnail, len(card.scores), min(card.scores, default=None), alike)
