"""Pictures that are in no file of a document yet: a copy of the document's history on this computer, until the document is saved.

What a program keeps in an open document is lost when it dies, and the backend forgets a result a day after it was taken. Bounded: what is
more than `MOST_BYTES` goes, the oldest first, and what nobody came back for within a month. Called from one thread.
"""

from __future__ import annotations

import json
import os
import re
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .protocol.discovery import write_private

MOST_BYTES = 512 * 1024 * 1024
"""Of all documents together: at least twenty of them with as long a history as a file keeps."""
KEEP_S = 31 * 24 * 3600
_KEY = re.compile(r"[0-9A-Za-z]{1,64}")


@dataclass(frozen=True)
class Copy:
    """What is known of one copy without reading its pictures."""

    document: str
    title: str


class Unsaved:
    """Files in `folder`, one for each document, by its key; each is written whole or not at all, for this user alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)

    def keep(self, document: str, data: bytes) -> None:
        """Replace the copy of a document. Raises `OSError` where there is no room for it."""
        if not _KEY.fullmatch(document):
            raise OSError(f"{document!r} is no name for a file")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix":
            self._folder.chmod(0o700)
        write_private(self._folder / document, data)
        self.prune()

    def read(self, document: str) -> bytes | None:
        """The copy, if there is one."""
        if not _KEY.fullmatch(document):
            return None
        try:
            return (self._folder / document).read_bytes()
        except OSError:
            return None

    def without_file(self) -> tuple[Copy, ...]:
        """The copies of documents that no file brings back: they never had one, or it is gone."""
        paths = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        return tuple(copy for copy in map(_copy, paths) if copy is not None)

    def forget(self, document: str) -> None:
        """The document is saved: its own file has everything."""
        if _KEY.fullmatch(document):
            (self._folder / document).unlink(missing_ok=True)

    def prune(self) -> None:
        """Forget what is too old, and the oldest of what is too much; the newest copy always stays."""
        if not self._folder.is_dir():
            return
        now, total = time.time(), 0
        found = [(path.stat().st_mtime, path.stat().st_size, path) for path in self._folder.iterdir() if path.is_file()]
        for number, (changed, size, path) in enumerate(sorted(found, key=lambda one: -one[0])):
            total += size
            if now - changed > KEEP_S or (total > MOST_BYTES and number):
                path.unlink(missing_ok=True)


def _copy(path: Path) -> Copy | None:
    """The copy, if it can be read and its document has no file."""
    try:
        with zipfile.ZipFile(path) as archive:
            read = json.loads(archive.read("history.json"))
        if not read["pictures"] or (read.get("file") and Path(str(read["file"])).exists()):
            return None
        return Copy(path.name, str(read.get("title", "")))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, zipfile.BadZipFile):
        return None
