"""A photo in a character file: PNG bytes, looked at before anything opens them."""

from __future__ import annotations

from ..limits import MESSAGE_BYTES, PHOTOS
from .tensors import Damaged

PHOTO_BYTES = MESSAGE_BYTES // PHOTOS


def checked_png(data: bytes) -> bytes:
    """The bytes again; `Damaged` if they are no PNG, or its picture is larger than a photo may be.

    The size is read from the PNG's own header: a small file can hold a picture that fills the memory.
    """
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 33:
        raise Damaged("one of its photos is no PNG, or too large")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if len(data) > PHOTO_BYTES or not 0 < width * height * 4 <= PHOTO_BYTES:
        raise Damaged("one of its photos is too large")
    return data
