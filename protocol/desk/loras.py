"""LoRAs in an add-on: rows of names and weights, what is said of one that is gone, and what can be completed while a prompt is typed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, cast

from ..jobs import Lora
from ..limits import LORAS
from ..results import LoraInfo

MOST = 2.0
"""Weights in a list go from -2 to 2; a tag in the prompt takes -4 to 4."""
SUGGESTIONS = 64
"""More than anybody reads: typing another letter leaves fewer."""
LEAST_LETTERS = 3
"""Of a textual inversion's name, before it is suggested: most words of a prompt are only words."""
_TAG = re.compile(r"<(?:lora|lyco):(?P<typed>[^<>:\n]*)\Z", re.IGNORECASE)
_WORD = re.compile(rf"(?<![^\s,()\[\]])(?P<typed>[\w.-]{{{LEAST_LETTERS},}})\Z")


class Stocked(Protocol):
    """A model as far as its LoRAs and textual inversions go."""

    @property
    def title(self) -> str:
        """For people."""
        ...

    @property
    def loras(self) -> tuple[LoraInfo, ...]:
        """Those that fit it."""
        ...

    @property
    def embeddings(self) -> tuple[str, ...]:
        """Its textual inversions."""
        ...

    @property
    def unlisted(self) -> int:
        """How many of both it has besides."""
        ...


@dataclass(frozen=True)
class LoraRow:
    """One LoRA that was chosen, and how strongly it acts, -2 to 2."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True)
class Suggestion:
    """Something that what is being typed can become: how it is shown, and the text that takes the place of the typed one."""

    words: str
    text: str


@dataclass(frozen=True)
class Completion:
    """What can be completed: the last letters before the cursor, and what they can become."""

    typed: str
    choices: tuple[Suggestion, ...]


# Rows ------------------------------------------------------------------------------------------------------------------------------------
def bounded(rows: Iterable[LoraRow]) -> tuple[LoraRow, ...]:
    """The rows with each name once, weights within their bounds, and not more than a job takes."""
    once: dict[str, LoraRow] = {}
    for row in rows:
        once.setdefault(row.name.casefold(), replace(row, weight=min(MOST, max(-MOST, row.weight))))
    return tuple(once.values())[:LORAS]


def rows_from(kept: object) -> tuple[LoraRow, ...]:
    """Rows of what JSON holds of them; what does not fit is left out."""
    found: list[LoraRow] = []
    for one in cast("list[object]", kept) if isinstance(kept, (list, tuple)) else ():
        if not isinstance(one, Mapping):
            continue
        values = cast("Mapping[str, object]", one)
        name, weight = values.get("name"), values.get("weight", 1.0)
        if isinstance(name, str) and 0 < len(name) <= 80 and isinstance(weight, (int, float)) and weight == weight:
            found.append(LoraRow(name, float(weight)))
    return bounded(found)


def asked(rows: Iterable[LoraRow]) -> tuple[Lora, ...]:
    """What a job asks for; a weight of 0 asks for nothing."""
    return tuple(Lora(row.name, row.weight) for row in rows if row.weight != 0)


def added(rows: tuple[LoraRow, ...], name: str, model: Stocked | None) -> tuple[LoraRow, ...]:
    """The rows and one more, with the weight that is suggested for it."""
    info = info_of(model, name)
    return bounded((*rows, LoraRow(name, 1.0 if info is None or info.weight is None else info.weight)))


def offered(rows: Iterable[LoraRow], model: Stocked | None) -> tuple[LoraInfo, ...]:
    """The model's LoRAs that are not chosen yet."""
    chosen = {row.name.casefold() for row in rows}
    return () if model is None else tuple(info for info in model.loras if info.name.casefold() not in chosen)


# What is said ----------------------------------------------------------------------------------------------------------------------------
def info_of(model: Stocked | None, name: str) -> LoraInfo | None:
    """What the model tells of a LoRA; None where it tells nothing. Case does not matter, as for the backend."""
    loras = () if model is None else model.loras
    return next((info for info in loras if info.name.casefold() == name.casefold()), None)


def label_of(info: LoraInfo) -> str:
    """Its name, and what its file calls it."""
    return f"{info.name} ({info.title})" if info.title else info.name


def gone(row: LoraRow, model: Stocked | None) -> str:
    """Why this row cannot be drawn with, in a sentence; "" when it can, or when the model cannot tell of all that it has."""
    if model is None or model.unlisted or info_of(model, row.name) is not None:
        return ""
    return f"{model.title} has no LoRA called {row.name!r}. Take it out, or put its file back."


def beyond(model: Stocked | None) -> str:
    """What is said of those that the backend could not list; "" when it listed all."""
    if model is None or not model.unlisted:
        return ""
    return f"{model.unlisted} more are installed than can be listed. Write <lora:NAME:0.8> into the prompt for them."


def missing_words(row: LoraRow, model: Stocked | None, prompt: str) -> tuple[str, ...]:
    """The trigger words of a LoRA that the prompt has not."""
    info = info_of(model, row.name)
    return () if info is None else tuple(words for words in info.triggers if words.casefold() not in prompt.casefold())


def with_words(prompt: str, words: Iterable[str]) -> str:
    """The prompt with these words at its end, behind commas."""
    return ", ".join(part for part in (prompt.rstrip().rstrip(",").rstrip(), *words) if part)


# While a prompt is typed -----------------------------------------------------------------------------------------------------------------
def completion(before: str, model: Stocked | None) -> Completion | None:
    """What the last letters of `before`, the text up to the cursor, can become: a tag for a LoRA after `<lora:`, or the name of a textual
    inversion. None where nothing fits."""
    if model is None:
        return None
    if (tag := _TAG.search(before)) is not None:
        names = {info.name: f"{info.name} {info.title}" for info in model.loras if not set(info.name) & set("<>:")}
        found = [info_of(model, name) for name in _matching(tag["typed"], names)]
        return _completion(tag[0], [Suggestion(label_of(info), tag_of(info)) for info in found if info is not None])
    if (word := _WORD.search(before)) is not None:
        typed = word["typed"].casefold()
        fitting = [name for name in model.embeddings if name.casefold().startswith(typed) and name.casefold() != typed]
        return _completion(word["typed"], [Suggestion(name, name) for name in fitting])
    return None


def tag_of(info: LoraInfo) -> str:
    """How a prompt asks for it."""
    return f"<lora:{info.name}:{1.0 if info.weight is None else info.weight:g}>"


def _completion(typed: str, choices: list[Suggestion]) -> Completion | None:
    return Completion(typed, tuple(choices[:SUGGESTIONS])) if choices else None


def _matching(typed: str, names: Mapping[str, str]) -> list[str]:
    """The names in whose text the typed letters are, those that begin with them first."""
    letters = typed.casefold().strip()
    fitting = [name for name, text in names.items() if letters in text.casefold()]
    return sorted(fitting, key=lambda name: not name.casefold().startswith(letters))
