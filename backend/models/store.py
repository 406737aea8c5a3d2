"""Where fetched files are kept, what is known of them, and the model folders that are made of them.

    MODELS/.store/record.json     what is kept, why it is believed, which models were made, which licences accepted, where else to look
    MODELS/.store/blobs/SHA256    the files that were fetched, each once, however many models use it
    MODELS/.store/partial/        downloads that were not finished
    MODELS/ID/                    a model folder: model.toml, and links to blobs or to files that another program owns

The record is one small file, replaced as a whole. A blob is named by its hash, so one that the record does not know is found again; what is
only half there has another name. One command at a time changes a store.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from protocol.errors import InvalidRequest, ModelError

from .catalog import Catalog, CatalogFile
from .store_fetch import Trust, sync_folder

VERSION = 1


@dataclass(frozen=True, slots=True)
class Held:
    """A file that is there. `path` is absolute for one that another program owns, else relative to the store."""

    path: str
    bytes: int
    sha256: str
    trust: str
    bad: bool = False
    """`verify` found it changed; it is fetched again with the next pull."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a store knows. Never changed in place."""

    files: Mapping[str, Held] = field(default_factory=dict["str", Held])
    """By `CatalogFile.key`."""
    fixed: Mapping[str, str] = field(default_factory=dict["str", "str"])
    """The sha256 of files that were trusted on first use; kept when they are removed."""
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict["str", "tuple[str, ...]"])
    """Model id -> the parts that it was made of."""
    folders: tuple[str, ...] = ()
    """Where other programs keep models."""
    licences: Mapping[str, str] = field(default_factory=dict["str", "str"])
    """Licence id -> the day it was accepted."""
    bases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict["str", "Mapping[str, Any]"])
    """Model id -> what `models add` was told of a checkpoint of one's own."""

    def known(self, file: CatalogFile) -> str | None:
        """The sha256 that a file must have: the catalogue's, else that of the first use."""
        return file.sha256 or self.fixed.get(file.key)

    def with_file(self, file: CatalogFile, held: Held) -> Record:
        """The record with one more file."""
        fixed = self.fixed if file.sha256 else {**self.fixed, file.key: held.sha256}
        return replace(self, files={**self.files, file.key: held}, fixed=fixed)


@dataclass(frozen=True, slots=True)
class Store:
    """The store inside the folder of the models."""

    models: Path

    @property
    def root(self) -> Path:
        """The store's own folder."""
        return self.models / ".store"

    @property
    def partial(self) -> Path:
        """Where downloads are until they are whole."""
        return self.root / "partial"

    def blob(self, sha256: str) -> Path:
        """Where a file of this hash is kept."""
        return self.root / "blobs" / sha256

    def path(self, held: Held) -> Path:
        """Where a held file is."""
        return self.root / held.path

    def is_own(self, held: Held) -> bool:
        """Whether it lies in the store, and not with another program."""
        return not Path(held.path).is_absolute()

    def read(self) -> Record:
        """What the store knows; an empty record for a store that is not there. ModelError if it cannot be read."""
        file = self.root / "record.json"
        try:
            return _record(json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Record()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"The record of the models, {file}, cannot be read ({error}). Move it away and pull again: files are found by their hash."
            ) from error

    def write(self, record: Record) -> None:
        """Replace the record, for good. ModelError if that cannot be done."""
        file = self.root / "record.json"
        table = {"version": VERSION, **asdict(record)}
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with file.with_suffix(".new").open("w", encoding="utf-8") as out:
                json.dump(table, out, indent=1, sort_keys=True)
                out.flush()
                os.fsync(out.fileno())
            os.replace(file.with_suffix(".new"), file)
            sync_folder(self.root)
        except OSError as error:
            raise ModelError(
                f"The record of the models, {file}, cannot be written ({error.strerror}). Look at its rights and its drive."
            ) from error

    def is_there(self, record: Record, file: CatalogFile) -> bool:
        """Whether a file is held and looks untouched; only `verify` reads it through."""
        held = record.files.get(file.key)
        if held is None or held.bad or record.known(file) not in (None, held.sha256):
            return False
        try:
            return self.path(held).stat().st_size == held.bytes
        except OSError:
            return False

    @contextmanager
    def locked(self) -> Generator[None]:
        """Nobody else changes the store meanwhile; InvalidRequest if somebody does. The system lets go of it when a process is killed."""
        from filelock import FileLock, Timeout

        try:
            self.partial.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / "lock", timeout=0)
            lock.acquire()
        except Timeout as error:
            raise InvalidRequest(f"Another `likeness models` works on {self.models}. Wait until it is done, or end it.") from error
        except OSError as error:
            raise ModelError(f"{self.models} cannot be written ({error.strerror}). Look at its rights, or set LIKENESS_MODELS.") from error
        try:
            yield
        finally:
            lock.release()

    def users(self, record: Record, catalog: Catalog, key: str) -> list[str]:
        """The models that need a file."""
        return [
            name for name, parts in record.models.items() if any(file.key == key for part in catalog.chosen(parts) for file in part.files)
        ]

    def free_bytes(self) -> int:
        """Room on the drive."""
        place = self.root
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free

    def held(self, path: Path, size: int, sha256: str, trust: Trust) -> Held:
        """The entry for a file that is there."""
        own = path.is_relative_to(self.root)
        return Held(path.relative_to(self.root).as_posix() if own else str(path), size, sha256, trust.value)


def _record(table: dict[str, Any]) -> Record:
    if table["version"] != VERSION:
        raise ValueError(f"version {table['version']}")
    return Record(
        files={str(key): Held(**entry) for key, entry in table["files"].items()},
        fixed={str(key): str(value) for key, value in table["fixed"].items()},
        models={str(key): tuple(map(str, parts)) for key, parts in table["models"].items()},
        folders=tuple(map(str, table["folders"])),
        licences={str(key): str(value) for key, value in table["licences"].items()},
        bases={str(key): dict(entry) for key, entry in table.get("bases", {}).items()},
    )
