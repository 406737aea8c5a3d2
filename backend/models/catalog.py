"""What there is to fetch: `catalog.toml`, read and checked. Files make parts, parts make sets; a set with a base is a whole model.

    [licence.ID]     name, url, commercial (whether commercial use is allowed), forbids (one sentence)
    [part.ID]        title, family ("sdxl", "sd15" or "any"), licence, repository ("owner/name" on the Hub), revision, files
                     files: { path = in the repository, place = in a model folder (as path), bytes, sha256 }; the last two where established
                     adapter = { name, kind }: an IP-Adapter, as in model.toml; its file is the part's last
                     note: what there is to know besides
    [set.ID]         purpose, family, parts
    [set.ID.model]   only a whole model has it: name, size, sizes, avoid, defaults, as in model.toml

A place is where `backend.models.bundle` looks. Two parts of one model never share a folder, except of adapters, LoRAs and ControlNets.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from protocol.errors import InvalidRequest, ModelError

OWN = Path(__file__).resolve().parent / "catalog.toml"
"""The catalogue that comes with this release."""
FAMILIES = ("sdxl", "sd15", "any")
SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
SHARED_FOLDERS = ("ip_adapter", "loras", "recognisers")
"""Several parts may put files side by side here."""


@dataclass(frozen=True, slots=True)
class Licence:
    """Under which terms weights are given; `forbids` is one sentence, the page counts."""

    id: str
    name: str
    url: str
    commercial: bool
    forbids: str


@dataclass(frozen=True, slots=True)
class CatalogFile:
    """One file: where it is published, where it belongs in a model folder, and what it must be, as far as that is established."""

    repository: str
    revision: str
    path: str
    place: str
    bytes: int | None
    sha256: str | None

    @property
    def key(self) -> str:
        """What names it in the store's record."""
        return f"{self.repository}@{self.revision}/{self.path}"


@dataclass(frozen=True, slots=True)
class Part:
    """Files that belong together, under one licence."""

    id: str
    title: str
    family: str
    licence: Licence
    files: tuple[CatalogFile, ...]
    adapter: Mapping[str, str] | None = None
    note: str = ""
    recogniser: str = ""
    """What the recogniser among its files is called; that is the part's last file."""

    @property
    def slots(self) -> frozenset[str]:
        """What no other part of a model may fill: folders, and single files where folders are shared."""
        return frozenset(_slot(file.place) for file in self.files)


@dataclass(frozen=True, slots=True)
class ModelSet:
    """Parts for a purpose. `model` is what goes into model.toml; None for one that is added to models of its family."""

    id: str
    purpose: str
    family: str
    parts: tuple[Part, ...]
    model: Mapping[str, Any] | None = None

    @property
    def files(self) -> tuple[CatalogFile, ...]:
        """All files of all parts."""
        return tuple(file for part in self.parts for file in part.files)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that can be fetched."""

    parts: Mapping[str, Part] = field(default_factory=dict["str", "Part"])
    sets: Mapping[str, ModelSet] = field(default_factory=dict["str", "ModelSet"])

    @classmethod
    def load(cls, file: Path = OWN) -> Catalog:
        """Read a catalogue; ModelError with a sentence for one that is missing or wrong."""
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ModelError(f"The catalogue {file} cannot be read: {error}. Install Likeness again.") from error
        try:
            return _catalog(table)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"The catalogue {file} is wrong at {error}. Install Likeness again.") from error

    def set(self, name: str) -> ModelSet:
        """The set called `name`; InvalidRequest with what is near it."""
        if name not in self.sets:
            from difflib import get_close_matches

            close = get_close_matches(name, self.sets, 3)
            hint = f"Did you mean {' or '.join(close)}?" if close else "`likeness models list` shows all."
            raise InvalidRequest(f"There is no set called {name!r} in the catalogue. {hint}")
        return self.sets[name]

    @property
    def files(self) -> tuple[CatalogFile, ...]:
        """Every file, each key once."""
        return tuple({file.key: file for part in self.parts.values() for file in part.files}.values())

    def chosen(self, names: Iterable[str]) -> tuple[Part, ...]:
        """The parts of these names; those that a newer catalogue has dropped are left out."""
        return tuple(self.parts[name] for name in names if name in self.parts)


def clash(parts: Iterable[Part]) -> tuple[Part, Part] | None:
    """Two parts that want the same folder of a model, or None."""
    owners: dict[str, Part] = {}
    for part in parts:
        for slot in sorted(part.slots):
            if owners.setdefault(slot, part).id != part.id:
                return owners[slot], part
    return None


def licences(parts: Iterable[Part]) -> list[Licence]:
    """The licences of these parts, each once, the strictest first."""
    found = {part.licence.id: part.licence for part in parts}
    return sorted(found.values(), key=lambda licence: (licence.commercial, licence.id))


def _slot(place: str) -> str:
    first, _, rest = place.partition("/")
    if first in SHARED_FOLDERS or not rest:
        return place
    return f"{first}/{rest.partition('/')[0]}" if first == "controlnets" else first


def _catalog(table: dict[str, Any]) -> Catalog:
    licence_of = {name: Licence(name, **entry) for name, entry in table["licence"].items()}
    parts = {_name(name): _part(name, entry, licence_of) for name, entry in table["part"].items()}
    sets = {_name(name): _set(name, entry, parts) for name, entry in table["set"].items()}
    return Catalog(parts, sets)


def _part(name: str, entry: dict[str, Any], licence_of: Mapping[str, Licence]) -> Part:
    repository, revision = str(entry["repository"]), str(entry["revision"])
    if REPOSITORY.fullmatch(repository) is None:
        raise ValueError(f"the repository of {name}")
    files = tuple(_file(name, repository, revision, file) for file in entry["files"])
    if not files or entry["family"] not in FAMILIES:
        raise ValueError(f"the files or the family of {name}")
    return Part(
        name,
        entry["title"],
        entry["family"],
        licence_of[entry["licence"]],
        files,
        entry.get("adapter"),
        entry.get("note", ""),
        entry.get("recogniser", ""),
    )


def _file(part: str, repository: str, revision: str, entry: dict[str, Any]) -> CatalogFile:
    path, size, sha256 = str(entry["path"]), entry.get("bytes"), entry.get("sha256")
    place = str(entry.get("place", path))
    for value in (path, place, revision):
        if not _is_relative(value):
            raise ValueError(f"{value!r} of {part}")
    if sha256 is not None and SHA256.fullmatch(sha256) is None:
        raise ValueError(f"the sha256 of {path} of {part}")
    if size is not None and (not isinstance(size, int) or size <= 0):
        raise ValueError(f"the bytes of {path} of {part}")
    return CatalogFile(repository, revision, path, place, size, sha256)


def _is_relative(path: str) -> bool:
    """Whether a path of the catalogue stays where it is put, on every system."""
    return bool(path) and not set(path) & set('\\:*?"<>|\0') and not path.startswith("/") and ".." not in PurePosixPath(path).parts


def _set(name: str, entry: dict[str, Any], parts: Mapping[str, Part]) -> ModelSet:
    chosen = tuple(parts[part] for part in entry["parts"])
    found = ModelSet(name, str(entry["purpose"]), str(entry["family"]), chosen, entry.get("model"))
    wrong = [part.id for part in chosen if part.family not in (found.family, "any")]
    if wrong or clash(chosen) or not chosen:
        raise ValueError(f"the parts of the set {name}")
    return found


def _name(name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise ValueError(f"the name {name!r}")
    return name
