"""What a model's folder has for artists to choose from: its LoRAs with what their files say of them, and its textual inversions. No torch.

Of a file only the header is read, once for each state of it. What it does not say may stand beside it, as A1111 and the helpers for it keep
that: `NAME.json` ("activation text", "preferred weight") and `NAME.civitai.info` ("trainedWords").
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from protocol.errors import LikenessError

from .bundle import Family, Model
from .extras import family_of_lora, family_of_word
from .header import Header, glance
from .shelf import embeddings, loras

NAME = 80
"""Longer names have no place in a job."""
MOST_BESIDE = 1024 * 1024
"""Bytes of a file beside a LoRA that are read; those of the helpers have some thousands."""
_TRIGGERS, _TRIGGER = 8, 80


@dataclass(frozen=True, slots=True)
class LoraOffer:
    """One LoRA. `title` is what its file calls it, empty where that is its name; `triggers` are words that it wants in the prompt; `weight`
    is the suggested one, -4 to 4, None where nobody says."""

    name: str
    title: str = ""
    triggers: tuple[str, ...] = ()
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """All that a model's folder has, sorted by name without regard to case."""

    loras: tuple[LoraOffer, ...] = ()
    embeddings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Said:
    """What a file says of itself; `family` None: it does not tell, or cannot be read, of which the job that names it tells."""

    family: Family | None = None
    title: str = ""
    triggers: tuple[str, ...] = ()
    weight: float | None = None


class Offers:
    """The offers of models; what files say is kept as long as they stay as they are."""

    def __init__(self, read: Callable[[Path], Header] = glance) -> None:
        """`read` reads a header; a test counts how often."""
        self._read = read
        self._said: dict[Path, tuple[object, _Said]] = {}

    def of(self, model: Model) -> Offer:
        """What `model` offers. Files that say that they are of another family are left out, and names too long for a job."""
        weights = {style.file.resolve(): style.weight for style in model.styles}
        found: list[LoraOffer] = []
        for name, path in _in_order(loras(model)):
            said = self._about(path, family_of_lora)
            if said.family in {None, model.family}:
                title = "" if said.title.casefold() in {name.casefold(), path.stem.casefold()} else said.title
                weight = said.weight if said.weight is not None else weights.get(path.resolve())
                found.append(LoraOffer(name, title, said.triggers, weight))
        words = [name for name, path in _in_order(embeddings(model)) if self._about(path, family_of_word).family in {None, model.family}]
        return Offer(tuple(found), tuple(words))

    def _about(self, path: Path, family: Callable[[Header], Family | None]) -> _Said:
        stamp = tuple(map(_stamp, (path, *_beside(path))))
        known = self._said.get(path)
        if known is None or known[0] != stamp:
            known = self._said[path] = stamp, self._look(path, family)
        return known[1]

    def _look(self, path: Path, family: Callable[[Header], Family | None]) -> _Said:
        header = Header({}, {})
        if path.suffix.lower() == ".safetensors":  # others are pickles: to look into one, it has to be converted
            with suppress(LikenessError):
                header = self._read(path)
        own, helper = map(_table, _beside(path))
        notes = header.notes
        title = _line(notes.get("modelspec.title") or notes.get("ss_output_name") or "")
        words: object = own.get("activation text") or helper.get("trainedWords") or notes.get("modelspec.trigger_phrase")
        return _Said(family(header), title, _phrases(words), _weight(own.get("preferred weight")))


def folder_stamp(folder: Path) -> tuple[tuple[str, int], ...]:
    """What differs when a model's card changed, or a file came to or left its `loras/` and `embeddings/`; only folders are looked at."""
    found = [_stamped(folder / "model.toml")]
    for shelf in (folder / "loras", folder / "embeddings"):
        if shelf.is_dir():
            found += [_stamped(Path(root)) for root, _, _ in os.walk(shelf)]
    return tuple(sorted(found))


def _in_order(files: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    for name in sorted(files, key=lambda name: (name.casefold(), name)):
        if len(name) <= NAME and name.isprintable():
            yield name, files[name]


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_suffix(".json"), path.with_suffix(".civitai.info")


def _stamped(path: Path) -> tuple[str, int]:
    return str(path), _stamp(path)[1]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return -1, -1
    return facts.st_size, facts.st_mtime_ns


def _table(path: Path) -> dict[str, Any]:
    """A JSON object in a file; an empty one for whatever cannot be read."""
    try:
        if not 0 < path.stat().st_size <= MOST_BESIDE:
            return {}
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", table) if isinstance(table, dict) else {}


def _phrases(words: object) -> tuple[str, ...]:
    """Trigger words, each once, of a text with commas or a list of such texts."""
    texts: Iterable[object] = cast("list[object]", words) if isinstance(words, list) else [words]
    found = [_line(part) for text in texts if isinstance(text, str) for part in text.split(",")]
    return tuple(dict.fromkeys(phrase for phrase in found if phrase))[:_TRIGGERS]


def _line(text: str) -> str:
    """One line that can be shown, of at most 80 characters."""
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(text.split()))[:_TRIGGER].strip()


def _weight(value: object) -> float | None:
    """A1111 writes 0 for "none"."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        weight = float(value)
    except ValueError:
        return None
    return weight if weight != 0 and -4 <= weight <= 4 else None
