"""The one door for pickles (`.ckpt`, `.bin`, `.pt`, `.pth`): a pickle is a program, so none is ever read in a process that matters.

A throw-away process (`unpickle.py`) reads it once, tensors only, within bounds of memory and time where the system has them, and writes a
safetensors copy. The copy is kept by the sha256 of the pickle, and is all that is used from then on. The process is no sandbox: if
torch's own reader of tensors had a hole, code would run with the user's rights, as in every other program; but a crash, a file that fills
the memory or one that never ends takes nobody along.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

from protocol.errors import DiskFull, ModelError

from ..config import load_settings
from ..files import sha256_of, write_whole

GIB = 2**30
MEMORY = 4 * GIB
"""What the process may have beside four times the file: torch alone takes half a GiB."""
SECONDS = 900
"""A checkpoint of 7 GiB takes half a minute."""
SPARE_BYTES = 64 << 20
_SCRIPT = Path(__file__).resolve().with_name("unpickle.py")
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG")
"""All that the process is told of the environment: no token, no proxy, no key."""


def is_pickle(path: Path) -> bool:
    """Whether a file is one of torch's pickles, zipped or old, by its first bytes: names lie. ModelError if it cannot be read."""
    try:
        with path.open("rb") as file:
            start, size = file.read(9), file.seek(0, os.SEEK_END)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error}). Look where it is, and at its rights.") from error
    # Safetensors begin with the length of their header, any eight bytes; what can be read as safetensors never runs.
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= size:
        return False
    return start[:4] == b"PK\x03\x04" or start[:1] == b"\x80"


def cache_folder() -> Path:
    """Where the copies are kept: inside the store of the models."""
    return load_settings({}, os.environ).models / ".store" / "converted"


def as_safetensors(path: Path, cache: Path | None = None) -> Path:
    """`path` itself unless it is a pickle, else its safetensors copy, made now if there is none.

    Nested names are joined by dots; what trainers keep beside the weights is left out. Raises ModelError with a sentence for a pickle that
    holds code, is damaged or too large, and DiskFull when the copy has no room.
    """
    if not is_pickle(path):
        return path
    cache = cache or cache_folder()
    sha256 = _sha256(path, cache)
    copy = cache / f"{sha256}.safetensors"
    if not copy.is_file():
        _convert(path, copy, sha256)
    return copy


def known_copy(path: Path, cache: Path | None = None) -> Path | None:
    """The copy of a pickle if there is one already; nothing is read but its size and date."""
    cache = cache or cache_folder()
    try:
        copy = cache / f"{(cache / _stamp(path)).read_text(encoding='ascii')}.safetensors"
    except (OSError, UnicodeDecodeError):
        return None
    return copy if copy.is_file() else None


def _sha256(path: Path, cache: Path) -> str:
    """The hash of a pickle: read through once, then remembered for as long as place, size and date stay as they are."""
    stamp = cache / _stamp(path)
    try:
        known = stamp.read_text(encoding="ascii")
        if len(known) == 64 and set(known) <= set("0123456789abcdef"):
            return known
    except (OSError, UnicodeDecodeError):
        pass
    try:
        sha256 = sha256_of(path)
        cache.mkdir(parents=True, exist_ok=True)
        write_whole(stamp, sha256.encode())
    except OSError as error:
        raise ModelError(f"{path.name} is a pickle and has to be converted, but {cache} cannot be written ({error.strerror}).") from error
    return sha256


def _stamp(path: Path) -> str:
    facts = path.stat()
    key = repr((str(path.resolve()), facts.st_size, facts.st_mtime_ns))
    return f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.sha256"


def _convert(path: Path, copy: Path, sha256: str) -> None:
    size = path.stat().st_size
    free = shutil.disk_usage(copy.parent).free
    if size + SPARE_BYTES > free:
        raise DiskFull(
            f"{path.name} is a pickle and has to be converted: {size / GIB:.1f} GiB, and {free / GIB:.1f} GiB are free at {copy.parent}."
        )
    with tempfile.TemporaryDirectory(dir=copy.parent, prefix="half-") as folder:
        fresh = Path(folder) / "copy.safetensors"
        said = _run([str(path.resolve()), str(fresh), sha256, str(MEMORY + 4 * size), str(SECONDS)], Path(folder))
        if said != {"ok": True} or not fresh.is_file():
            raise ModelError(_sentence(path, str(said.get("error")), str(said.get("detail", ""))))
        os.replace(fresh, copy)


def _run(arguments: list[str], folder: Path) -> dict[str, Any]:
    """What the process said last; `{"error": …}` also when it was killed or did not end."""
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    command = [sys.executable, "-I", str(_SCRIPT), *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
        lines = done.stdout[-4096:].decode("utf-8", "replace").strip().splitlines()
        said = json.loads(lines[-1]) if lines else {"error": "died", "detail": f"exit code {done.returncode}"}
    except subprocess.TimeoutExpired:
        return {"error": "time"}
    except ValueError:
        return {"error": "died"}
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {"error": "died"}


def _sentence(path: Path, kind: str, detail: str) -> str:
    name, detail = path.name, detail.rstrip(".")
    match kind:
        case "code":
            return (
                f"{name} is a pickle that holds more than numbers ({detail}): it could run code, so it was not opened. "
                "Look for a .safetensors version of it."
            )
        case "empty":
            return f"{name} is a pickle that holds no weights. Choose another file."
        case "kind":
            return f"{name} holds {detail or 'a tensor'} in a form that is no plain numbers (sparse or quantised). Choose another version."
        case "bomb" | "memory":
            return f"{name} unfolds to far more than its size, so it was not opened. Download it again, or choose another file."
        case "time":
            return f"{name} was not read within {SECONDS // 60} minutes, so it was given up. Look for a .safetensors version of it."
        case _:
            return f"{name} cannot be read{f' ({detail})' if detail else ''}: it is damaged, or no file of weights. Download it again."
