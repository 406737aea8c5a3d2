"""An add-on as files: the contract that it carries, the note how the backend is started, and the ZIP."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
"""Where the add-ons and the contract lie: the source folder, or site-packages."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a ZIP can tell: no time of ours is in it, so the same files give the same bytes."""


def protocol_files(root: Path = ROOT) -> dict[str, bytes]:
    """The contract, as path in the add-on's folder -> bytes."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in (root / "protocol").rglob("*.py")}


def backend_note(backend: Mapping[str, object]) -> bytes:
    """`backend.json`, which the add-on's launcher reads (`protocol/desk/launcher.py`)."""
    return json.dumps(dict(backend), indent=1).encode() + b"\n"


def zip_of(contents: Mapping[str, bytes]) -> bytes:
    """The ZIP, with an entry for every folder. The same contents give the same bytes, in whatever order they come."""
    folders = {f"{folder.as_posix()}/" for path in contents for folder in PurePosixPath(path).parents if folder.name}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted({*contents, *folders}):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.create_system = 3
            is_folder = path.endswith("/")
            entry.external_attr = (0o40755 << 16 | 0x10) if is_folder else 0o100644 << 16
            is_packed = is_folder or path.endswith(".whl")
            entry.compress_type = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
            archive.writestr(entry, b"" if is_folder else contents[path], compresslevel=9)
    return out.getvalue()
