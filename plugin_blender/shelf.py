"""The finished pictures, each a PNG and a small file of words in the add-on's own folder, so that no undo and no crash takes one away."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .chores import Steps
from .protocol.desk.sentences import title_of
from .protocol.results import Pictures
from .tickets import Ticket, ticket_of_record
from .wish import Target, Wish

MOST = 300
"""Pictures on the shelf; the oldest go first."""
VIEWS = 48
"""Of these many the newest keep what was measured for them: some megabytes for a large mesh."""
_KEY = re.compile(r"[0-9a-f]{32}-\d{1,3}")
PART = 1 << 18
"""Bytes written in one step."""


@dataclass(frozen=True)
class Result:
    """One finished picture. `similarity` to the character is None when nobody was asked for or no face was found."""

    key: str
    path: Path
    press: int
    width: int
    height: int
    wish: Wish
    seed: int
    """Of this picture."""
    similarity: float | None
    shot: str
    document: str = ""
    camera: Mapping[str, Any] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    view: object = None
    """What the host measured at the moment of pressing; None when it was another session."""

    @property
    def job_id(self) -> str:
        """The job that made it."""
        return self.key.split("-")[0]

    @property
    def title(self) -> str:
        """Its name in the file: "portrait of a …, seed 12"."""
        return f"{title_of(self.wish.prompt, 40) or self.wish.character or 'Likeness'}, seed {self.seed}"


class Shelf:
    """Files in `folder`. Reading and writing is done in steps; `results` is in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._results: dict[str, Result] = {}
        self._ordered: tuple[Result, ...] = ()

    @property
    def results(self) -> tuple[Result, ...]:
        """The newest press first, in it the most alike first; pictures without a face after those, by their seed."""
        return self._ordered

    def get(self, key: str) -> Result | None:
        """One of them."""
        return self._results.get(key)

    def load(self) -> Steps[None]:
        """Find what earlier sessions left; what cannot be read is passed over."""
        for words in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else ():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                result = _read(words)
                self._results.setdefault(result.key, result)
            yield
        self._order()

    def take(self, ticket: Ticket, made: Pictures, png: Callable[[Any], Steps[bytes]]) -> Steps[tuple[Result, ...]]:
        """Write the pictures of a job, and return them once they are all safe. `png` encodes a plane."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found: list[Result] = []
        for number, one in enumerate(made.pictures):
            key = f"{ticket.job_id}-{number}"
            data = yield from png(one.picture)
            path = self._folder / f"{key}.png"
            yield from _write(path, data)
            extent = one.picture.extent
            similarity = one.similarities[0] if one.similarities else None
            record = {**ticket.record(), "size": [extent.width, extent.height], "seed": one.seed, "similarity": similarity}
            yield from _write(path.with_suffix(".json"), json.dumps(record, ensure_ascii=False).encode())
            found.append(_result(path, ticket, record))
        self._results.update({result.key: result for result in found})
        self._order()
        yield from self._bound()
        return tuple(found)

    def compress(self, results: Iterable[Result], made: Pictures, png: Callable[[Any], Steps[bytes]]) -> Steps[None]:
        """Write the pictures that `take` has written once more, smaller: the same pixels. Whatever goes wrong leaves them as they are."""
        for result, one in zip(results, made.pictures, strict=True):
            if result.key in self._results:
                data = yield from png(one.picture)
                # Thrown away meanwhile, it must not come back; and a file that somebody reads cannot be replaced on Windows.
                with contextlib.suppress(OSError):
                    yield from _write(result.path, data, lambda key=result.key: key in self._results)

    def discard(self, key: str) -> None:
        """Throw one away, with its files."""
        result = self._results.pop(key, None)
        if result is not None:
            for path in (result.path, result.path.with_suffix(".json")):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # Windows does not remove what is just being written; its writer does
                _part(result.path).unlink(missing_ok=True)
            self._order()

    def _bound(self) -> Iterator[None]:
        for result in self._ordered[MOST:]:
            self.discard(result.key)
            yield

    def _order(self) -> None:
        for result in ordered(self._results.values())[VIEWS:]:
            if result.view is not None:
                self._results[result.key] = replace(result, view=None)
        self._ordered = tuple(ordered(self._results.values()))


def ordered(results: Iterable[Result]) -> list[Result]:
    """Newest press first, best first."""
    return sorted(results, key=lambda one: (-one.press, 2.0 if one.similarity is None else -one.similarity, one.seed, one.key))


def _write(path: Path, data: bytes, wanted: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """In steps, and under its name only when it is whole and still wanted; of one that is not, nothing is left."""
    part = _part(path)
    try:
        with part.open("wb") as file:
            for start in range(0, len(data), PART):
                file.write(data[start : start + PART])
                yield
        if wanted():
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _read(words: Path) -> Result:
    path, record = words.with_suffix(".png"), json.loads(words.read_bytes())
    if not _KEY.fullmatch(words.stem) or not path.is_file():
        raise ValueError(words.name)
    return _result(path, ticket_of_record(words.stem.split("-")[0], record), record)


def _result(path: Path, ticket: Ticket, record: Mapping[str, Any]) -> Result:
    width, height = (int(side) for side in record["size"])
    seed, similarity = int(record["seed"]), record["similarity"]
    return Result(
        path.stem,
        path,
        ticket.press,
        width,
        height,
        replace(ticket.wish, seed=seed, count=1),
        seed,
        None if similarity is None else float(similarity),
        ticket.shot,
        ticket.document,
        ticket.camera,
        ticket.targets,
        ticket.view,
    )
