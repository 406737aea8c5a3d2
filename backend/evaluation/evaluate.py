"""Runs every measure on one model, and writes table.md, evaluation.json and sheet.png."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocol.jobs import PictureJob

from ..contact import contact_sheet
from ..faces import FaceAnalyser
from ..images import save_png
from ..progress import Bar, Watch
from ..training.judge import STYLE, Judge
from ..workbench import Bench, Made
from . import portraits, reach, shortcuts, small_faces
from .findings import Finding, Sizes
from .people import sitter
from .table import Row, as_json, markdown, verdict
from .tested import ModelUnderTest


def evaluate(bench: Bench, styled: Bench | None, faces: FaceAnalyser, sizes: Sizes, bar: Bar, out: Path) -> list[Row]:
    """All measures, with `faces` as the eyes; `styled` is the same model on its second base, None if it has none. The rows of the table."""
    begin = time.perf_counter()
    table = _Counting(bar)
    side = bench.model.extent.width
    here = ModelUnderTest(_At(bench, table), faces, side, table)
    there = ModelUnderTest(_At(styled, table), faces, side, table) if styled else None
    styles = Judge.load(bench.model.folder / "judge" / STYLE) if there else None
    findings = measure(
        here, there, bench.model.styles[0].name if bench.model.styles else "", sizes, Judge.load(bench.model.folder / "judge"), styles
    )
    rows = [row for finding in findings for row in finding.rows]
    about = {
        "model": bench.model.id,
        "persons": sizes.people,
        "first": sizes.first,
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


def compare_shortcuts(bench: Bench, faces: FaceAnalyser, people: int, bar: Bar, out: Path, clock: Callable[[], float]) -> list[Row]:
    """What each shortcut costs and saves, on `people` persons; writes shortcuts.md, shortcuts.json and shortcuts.png. The rows."""
    table = _Counting(bar)
    here = ModelUnderTest(_At(bench, table), faces, bench.model.extent.width, table)
    sitters = [sitter(index, here.side) for index in range(people)]
    finding = shortcuts.costs(shortcuts.paint(here, sitters, clock), sitters)
    about = {"model": bench.model.id, "persons": people, "pictures": here.painted, "machine": platform.machine()}
    (out / "shortcuts.md").write_text(markdown(finding.rows), encoding="utf-8")
    (out / "shortcuts.json").write_text(as_json(finding.rows, about), encoding="utf-8")
    subtitle = f"{people} persons never trained on; numbers are cosines to the reference photo."
    save_png(out / "shortcuts.png", contact_sheet(f"Shortcuts: {bench.model.name}", subtitle, finding.strips, height=128))
    return list(finding.rows)


def compare_small_faces(bench: Bench, faces: FaceAnalyser, people: int, bar: Bar, out: Path) -> small_faces.Measured:
    """The pass over small faces on `people` persons; writes small-faces.txt and small-faces.png."""
    measured = small_faces.measure_small_faces(_At(bench, _Counting(bar)), faces, bench.model.extent.width, people, bar.say)
    lines = small_faces.report(measured)
    (out / "small-faces.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sheet = contact_sheet("Small faces, without and with a second pass", lines[3], measured.strips[:8], height=128)
    save_png(out / "small-faces.png", sheet)
    return measured


class _At:
    """A place where pictures are painted, as the evaluation asks for them."""

    def __init__(self, place: Bench, bar: _Counting) -> None:
        self._place, self._bar = place, bar

    def run(self, job: PictureJob, watch: Watch | None) -> list[Made]:
        """Do a job of one picture."""
        made = self._place.paint(job, self._bar)
        self._bar.finished()
        return [made]


def measure(
    tested: ModelUnderTest, styled: ModelUnderTest | None, style: str, sizes: Sizes, judge: Judge, styles: Judge | None
) -> list[Finding]:
    """The seven claims, in their order; `styles` judges the style of the second base, if there is one."""
    sitters = [sitter(number, tested.side) for number in sizes.numbers]
    painted = portraits.paint_portraits(tested, sitters[: sizes.people])
    findings = [
        portraits.identity(painted),
        portraits.editing(painted, judge.judge),
        portraits.control(tested, sitters[: sizes.posed]),
        reach.several_photos(tested, sitters[: sizes.photographed]),
        reach.strengths(tested, sitters[: sizes.cornered]),
    ]
    if styled is not None and styles is not None:
        findings.append(reach.another_base(tested, styled, style, sitters[: sizes.restyled], styles.judge))
    else:
        findings.append(Finding((Row("6 another base", "a second base in another style", "the model has none", "one", False),)))
    return [*findings, reach.inpainting(tested, sitters[: sizes.inpainted])]


class _Counting:
    """A watch that hands steps to the bar and counts finished pictures."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def step(self, done: int, total: int) -> None:
        """A step."""
        self._bar.step(done, total)

    def finished(self) -> None:
        """A picture."""
        self._bar.next_job()

    def say(self, text: str) -> None:
        """A line."""
        self._bar.say(text)

    def preview(self, pixels: NDArray[np.uint8], step: int) -> None:
        """Not wanted."""

    def cancelled(self) -> bool:
        """Never."""
        return False
