"""Taking models away, and of their files those that nobody needs any more. What another program owns is never touched."""

from __future__ import annotations

from dataclasses import replace

from protocol.errors import InvalidRequest, ModelError

from .catalog import Catalog
from .store import Record, Store
from .store_model import unmake_model

GIB = 2**30


def remove_model(catalog: Catalog, store: Store, name: str) -> list[str]:
    """Remove the pulled model `name`; what to say of it, line by line. InvalidRequest if the store has not made it."""
    record = store.read()
    if name not in record.models:
        known = f"Those are: {', '.join(record.models)}." if record.models else "There is none."
        raise InvalidRequest(f"{name!r} is no model that was pulled or added. {known}")
    parts = catalog.chosen(record.models[name])
    left = unmake_model(store, name, parts)
    base = record.bases.get(name)
    models, bases = ({other: entry for other, entry in table.items() if other != name} for table in (record.models, record.bases))
    record = replace(record, models=models, bases=bases)
    keys = [file.key for part in parts for file in part.files]
    lines = _kept(catalog, store, record, keys)
    record, freed = _collect(catalog, store, record)
    lines.insert(0, f"{name} is removed, {freed / GIB:.1f} GiB are freed.")
    if base is not None:
        lines.append(f"Not touched: {base['checkpoint']}")
    if left:
        lines.append(f"Left in {store.models / name}, for they were not put there by a pull: {', '.join(path.name for path in left)}")
    return lines


def remove_unfinished(store: Store) -> int:
    """Remove what is left of downloads; how many bytes that were."""
    freed = 0
    for path in store.partial.iterdir() if store.partial.is_dir() else ():
        freed += path.stat().st_size
        path.unlink()
    return freed


def _kept(catalog: Catalog, store: Store, record: Record, keys: list[str]) -> list[str]:
    lines: list[str] = []
    for key in keys:
        users = store.users(record, catalog, key)
        held = record.files.get(key)
        if users:
            lines.append(f"Kept: {key.rpartition('@')[0]}/{key.partition('/')[2].partition('/')[2]}, also needed by {', '.join(users)}")
        elif held is not None and not store.is_own(held):
            lines.append(f"Not touched: {held.path}, which another program owns")
    return lines


def _collect(catalog: Catalog, store: Store, record: Record) -> tuple[Record, int]:
    """Drop the files that no model needs; the record is written before a blob goes, so it never names one that is gone."""
    kept = {key: held for key, held in record.files.items() if store.users(record, catalog, key) or not store.is_own(held)}
    record = replace(record, files=kept)
    store.write(record)
    needed = {store.path(held) for held in kept.values()}
    freed = 0
    blobs = store.blob("x").parent
    try:
        for path in blobs.iterdir() if blobs.is_dir() else ():
            if path not in needed:
                freed += path.stat().st_size
                path.unlink()
    except OSError as error:
        raise ModelError(f"A file in {blobs} could not be removed ({error.strerror}). Look at its rights.") from error
    return record, freed
