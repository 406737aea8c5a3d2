"""What a prompt says about itself, in the notation that artists know from A1111 and ComfyUI: weights, breaks and escapes. Pure text.

    (word)        1.1 times as strong; ((word)) 1.21 times, and so on
    [word]        1.1 times weaker
    (word:1.3)    1.3 times as strong
    BREAK         what follows is read as a prompt of its own, beside what stands before it
    \\( \\) \\[ \\] \\\\  the characters themselves

A bracket without its partner is an ordinary character. What changes the words between steps (`[cat:dog:0.5]`, `[cat|dog]`) is refused: it
would be read as something else than meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from protocol.errors import InvalidRequest

STRONGER = 1.1
HIGHEST = 10.0
"""A single word above 2 already tears pictures; more than this is a slip of the hand."""

_TOKEN = re.compile(r"\\[()\[\]\\]|[()\[\]]|:\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*\)|[^\\()\[\]:]+|.", re.DOTALL)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_EDITS = re.compile(r"(?<!\\)\[[^\[\]]*?(?:\||:\s*\d*\.?\d+\s*(?=\]))[^\[\]]*\]")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text and how strongly it counts; 1 is as usual."""

    text: str
    weight: float = 1.0


Passage = tuple[Piece, ...]
"""What is read together; a prompt has one more than it has BREAKs."""


@dataclass(slots=True)
class _Part:
    text: str
    weight: float = 1.0


def passages(prompt: str) -> tuple[Passage, ...]:
    """The passages of a prompt, at least one. Raises InvalidRequest for weights out of range and for words that change between steps."""
    if _EDITS.search(prompt):
        raise InvalidRequest(
            "The prompt has words in square brackets that would change between steps, as in [cat:dog:0.5] or [cat|dog], and Likeness does "
            "not do that. Write one of them, or \\[ and \\] for brackets that mean nothing."
        )
    return tuple(_joined(list(broken)) for broken in _broken(_parts(prompt)))


def is_plain(read: tuple[Passage, ...]) -> bool:
    """Whether a prompt says nothing about itself: one passage in which everything counts as usual."""
    return len(read) == 1 and all(piece.weight == 1 for piece in read[0])


def words(passage: Passage) -> str:
    """The text of a passage without its weights."""
    return "".join(piece.text for piece in passage)


def _parts(prompt: str) -> list[_Part]:
    parts: list[_Part] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}
    for token in _TOKEN.findall(prompt):
        if token.startswith("\\") and len(token) == 2:
            parts.append(_Part(token[1]))
        elif token in opened:
            opened[token].append(len(parts))
            parts.append(_Part(token))
        elif token in {")", "]"} and opened["(" if token == ")" else "["]:
            _weigh(parts, opened["(" if token == ")" else "["].pop(), STRONGER if token == ")" else 1 / STRONGER)
        elif token.startswith(":") and token.endswith(")") and opened["("]:
            _weigh(parts, opened["("].pop(), _number(token))
        else:
            parts.append(_Part(token))
    return parts


def _weigh(parts: list[_Part], start: int, weight: float) -> None:
    """The bracket at `start` has found its partner: it is no text, and what follows it counts `weight` times as much."""
    parts[start].text = ""
    for part in parts[start + 1 :]:
        part.weight *= weight


def _number(token: str) -> float:
    weight = float(token[1:-1])
    if not 0 <= weight <= HIGHEST:
        raise InvalidRequest(f"A word of the prompt has the weight {weight:g}. Choose 0 to {HIGHEST:g}; 0.5 to 1.5 is usual.")
    return weight


def _broken(parts: list[_Part]) -> list[list[Piece]]:
    """The parts, divided at every BREAK."""
    found: list[list[Piece]] = [[]]
    for part in parts:
        first, *others = _BREAK.split(part.text)
        found[-1].append(Piece(first, part.weight))
        found += [[Piece(other, part.weight)] for other in others]
    kept = [pieces for pieces in found if any(piece.text.strip() for piece in pieces)]
    return kept or [[Piece("")]]


def _joined(pieces: list[Piece]) -> Passage:
    """Neighbours of one weight become one; pieces without text are left out."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and (joined[-1].weight == piece.weight or not piece.text.strip()):
            joined[-1] = Piece(joined[-1].text + piece.text, joined[-1].weight)
        elif piece.text:
            joined.append(piece)
    if len(joined) > 1 and not joined[0].text.strip():
        joined = joined[1:]
    if any(piece.weight > HIGHEST for piece in joined):
        raise InvalidRequest(f"Words of the prompt count more than {HIGHEST:g} times, for all its brackets. Take some of them away.")
    return tuple(joined) or (Piece(""),)


def named(texts: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """Those of `names`, which are textual inversions, that one of `texts` uses, in alphabetical order."""
    known = {name.casefold(): name for name in names}
    if not known:
        return ()
    pattern = names_pattern(known)
    return tuple(sorted({known[found["name"].casefold()] for text in texts for found in pattern.finditer(text)}))


def names_pattern(names: Iterable[str]) -> re.Pattern[str]:
    """What finds textual inversions in a prompt, each as the group `name`: alone, as `<name>` or as `embedding:name`, in any case."""
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?<![\w-])(?:embedding:)?(?P<open><)?(?P<name>{longest_first})(?(open)>)(?![\w-])", re.IGNORECASE)
