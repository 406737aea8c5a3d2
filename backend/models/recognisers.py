"""Recognisers: what turns an aligned face into numbers. Embeddings of two recognisers have nothing in common, so an adapter works with
the one that it was trained with and with no other. Nothing is loaded here.

A recogniser is a name and an ONNX file; its sha256 is what a character's numbers are known by. `model.toml` says, beside `[faces]`:

    [faces]
    recogniser = "antelopev2"        # the name of the one in the folder; known files have theirs
    sha256 = ""                      # of its ONNX file; another file is refused
    licence = ""
    input = 112                      # side of the aligned face in pixels
    embedding = 512                  # how many numbers it gives
    normalisation = [127.5, 127.5]   # what is taken away from a pixel, and by what the rest is divided; else as the file itself says
    same = 0.6                       # measured: 95 in 100 pairs of photos of one person are more alike (cosine) …
    strangers = 0.3                  # … and 95 in 100 pairs of two people less

    [instantid]
    recogniser = "antelopev2"        # what InstantID's adapter was trained with

    [[recogniser]]                   # another one beside it, for adapters that were trained with that; keys as above, and
    name = "buffalo_l"
    folder = "recognisers/buffalo_l" # a pack with its own detector, or
    file = "recognisers/free.onnx"   # an ONNX file alone: the detector of the pack in [faces] finds the faces for it
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.errors import ModelError

from ..files import sha256_of

ANTELOPE, BUFFALO = "antelopev2", "buffalo_l"
KNOWN_FILES = {"glintr100.onnx": ANTELOPE, "w600k_r50.onnx": BUFFALO}
"""The recognisers of insightface's packs, by the names of their files."""
OFFICIAL = frozenset(KNOWN_FILES.values())
RESEARCH_ONLY = "InsightFace model packs, non-commercial research only"
EMBEDDING = 512


@dataclass(frozen=True, slots=True)
class Recogniser:
    """One recogniser of a model. Exactly one of `folder` (a pack with a detector) and `file` (an ONNX file alone) is given."""

    name: str
    folder: Path | None = None
    file: Path | None = None
    sha256: str = ""
    """As model.toml has it; empty: whatever the file's is."""
    licence: str = ""
    input: int | None = None
    embedding: int = EMBEDDING
    normalisation: tuple[float, float] | None = None
    same: float | None = None
    strangers: float | None = None

    @property
    def onnx(self) -> Path | None:
        """The ONNX file as its name tells it; None where only loading the pack can tell."""
        return self.file if self.file is not None else _named(self.folder)

    def digest(self) -> str:
        """The sha256 that characters know it by: as model.toml has it, else the file's; empty where the file is not known."""
        if self.sha256:
            return self.sha256
        file = self.onnx
        return onnx_sha256(file) if file is not None and file.is_file() else ""


