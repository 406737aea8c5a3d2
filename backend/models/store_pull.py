"""Fetching all files of some parts at once: what is there is used, the rest comes over several connections, with one progress display."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Self

from protocol.errors import DiskFull, InvalidRequest, ModelError

from ..files import sha256_of
from .catalog import CatalogFile
from .store import Record, Store
from .store_fetch import Download, Fetched, Patience, Trust, install, size_of
from .store_found import Found
from .store_http import Hub

CONNECTIONS = 4
SPARE_BYTES = 64 << 20
"""Room that a download leaves on the drive."""
GIB = 2**30


class Display:
    """One line for all files: how much, how fast, how long still. A context manager."""

    def __init__(self, title: str, total: int, done: int) -> None:
        import sys

        from tqdm import tqdm

        pause = 0.2 if sys.stderr.isatty() else 10.0  # a log is not filled with bars
        self._lock = threading.Lock()
        self._bar: Any = tqdm(
            total=max(total, 1),
            initial=done,
            desc=title,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            dynamic_ncols=True,
            mininterval=pause,
        )

    def add(self, count: int) -> None:
        """So many bytes came; negative when some were lost."""
        with self._lock:
            self._bar.total = max(self._bar.total, self._bar.n + count)  # files of unknown size are in no total
            self._bar.update(count)

    def say(self, line: str) -> None:
        """Print a line without breaking the display."""
        with self._lock:
            self._bar.write(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pull has to do. Files with the same known hash are one job: they become one blob."""

    there: tuple[CatalogFile, ...]
    fetch: tuple[tuple[CatalogFile, ...], ...]
    partial_bytes: int
    """Of the downloads that were begun before."""

    @property
    def bytes(self) -> int:
        """What is to be fetched in all, as far as the catalogue knows."""
        return sum(files[0].bytes or 0 for files in self.fetch)


def plan(store: Store, record: Record, files: Iterable[CatalogFile]) -> tuple[Plan, Record]:
    """What of `files` is there and what is to be fetched. A blob that a killed pull left is read through, and taken."""
    there: list[CatalogFile] = []
    jobs: dict[str, list[CatalogFile]] = {}
    for file in {file.key: file for file in files}.values():
        known = record.known(file)
        if not store.is_there(record, file) and known is not None and _is_whole(store, record, known):
            held = store.held(store.blob(known), store.blob(known).stat().st_size, known, _trust(file))
            record = record.with_file(file, held)
        if store.is_there(record, file):
            there.append(file)
        else:
            jobs.setdefault(known or file.key, []).append(file)
    begun = sum(size_of(partial_of(store, record, job[0])) for job in jobs.values())
    return Plan(tuple(there), tuple(map(tuple, jobs.values())), begun), record


def adopt(store: Store, record: Record, found: Iterable[Found]) -> Record:
    """The record with files that other programs own."""
    for hit in found:
        record = record.with_file(hit.file, store.held(hit.path.absolute(), hit.bytes, hit.sha256, hit.trust))
    return record


def need_room(store: Store, todo: Plan) -> None:
    """DiskFull unless everything will fit."""
    need, free = todo.bytes - todo.partial_bytes + SPARE_BYTES, store.free_bytes()
    if need > free:
        raise DiskFull(
            f"{need / GIB:.1f} GiB are still to be fetched, and {free / GIB:.1f} GiB are free at {store.models}. "
            "Free some space, or set LIKENESS_MODELS to a folder on another disk."
        )


def need_network(hub: Hub, todo: Plan) -> None:
    """InvalidRequest with the missing files, when nothing may be fetched."""
    if hub.offline and todo.fetch:
        names = ", ".join(f"{job[0].repository}/{job[0].path}" for job in todo.fetch[:3])
        more = f" and {len(todo.fetch) - 3} more" if len(todo.fetch) > 3 else ""
        raise InvalidRequest(
            f"This is offline (HF_HUB_OFFLINE), and these files are missing: {names}{more}. "
            "Unset it, or name a folder that has them with `likeness models add`."
        )


