"""What was measured: one row per goal with its target, as text and as JSON; `chart` draws it."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


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
    failed: tuple[str, ...] = ()
    """Goals that were to be measured, and why they were not."""

    @property
    def good(self) -> bool:
        """Whether all targets are met, and none could not be measured."""
        return all(figure.met for figure in self.figures) and not self.failed

    def lines(self) -> list[str]:
        """The report in words."""
        said = [f"{self.title}: {', '.join(f'{name} {value}' for name, value in self.setting.items())}"]
        for figure in self.figures:
            said.append(figure.row)
            parts = [figure.detail] if figure.detail else []
            parts += [f"{name} {seconds(value)}" for name, value in figure.seconds.items()]
            if parts:
                said.append("     " + "; ".join(parts))
        said += [f"FAILED: {reason}" for reason in self.failed]
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
            "failed": list(self.failed),
        }
        path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def shown(value: float, unit: str) -> str:
    """A figure with its unit: calls and such are whole numbers, and large ones need no thousandths."""
    match unit:
        case "calls" | "jobs" | "bytes":
            return f"{value:.0f} {unit}"
        case "%":
            return f"{100 * value:.1f} %"
        case "s":
            return seconds(value)
        case _:
            return f"{value:.{1 if value >= 10 else 3}f}{' ' + unit if unit else ''}"


def seconds(value: float) -> str:
    """A time, in milliseconds where that reads better."""
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.1f} ms"


def missed(figures: Sequence[Figure]) -> list[str]:
    """The goals that are not met."""
    return [figure.goal for figure in figures if not figure.met]


def high(values: list[float], share: float = 0.95) -> float:
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
