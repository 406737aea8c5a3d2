"""Model folders made of files of the store: links, and a `model.toml` that comes last, so that nobody sees half a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from protocol.errors import InvalidRequest, ModelError

from ..files import link, write_whole
from .bundle import Model
from .catalog import ModelSet, Part, clash
from .store import Record, Store

CARD = "model.toml"
HEAD = "# Made by `likeness models pull`, and made anew by the next one.\n"
ADDED = "# Made by `likeness models add`, and made anew by the next one and by `likeness models pull … --into`.\n"


def make_model(store: Store, record: Record, name: str, base: ModelSet, parts: Iterable[Part]) -> Path:
    """Make or renew the folder of the model `name` from files that the store holds; the folder. ModelError with a sentence."""
    folder = store.models / name
    chosen = list(parts)
    own_or_free(store, record, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in chosen:
            for file in part.files:
                _link(store.path(record.files[file.key]), folder / file.place, store)
        write_whole(folder / CARD, card_of(name, base, chosen).encode())
    except OSError as error:
        raise ModelError(f"The model folder {folder} could not be made ({error.strerror}). Look at its rights and its drive.") from error
    Model.open(folder)
    return folder


def own_or_free(store: Store, record: Record, name: str) -> None:
    """InvalidRequest if a folder of this name is there that the store has not made."""
    folder = store.models / name
    if name not in record.models and (folder / CARD).exists() and not (folder / CARD).read_text(encoding="utf-8").startswith((HEAD, ADDED)):
        raise InvalidRequest(f"{folder} is a model of your own, and pulling would change it. Rename its folder first.")


def joined(catalog_parts: Iterable[Part], more: Iterable[Part], name: str) -> tuple[Part, ...]:
    """The parts of a model with those of another set; InvalidRequest if both want the same place."""
    parts = tuple({part.id: part for part in (*catalog_parts, *more)}.values())
    if found := clash(parts):
        one, other = found
        raise InvalidRequest(
            f"{name} cannot have both {one.title} ({one.id}) and {other.title} ({other.id}): they want the same place. "
            "Pull the other set as a model of its own, without --into."
        )
    return parts


def unmake_model(store: Store, name: str, parts: Iterable[Part]) -> list[Path]:
    """Take away what `make_model` put there, model.toml first; what else is in the folder stays, and is returned."""
    folder = store.models / name
    try:
        (folder / CARD).unlink(missing_ok=True)
        for part in parts:
            for file in part.files:
                (folder / file.place).unlink(missing_ok=True)
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
                path.rmdir()
        left = [path for path in folder.rglob("*") if not path.is_dir()]
        if folder.is_dir() and not left:
            folder.rmdir()
    except OSError as error:
        raise ModelError(f"The model folder {folder} could not be taken away ({error.strerror}). Look at its rights.") from error
    return left


def card_of(name: str, base: ModelSet, parts: Iterable[Part]) -> str:
    """The text of model.toml, as `backend.models.bundle` reads it."""
    model = base.model or {}
    lines = [
        (ADDED if "checkpoint" in model else HEAD).rstrip(),
        *_pairs({"id": name, "family": base.family, **{key: model[key] for key in model if key != "defaults"}}),
    ]
    if model.get("defaults"):
        lines += ["", "[defaults]", *_pairs(model["defaults"])]
    chosen = list(parts)
    for part in chosen:
        if part.recogniser:
            lines += ["", *_recogniser(part)]
    for part in chosen:
        if part.adapter is not None:
            lines += ["", "[[ip_adapter]]", *_pairs({**part.adapter, "file": part.files[-1].place})]
    return "\n".join(lines) + "\n"


def _recogniser(part: Part) -> list[str]:
    """The block of a part that has a recogniser: the model's main one, or one beside it; its hash, so that another file is noticed."""
    folder = part.files[-1].place.rpartition("/")[0]
    known = {"licence": part.licence.name, **({"sha256": part.files[-1].sha256} if part.files[-1].sha256 else {})}
    if folder == "faces":
        return ["[faces]", *_pairs({"recogniser": part.recogniser, **known})]
    return ["[[recogniser]]", *_pairs({"name": part.recogniser, "folder": folder, **known})]


def _pairs(table: Mapping[str, Any]) -> list[str]:
    """TOML for texts, numbers and lists of them, which JSON writes the same."""
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]


def _link(target: Path, place: Path, store: Store) -> None:
    """Make `place` stand for `target`. What is the store's own is linked from here to there, so that all of it can be moved."""
    place.parent.mkdir(parents=True, exist_ok=True)
    link(place, target, relative=target.is_relative_to(store.root))