class Digests:
    """The sha256 of recognisers, read once for each state of a file: the large ones have 260 MB."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], str] = {}

    def of(self, recogniser: Recogniser) -> str:
        """As `Recogniser.digest`; empty where the file is not known or cannot be read."""
        if recogniser.sha256 or recogniser.onnx is None:
            return recogniser.sha256
        try:
            status = recogniser.onnx.stat()
            key = recogniser.onnx, status.st_size, status.st_mtime_ns
            if key not in self._known:
                self._known[key] = recogniser.digest()
            return self._known[key]
        except (OSError, ModelError):
            return ""


def read_recognisers(folder: Path, model_id: str, table: Mapping[str, Any]) -> tuple[Recogniser, ...]:
    """The recognisers of a model folder by its model.toml, the main one first; raises KeyError, TypeError, ValueError for a wrong entry."""
    faces: Mapping[str, Any] = table.get("faces", {})
    pack = folder / faces.get("folder", "faces")
    found: list[Recogniser] = []
    listed = {str(entry["name"]) for entry in table.get("recogniser", [])}
    if pack.is_dir() and ("recogniser" in faces or _known_name(pack) not in listed):  # else it is the listed one, left by an older version
        found.append(_entry(faces, str(faces.get("recogniser") or _known_name(pack) or model_id), folder=pack))
    for entry in table.get("recogniser", []):
        if ("file" in entry) == ("folder" in entry):
            raise ValueError(f"recogniser {entry['name']!r}: either file or folder")
        place = {key: folder / entry[key] for key in ("file", "folder") if key in entry}
        found.append(_entry(entry, str(entry["name"]), **place))
    if len({one.name for one in found}) < len(found):
        raise ValueError("recogniser: two have the same name")
    if found and found[0].folder is None:
        raise ValueError(f"recogniser {found[0].name!r}: without [faces] the first needs a folder, which has a detector too")
    return tuple(found)


def recogniser_for(model_id: str, recognisers: Iterable[Recogniser], declared: str, official: str, what: str) -> Recogniser:
    """The recogniser that `what` (an adapter, for the sentence) was trained with.

    `declared` is what model.toml says of it; without that the `official` one is taken, or the model's own if that is none of
    insightface's: somebody who trains with a recogniser of their own puts it into the model. Raises `ModelError` for a mismatch.
    """
    by_name = {one.name: one for one in recognisers}
    wanted = declared or official
    if wanted in by_name:
        return by_name[wanted]
    main = next(iter(by_name.values()), None)
    if main is not None and not declared and main.name not in OFFICIAL:
        return main
    has = f"only {', '.join(by_name)}" if by_name else "no recogniser"
    advice = "" if declared or main is None else f" If it was trained with {main.name}, say so in model.toml: recogniser = {main.name!r}."
    raise ModelError(
        f"{what} was trained with the recogniser {wanted}, and the model {model_id!r} has {has}. What two recognisers read of a face has "
        f"nothing in common. Add {wanted} to the model (`likeness models list` names the sets with it).{advice}"
    )


def onnx_sha256(file: Path) -> str:
    """The sha256 of a recogniser's file, in hexadecimal; ModelError if it cannot be read."""
    try:
        return sha256_of(file)
    except OSError as error:
        raise ModelError(f"{file} cannot be read ({error.strerror or error}). Install the model once more.") from error


def _entry(table: Mapping[str, Any], name: str, folder: Path | None = None, file: Path | None = None) -> Recogniser:
    return Recogniser(
        name=name[:80],
        folder=folder,
        file=file,
        sha256=str(table.get("sha256", "")).lower(),
        licence=str(table.get("licence", "") or (RESEARCH_ONLY if name in OFFICIAL else ""))[:256],
        input=None if "input" not in table else int(table["input"]),
        embedding=int(table.get("embedding", EMBEDDING)),
        normalisation=_normalisation(name, table.get("normalisation")),
        same=_cosine(table.get("same")),
        strangers=_cosine(table.get("strangers")),
    )


def _normalisation(name: str, pair: list[float] | None) -> tuple[float, float] | None:
    if pair is None:
        return None
    if len(pair) != 2 or not pair[1] > 0:
        raise ValueError(f"recogniser {name!r}: normalisation")
    return float(pair[0]), float(pair[1])


def _cosine(value: float | None) -> float | None:
    if value is None:
        return None
    if not -1 <= float(value) <= 1:
        raise ValueError(f"a cosine of {value}")
    return float(value)


def _known_name(pack: Path) -> str:
    file = _named(pack)
    return KNOWN_FILES.get(file.name, "") if file is not None else ""


def _named(folder: Path | None) -> Path | None:
    """The recogniser's file in a pack, by the names that are usual; also one folder deeper, as antelopev2's archive has it."""
    if folder is None:
        return None
    files = [file for pattern in ("*.onnx", "*/*.onnx") for file in sorted(folder.glob(pattern))]
    return next((file for file in files if file.name in KNOWN_FILES or file.name == "rec.onnx"), None)
