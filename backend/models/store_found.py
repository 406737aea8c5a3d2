"""Files that are there already: in the Hugging Face cache, and in the model folders of ComfyUI, A1111 and krita-ai-diffusion.

They are used in place, never moved, copied or changed. Other programs give files other names, so size and sha256 decide. A file that the
catalogue has no sha256 of is only taken from the cache of the Hub's own library, where repository and revision are part of its path.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..files import sha256_of
from .catalog import CatalogFile
from .store import Record
from .store_fetch import Trust

MAX_FILES = 200_000
"""A folder with more is not a model folder; the rest of it is not looked at."""
SKIPPED = frozenset({".git", "node_modules", "__pycache__", "custom_nodes", "site-packages", ".venv", "venv"})


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the catalogue at another program's place, read through and right."""

    file: CatalogFile
    path: Path
    bytes: int
    sha256: str
    trust: Trust


def hub_cache(environ: Mapping[str, str], home: Path) -> Path:
    """Where huggingface_hub keeps what it fetched."""
    if given := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(given).expanduser()
    base = Path(environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "huggingface")
    return base.expanduser() / "hub"


def usual_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Where other programs keep models when nobody told them otherwise; only those that exist."""
    data = [Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share"), home / "Library" / "Application Support"]
    data += [Path(environ[name]) for name in ("APPDATA", "LOCALAPPDATA") if environ.get(name)]
    krita = [base / part for base in data for part in ("krita-ai-diffusion", "krita/ai_diffusion")]
    places = [base / "server" / part for base in krita for part in ("models", "ComfyUI/models")]
    roots = [home, home / "Documents"]
    places += [root / name / "models" for root in roots for name in ("ComfyUI", "stable-diffusion-webui", "stable-diffusion-webui-forge")]
    return [place for place in dict.fromkeys(places) if place.is_dir()]


def search(
    wanted: Iterable[CatalogFile],
    record: Record,
    cache: Path,
    folders: Iterable[Path],
    said: Callable[[str], None] = lambda line: None,
    check: Callable[[], None] = lambda: None,
) -> list[Found]:
    """Which of `wanted` are there. Every candidate of the right size is read through; `said` is told of large ones, `check` may stop it."""
    seen: dict[Path, str] = {}
    missing = {file.key: file for file in wanted}
    found = [hit for file in missing.values() if (hit := _cached(file, record, cache, seen, said, check))]
    for hit in found:
        del missing[hit.file.key]
    by_size = {size: [file for file in missing.values() if file.bytes == size] for size in {file.bytes for file in missing.values()}}
    by_name: dict[str, list[CatalogFile]] = {}  # many repositories have a file called diffusion_pytorch_model.safetensors
    for file in missing.values():
        if file.bytes is None and record.known(file):
            by_name.setdefault(Path(file.path).name, []).append(file)
    for path, size in _walk(folders):
        check()
        for file in [*by_size.get(size, []), *by_name.get(path.name, [])]:
            known = record.known(file)
            if file.key in missing and known is not None and _hash(path, size, seen, said, check) == known:
                found.append(Found(file, path, size, known, Trust.CATALOGUE if file.sha256 else Trust.FIRST_USE))
                del missing[file.key]
    return found


def _cached(
    file: CatalogFile, record: Record, cache: Path, seen: dict[Path, str], said: Callable[[str], None], check: Callable[[], None]
) -> Found | None:
    """A file in the cache of the Hub's library: of its own revision, or of any other if the sha256 is known."""
    kept = cache / f"models--{file.repository.replace('/', '--')}"
    known = record.known(file)
    revisions = sorted((kept / "snapshots").glob("*")) if known else [kept / "snapshots" / _commit(kept, file.revision)]
    for revision in revisions:
        path = revision / file.path
        size = _size(path)
        if size is None or (file.bytes is not None and size != file.bytes):
            continue
        sha256 = _hash(path, size, seen, said, check)
        if sha256 and known in (None, sha256):
            return Found(file, path, size, sha256, Trust.CATALOGUE if file.sha256 else Trust.FIRST_USE)
    return None


def _commit(kept: Path, revision: str) -> str:
    """The commit that a branch meant when the cache was filled; a commit means itself."""
    try:
        return (kept / "refs" / revision).read_text(encoding="utf-8").strip() or revision
    except (OSError, UnicodeDecodeError):
        return revision


def _walk(folders: Iterable[Path]) -> Iterator[tuple[Path, int]]:
    """Every file below, with its size; links to folders are not followed, so there are no circles."""
    for folder in folders:
        count = 0
        for base, below, names in os.walk(folder):
            below[:] = sorted(name for name in below if name not in SKIPPED)
            for name in sorted(names):
                size = _size(Path(base, name))
                if size:
                    yield Path(base, name), size
            count += len(names)
            if count > MAX_FILES:
                break


def _hash(path: Path, size: int, seen: dict[Path, str], said: Callable[[str], None], check: Callable[[], None]) -> str:
    """The sha256 of a file, once; "" for one that cannot be read."""
    if path not in seen:
        if size > 1 << 28:
            said(f"Reading {path} ({size / 2**30:.1f} GiB) to see whether it is the right file.")
        try:
            seen[path] = sha256_of(path, check)
        except OSError:
            seen[path] = ""
    return seen[path]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None
