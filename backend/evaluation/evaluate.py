"""Runs every measure on one model, and writes table.md, evaluation.json and sheet.png."""

from __future__ import annotations

import platform
import time
from dataclasses import astuple
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..contact import contact_sheet
from ..images import save_png
from ..progress import Bar
from ..training.judge import Judge
from ..workbench import Workbench
from . import portraits, reach
from .bench import Bench
from .findings import Finding, Sizes
from .people import sitter
from .table import Row, as_json, markdown, verdict


def evaluate(bench: Workbench, styled: Workbench | None, sizes: Sizes, bar: Bar, out: Path) -> list[Row]:
    """All measures; `styled` is the same model on its second base, None if it has none. The rows of the table."""
    begin = time.perf_counter()
    table = _Counting(bar)
    side = bench.model.extent.width
    here = Bench(bench.engine, bench.need_faces(), side, table)
    there = Bench(styled.engine, bench.need_faces(), side, table) if styled else None
    findings = measure(
        here, there, bench.model.styles[0].name if bench.model.styles else "", sizes, Judge.load(bench.model.folder / "judge")
    )
    rows = [row for finding in findings for row in finding.rows]
    about = {
        "model": bench.model.id,
        "persons": sizes.people,
        "pictures": here.painted + (there.painted if there else 0),
        "seconds": round(time.perf_counter() - begin, 1),
        "machine": platform.machine(),
    }
    (out / "table.md").write_text(markdown(rows) + f"\n{verdict(rows)}\n", encoding="utf-8")
    (out / "evaluation.json").write_text(as_json(rows, about), encoding="utf-8")
    strips = [strip for finding in findings for strip in finding.strips]
    subtitle = f"{sizes.people} persons never trained on; numbers are cosines to the reference photo. {verdict(rows).split('.')[0]}."
    save_png(out / "sheet.png", contact_sheet(f"likeness evaluate: {bench.model.name}", subtitle, strips, height=128))
    return rows


def measure(bench: Bench, styled: Bench | None, style: str, sizes: Sizes, judge: Judge) -> list[Finding]:
    """The seven claims, in their order."""
    sitters = [sitter(index, bench.side) for index in range(max(astuple(sizes)))]
    painted = portraits.paint_portraits(bench, sitters[: sizes.people])
    findings = [
        portraits.identity(painted),
        portraits.editing(painted, judge.judge),
        portraits.control(bench, sitters[: sizes.posed]),
        reach.several_photos(bench, sitters[: sizes.photographed]),
        reach.strengths(bench, sitters[: sizes.cornered]),
    ]
    if styled is not None:
        findings.append(reach.another_base(bench, styled, style, sitters[: sizes.restyled]))
    else:
        findings.append(Finding((Row("6 another base", "a second base in another style", "the model has none", "one", False),)))
    return [*findings, reach.inpainting(bench, sitters[: sizes.inpainted])]


class _Counting:
    """A watch that hands steps to the bar and counts finished pictures by their last step."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def step(self, done: int, total: int) -> None:
        """A step; after the last one the picture is finished but for decoding."""
        self._bar.step(done, total)
        if done == total:
            self._bar.next_job()

    def preview(self, pixels: NDArray[np.uint8], step: int) -> None:
        """Not wanted."""

    def cancelled(self) -> bool:
        """Never."""
        return False
