"""Named people, kept on this computer: photos, what recognisers read of them, and a thumbnail. Standard library only.

Each character is one folder with a name that means nothing, made elsewhere and moved into place at once: it is there whole or not at all.
What a recogniser read is a file of its own, `reading-SHA256`, so that another recogniser's can be added later. Embeddings say who somebody
is, so the folders are for this user alone, and deleting deletes everything.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated

from protocol.codec import Codec
from protocol.discovery import make_private_folder, write_private
from protocol.errors import LikenessError, NameTaken, UnknownModel
from protocol.frozen import frozen
from protocol.geometry import Extent
from protocol.jobs import About, Reading
from protocol.limits import PHOTOS, RECOGNISERS, Between, Fraction, Items, JobId, Name, Similarity
from protocol.planes import Plane
from protocol.results import CharacterCard

from .planefile import map_planes, write_planes

_FLOAT = 4
_EMBEDDING = 512 * _FLOAT
_KEYPOINTS = 10 * _FLOAT
_READING = "reading-"


@frozen
class Record:
    """What a character's file says. `extent` is the size of the first photo, in which its keypoints lie; `order` grows with each save."""

    name: Name
    made_by: JobId
    """The job that made it: the same job, run again, may write it again."""
    thumbnail: Plane
    extent: Extent
    order: Annotated[int, Between(0, 2**53)] = 0
    photos: Annotated[tuple[Plane, ...], Items(PHOTOS)] = ()
    scores: Annotated[tuple[Fraction, ...], Items(PHOTOS)] = ()
    alike: Annotated[tuple[Similarity, ...], Items(PHOTOS)] = ()
    about: About = field(default_factory=About)

    @property
    def card(self) -> CharacterCard:
        """What a host shows."""
        return CharacterCard(self.name, self.thumbnail, self.scores, self.alike)


@frozen
class Numbers:
    """What versions before readings kept, as bytes of float32: embedding (512,), embeddings (n, 512), keypoints (5, 2) of the first photo.

    They did not note which recogniser the numbers are of.
    """

    embedding: bytes
    embeddings: bytes
    keypoints: bytes


class CharacterStore:
    """The characters in `folder`. Several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._codec = Codec[Record]((Record,))

    def cards(self) -> list[CharacterCard]:
        """All, sorted by name."""
        return [record.card for _, record in sorted(self._records().items())]

    def kept(self, name: str) -> tuple[Record, tuple[Reading, ...]]:
        """All that is kept of a character, except what an older version kept; raises `UnknownModel`."""
        home, record = self._find(name)
        return record, _readings(home)

    def old_numbers(self, name: str) -> tuple[Numbers, Extent] | None:
        """What an older version kept of a character, or None; raises `UnknownModel`."""
        home, record = self._find(name)
        try:
            numbers = (home / "identity").read_bytes()
        except OSError:
            return None
        embedding, rest = numbers[:_EMBEDDING], numbers[_EMBEDDING:]
        return Numbers(embedding, rest[:-_KEYPOINTS], rest[-_KEYPOINTS:]), record.extent

    def add_reading(self, stamp: str, reading: Reading) -> None:
        """Keep what one more recogniser read of the character that had this stamp; nothing, if it was replaced or deleted meanwhile."""
        home = self._folder / stamp
        if len(_readings(home)) < RECOGNISERS:
            with suppress(FileNotFoundError):
                write_private(home / f"{_READING}{reading.sha256}", _bytes_of(reading))

    def stamp(self, name: str) -> str:
        """Another text after each change of who that is: a key for caches."""
        return self._find(name)[0].name

    def check_name(self, name: str, made_by: str, replace_it: bool) -> None:
        """Raise `NameTaken` if this job may not save under this name."""
        taken = self._records().get(name)
        if taken is not None and not replace_it and taken.made_by != made_by:
            raise NameTaken(f"There is a character called {name!r} already. {NameTaken.cure}")

    def save(self, record: Record, readings: Sequence[Reading], replace_it: bool = False) -> CharacterCard:
        """Keep a character; raises `NameTaken`. Saving the same twice is one character."""
        self.check_name(record.name, record.made_by, replace_it)
        make_private_folder(self._folder)
        old = [home for home, kept in self._all() if kept.name == record.name]
        record = replace(record, order=max((kept.order for _, kept in self._all()), default=0) + 1)
        new = self._folder / f"{uuid.uuid4().hex}.new"
        new.mkdir(mode=0o700)
        header, planes = self._codec.encode_header(record)
        write_planes(new / "planes", planes)
        for reading in readings:
            write_private(new / f"{_READING}{reading.sha256}", _bytes_of(reading))
        write_private(new / "record", header)
        os.replace(new, new.with_suffix(""))
        for home in old:
            shutil.rmtree(home, ignore_errors=True)
        return record.card

    def rename(self, name: str, to: str) -> None:
        """Give a character another name; raises `UnknownModel` or `NameTaken`."""
        home, record = self._find(name)
        if to != name:
            self.check_name(to, "", replace_it=False)
            write_private(home / "record", self._codec.encode_header(replace(record, name=to))[0])

    def delete(self, name: str) -> None:
        """Delete a character with its photos; raises `UnknownModel`."""
        self._find(name)
        for home, record in self._all():
            if record.name == name:
                shutil.rmtree(home, ignore_errors=True)

    # Inside ----------------------------------------------------------------------------------------------------------------------------
    def _find(self, name: str) -> tuple[Path, Record]:
        found = [(record.order, home, record) for home, record in self._all() if record.name == name]
        if not found:
            known = ", ".join(sorted(self._records())[:20]) or "none yet"
            raise UnknownModel(f"There is no character called {name!r}. Saved: {known}.")
        _, home, record = max(found, key=lambda each: each[0])
        return home, record

    def _records(self) -> dict[str, Record]:
        """By name; where a death between two steps left two, the later one counts."""
        return {record.name: record for _, record in sorted(self._all(), key=lambda each: each[1].order)}

    def _all(self) -> list[tuple[Path, Record]]:
        found: list[tuple[Path, Record]] = []
        if self._folder.is_dir():
            for home in self._folder.iterdir():
                if not home.suffix and (record := self._read(home)) is not None:
                    found.append((home, record))
        return found

    def _read(self, home: Path) -> Record | None:
        """A character, or None for a folder that is damaged or just being deleted: one bad folder must not hide the others."""
        try:
            header = (home / "record").read_bytes()
            return self._codec.decode_header(header, map_planes(home / "planes", self._codec.plane_lengths(header)))
        except (OSError, LikenessError, ValueError):
            return None


def _readings(home: Path) -> tuple[Reading, ...]:
    """What is kept of a character by every recogniser that read it; a damaged file is as if it were not there."""
    from protocol.desk.character_file import reading_of_bytes

    found: list[Reading] = []
    for file in sorted(home.glob(f"{_READING}*")):
        if not file.suffix:
            with suppress(OSError, LikenessError):
                found.append(reading_of_bytes(file.read_bytes()))
    return tuple(found)


def _bytes_of(reading: Reading) -> bytes:
    from protocol.desk.character_file import reading_bytes  # late, with its ZIPs: the server says its first hello before it has a character

    return reading_bytes(reading)
