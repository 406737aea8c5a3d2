"""`likeness models`: what can be fetched, what is there, and that it is right."""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import InvalidRequest

from ..config import Settings
from . import models_add

if TYPE_CHECKING:
    from ..models.catalog import Catalog, CatalogFile, ModelSet, Part
    from ..models.store import Record, Store

GIB = 2**30


def add_arguments(parser: ArgumentParser) -> None:
    """The options of each action."""
    parser.add_argument("--catalogue", type=Path, metavar="FILE", help="read this catalogue (TOML) instead of the one that comes along")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    shown = actions.add_parser("list", help="the sets that can be pulled, and what is there of them")
    shown.add_argument("set", nargs="?", metavar="SET", help="the files of this set, with where they come from and how they are checked")
    pull = actions.add_parser("pull", help="fetch a set, and make a model of it")
    pull.add_argument("set", metavar="SET", help="`likeness models list` names them")
    pull.add_argument("--into", metavar="MODEL", help="add it to this pulled model, instead of making one of its own")
    pull.add_argument("--accept-licences", action="store_true", help="accept the licences that are shown, without a question")
    models_add.add_arguments(
        actions.add_parser("add", help="use a checkpoint, or what lies in a folder of ComfyUI, A1111 or krita-ai-diffusion, in place")
    )
    actions.add_parser("verify", help="read every file through, and name what is wrong")
    remove = actions.add_parser("remove", help="take a pulled model away, with the files that no other model needs")
    remove.add_argument("model", nargs="?", metavar="MODEL")
    remove.add_argument("--unfinished", action="store_true", help="also what is left of downloads that were not finished")
    actions.add_parser("licences", help="the licences, what they forbid, and which you accepted")


def run(options: Namespace, settings: Settings) -> int:
    """Do one of the actions."""
    from ..models.catalog import OWN, Catalog
    from ..models.store import Store

    catalog, store = Catalog.load(options.catalogue or OWN), Store(settings.models)
    match options.action:
        case "list":
            return _list(catalog, store, options.set)
        case "pull":
            return _pull(catalog, store, options)
        case "add":
            return models_add.add(catalog, store, options, _say)
        case "verify":
            return _verify(catalog, store)
        case "remove":
            return _remove(catalog, store, options.model, options.unfinished)
        case _:
            return _licences(catalog, store)


def _list(catalog: Catalog, store: Store, name: str | None) -> int:
    record = store.read()
    if name is not None:
        for part in catalog.set(name).parts:
            print(f"{part.id}: {part.title}. {part.licence.name}; {part.files[0].repository}")
            for file in part.files:
                state = "there" if store.is_there(record, file) else _size(file.bytes)
                proof = "sha256 known" if file.sha256 else "trusted on first use"
                print(f"  {file.place}  {state}, {proof}")
            if part.note:
                print(f"  {part.note}")
        return 0
    for chosen in catalog.sets.values():
        print(f"{chosen.id:26}  {_state(catalog, store, record, chosen):27}  {chosen.purpose}")
    for name, table in record.bases.items():
        print(f"{name:26}  {'your own':27}  {table['checkpoint']}")
    for line in _readers(store, record):
        print(line)
    print(f"\nModels are in {store.models}. `likeness models pull SET` fetches one; sets marked + are added to models that are there.")
    return 0


def _readers(store: Store, record: Record) -> list[str]:
    """One line for each model that is there: which recognisers read people for it, and for which of its adapters."""
    from protocol.errors import LikenessError

    from ..models.bundle import Model, readers_of

    lines: list[str] = []
    for name in record.models:
        try:
            model = Model.open(store.models / name)
        except LikenessError:
            continue  # `verify` says what is wrong with it
        told = {one.name: ", ".join(readers_of(model, one)) for one in model.recognisers}
        read = " and by ".join(f"{recogniser} for {whom}" if whom else recogniser for recogniser, whom in told.items())
        lines += [f"In {name}, people are read by {read}."] if read else []
    return ["", *lines] if lines else []


def _state(catalog: Catalog, store: Store, record: Record, chosen: ModelSet) -> str:
    missing = [file for file in chosen.files if not store.is_there(record, file)]
    mark = "" if chosen.model else "+ "
    if not missing:
        has = {part.id for part in chosen.parts}
        made = [name for name, parts in record.models.items() if (name == chosen.id if chosen.model else has <= set(parts))]
        return mark + ("ready" if made else "files are there")
    unknown = any(file.bytes is None and file.path.rpartition(".")[2] != "json" for file in missing)
    size = _bytes(missing)
    if unknown and size < 2**20:
        return f"{mark}to fetch, size not known"
    return f"{mark}{_size(size)}{' and more' if unknown else ''} to fetch"


