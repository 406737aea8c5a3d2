"""A character as one file, to carry from machine to machine: a ZIP with `character.json` and the photos as `photo-1.png`, `photo-2.png` ….

Only photos travel. Whoever imports the file reads the face anew, with the recogniser of the model that is used there.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from protocol.errors import BadPicture, InvalidRequest
from protocol.limits import FRAME_BYTES, MESSAGE_BYTES, PHOTOS
from protocol.planes import Plane

from . import images

FORMAT = 1
_NOTE = "character.json"
_DAMAGED = (zipfile.BadZipFile, zlib.error, Image.DecompressionBombError, KeyError, ValueError, TypeError, RuntimeError, SyntaxError)
"""What zipfile, json and Pillow raise for content that is none of ours, encrypted, cut off or far too large."""


def write_character(path: Path, name: str, photos: Sequence[Plane]) -> None:
    """Write the file; an older one is replaced only when the new one is whole.

    Raises:
        InvalidRequest: a blend, which has no photos; or the file cannot be written.
    """
    if not photos:
        raise InvalidRequest(f"{name!r} is a blend of others and has no photos of its own. Export the people it is made of instead.")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_NOTE, json.dumps({"format": FORMAT, "name": name, "photos": len(photos)}, ensure_ascii=False))
        for number, photo in enumerate(photos, 1):
            archive.writestr(f"photo-{number}.png", images.png_bytes(images.to_rgb(photo)))
    images.write_whole(path, data.getvalue())


def read_character(path: Path) -> tuple[str, tuple[Plane, ...]]:
    """Name and photos of a file that `write_character` made; nothing of it is unpacked to a disk.

    Raises:
        BadPicture: it is none, is damaged, or holds more than the limits allow.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            note = _note(archive)
            count = int(note["photos"])
            if note["format"] != FORMAT or not 1 <= count <= PHOTOS or not isinstance(note["name"], str):
                raise ValueError("another format")
            return note["name"], tuple(_photos(archive, count))
    except OSError as error:
        raise BadPicture(f"{path} cannot be read: {error.strerror or error}. Choose another file.") from error
    except _DAMAGED as error:
        raise BadPicture(f"{path} is no character that Likeness exported, or it is damaged. Export it again.") from error


def _note(archive: zipfile.ZipFile) -> dict[str, Any]:
    if archive.getinfo(_NOTE).file_size > 4096:
        raise ValueError("the note is too long")
    note = json.loads(archive.read(_NOTE))
    if not isinstance(note, dict):
        raise TypeError("the note is no object")
    return note  # pyright: ignore[reportUnknownVariableType]


def _photos(archive: zipfile.ZipFile, count: int) -> list[Plane]:
    found: list[Plane] = []
    for number in range(1, count + 1):
        info = archive.getinfo(f"photo-{number}.png")
        if info.file_size > FRAME_BYTES:  # what a ZIP says of itself is checked by zipfile while it reads
            raise ValueError("a photo is too large")
        with Image.open(io.BytesIO(archive.read(info))) as image:
            if image.width * image.height * 3 > MESSAGE_BYTES // PHOTOS:
                raise ValueError("a photo is too large")
            found.append(images.to_plane(images.from_pillow(image)))
    return found
