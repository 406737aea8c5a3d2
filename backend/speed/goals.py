"""What was measured: one row per goal with its target, as text, as JSON, and as a picture."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_WIDTH, _ROW, _LEFT, _UNIT = 980, 44, 430, 300
"""Pixels of the picture: its width, a row's height, where the bars begin, and how long one is that just meets its target."""
_GOOD, _BAD, _INK, _PALE, _PAPER = "#3a7d44", "#b5432f", "#222222", "#c9c9c9", "#fbfaf7"


@dataclass(frozen=True, slots=True)
class Figure:
    """One goal: a figure that should be at most its target. `seconds` are the medians that it comes from, by what they are of."""

    goal: str
    what: str
    value: float
    target: float
    unit: str = ""
    detail: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.target

    @property
    def row(self) -> str:
        """Goal, what it is, figure, target, met or not."""
        figure, target = shown(self.value, self.unit), shown(self.target, self.unit)
        return f"{self.goal:<4} {self.what:<62.62} {figure:>12}  at most {target:<10} {'met' if self.met else 'MISSED'}"


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run, what it was run with, and what was not measured and why."""

    title: str
    setting: Mapping[str, Any]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
    not_measured: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether all targets are met."""
        return all(figure.met for figure in self.figures)

    def lines(self) -> list[str]:
        """The report in words."""
        said = [f"{self.title}: {', '.join(f'{name} {value}' for name, value in self.setting.items())}"]
        for figure in self.figures:
            said.append(figure.row)
            parts = [figure.detail] if figure.detail else []
            parts += [f"{name} {seconds(value)}" for name, value in figure.seconds.items()]
            if parts:
                said.append("     " + "; ".join(parts))
        said += self.notes
        return said + [f"Not measured here: {reason}" for reason in self.not_measured]

    def write_json(self, path: Path) -> None:
        """Everything, for other programs."""
        table = {
            "title": self.title,
            "date": time.strftime("%Y-%m-%d"),
            "machine": {"processor": platform.machine(), "system": platform.system(), "python": platform.python_version()},
            "setting": dict(self.setting),
            "figures": [{**asdict(figure), "seconds": dict(figure.seconds), "met": figure.met} for figure in self.figures],
            "notes": list(self.notes),
            "not_measured": list(self.not_measured),
        }
        path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")

    def draw(self, path: Path) -> None:
        """A bar for each goal: as long as the line is far when it just meets its target. Longer than twice that is cut off."""
        from PIL import Image, ImageDraw, ImageFont

        height = 92 + _ROW * len(self.figures)
        picture = Image.new("RGB", (_WIDTH, height), _PAPER)
        pen, font, small = ImageDraw.Draw(picture), ImageFont.load_default(15), ImageFont.load_default(12)
        pen.text((16, 14), self.title, _INK, ImageFont.load_default(19))
        pen.text((16, 42), ", ".join(f"{name} {value}" for name, value in self.setting.items())[:140], "#666666", small)
        line = _LEFT + _UNIT // 2
        for number, figure in enumerate(self.figures):
            top = 70 + number * _ROW
            pen.text((16, top + 4), f"{figure.goal}  {figure.what}"[:56], _INK, font)
            share = figure.value / figure.target if figure.target > 0 else (0.0 if figure.met else 2.0)
            length = max(2, round(_UNIT / 2 * min(share, 2.0)))
            pen.rectangle((_LEFT, top + 3, _LEFT + length, top + 25), _GOOD if figure.met else _BAD)
            said = f"{shown(figure.value, figure.unit)}   at most {shown(figure.target, figure.unit)}"
            pen.text((_LEFT + _UNIT + 14, top + 5), said, _INK, small)
        pen.line((line, 64, line, height - 22), _INK, 1)
        pen.line((_LEFT, 64, _LEFT, height - 22), _PALE, 1)
        pen.text((line - 18, height - 19), "target", "#666666", small)
        picture.save(path)


def shown(value: float, unit: str) -> str:
    """A figure with its unit: calls and such are whole numbers."""
    if unit in {"calls", "jobs"}:
        return f"{value:.0f} {unit}"
    if unit == "%":
        return f"{100 * value:.1f} %"
    return f"{value:.3f}{' ' + unit if unit else ''}"


def seconds(value: float) -> str:
    """A time, in milliseconds where that reads better."""
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"


def missed(figures: Sequence[Figure]) -> list[str]:
    """The goals that are not met."""
    return [figure.goal for figure in figures if not figure.met]
