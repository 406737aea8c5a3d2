"""The finished pictures of one document: their order, what is kept of them in the document's file, and how that is written and read.

The file is a ZIP without compression (PNGs are compressed already): `history.json`, and for each picture its PNG and a small one; for
each job the opacity of its layers. What cannot be read of it is left out, the rest is shown.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from . import pixels
from .host import Host
from .protocol.desk.sentences import title_of
from .protocol.errors import LikenessError
from .protocol.geometry import Bounds, Extent
from .protocol.limits import PIXELS, SIDE
from .protocol.planes import Layout, Plane
from .protocol.results import MadePicture
from .view import Result

NOTE_BYTES = 20 * 1024 * 1024
"""Kept in a document's file; beyond that the oldest that were not applied go first, then the oldest."""
THUMBNAIL = 160
TITLE = 60
"""Characters of the prompt in a layer's name."""
CACHE_PIXELS = 24 * 1024 * 1024
"""Pixels of opened pictures that are kept in memory, about 100 MB."""


@dataclass(frozen=True)
class Entry:
    """One finished picture. `opacity` is a compressed mask of the size of `bounds`, None: opaque everywhere."""

    key: str
    job: str
    generation: int
    bounds: Bounds
    prompt: str
    seed: int
    similarity: float | None
    settings: dict[str, Any]
    png: bytes
    opacity: bytes | None
    thumbnail: Plane
    small: bytes
    applied: bool = False

    @property
    def title(self) -> str:
        """The name of its layer."""
        score = "" if self.similarity is None else f", similarity {self.similarity:.2f}"
        return f"{title_of(self.prompt, TITLE) or 'Likeness'} (seed {self.seed}{score})"


@dataclass
class History:
    """The pictures of one document in this session. `unsaved`: jobs whose pictures are here, and nowhere yet where they outlive Krita."""

    document: str
    entries: dict[str, Entry] = field(default_factory=dict)
    loaded: bool = False
    dirty: bool = False
    packing: bool = False
    coming: set[str] = field(default_factory=set)
    """Jobs whose pictures are being unpacked."""
    unsaved: set[str] = field(default_factory=set)
    shown: str | None = None
    title: str = ""
    absorbed: set[str] = field(default_factory=set)
    """Other documents whose copies are in here, and go when this one is written."""
    written: int = -1
    """Length of the note as it was last written or read."""
    digest: str = ""
    """Of the note of which this computer keeps a copy; "" when the document's file has everything."""
    file: str = ""
    """Where the document was last known to be saved."""
    file_seen: int = -1
    """When that file had been changed as it was last looked into, in nanoseconds."""

    def results(self) -> tuple[Result, ...]:
        """Newest generation first, in it the most alike first."""
        return tuple(
            Result(one.key, one.bounds, one.thumbnail, one.prompt, one.seed, one.similarity, one.applied, one.key == self.shown)
            for one in ordered(self.entries.values())
        )

    def add(self, entries: Iterable[Entry]) -> None:
        """Take some in; one that is here already stays as it is. What is more than the file keeps goes."""
        for entry in entries:
            self.entries.setdefault(entry.key, entry)
        self._bound()
        self.dirty = True

    def change(self, key: str, **values: object) -> None:
        """Set values of one entry."""
        if key in self.entries:
            self.entries[key] = replace(self.entries[key], **values)  # type: ignore[arg-type]
            self.dirty = True

    def discard(self, key: str) -> None:
        """Leave one out."""
        self.dirty = self.entries.pop(key, None) is not None or self.dirty
        self.shown = None if self.shown == key else self.shown

    def _bound(self) -> None:
        """Keep within the file's limit; the newest generation always stays."""
        newest = max((one.generation for one in self.entries.values()), default=0)
        total = sum(len(one.png) + len(one.small) for one in self.entries.values())
        old = [one for one in self.entries.values() if one.generation != newest and one.key != self.shown and one.job not in self.unsaved]
        for one in sorted(old, key=lambda one: (one.applied, one.generation)):
            if total <= NOTE_BYTES:
                return
            total -= len(one.png) + len(one.small)
            del self.entries[one.key]


class Cache:
    """Opened pictures with their opacity, the last used ones."""

    def __init__(self) -> None:
        self._planes: dict[tuple[str, bool], Plane] = {}

    def get(self, key: str, opaque: bool) -> Plane | None:
        """What was put, if it is still here."""
        plane = self._planes.pop((key, opaque), None)
        if plane is not None:
            self._planes[key, opaque] = plane
        return plane

    def put(self, key: str, opaque: bool, plane: Plane) -> None:
        """Keep it, and drop those not used for longest."""
        self._planes[key, opaque] = plane
        while len(self._planes) > 1 and sum(one.extent.area for one in self._planes.values()) > CACHE_PIXELS:
            self._planes.pop(next(iter(self._planes)))


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """Newest generation first, in it best similarity first; pictures without one after those, by their seed."""
    return sorted(entries, key=lambda one: (-one.generation, 2.0 if one.similarity is None else -one.similarity, one.seed))


