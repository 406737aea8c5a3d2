"""Files on the disk: what is in one, and how one is written or linked so that nobody ever sees half of it."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path


def check_is_file(path: Path) -> None:
    """Raises OSError for what is there and is no file: opening a pipe waits for whoever writes into it, and a device may never end.

    A folder, and what is not there, are left to whoever opens them: the system has its own words for those.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "It is a pipe or a device, not a file", str(path))


def sha256_of(path: Path, check: Callable[[], None] = lambda: None, heard: Callable[[int], None] = lambda count: None) -> str:
    """The sha256 of a file, in hexadecimal. `check` may raise to stop; `heard` is told the bytes of each part. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            check()
            digest.update(data)
            heard(len(data))
    return digest.hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, all of it or nothing: an older one stays until then, and its rights are the new one's. Raises OSError."""
    # Not named after the file: its name may be as long as a name can be.
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(data)
        if path.exists():
            part.chmod(path.stat().st_mode & 0o777)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def link(place: Path, file: Path, *, relative: bool = False) -> None:
    """Make `place` stand for `file`: by a symbolic link, with `relative` one that may be moved together with the file.

    It is a hard link where the system keeps symbolic ones for administrators (Windows). Raises OSError.
    """
    fresh = place.with_name(f".{place.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        fresh.symlink_to(os.path.relpath(file, place.parent) if relative else file)
    except OSError:
        os.link(file, fresh)
    os.replace(fresh, place)
