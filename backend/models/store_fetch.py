"""One file, fetched so that a kill at any byte costs nothing: what is there is gone on with, and believed only when its hash is right.

A download lives in two files of the store: `NAME.part`, the bytes so far, and `NAME.json`, which says of which version they are (the ETag).
It goes on with `Range` and `If-Range`, so a server that has another version by now sends that from its start. Bytes of unknown version are
only gone on with if the catalogue's sha256 will tell at the end.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import os
import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO, Protocol

from protocol.errors import Cancelled, DiskFull, ModelError

from .catalog import CatalogFile
from .store_http import Answer, Hub, Passing, ask

CHUNK = 1 << 18


class Trust(Enum):
    """Why a file is believed to be the right one."""

    CATALOGUE = "catalogue"
    """Its sha256 is the catalogue's."""
    HUB = "hub"
    """Its hash is the one that the Hub names; the catalogue has none."""
    FIRST_USE = "first use"
    """Nobody names a hash: it is what came first, and is held to from then on."""


class Digest(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None:
        """Read on."""
        ...

    def hexdigest(self) -> str:
        """Of all that was read."""
        ...


class Stop(Protocol):
    """Something that can be waited for, as `threading.Event`."""

    def is_set(self) -> bool:
        """Whether to stop now."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Sleep, unless stopped before."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How often is tried without a single new byte, and the pauses between: doubled each time, a bit at random, at most `longest_s`."""

    tries: int = 5
    first_s: float = 1.0
    longest_s: float = 30.0

    def pause(self, failures: int) -> float:
        """Seconds before the next try."""
        return min(self.first_s * 2 ** (failures - 1), self.longest_s) * random.uniform(0.75, 1.25)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is whole and right, still under its temporary name."""

    path: Path
    bytes: int
    sha256: str
    trust: Trust


class _Wrong(Exception):  # noqa: N818 - becomes a ModelError after a second try
    """What came is not what was asked for; the text is a sentence without a cure."""


@dataclass(slots=True)
class Download:
    """The fetching of one file. `known`: the sha256 that it must have, or None. `heard` is told how many bytes came (negative: went)."""

    hub: Hub
    file: CatalogFile
    known: str | None
    part: Path
    stop: Stop
    heard: Callable[[int], None] = lambda count: None
    patience: Patience = Patience()

    def run(self) -> Fetched:
        """Fetch it, trying again as `patience` says. ModelError, DiskFull or Cancelled (by `stop`) with a sentence."""
        failures = wrong = 0
        while True:
            before = size_of(self.part)
            try:
                return self._attempt()
            except Passing as problem:
                failures = 1 if size_of(self.part) > before else failures + 1
                if failures >= self.patience.tries:
                    raise ModelError(
                        f"{self._name} could not be fetched: {problem}. What came so far is kept; try again later."
                    ) from problem
                self.stop.wait(problem.after_s if problem.after_s is not None else self.patience.pause(failures))
            except _Wrong as problem:
                self._forget()
                wrong += 1
                if wrong == 2:
                    raise ModelError(f"{problem} It came so twice and was not kept. Try again later, or set HF_ENDPOINT.") from problem
            except OSError as error:
                raise self._disk(error) from error
            self._check_stop()

    @property
    def _name(self) -> str:
        return f"{self.file.path} of {self.file.repository}"

    @property
    def _card(self) -> Path:
        return self.part.with_suffix(".json")

    def _attempt(self) -> Fetched:
        digest: Digest = hashlib.sha256()
        have, etag, linked = self._kept()
        with self.part.open("r+b" if have else "wb") as out:
            if have:
                _read_into(out, digest, have, self._check_stop)
            if have and have == self.file.bytes:
                return self._judge(out, digest.hexdigest(), have, linked)
            answer = ask(self.hub, self.file, _range(have, etag))
            with closing(answer.body):
                if answer.status == 416 and have == answer.whole:
                    return self._judge(out, digest.hexdigest(), have, answer.linked or linked)
                if have and not self._goes_on(answer, have, etag):
                    have, digest = self._from_the_start(answer, out, have)
                total = self._total(answer)
                linked = answer.linked or linked
                if not have:
                    self._write_card(answer.etag, linked)
                size = self._receive(answer, out, digest, have, total)
            if total is not None and size < total:
                raise Passing(f"the connection ended after {size:,} of {total:,} bytes")
            return self._judge(out, digest.hexdigest(), size, linked)

    def _kept(self) -> tuple[int, str, str]:
        """How many bytes of an earlier try can be gone on with, their ETag, and the hash that the Hub named."""
        have = size_of(self.part)
        try:
            card = json.loads(self._card.read_text(encoding="utf-8"))
            etag, linked = str(card["etag"]), str(card["linked"])
        except (OSError, ValueError, KeyError, TypeError):
            etag = linked = ""
        if not have or not (etag or self.known) or (self.file.bytes is not None and have > self.file.bytes):
            if have:
                self.heard(-have)
            return 0, "", ""
        return have, etag, linked

    def _goes_on(self, answer: Answer, have: int, etag: str) -> bool:
        """Whether the answer is the rest of what is there. 206 with another ETag comes from servers that do not know If-Range."""
        same = not (etag and answer.etag) or etag == answer.etag
        return answer.status == 206 and answer.span is not None and answer.span[0] == have and same

    def _from_the_start(self, answer: Answer, out: BinaryIO, have: int) -> tuple[int, Digest]:
        """Drop what is there: the server has another version, or sends everything, or nothing."""
        out.truncate(0)
        out.seek(0)
        self._card.unlink(missing_ok=True)
        self.heard(-have)
        if answer.status != 200:
            raise Passing("the server has no such rest of the file")
        return 0, hashlib.sha256()

    def _total(self, answer: Answer) -> int | None:
        if answer.status == 416 or (answer.status == 206 and answer.span is None):
            raise Passing("the server has no such part of the file")
        total = answer.span[1] if answer.span else answer.length
        if None not in (total, self.file.bytes) and total != self.file.bytes:
            raise _Wrong(f"{self._name} is another file than the catalogue's: {total:,} bytes instead of {self.file.bytes:,}.")
        return total if total is not None else self.file.bytes

    def _receive(self, answer: Answer, out: BinaryIO, digest: Digest, have: int, total: int | None) -> int:
        size = have
        while True:
            self._check_stop()
            try:
                data = answer.body.read1(CHUNK)
            except (http.client.HTTPException, OSError) as error:
                raise Passing(f"the connection broke after {size:,} bytes") from error
            if not data:
                return size
            size += len(data)
            if total is not None and size > total:
                raise _Wrong(f"{self._name} is longer than the {total:,} bytes that were announced.")
            out.write(data)
            out.flush()  # a kill loses nothing that came
            digest.update(data)
            self.heard(len(data))

    def _judge(self, out: BinaryIO, sha256: str, size: int, linked: str) -> Fetched:
        """Believe it or not. `linked` counts only where the catalogue and the store know nothing."""
        if self.file.bytes is not None and size != self.file.bytes:
            raise _Wrong(f"{self._name} has {size:,} bytes instead of {self.file.bytes:,}.")
        if self.known is not None and sha256 != self.known:
            raise _Wrong(f"{self._name} is damaged or another file: its sha256 is {sha256[:12]}… instead of {self.known[:12]}….")
        if self.known is None and linked and linked != (sha256 if len(linked) == 64 else git_hash(self.part)):
            raise _Wrong(f"{self._name} is damaged: its hash is not {linked[:12]}…, which the server names.")
        os.fsync(out.fileno())
        trust = Trust.CATALOGUE if self.file.sha256 else Trust.HUB if linked else Trust.FIRST_USE
        return Fetched(self.part, size, sha256, trust)

    def _write_card(self, etag: str, linked: str) -> None:
        fresh = self._card.with_suffix(".new")
        fresh.write_text(json.dumps({"etag": etag, "linked": linked}), encoding="utf-8")
        os.replace(fresh, self._card)

    def _forget(self) -> None:
        self.heard(-size_of(self.part))
        self.part.unlink(missing_ok=True)
        self._card.unlink(missing_ok=True)

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise Cancelled("The download was stopped. What came so far is kept.")

    def _disk(self, error: OSError) -> ModelError | DiskFull:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskFull(
                f"The disk is full: {self._name} does not fit into {self.part.parent}. Free some space, then run the command again."
            )
        return ModelError(f"{self._name} could not be kept in {self.part.parent} ({error.strerror}). Look at its rights and its drive.")


def install(fetched: Fetched, target: Path) -> None:
    """Give it its final name, for good: the name is there only with all the bytes behind it, also after a power cut. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(fetched.path, target)
    fetched.path.with_suffix(".json").unlink(missing_ok=True)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Write a folder's names through to the disk, where the system can do that."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def git_hash(path: Path) -> str:
    """What git, and so the Hub, calls the contents of a small file."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _read_into(file: BinaryIO, digest: Digest, count: int, check: Callable[[], None]) -> None:
    while count > 0 and (data := file.read(min(1 << 20, count))):
        check()
        digest.update(data)
        count -= len(data)


def _range(have: int, etag: str) -> dict[str, str]:
    if not have:
        return {}
    return {"Range": f"bytes={have}-", **({"If-Range": etag} if etag else {})}


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