def made_entries(
    host: Host, job_id: str, made: Iterable[MadePicture], template: Callable[[str], Entry], target: Bounds, sent: Bounds
) -> list[Entry]:
    """From the pictures of a job (of the size of `sent`, or of another, then scaled to it) to entries cropped to `target`."""
    found: list[Entry] = []
    box = Bounds(target.x - sent.x, target.y - sent.y, target.width, target.height)
    for number, one in enumerate(made):
        picture = one.picture if one.picture.extent == sent.extent else host.scaled(one.picture, sent.extent, 255)
        picture = pixels.crop(picture, box)
        small = small_of(host, picture)
        found.append(
            replace(
                template(f"{job_id}-{number}"),
                png=host.png(picture),
                thumbnail=small,
                small=host.png(small),
                seed=one.seed,
                similarity=one.similarities[0] if one.similarities else None,
            )
        )
    return found


def small_of(host: Host, picture: Plane) -> Plane:
    """A thumbnail, at most 160 pixels a side."""
    scale = min(1.0, THUMBNAIL / max(picture.extent.width, picture.extent.height))
    return host.scaled(picture, Extent(max(1, round(picture.extent.width * scale)), max(1, round(picture.extent.height * scale))), 255)


def opened(host: Host, entry: Entry, opaque: bool) -> Plane:
    """The picture as BGRA8 for the canvas: its opacity in it, unless `opaque`."""
    picture = host.from_png(entry.png)
    if picture.extent != entry.bounds.extent:
        picture = host.scaled(picture, entry.bounds.extent, 255)
    mask = None if opaque else opacity_of(entry)
    return picture if mask is None else pixels.with_opacity(picture, mask)


def opacity_of(entry: Entry) -> Plane | None:
    """The mask of the layer; None: opaque everywhere, or it is damaged."""
    return unpacked_mask(entry.opacity, entry.bounds.extent)


def packed_mask(mask: Plane | None) -> bytes | None:
    """A mask as it is kept."""
    return None if mask is None else zlib.compress(bytes(mask.data), 1)


def unpacked_mask(data: bytes | None, extent: Extent) -> Plane | None:
    """The mask, if there is one of that size."""
    if data is None:
        return None
    try:
        found = zlib.decompressobj().decompress(data, extent.area + 1)
    except zlib.error:
        return None
    return Plane(Layout.A8, extent, found) if len(found) == extent.area else None


def pack(entries: Iterable[Entry], title: str = "", file: str = "") -> bytes:
    """The note that is kept in the document, whose name and file are in it for where the document is not."""
    kept, data = list(entries), io.BytesIO()
    told = {"format": 1, "title": title, "file": file, "pictures": [_record(one) for one in kept]}
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("history.json", json.dumps(told, ensure_ascii=False))
        for one in kept:
            archive.writestr(f"{one.key}.png", one.png)
            archive.writestr(f"{one.key}.small.png", one.small)
        for job, opacity in {one.job: one.opacity for one in kept}.items():
            if opacity is not None:
                archive.writestr(f"{job}.mask", opacity)
    return data.getvalue()


def unpack(host: Host, data: bytes) -> list[Entry]:
    """What `pack` wrote, as far as it can be read."""
    found: list[Entry] = []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            for record in json.loads(archive.read("history.json"))["pictures"]:
                try:
                    found.append(_entry(host, record, archive, names))
                except (KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error, LikenessError):
                    continue
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error, OSError, RuntimeError):
        return found
    return found


def _record(one: Entry) -> dict[str, Any]:
    box = one.bounds
    return {
        "key": one.key,
        "job": one.job,
        "generation": one.generation,
        "bounds": [box.x, box.y, box.width, box.height],
        "prompt": one.prompt,
        "seed": one.seed,
        "similarity": one.similarity,
        "settings": one.settings,
        "applied": one.applied,
    }


def _entry(host: Host, record: dict[str, Any], archive: zipfile.ZipFile, names: set[str]) -> Entry:
    key, job, similarity = str(record["key"]), str(record["job"]), record["similarity"]
    small = archive.read(f"{key}.small.png")
    return Entry(
        key,
        job,
        int(record["generation"]),
        bounds_from(record["bounds"]),
        str(record["prompt"]),
        int(record["seed"]),
        None if similarity is None else float(similarity),
        record["settings"] if isinstance(record["settings"], dict) else {},
        archive.read(f"{key}.png"),
        archive.read(f"{job}.mask") if f"{job}.mask" in names else None,
        host.from_png(small),
        small,
        bool(record["applied"]),
    )


def bounds_from(values: object) -> Bounds:
    """Bounds of a list of four numbers; raises `ValueError` or `TypeError` for anything else."""
    if not isinstance(values, list) or len(values) != 4:
        raise ValueError("bounds are four numbers")
    x, y, width, height = (int(value) for value in values)
    if not (1 <= width <= SIDE and 1 <= height <= SIDE and width * height <= PIXELS and abs(x) < 10**6 and abs(y) < 10**6):
        raise ValueError("bounds without pixels, or with too many")
    return Bounds(x, y, width, height)