def _pull(catalog: Catalog, store: Store, options: Namespace) -> int:
    from ..models.store_base import base_set
    from ..models.store_http import Hub
    from ..models.store_model import make_model, own_or_free
    from ..models.store_pull import Pull, need_network, need_room, plan

    chosen = catalog.set(options.set)
    hub = Hub.of(os.environ)
    with store.locked():
        record = store.read()
        targets = _targets(catalog, record, chosen, options.into)
        for name in targets:
            own_or_free(store, record, name)
        files = [file for parts in targets.values() for part in parts for file in part.files]
        todo, record = plan(store, record, files)
        if todo.fetch:
            record = _search(store, record, [file for job in todo.fetch for file in job])
            todo, record = plan(store, record, files)
        need_network(hub, todo)
        need_room(store, todo)
        if todo.fetch:
            record = _accepted(store, record, _parts_of(targets, todo.fetch), bool(options.accept_licences))
            print(f"{len(todo.fetch)} files to fetch, {_size(todo.bytes - todo.partial_bytes)}, from {hub.endpoint}.", flush=True)
            record = Pull(store, hub).run(record, todo)
        for name, parts in targets.items():
            folder = make_model(store, record, name, base_set(catalog, record, name), parts)
            record = replace(record, models={**record.models, name: tuple(part.id for part in parts)})
            print(f"{name} is ready in {folder}: likeness portrait --model {name} …")
        store.write(record)
    for note in dict.fromkeys(part.note for part in chosen.parts if part.note):
        print(note)
    return 0


def _targets(catalog: Catalog, record: Record, chosen: ModelSet, into: str | None) -> dict[str, tuple[Part, ...]]:
    """Which models are made or changed: model id -> its parts."""
    from ..models.store_base import family_of, joinable
    from ..models.store_model import joined

    if chosen.model is not None and into is None:
        return {chosen.id: joined(catalog.chosen(record.models.get(chosen.id, ())), chosen.parts, chosen.id)}
    fitting = [name for name in record.models if family_of(catalog, record, name) == chosen.family]
    if into is not None and into not in fitting:
        known = f"Those are: {', '.join(fitting)}." if fitting else "There is none yet."
        raise InvalidRequest(f"{into!r} is no pulled or added {chosen.family} model, which {chosen.id} could be added to. {known}")
    if not fitting:
        bases = [each.id for each in catalog.sets.values() if each.model is not None and each.family == chosen.family]
        raise InvalidRequest(f"{chosen.id} is added to a model, and none of its family is here. Pull one first, such as {bases[0]}.")
    names = fitting if into is None else [into]
    return {name: joined(catalog.chosen(record.models[name]), joinable(record, name, chosen.parts), name) for name in names}


def _search(store: Store, record: Record, missing: Iterable[CatalogFile]) -> Record:
    """The record with what other programs have of `missing`."""
    from ..models.store_found import hub_cache, search, usual_folders
    from ..models.store_pull import adopt

    folders = [Path(folder) for folder in record.folders]
    folders += [folder for folder in usual_folders(os.environ, Path.home()) if folder not in folders]
    found = search(missing, record, hub_cache(os.environ, Path.home()), folders, _say)
    for hit in found:
        print(f"Used in place: {hit.path}")
    record = adopt(store, record, found)
    if found:
        store.write(record)
    return record


def _parts_of(targets: dict[str, tuple[Part, ...]], jobs: Iterable[Iterable[CatalogFile]]) -> list[Part]:
    keys = {file.key for job in jobs for file in job}
    parts = {part.id: part for parts in targets.values() for part in parts}
    return [part for part in parts.values() if any(file.key in keys for file in part.files)]


