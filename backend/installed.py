"""Which packages are installed, told by the names of their folders. importlib.metadata opens and parses each one, which was a third of what
the server does until its first hello.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

_FOLDER = re.compile(r"(.+?)-([^-]+)(?:-.*)?\.(?:dist|egg)-info")


def versions(prefix: str, path: Sequence[str] | None = None) -> dict[str, str]:
    """Versions of the packages whose names begin with `prefix`, by their names in small letters with dashes; the first of a name on `path`
    (default: `sys.path`) counts.
    """
    found: dict[str, str] = {}
    for folder in sys.path if path is None else path:
        try:
            entries = os.listdir(folder or ".")
        except OSError:  # a ZIP, or nothing
            continue
        for entry in entries:
            parts = _FOLDER.fullmatch(entry)
            if parts is not None and (name := re.sub(r"[-_.]+", "-", parts[1]).lower()).startswith(prefix):
                found.setdefault(name, parts[2])
    return found


def release() -> str | None:
    """The installed release of Likeness; None where it runs from its source folder."""
    return versions("likeness-studio").get("likeness-studio")
