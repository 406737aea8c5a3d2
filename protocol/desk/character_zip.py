"""Character files of the first version: a ZIP of a note and the photos as PNG. They are read, and no longer written."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path

from ..limits import PHOTOS
from .photos import PHOTO_BYTES, checked_png
from .tensors import Damaged

FORMAT = 1
_NOTE = "character.json"
_NOTE_BYTES = 4096


def read_zip(path: Path) -> tuple[str, tuple[bytes, ...]]:
    """Name and photos (PNG) of such a file; raises `Damaged`, and `OSError` if it cannot be read. Nothing is unpacked to a disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(_NOTE).file_size > _NOTE_BYTES:
                raise Damaged("its note is too long")
            note = json.loads(archive.read(_NOTE))
            count, name = int(note["photos"]), note["name"]
            if note["format"] != FORMAT or not 1 <= count <= PHOTOS or not isinstance(name, str) or not 1 <= len(name) <= 80:
                raise Damaged("its note is of another format")
            return name, tuple(_photo(archive, number) for number in range(1, count + 1))
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise error if isinstance(error, Damaged) else Damaged("it is no whole ZIP of photos") from error


def _photo(archive: zipfile.ZipFile, number: int) -> bytes:
    info = archive.getinfo(f"photo-{number}.png")
    return checked_png(archive.read(info) if info.file_size <= PHOTO_BYTES else b"")