@dataclass(slots=True)
class Pull:
    """Fetches the files of a plan into a store. `stop` ends it early; what came is kept."""

    store: Store
    hub: Hub
    patience: Patience = field(default_factory=Patience)
    connections: int = CONNECTIONS
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, record: Record, todo: Plan, title: str = "Fetching") -> Record:
        """Fetch all; the record is written after each file. The first error ends the others and is raised.

        The threads are daemons and told to stop: Ctrl-C does not wait for a server that says nothing.
        """
        waiting: Queue[tuple[CatalogFile, ...]] = Queue()
        done: Queue[tuple[tuple[CatalogFile, ...], Fetched | BaseException]] = Queue()
        for job in sorted(todo.fetch, key=lambda job: job[0].bytes or 0):  # small ones first: they fail first, too
            waiting.put(job)
        left = len(todo.fetch)
        threads: list[threading.Thread] = []
        with Display(title, todo.bytes, todo.partial_bytes) as display:
            try:
                for _ in range(min(self.connections, left)):
                    threads.append(threading.Thread(target=self._work, args=(waiting, done, record, display), daemon=True))
                    threads[-1].start()
                while left:
                    job, result = self._next(done)
                    if isinstance(result, BaseException):
                        raise result
                    record = self._keep(record, job, result, display)
                    left -= 1
            finally:
                self.stop.set()
                for thread in threads:
                    thread.join(timeout=1.0)
        return record

    def _next(
        self, done: Queue[tuple[tuple[CatalogFile, ...], Fetched | BaseException]]
    ) -> tuple[tuple[CatalogFile, ...], Fetched | BaseException]:
        while True:
            try:
                return done.get(timeout=0.5)  # not for ever: Windows hears Ctrl-C only in between
            except Empty:
                continue

    def _work(
        self,
        waiting: Queue[tuple[CatalogFile, ...]],
        done: Queue[tuple[tuple[CatalogFile, ...], Fetched | BaseException]],
        record: Record,
        display: Display,
    ) -> None:
        while not self.stop.is_set():
            try:
                job = waiting.get_nowait()
            except Empty:
                return
            part = partial_of(self.store, record, job[0])
            try:
                known = record.known(job[0])
                done.put((job, Download(self.hub, job[0], known, part, self.stop, display.add, self.patience).run()))
            except BaseException as error:  # whatever it is, it is raised where somebody waits for it
                done.put((job, error))
                return

    def _keep(self, record: Record, job: tuple[CatalogFile, ...], fetched: Fetched, display: Display) -> Record:
        target = self.store.blob(fetched.sha256)
        try:
            install(fetched, target)
        except OSError as error:
            raise ModelError(f"{target} could not be written ({error.strerror}). Look at its rights and its drive.") from error
        for file in job:
            if fetched.trust is not Trust.CATALOGUE and file.key not in record.fixed:
                by = "as the server names it" if fetched.trust is Trust.HUB else "trusted on first use"
                display.say(f"No hash is known of {file.repository}/{file.path}; {by}, it is {fetched.sha256[:16]}… from now on.")
            record = record.with_file(file, self.store.held(target, fetched.bytes, fetched.sha256, fetched.trust))
        self.store.write(record)
        return record


def partial_of(store: Store, record: Record, file: CatalogFile) -> Path:
    """Where a download is until it is whole: by its hash, else by its name."""
    return store.partial / f"{record.known(file) or 'u' + hashlib.sha256(file.key.encode()).hexdigest()[:40]}.part"


def checked(store: Store, record: Record, heard: Callable[[int], None] = lambda count: None) -> Mapping[str, str]:
    """Read every held file through: key -> what is wrong with it. The right ones are not in it."""
    wrong: dict[str, str] = {}
    seen: dict[Path, str] = {}
    for key, held in record.files.items():
        path = store.path(held)
        try:
            if path not in seen:
                seen[path] = sha256_of(path, heard=heard)
        except OSError as error:
            wrong[key] = f"{path} is gone" if isinstance(error, FileNotFoundError) else f"{path} cannot be read ({error.strerror})"
            continue
        if seen[path] != held.sha256:
            wrong[key] = f"{path} has changed: its sha256 is {seen[path][:12]}… instead of {held.sha256[:12]}…"
    return wrong


def _is_whole(store: Store, record: Record, sha256: str) -> bool:
    """Whether the store has this blob. One that the record does not know, or knows to be bad, is read through."""
    blob = store.blob(sha256)
    if not blob.is_file():
        return False
    if any(store.path(held) == blob and not held.bad and held.bytes == size_of(blob) for held in record.files.values()):
        return True
    return sha256_of(blob) == sha256


def _trust(file: CatalogFile) -> Trust:
    return Trust.CATALOGUE if file.sha256 else Trust.FIRST_USE
