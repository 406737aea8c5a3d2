"""Many jobs from a table or a folder of photos, with a bar, and resumable: what is there already is not made again.

    from backend.batch import from_csv, from_folder, run_batch
    from backend.scripting import Studio

    with Studio() as studio:
        run_batch(studio, from_csv("shots.csv"), "out")
        run_batch(studio, from_folder("people", "portrait of a smiling person at the sea"), "out")

The table is CSV in UTF-8 with the columns `name` (of the result, without `.png`), `prompt`, and if wanted `character` (a saved person),
`seed`, `count`, `negative`, `model`, `steps`; an empty field is as if the column were not there. Ranges are those of `scripting.Options`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Unpack

from protocol.errors import InvalidRequest
from protocol.jobs import Photos, PictureJob

from .batchwork import Batch, BatchSession, Order, Record
from .pictures import Results, picture_plane
from .scripting import Options, Studio, portrait_job

_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}
_COLUMNS = {"name", "prompt", "character", "seed", "count", "negative", "model", "steps"}


def from_csv(path: str | Path) -> list[Order]:
    """The orders of a table. Raises `InvalidRequest` with the line that is wrong, also for two whose results would have the same name."""
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            unknown = set(reader.fieldnames or ()) - _COLUMNS
            if unknown or not {"name", "prompt"} <= set(reader.fieldnames or ()):
                raise InvalidRequest(f"{path} needs the columns name and prompt, and may have {', '.join(sorted(_COLUMNS))}; no others.")
            orders = [_order(row, f"{path}, line {number}") for number, row in enumerate(reader, 2)]
    except OSError as error:
        raise InvalidRequest(f"The table {path} cannot be read ({error.strerror}).") from error
    _check_names(orders, [f"{path}, line {number}" for number, _ in enumerate(orders, 2)])
    return orders


def from_folder(folder: str | Path, prompt: str, **options: Unpack[Options]) -> list[Order]:
    """One order for each picture in a folder: the person it shows, with one prompt for all, under the picture's own name.

    Raises `InvalidRequest` for a folder without any, and for two whose results would have the same name. A picture is read when it is
    its turn, and one that cannot be read ends the batch with `BadPicture` there.
    """
    files = [path for path in sorted(Path(folder).glob("*")) if path.suffix.lower() in _PICTURES]
    if not files:
        raise InvalidRequest(f"There is no picture in {folder}. It may hold {', '.join(sorted(_PICTURES))}.")
    portrait_job(None, prompt, **options)  # what is wrong with the options is said now
    orders = [Order(path.stem, partial(_portrait_of, path, prompt, options), options.get("count", 1)) for path in files]
    _check_names(orders, [path.name for path in files])
    return orders


def run_batch(studio: Studio, orders: Iterable[Order], out: str | Path, *, bar: bool = True) -> list[Path]:
    """Make every order that has no result in `out` yet, as many at once as the backend has devices. Returns the first file of each that was
    made now, in their order. `out` is made where it is missing; `bar` shows a progress bar on stderr.

    A result is there when all its pictures are: they are saved under other names and then renamed. An order that fails ends the batch with
    its error (see `Studio`), which begins with the order's name, once the others that were begun are saved. A script that is killed leaves
    its jobs to the backend; the next run with the same `out` takes them up, with the client id that a file in there, `.likeness-batch`,
    keeps.
    """
    from tqdm import tqdm

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    orders = list(orders)
    _check_names(orders, [order.name for order in orders])
    missing = [order for order in orders if not (folder / f"{order.name}.png").exists()]
    if not missing:
        return []
    absent = {order.name for order in missing}
    record = Record(folder)
    session = studio.beside(BatchSession, record.client)
    try:
        for order in orders:
            if order.name not in absent and (job_id := record.known(order.name)) is not None:  # saved, and killed before it could say so
                session.done(job_id)
                record.forget(order.name)
        batch = Batch(session, record, max(1, len(studio.status().devices)), partial(_save, folder))
        try:
            made = {order.name: path for order, path in tqdm(batch.run(missing), total=len(missing), disable=not bar, unit="job")}
        except KeyboardInterrupt:
            batch.cancel()
            raise
    finally:
        session.close()
    return [made[order.name] for order in missing]


def _check_names(orders: Sequence[Order], called: Sequence[str]) -> None:
    """Raise `InvalidRequest` if one result would overwrite another; `called` is what the user calls each order."""
    owners: dict[str, int] = {}
    for number, order in enumerate(orders):
        for file in order.files:
            other = owners.setdefault(file.casefold(), number)  # as Windows and macOS compare names
            if other != number:
                raise InvalidRequest(f"{called[other]} and {called[number]} would both be saved as {file}. Rename one of them.")


def _portrait_of(path: Path, prompt: str, options: Options) -> PictureJob:
    return portrait_job(Photos((picture_plane(path),)), prompt, **options)


def _save(folder: Path, order: Order, results: Results) -> Path:
    saved = results.save(folder / f".{order.name}.png")
    final = [path.with_name(path.name.removeprefix(".")) for path in saved]
    for temporary, path in reversed(list(zip(saved, final, strict=True))):
        temporary.replace(path)  # the first one last: it says that all are there
    return final[0]


def _order(row: dict[str, str | None], where: str) -> Order:
    name, prompt = (row["name"] or "").strip(), row["prompt"] or ""
    if not name or Path(name).name != name or name.startswith("."):
        raise InvalidRequest(f"{where}: {name!r} cannot be the name of a file. Use letters, digits and spaces.")
    options: Options = {}
    try:
        if row.get("seed"):
            options["seed"] = int(row["seed"] or 0)
        if row.get("count"):
            options["count"] = int(row["count"] or 1)
        if row.get("steps"):
            options["steps"] = int(row["steps"] or 1)
    except ValueError as error:
        raise InvalidRequest(f"{where}: seed, count and steps are whole numbers ({error}).") from error
    if row.get("negative"):
        options["negative"] = row["negative"] or ""
    if row.get("model"):
        options["model"] = row["model"] or ""
    job = portrait_job(row.get("character") or None, prompt, **options)
    return Order(name, lambda: job, options.get("count", 1))
