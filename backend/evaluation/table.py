"""The figures beside their targets, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `met` is None for figures without a target, which explain the others."""

    claim: str
    measure: str
    figure: str
    target: str = ""
    met: bool | None = None
    value: float | None = None


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table, aligned so that it reads well as plain text too."""
    cells = [("claim", "measure", "figure", "target", "")]
    cells += [(row.claim, row.measure, row.figure, row.target, {True: "met", False: "MISSED", None: ""}[row.met]) for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]) + "\n"


def as_json(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """The same for programs, with what was run."""
    return json.dumps({**about, "rows": [asdict(row) for row in rows]}, indent=1, ensure_ascii=False) + "\n"


def verdict(rows: Sequence[Row]) -> str:
    """One closing sentence."""
    judged = [row for row in rows if row.met is not None]
    missed = [row for row in judged if not row.met]
    tail = f" Missed: {'; '.join(row.measure for row in missed)}." if missed else ""
    return f"{len(judged) - len(missed)} of {len(judged)} targets met.{tail}"
