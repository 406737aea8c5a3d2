"""Bases of one's own: a checkpoint that lies anywhere becomes a model, used in place, with what the store has for its family.

What was told of it is kept in the store's record, so that the model can be made anew when a pull adds to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from protocol.errors import InvalidRequest, ModelError

from .catalog import NAME, Catalog, ModelSet, Part, clash
from .checkpoint import Checkpoint, open_checkpoint
from .header import read_header
from .pickles import as_safetensors
from .store import Record, Store
from .store_model import make_model, own_or_free
from .strangers import is_vae, stranger

BASE_SLOTS = frozenset({"unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler", "model_index.json"})
"""What a checkpoint brings itself; a part that fills one of these is not joined to it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user says of a checkpoint; None leaves it to the file."""

    file: Path
    name: str | None = None
    vae: Path | None = None
    prediction: str | None = None
    distilled: str | None = None
    clip_skip: int | None = None
    sets: tuple[str, ...] = ()
    """What is joined to it; without any, all of its family whose files are there."""


@dataclass(frozen=True, slots=True)
class Added:
    """What became of it: the model's id and folder, what the file is, and the titles of the parts that were joined or left out."""

    name: str
    folder: Path
    checkpoint: Checkpoint
    joined: tuple[str, ...]
    left_out: tuple[str, ...]


def add_base(catalog: Catalog, store: Store, wanted: Wanted) -> Added:
    """Make a model of a checkpoint; the store is locked by the caller. InvalidRequest and ModelError with a sentence."""
    found = open_checkpoint(wanted.file)
    if not found.has_text:
        raise ModelError(f"{wanted.file.name} has no text encoders. Choose the full version of it.")
    if wanted.vae is None and not found.has_vae:
        raise ModelError(f"{wanted.file.name} has no VAE. Name one: likeness models add {wanted.file.name} --vae VAE.safetensors")
    if wanted.vae is not None:
        check_vae(wanted.vae)
    record = store.read()
    name = _name(catalog, store, record, wanted)
    table = _table(wanted, found)
    base = base_set(catalog, replace(record, bases={**record.bases, name: table}), name)
    parts, left_out = _parts(catalog, store, record, base, wanted.sets)
    folder = make_model(store, record, name, base, parts)
    bases, models = {**record.bases, name: table}, {**record.models, name: tuple(part.id for part in parts)}
    store.write(replace(record, bases=bases, models=models))
    return Added(name, folder, found, tuple(part.title for part in parts), tuple(part.title for part in left_out))


def base_set(catalog: Catalog, record: Record, name: str) -> ModelSet:
    """What the model `name` is made upon: a set of the catalogue, or a checkpoint of one's own, which has no parts."""
    if name not in record.bases:
        return catalog.set(name)
    table = dict(record.bases[name])
    return ModelSet(name, "", str(table.pop("family")), (), table)


def family_of(catalog: Catalog, record: Record, name: str) -> str | None:
    """The family of a model that the store has made; None for one that a newer catalogue has dropped."""
    if name in record.bases or name in catalog.sets:
        return base_set(catalog, record, name).family
    return None


def joinable(record: Record, name: str, parts: Iterable[Part]) -> tuple[Part, ...]:
    """Those of `parts` that belong to the model `name`: all of them, or beside a checkpoint what it does not bring itself."""
    if name not in record.bases:
        return tuple(parts)
    return tuple(part for part in parts if not part.slots & BASE_SLOTS)


def check_vae(path: Path) -> None:
    """ModelError unless `path` is a VAE: a file, or a diffusers folder."""
    if path.is_dir() and (path / "config.json").is_file():
        return
    if not path.is_file():
        raise ModelError(f"The VAE {path} is not there, or is a folder without config.json. Give a file, or a folder of diffusers.")
    header = read_header(as_safetensors(path), path.name)
    if not is_vae(header):
        raise ModelError(f"{path.name} is no VAE: it {stranger(header)}")


def _name(catalog: Catalog, store: Store, record: Record, wanted: Wanted) -> str:
    name = wanted.name or re.sub(r"[^a-z0-9]+", "-", wanted.file.stem.lower()).strip("-")[:60] or "base"
    if NAME.fullmatch(name) is None:
        raise InvalidRequest(f"{name!r} cannot be a model's name. Use small letters, digits and hyphens.")
    if name in catalog.sets or (name in record.models and name not in record.bases):
        raise InvalidRequest(f"{name!r} is a set of the catalogue. Choose another name with --name.")
    other = record.bases.get(name, {}).get("checkpoint", str(wanted.file))
    if wanted.name is None and other != str(wanted.file):
        raise InvalidRequest(f"{name!r} is another checkpoint already, {other}. Choose another name with --name.")
    own_or_free(store, record, name)
    return name


def _table(wanted: Wanted, found: Checkpoint) -> dict[str, Any]:
    """What goes into model.toml; what the file's header says is left there."""
    table: dict[str, Any] = {"family": found.family.value, "name": found.title, "checkpoint": str(wanted.file)}
    told = {"vae": wanted.vae and str(wanted.vae), "prediction": wanted.prediction, "distilled": wanted.distilled}
    table |= {key: value for key, value in told.items() if value}
    if wanted.clip_skip is not None:
        table["defaults"] = {"clip_skip": wanted.clip_skip}
    return table


def _parts(catalog: Catalog, store: Store, record: Record, base: ModelSet, sets: tuple[str, ...]) -> tuple[list[Part], list[Part]]:
    """What is joined to a base, and what wanted a place that was taken."""
    named = [catalog.set(name) for name in sets]
    if wrong := [chosen.id for chosen in named if chosen.family not in (base.family, "any")]:
        raise InvalidRequest(f"{base.id} is {base.family}, and {wrong[0]} is not. `likeness models list` shows what fits.")
    if missing := [chosen.id for chosen in named if not _is_there(store, record, chosen.parts)]:
        raise InvalidRequest(
            f"{missing[0]} was not pulled yet. Add the checkpoint without it, then: likeness models pull {missing[0]} --into …"
        )
    known = list(catalog.chosen(record.models.get(base.id, ())))
    offered = named or [chosen for chosen in catalog.sets.values() if chosen.family == base.family]
    kept, left_out = known, list[Part]()
    for chosen in offered:
        parts = [part for part in chosen.parts if not part.slots & BASE_SLOTS and part not in kept]
        if parts and _is_there(store, record, parts):
            joined = clash([*kept, *parts]) is None
            kept, left_out = ([*kept, *parts], left_out) if joined else (kept, [*left_out, *parts])
    return kept, [part for part in dict.fromkeys(left_out) if part not in kept]


def _is_there(store: Store, record: Record, parts: Iterable[Part]) -> bool:
    return all(store.is_there(record, file) for part in parts if not part.slots & BASE_SLOTS for file in part.files)
