"""What an add-on keeps on this computer over sessions: settings, the client's id, and what is known of each job that is not taken yet.

Every file is written whole or not at all, for this user alone. A file that is damaged is as good as none.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import uuid
from pathlib import Path
from typing import Any

from ..discovery import write_private

_ID = re.compile(r"[0-9a-f]{32}")
_KEEP_S = 31 * 24 * 3600
"""The backend keeps unclaimed results for a month."""
_LARGEST = 256 * 1024 * 1024


class Store:
    """Files in `folder`, which is made when it is first needed. Reading is for the start; writing may be done in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(folder)

    @property
    def folder(self) -> Path:
        """Where the files are; an add-on may have folders of its own in it."""
        return self._folder

    def settings(self) -> object:
        """What `keep_settings` kept, or an empty object."""
        try:
            return json.loads(self._read("settings.json") or b"{}")
        except ValueError:
            return {}

    def keep_settings(self, values: dict[str, Any]) -> None:
        """Replace the settings."""
        self._write("settings.json", json.dumps(values, ensure_ascii=False, indent=1).encode())

    def client_id(self) -> str:
        """32 hexadecimal digits, the same at every start: under this id the backend knows our jobs."""
        found = (self._read("client_id") or b"").decode("ascii", "replace").strip()
        if _ID.fullmatch(found):
            return found
        made = uuid.uuid4().hex
        with contextlib.suppress(OSError):  # without a disk the add-on works all the same, only its jobs are not found again
            self._write("client_id", made.encode())
        return made

    def job(self, job_id: str) -> bytes | None:
        """What `keep_job` kept."""
        return self._read(f"jobs/{job_id}") if _ID.fullmatch(job_id) else None

    def keep_job(self, job_id: str, data: bytes) -> None:
        """Keep what is needed to place a job's result when the host was closed meanwhile."""
        if _ID.fullmatch(job_id):
            self._write(f"jobs/{job_id}", data)

    def forget_job(self, job_id: str) -> None:
        """The job's result is taken."""
        if _ID.fullmatch(job_id):
            (self._folder / "jobs" / job_id).unlink(missing_ok=True)

    def prune(self) -> None:
        """Forget jobs whose result the backend has thrown away long ago."""
        if not (self._folder / "jobs").is_dir():
            return
        for path in (self._folder / "jobs").iterdir():
            if time.time() - path.stat().st_mtime > _KEEP_S:
                path.unlink(missing_ok=True)

    def _read(self, name: str) -> bytes | None:
        path = self._folder / name
        try:
            return path.read_bytes() if path.stat().st_size <= _LARGEST else None
        except OSError:
            return None

    def _write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix":
            self._folder.chmod(0o700)
        write_private(path, data)
