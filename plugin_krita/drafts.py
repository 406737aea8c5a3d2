"""A new character before it is saved: its photos, the faces that were found on each, and which of them is meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from . import pixels
from .desk import Desk
from .host import CanvasProblem
from .protocol.desk.sentences import sentence_of
from .protocol.errors import InvalidRequest, LikenessError, NameTaken, NoFace
from .protocol.geometry import Bounds, Box, Extent
from .protocol.jobs import AnalyseFaces, MakeCharacter
from .protocol.limits import PHOTOS
from .protocol.planes import Plane
from .protocol.results import Faces, FoundFace, Outcome
from .view import DraftFace, DraftPhoto, Person

PHOTO_SIDE = 2048
"""Photos are brought to this size: faces are recognised at 112 pixels, and sixteen photos fit one message."""
AROUND = 0.6
"""Kept around a chosen face when a photo shows several, in lengths of its box: enough for the detector, little of the neighbours."""


class Drafts:
    """The photos in the order in which they were added."""

    def __init__(self, desk: Desk, persons: Callable[[], tuple[Person, ...]], saved: Callable[[], None]) -> None:
        self._desk, self._persons, self._saved = desk, persons, saved
        self.photos: tuple[DraftPhoto, ...] = ()
        self.name = ""
        self.sentence = ""
        self.faces: dict[int, int] = {}
        self._number = 0
        self._jobs: dict[int, str] = {}
        self._files: list[str] = []
        self._saving = False

    # Photos ----------------------------------------------------------------------------------------------------------------------------
    def from_layer(self) -> None:
        """The active layer's own pixels."""
        active = next((card for card in self._desk.host.layers() if card.active), None)
        if active is None:
            raise CanvasProblem("The active layer has no pixels of its own. Choose a paint layer with the person's photo.")
        _, plane = self._desk.host.layer_pixels(active.key)
        self._add(active.name, plane)

    def from_selection(self) -> None:
        """What is seen in the box of the selection."""
        card = self._desk.host.document()
        if card is None or card.selection is None:
            raise CanvasProblem("Nothing is selected. Select the head on the canvas first, with some room around it.")
        self._add("selection", self._desk.host.capture(card.selection).picture)

    def from_files(self, paths: list[str]) -> None:
        """Picture files; one is opened at each tick."""
        self._files += [str(path) for path in paths]

    def tick(self) -> None:
        """Open the next file."""
        if not self._files:
            return
        path = self._files.pop(0)
        try:
            self._add(Path(path).name, self._desk.host.open_picture(path))
        except LikenessError as error:
            self.sentence = sentence_of(error)

    def offer(self, name: str, photos: tuple[Plane, ...], sentence: str) -> None:
        """An imported character that cannot be saved under its name."""
        self.clear()
        for number, plane in enumerate(photos, 1):
            self._add(f"{name} {number}", plane)
        self.name, self.sentence = name, sentence

    def _add(self, label: str, plane: Plane) -> None:
        if len(self.photos) >= PHOTOS:
            raise InvalidRequest(f"A character takes {PHOTOS} photos at most; more change nothing that can be seen. Remove one first.")
        longest = max(plane.extent.width, plane.extent.height)
        if longest > PHOTO_SIDE:
            scale = PHOTO_SIDE / longest
            extent = Extent(max(1, round(plane.extent.width * scale)), max(1, round(plane.extent.height * scale)))
            plane = self._desk.host.scaled(plane, extent)
        self._number += 1
        number, self.sentence = self._number, ""
        self.photos = (*self.photos, DraftPhoto(number, label, plane))
        if not self.name:
            self.name = "" if label == "selection" else Path(label).stem[:80]
        self._look(number, plane)

    def _look(self, number: int, plane: Plane) -> None:
        def take(outcome: Outcome) -> None:
            found = outcome.faces if isinstance(outcome, Faces) else ()
            words = "" if found else f"No face was found in this photo. {NoFace.cure}"
            self._change(number, tuple(_face(face) for face in found), words)

        def failed(code: str, sentence: str) -> None:
            self._change(number, (), sentence)

        try:
            self._jobs[number] = self._desk.errand(AnalyseFaces(plane, model=self._desk.form.model), take, failed)
        except LikenessError as error:
            self._change(number, (), str(error))

    def _change(self, number: int, faces: tuple[DraftFace, ...], sentence: str) -> None:
        self._jobs.pop(number, None)
        self.photos = tuple(replace(photo, faces=faces, sentence=sentence) if photo.number == number else photo for photo in self.photos)
        if len(faces) > 1 and any(photo.number == number for photo in self.photos):
            self.faces = {number: 0, **self.faces}

    def remove(self, number: int) -> None:
        """Leave one photo out."""
        if (job := self._jobs.pop(number, None)) is not None:
            self._desk.drop(job)
        self.photos = tuple(photo for photo in self.photos if photo.number != number)
        self.faces = {key: face for key, face in self.faces.items() if key != number}
        self.sentence = ""
        if not self.photos:
            self.name = ""

    def choose(self, number: int, face: int) -> None:
        """Which face of a photo is meant, by its place in `DraftPhoto.faces`."""
        photo = next((one for one in self.photos if one.number == number), None)
        if photo is not None and photo.faces and 0 <= face < len(photo.faces):
            self.faces = {**self.faces, number: face}

    def rename(self, name: str) -> None:
        """The name under which it will be saved."""
        self.name, self.sentence = name[:80], ""

    def clear(self) -> None:
        """Throw the draft away."""
        for number in list(self._jobs):
            self._desk.drop(self._jobs.pop(number))
        self.photos, self.faces, self.name, self.sentence, self._files = (), {}, "", "", []

    # Saving ----------------------------------------------------------------------------------------------------------------------------
    def save(self, replace_it: bool) -> None:
        """Save it under its name; one that is taken is asked about first."""
        name = self.name.strip()
        self.sentence = self._why_not(name, replace_it)
        if self.sentence or self._saving:
            return
        photos = [(photo.picture, photo.faces or (), self.faces.get(photo.number, 0)) for photo in self.photos]
        self._saving, self.sentence = True, "Saving …"
        self._desk.background.do(
            lambda: tuple(_only(plane, faces, chosen) for plane, faces, chosen in photos),
            lambda planes: self._send(name, planes, replace_it),
            lambda sentence: self._failed("", sentence),
        )

    def _why_not(self, name: str, replace_it: bool) -> str:
        if not self.photos:
            return "There is no photo yet. Add one from a layer, the selection or a file."
        if not name:
            return "The character needs a name. Type one."
        if any(photo.faces is None for photo in self.photos):
            return "The photos are still being looked at. Wait a moment."
        if bad := next((photo for photo in self.photos if not photo.faces), None):
            return f"The photo {bad.label!r} shows no face that can be used. Remove it."
        if not replace_it and any(person.name == name for person in self._persons()):
            return f"There is a character called {name!r} already. Choose another name, or replace it."
        return ""

    def _send(self, name: str, planes: tuple[Plane, ...], replace_it: bool) -> None:
        job = MakeCharacter(name, planes, 0, replace_it, self._desk.form.model)
        try:
            self._desk.errand(job, lambda outcome: self._done(), self._failed)
        except LikenessError as error:
            self._failed(error.code, str(error))

    def _done(self) -> None:
        self._saving = False
        self.clear()
        self._saved()

    def _failed(self, code: str, sentence: str) -> None:
        self._saving = False
        self.sentence = sentence
        if code == NameTaken.code:
            self._saved()  # somebody else made it: the list is old


def _face(face: FoundFace) -> DraftFace:
    return DraftFace(face.box, face.keypoints, face.score)


def _only(plane: Plane, faces: tuple[DraftFace, ...], chosen: int) -> Plane:
    """The photo; cut to the chosen face's surroundings when that is not the largest, which is the one that would be taken."""
    if chosen <= 0 or chosen >= len(faces):
        return plane
    return pixels.crop(plane, _around(faces[chosen].box, plane.extent))


def _around(box: Box, extent: Extent) -> Bounds:
    margin = AROUND * max(box.right - box.left, box.bottom - box.top)
    left, top = max(0, int(box.left - margin)), max(0, int(box.top - margin))
    right, bottom = min(extent.width, int(box.right + margin) + 1), min(extent.height, int(box.bottom + margin) + 1)
    return Bounds(left, top, max(1, right - left), max(1, bottom - top))
