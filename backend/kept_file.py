"""A picture file as a recipe keeps it: its place and what was in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from protocol.errors import BadPicture

from .files import check_is_file, sha256_of


@dataclass(frozen=True, slots=True)
class File:
    """A picture file: its place as seen from the PNG's folder, and what was in it."""

    path: str
    sha256: str

    @classmethod
    def of(cls, path: Path, beside: Path) -> Self:
        """The file at `path`, for a PNG in the folder `beside`; BadPicture if it cannot be read."""
        try:
            place = os.path.relpath(path.resolve(), beside.resolve())
        except ValueError:  # another drive, on Windows
            place = str(path.resolve())
        return cls(Path(place).as_posix(), _sha256(path))

    def found(self, beside: Path) -> Path:
        """Where it is now; BadPicture if it has gone or changed."""
        path = beside / self.path
        if _sha256(path) != self.sha256:
            raise BadPicture(
                f"{path} has changed since the picture was made from it, so the same picture cannot be made. Put the old file back."
            )
        return path


def _sha256(path: Path) -> str:
    try:
        check_is_file(path)
        return sha256_of(path)
    except OSError as error:
        why = "there is no such file or folder" if isinstance(error, FileNotFoundError) else error.strerror or error
        raise BadPicture(f"{path} cannot be read: {why}. Choose another file.") from error
