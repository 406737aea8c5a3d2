"""A character as a file: the ZIP of backend/character_files.py, with its photos as PNG bytes; the host makes planes of them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from ..errors import BadPicture, InvalidRequest
from ..limits import MESSAGE_BYTES, PHOTOS

FORMAT = 1
_NOTE = "character.json"
PHOTO_BYTES = MESSAGE_BYTES // PHOTOS


def check_exportable(name: str, photos: Sequence[object]) -> None:
    """Raises `InvalidRequest` for a character without photos of its own."""
    if not photos:
        raise InvalidRequest(f"{name!r} is a blend of others and has no photos of its own. Export the people it is made of instead.")


def write_character_file(path: Path, name: str, photos: Sequence[bytes]) -> None:
    """Write a character file from its photos as PNG, whole or not at all. Raises `InvalidRequest` without photos, or when it cannot."""
    check_exportable(name, photos)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_NOTE, json.dumps({"format": FORMAT, "name": name, "photos": len(photos)}, ensure_ascii=False))
        for number, photo in enumerate(photos, 1):
            archive.writestr(f"photo-{number}.png", photo)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(data.getvalue())
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise InvalidRequest(f"{path} cannot be written: {error.strerror or error}. Choose another place.") from error


def read_character_file(path: Path) -> tuple[str, tuple[bytes, ...]]:
    """Name and photos (PNG) of a character file. Raises `BadPicture` when it is none, is damaged, or holds more than the limits allow."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(_NOTE).file_size > 4096:
                raise ValueError("the note is too long")
            note = json.loads(archive.read(_NOTE))
            count, name = int(note["photos"]), note["name"]
            if note["format"] != FORMAT or not 1 <= count <= PHOTOS or not isinstance(name, str) or not 1 <= len(name) <= 80:
                raise ValueError("another format")
            return name, tuple(_photo(archive, number) for number in range(1, count + 1))
    except OSError as error:
        raise BadPicture(f"{path} cannot be read: {error.strerror or error}. Choose another file.") from error
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise damaged(path) from error


def damaged(path: Path) -> BadPicture:
    """What to say of a file that does not hold what it should."""
    return BadPicture(f"{path.name} is no character that Likeness exported, or it is damaged. Export it again.")


def _photo(archive: zipfile.ZipFile, number: int) -> bytes:
    info = archive.getinfo(f"photo-{number}.png")
    if info.file_size > PHOTO_BYTES:
        raise ValueError("a photo is too large")
    data = archive.read(info)
    # The size is read from the PNG's own header: a small file can hold a picture that fills the memory.
    if data[:8] != b"\x89PNG\r\n\x1a\n" or int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big") * 4 > PHOTO_BYTES:
        raise ValueError("no PNG, or too large")
    return data
