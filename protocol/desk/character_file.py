"""A character as one file, `anna.likeness`: safetensors whose notes say who it is, with what recognisers read of the person.

The notes (`__metadata__`): `format`, `version`, `name`, `recognisers` (JSON: name, sha256 of the ONNX file, embedding length, number of
photos), `consent`, `licence`, `made_at`, `made_by`. The tensors, n photos each:

    reading.K.mean        F32 (512,)       the person's own embedding: raw, not normalised
    reading.K.embeddings  F32 (n, 512)     of each photo, raw
    reading.K.norms       F32 (n,)         their lengths, by which damage is noticed
    reading.K.keypoints   F32 (n, 5, 2)    in pixels of the photo
    reading.K.extents     I32 (n, 2)       the photo's width and height
    scores                F32 (n,)         the detector's
    thumbnail             U8  (h, w, 3)    RGB
    photo.K               U8  (bytes,)     a PNG; only where whoever exported wanted the photos to travel

Whoever has no recogniser of the file reads its photos anew, if they are there. Nothing in a file is executed or unpacked to a disk.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import BadPicture, InvalidRequest
from ..geometry import Extent, Point
from ..jobs import About, ImportCharacter, MakeCharacter, Reading
from ..limits import COORDINATE, EMBEDDING_BYTES, PHOTOS, RECOGNISERS, SIDE
from ..messages import CharacterPhotos
from ..planes import Layout, Plane
from .character_zip import read_zip
from .photos import checked_png
from .tensors import Damaged, Tensor, pack, read, unpack

FORMAT, VERSION = "likeness-character", 1
NUMBERS = EMBEDDING_BYTES // 4
THUMBNAIL_SIDE = 512
"""Of the largest thumbnail that is read; ours have 96 pixels a side."""
_NAME, _NOTE, _WORDS = 80, 256, 1000
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class CharacterFile:
    """What a character file holds; `photos` are PNG. Files of older versions have photos only."""

    name: str
    readings: tuple[Reading, ...] = ()
    photos: tuple[bytes, ...] = field(default=(), repr=False)
    thumbnail: Plane | None = None
    scores: tuple[float, ...] = ()
    about: About = field(default_factory=About)
    made_at: str = ""
    made_by: str = ""

    def job(
        self, photos: Sequence[Plane], name: str = "", replace: bool = False, model: str | None = None
    ) -> ImportCharacter | MakeCharacter:
        """What has the backend save the person; `photos` are those of the file, opened."""
        if self.thumbnail is None or not self.readings:
            return MakeCharacter(name or self.name, tuple(photos), None, replace, model)
        return ImportCharacter(name or self.name, self.thumbnail, self.readings, tuple(photos), self.scores, self.about, replace, model)

    @property
    def notice(self) -> str:
        """What whoever imports it should know, as sentences; empty if the file says nothing."""
        said = [f"It was made with {self.made_by}{f' on {self.made_at[:10]}' if self.made_at else ''}."] if self.made_by else []
        said += [f"Consent: {self.about.consent}"] if self.about.consent else []
        said += [f"Licence: {self.about.licence}"] if self.about.licence else []
        return " ".join(said)


def exported(answer: CharacterPhotos, photos: Sequence[bytes], made_at: str, about: About | None = None) -> CharacterFile:
    """A file of what the backend answered; `photos` as PNG, none to leave them out; `about` instead of what is noted."""
    by = f"Likeness {answer.release}".strip()
    return CharacterFile(answer.name, answer.readings, tuple(photos), answer.thumbnail, answer.scores, about or answer.about, made_at, by)


def needs_photos(answer: CharacterPhotos) -> bool:
    """Whether a file without photos would hold nobody: a character of an older version that was not read since.

    Raises `InvalidRequest` for one that has neither.
    """
    if not answer.readings and not answer.photos:
        raise InvalidRequest(
            f"{answer.name!r} was blended by an older version of Likeness, which did not note the recogniser. Blend it again, then export "
            "it."
        )
    return not answer.readings


def write_character_file(path: Path, character: CharacterFile) -> None:
    """Write the file, whole or not at all. Raises `InvalidRequest` for one that holds nobody, or when it cannot be written."""
    if not character.readings and not character.photos:
        raise InvalidRequest(f"{character.name!r} has neither photos nor what a recogniser read of them, so there is nothing to write.")
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(character_bytes(character))
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise InvalidRequest(f"{path} cannot be written: {error.strerror or error}. Choose another place.") from error


def read_character_file(path: Path) -> CharacterFile:
    """What a character file holds. Raises `BadPicture` when it is none, is damaged, or holds more than the limits allow."""
    try:
        with path.open("rb") as file:
            first = file.read(4)
        if first == b"PK\x03\x04":
            name, photos = read_zip(path)
            return CharacterFile(name, photos=photos)
        return _character(*read(path))
    except OSError as error:
        raise BadPicture(f"{path} cannot be read: {error.strerror or error}. Choose another file.") from error
    except Damaged as error:
        raise damaged(path, str(error)) from error


def damaged(path: Path, why: str = "") -> BadPicture:
    """What to say of a file that does not hold what it should."""
    because = f": {why}" if why else ""
    return BadPicture(f"{path.name} is no character that Likeness exported, or it is damaged{because}. Export it again.")


def character_bytes(character: CharacterFile) -> bytes:
    """The file's contents."""
    tensors: dict[str, Tensor] = {}
    for number, reading in enumerate(character.readings):
        tensors |= _reading_tensors(f"reading.{number}.", reading)
    if character.scores:
        tensors["scores"] = Tensor.floats(character.scores, len(character.scores))
    if character.thumbnail is not None:
        tensors["thumbnail"] = _thumbnail_tensor(character.thumbnail)
    tensors |= {f"photo.{number}": Tensor("U8", (len(photo),), photo) for number, photo in enumerate(character.photos)}
    recognisers = [
        {"name": reading.recogniser, "sha256": reading.sha256, "embedding": NUMBERS, "photos": len(reading.extents)}
        for reading in character.readings
    ]
    notes = {
        "format": FORMAT,
        "version": str(VERSION),
        "name": character.name,
        "recognisers": json.dumps(recognisers, ensure_ascii=False),
        "consent": character.about.consent,
        "licence": character.about.licence,
        "made_at": character.made_at,
        "made_by": character.made_by,
    }
    return pack(notes, tensors)


