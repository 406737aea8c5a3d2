"""Krita's own files as they are on the disk: ZIP archives, in which annotations have entries of their own. Without Krita and Qt."""

from __future__ import annotations

import zipfile
import zlib

KRITA_FILES = (".kra", ".krz")
_LARGEST = 256 * 1024 * 1024


def annotation_in(path: str, name: str) -> bytes | None:
    """The annotation of that name; None: there is none, or no such file, or it is being written."""
    try:
        with zipfile.ZipFile(path) as archive:
            # Under a folder that is named like the picture.
            found = next((entry for entry in archive.infolist() if entry.filename.endswith(f"/annotations/{name}")), None)
            return archive.read(found) if found is not None and found.file_size <= _LARGEST else None
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None
