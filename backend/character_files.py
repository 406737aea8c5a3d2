"""A character as a file (`protocol.desk.character_file`), with its photos as planes: what scripts and commands use."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from protocol.desk.character_file import CharacterFile, damaged, exported, needs_photos, read_character_file, write_character_file
from protocol.jobs import About
from protocol.messages import CharacterPhotos
from protocol.planes import Plane

from . import images

_DAMAGED = (Image.DecompressionBombError, OSError, ValueError, SyntaxError)
"""What Pillow raises for a PNG that is cut off, or whose header lies."""


def write_character(path: Path, answer: CharacterPhotos, photos: bool = False, about: About | None = None) -> CharacterFile:
    """Write what the backend has of a character; an older file is replaced only when the new one is whole.

    The photos stay behind unless `photos`, or unless the file would hold nobody without them. `about` goes into the file instead of what
    the backend has noted. Raises `InvalidRequest` if there is nothing to write, or the file cannot be written.
    """
    wanted = needs_photos(answer) or photos
    pictures = [images.png_bytes(images.to_rgb(photo)) for photo in answer.photos] if wanted else []
    now = datetime.now(UTC).isoformat(timespec="seconds")
    character = exported(answer, pictures, now, about)
    write_character_file(path, character)
    return character


def read_character(path: Path) -> tuple[CharacterFile, tuple[Plane, ...]]:
    """What a character file holds, and its photos opened; nothing of it is unpacked to a disk.

    Raises:
        BadPicture: it is none, is damaged, or holds more than the limits allow.
    """
    character = read_character_file(path)
    return character, tuple(_opened(path, character.photos))


def _opened(path: Path, photos: Sequence[bytes]) -> list[Plane]:
    try:
        return [_plane(photo) for photo in photos]
    except _DAMAGED as error:
        raise damaged(path, "one of its photos cannot be opened") from error


def _plane(photo: bytes) -> Plane:
    with Image.open(io.BytesIO(photo), formats=["PNG"]) as image:
        return images.to_plane(images.from_pillow(image))