def reading_bytes(reading: Reading) -> bytes:
    """One reading alone, as the store keeps it: a character file without anything else."""
    return character_bytes(CharacterFile("reading", (reading,)))


def reading_of_bytes(data: bytes) -> Reading:
    """Such a reading again. Raises `BadPicture` if it is none."""
    try:
        return _character(*unpack(data)).readings[0]
    except (Damaged, IndexError) as error:
        raise BadPicture(f"What was read of a person is damaged: {error}. Make the character again.") from error


# Inside --------------------------------------------------------------------------------------------------------------------------------
def _character(notes: Mapping[str, str], tensors: Mapping[str, Tensor]) -> CharacterFile:
    if notes.get("format") != FORMAT:
        raise Damaged("its notes do not say that it is a character")
    if notes.get("version") != str(VERSION):
        raise Damaged(f"it is of version {notes.get('version', '')[:20]!r}, and this one reads version {VERSION}; update Likeness")
    rest = dict(tensors)
    entries = _recognisers(notes.get("recognisers", ""))
    readings = tuple(_reading(rest, number, entry) for number, entry in enumerate(entries))
    if len({reading.sha256 for reading in readings}) < len(readings):
        raise Damaged("it holds two readings of one recogniser")
    photos = tuple(
        checked_png(_take(rest, f"photo.{number}", "U8").data) for number in range(sum(key.startswith("photo.") for key in rest))
    )
    scores = _take(rest, "scores", "F32").as_floats() if "scores" in rest else ()
    thumbnail = _thumbnail(_take(rest, "thumbnail", "U8")) if "thumbnail" in rest else None
    if rest:
        raise Damaged(f"it holds {next(iter(rest))[:40]!r}, which no character has")
    if not readings and not photos:
        raise Damaged("it holds nobody")
    if len(photos) > PHOTOS or len(scores) > PHOTOS or not all(0 <= score <= 1 for score in scores):
        raise Damaged("it holds more photos than a character has, or scores outside of 0 to 1")
    about = About(_words(notes, "consent", _WORDS), _words(notes, "licence", _WORDS))
    made = _words(notes, "made_at", _NOTE), _words(notes, "made_by", _NOTE)
    return CharacterFile(_name(notes.get("name", "")), readings, photos, thumbnail, scores, about, *made)


def _recognisers(text: str) -> list[tuple[str, str, int]]:
    """Name, sha256 and number of photos of each reading."""
    try:
        entries = json.loads(text)
        found = [(_name(one["name"]), str(one["sha256"]), int(one["photos"])) for one in entries]
        lengths = {int(one["embedding"]) for one in entries}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise error if isinstance(error, Damaged) else Damaged("its note on recognisers cannot be read") from error
    if len(found) > RECOGNISERS or not all(1 <= photos <= PHOTOS for _, _, photos in found):
        raise Damaged("it holds more readings or photos than a character has")
    if lengths - {NUMBERS}:
        raise Damaged(f"its embeddings have {', '.join(map(str, sorted(lengths)))} numbers, and {NUMBERS} are read")
    if not all(re.fullmatch("[0-9a-f]{64}", sha256) for _, sha256, _ in found):
        raise Damaged("it does not say which recognisers its numbers are of")
    return found