def _accepted(store: Store, record: Record, parts: list[Part], without_question: bool) -> Record:
    """The record with the licences of what is about to be fetched; InvalidRequest if they are not accepted."""
    from ..models.catalog import licences

    new = [licence for licence in licences(parts) if licence.id not in record.licences]
    if not new:
        return record
    for licence in new:
        print(f"{licence.name} ({', '.join(part.title for part in parts if part.licence.id == licence.id)})")
        print(f"  {licence.forbids}\n  {licence.url}", flush=True)
    if not without_question:
        if not sys.stdin.isatty():
            names = "; ".join(licence.name for licence in new)
            raise InvalidRequest(f"Licences have to be accepted first: {names}. Read them, then repeat the command with --accept-licences.")
        print("Do you accept them, and will you keep to them? [y/N] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise InvalidRequest("Nothing was fetched, for the licences were not accepted.")
    today = time.strftime("%Y-%m-%d")
    record = replace(record, licences={**record.licences, **{licence.id: today for licence in new}})
    store.write(record)
    return record


def _verify(catalog: Catalog, store: Store) -> int:
    from ..models.store_pull import Display, checked

    with store.locked():
        record = store.read()
        total = sum({held.path: held.bytes for held in record.files.values()}.values())
        with Display("Reading", total, 0) as display:
            wrong = checked(store, record, display.add)
        store.write(replace(record, files={key: replace(held, bad=key in wrong) for key, held in record.files.items()}))
        broken = {name: _broken(catalog, store, record, name) for name in record.models}
    for key, sentence in wrong.items():
        users = store.users(record, catalog, key)
        print(f"!!  {key}: {sentence}{' (needed by ' + ', '.join(users) + ')' if users else ''}.")
    for name, sentence in broken.items():
        if sentence:
            print(f"!!  {name}: {sentence}")
    todo = {name for key in wrong for name in store.users(record, catalog, key)} | {name for name, said in broken.items() if said}
    if todo:
        print(f"\nTo put it right: {' && '.join(_cure(catalog, record, name, set(wrong)) for name in sorted(todo))}")
    elif not wrong:
        print(f"{len(record.files)} files, {_size(total)}: all are right.")
    return 2 if wrong or todo else 0


def _cure(catalog: Catalog, record: Record, name: str, wrong: set[str]) -> str:
    """The command that mends a model."""
    if name not in record.bases:
        return f"likeness models pull {name}"
    for chosen in catalog.sets.values():
        if any(file.key in wrong for file in chosen.files):
            return f"likeness models pull {chosen.id} --into {name}"
    return f"likeness models add '{record.bases[name]['checkpoint']}' --name {name}"


def _broken(catalog: Catalog, store: Store, record: Record, name: str) -> str:
    """What is wrong with a model's folder, or ""."""
    from protocol.errors import LikenessError

    from ..models.bundle import Model

    for part in catalog.chosen(record.models[name]):
        for file in part.files:
            place, held = store.models / name / file.place, record.files.get(file.key)
            if held is not None and not (place.exists() and store.path(held).exists() and place.samefile(store.path(held))):
                return f"{place} is not the file that was fetched for it."
    try:
        Model.open(store.models / name)
    except LikenessError as error:
        return str(error)
    return ""


def _remove(catalog: Catalog, store: Store, name: str | None, unfinished: bool) -> int:
    from ..models.store_remove import remove_model, remove_unfinished

    if name is None and not unfinished:
        raise InvalidRequest("Nothing was named to be removed. Give a model, or --unfinished.")
    with store.locked():
        if name is not None:
            for line in remove_model(catalog, store, name):
                print(line)
        if unfinished:
            print(f"Unfinished downloads: {_size(remove_unfinished(store))} freed.")
    return 0


def _licences(catalog: Catalog, store: Store) -> int:
    from ..models.catalog import licences

    record = store.read()
    for licence in licences(catalog.parts.values()):
        parts = [part for part in catalog.parts.values() if part.licence.id == licence.id]
        users = [name for name, ids in record.models.items() if any(part.id in ids for part in parts)]
        accepted = f"accepted on {record.licences[licence.id]}" if licence.id in record.licences else "not accepted yet"
        print(f"{licence.name}: {'commercial use allowed' if licence.commercial else 'no commercial use'}; {accepted}")
        print(f"  {licence.forbids}\n  {licence.url}")
        print(f"  It covers: {', '.join(part.title for part in parts)}")
        if users:
            print(f"  In these models: {', '.join(users)}")
    return 0


def _bytes(files: Iterable[CatalogFile]) -> int:
    return sum(file.bytes or 0 for file in {file.key: file for file in files}.values())


def _size(count: int | None) -> str:
    if count is None:
        return "size not known"
    return f"{count / GIB:.1f} GiB" if count >= GIB // 10 else f"{count / 2**20:.1f} MiB"


def _say(line: str) -> None:
    print(line, flush=True)