def _reading_tensors(prefix: str, reading: Reading) -> dict[str, Tensor]:
    rows, count = bytes(reading.numbers.data), len(reading.extents)
    embeddings = Tensor("F32", (count, NUMBERS), rows[EMBEDDING_BYTES:])
    points = tuple(value for point in reading.keypoints for value in (point.x, point.y))
    sides = tuple(side for extent in reading.extents for side in (extent.width, extent.height))
    return {
        f"{prefix}mean": Tensor("F32", (NUMBERS,), rows[:EMBEDDING_BYTES]),
        f"{prefix}embeddings": embeddings,
        f"{prefix}norms": Tensor.floats(_norms(embeddings), count),
        f"{prefix}keypoints": Tensor.floats(points, count, 5, 2),
        f"{prefix}extents": Tensor.whole(sides, count, 2),
    }


def _reading(rest: dict[str, Tensor], number: int, entry: tuple[str, str, int]) -> Reading:
    """One reading, its tensors taken out of `rest`; raises `Damaged`."""
    name, sha256, count = entry
    prefix = f"reading.{number}."
    mean = _take(rest, f"{prefix}mean", "F32", (NUMBERS,))
    embeddings = _take(rest, f"{prefix}embeddings", "F32", (count, NUMBERS))
    norms = _take(rest, f"{prefix}norms", "F32", (count,)).as_floats()
    points = _take(rest, f"{prefix}keypoints", "F32", (count, 5, 2)).as_floats()
    sides = _take(rest, f"{prefix}extents", "I32", (count, 2)).as_whole()
    found = _norms(embeddings)
    honest = all(norm > 0 and math.isclose(norm, said, rel_tol=1e-3) for norm, said in zip(found, norms, strict=True))
    if not honest or not any(mean.as_floats()):
        raise Damaged("its embeddings do not have the lengths that it says")
    if not all(abs(value) <= COORDINATE for value in points) or not all(1 <= side <= SIDE for side in sides):
        raise Damaged("its keypoints or sizes of photos are outside of every picture")
    numbers = Plane(Layout.A8, Extent(EMBEDDING_BYTES, 1 + count), mean.data + embeddings.data)
    keypoints = tuple(Point(x, y) for x, y in zip(points[::2], points[1::2], strict=True))
    extents = tuple(Extent(width, height) for width, height in zip(sides[::2], sides[1::2], strict=True))
    return Reading(name, sha256, numbers, keypoints, extents)


def _norms(embeddings: Tensor) -> tuple[float, ...]:
    values = embeddings.as_floats()
    return tuple(math.sqrt(math.fsum(value * value for value in values[i : i + NUMBERS])) for i in range(0, len(values), NUMBERS))


def _take(rest: dict[str, Tensor], name: str, dtype: str, shape: tuple[int, ...] | None = None) -> Tensor:
    tensor = rest.pop(name, None)
    if tensor is None:
        raise Damaged(f"{name} is missing")
    if tensor.dtype != dtype or (shape is not None and tensor.shape != shape):
        raise Damaged(f"{name} is {tensor.dtype} of shape {list(tensor.shape)}, not {dtype} {list(shape or ())}".rstrip(" []"))
    return tensor


def _thumbnail_tensor(plane: Plane) -> Tensor:
    step, order = plane.layout.channels, {Layout.BGRA8: (2, 1, 0)}.get(plane.layout, (0, 1, 2))
    data, rgb = bytes(plane.data), bytearray(plane.extent.area * 3)
    for channel, source in enumerate(order):
        rgb[channel::3] = data[min(source, step - 1) :: step]
    return Tensor("U8", (plane.extent.height, plane.extent.width, 3), bytes(rgb))


def _thumbnail(tensor: Tensor) -> Plane:
    if len(tensor.shape) != 3 or tensor.shape[2] != 3 or not all(1 <= side <= THUMBNAIL_SIDE for side in tensor.shape[:2]):
        raise Damaged("its thumbnail is no small picture")
    return Plane(Layout.RGB8, Extent(tensor.shape[1], tensor.shape[0]), tensor.data)


def _name(value: object) -> str:
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= _NAME
        or _CONTROL.search(value)
        or "\n" in value
        or "\t" in value
        or "\r" in value
    ):
        raise Damaged("it has no usable name")
    return value


def _words(notes: Mapping[str, str], key: str, most: int) -> str:
    value = notes.get(key, "")
    if len(value) > most or _CONTROL.search(value):
        raise Damaged(f"its note {key!r} is too long, or no text")
    return value
