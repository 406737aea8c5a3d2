"""A report as a picture: a bar for each figure, as long as it is beside its target. What is shorter than the line is good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .goals import Figure, Report, shown

_SCALE = 2
"""Drawn so many times larger and then shrunk, so that round ends and slanted edges are smooth."""
_WIDTH, _HEAD, _ROW, _FOOT, _MARGIN = 1120, 122, 40, 40, 32
_WORDS, _BAR, _UNIT, _NUMBERS = 92, 520, 330, 872
"""Pixels from the left: a figure's words, its bar, how long a bar of twice the target is, the numbers."""
_MOST = 2.0
_GOOD, _BAD = "#3a7d44", "#b5432f"
_INK, _SOFT, _PALE, _PAPER, _STRIPE = "#23262b", "#70757d", "#e3e1da", "#fbfaf7", "#f4f2ec"


def draw(report: Report, path: Path) -> None:
    """Write all figures beside their targets, in the format of the file's name."""
    height = _HEAD + _ROW * len(report.figures) + _FOOT
    picture = Image.new("RGB", (_WIDTH * _SCALE, height * _SCALE), _PAPER)
    pen = _Pen(picture)
    _heading(pen, report)
    last = ""
    for number, figure in enumerate(report.figures):
        top = _HEAD + number * _ROW
        if number % 2 == 0:
            pen.box((_MARGIN - 12, top, _WIDTH - _MARGIN + 12, top + _ROW), _STRIPE, 6)
        _row(pen, figure, top, named=figure.goal != last)
        last = figure.goal
    line = _BAR + _UNIT / _MOST
    pen.box((line - 1, _HEAD - 6, line + 1, _HEAD + _ROW * len(report.figures) + 6), _INK)
    pen.text((line, _HEAD - 22), "target", _INK, 13, "ma")
    pen.text((_BAR, height - 28), "0", _SOFT, 12, "ma")
    pen.text((line, height - 28), "1", _SOFT, 12, "ma")
    pen.text((_BAR + _UNIT, height - 28), "2 times the target, or more", _SOFT, 12, "ma")
    picture.resize((_WIDTH, height), Image.Resampling.LANCZOS).save(path)


def _heading(pen: _Pen, report: Report) -> None:
    met = sum(figure.met for figure in report.figures)
    pen.text((_MARGIN, 24), report.title, _INK, 26)
    setting = ", ".join(f"{name} {value}" for name, value in report.setting.items())
    pen.text((_MARGIN, 60), pen.fitting(setting, 13, _WIDTH - 2 * _MARGIN), _SOFT, 13)
    colour = _GOOD if met == len(report.figures) else _BAD
    pen.text((_WIDTH - _MARGIN, 26), f"{met} of {len(report.figures)} met", colour, 22, "ra")
    pen.text((_MARGIN, _HEAD - 22), "Shorter is better", _SOFT, 13)


def _row(pen: _Pen, figure: Figure, top: float, *, named: bool) -> None:
    middle, colour = top + _ROW / 2, _GOOD if figure.met else _BAD
    if named and figure.goal:
        pen.box((_MARGIN, middle - 11, _MARGIN + 46, middle + 11), _INK, 11)
        pen.text((_MARGIN + 23, middle), figure.goal, _PAPER, 13, "mm")
    pen.text((_WORDS, middle), pen.fitting(figure.what, 15, _BAR - _WORDS - 16), _INK, 15, "lm")
    pen.box((_BAR, middle - 8, _BAR + _UNIT, middle + 8), _PALE, 8)
    share = figure.value / figure.target if figure.target > 0 else (0.0 if figure.met else _MOST)
    length = max(16.0, _UNIT * min(share, _MOST) / _MOST)
    pen.box((_BAR, middle - 8, _BAR + length, middle + 8), colour, 8)
    if share > _MOST:  # it goes on: an arrow at the end
        end = _BAR + _UNIT
        pen.shape([(end - 15, middle - 4), (end - 8, middle), (end - 15, middle + 4)], _PAPER)
    pen.text((_NUMBERS, middle), shown(figure.value, figure.unit), colour, 16, "lm")
    pen.text((_WIDTH - _MARGIN, middle), f"at most {shown(figure.target, figure.unit)}", _SOFT, 13, "rm")


class _Pen:
    """Draws in pixels of the finished picture."""

    def __init__(self, picture: Image.Image) -> None:
        self._draw = ImageDraw.Draw(picture)

    def box(self, corners: tuple[float, float, float, float], colour: str, radius: float = 0) -> None:
        """A rectangle with round corners."""
        self._draw.rounded_rectangle([value * _SCALE for value in corners], radius * _SCALE, colour)

    def shape(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        """A filled polygon."""
        self._draw.polygon([(x * _SCALE, y * _SCALE) for x, y in points], colour)

    def text(self, place: tuple[float, float], words: str, colour: str, size: int, anchor: str = "la") -> None:
        """A line of text; `anchor` as Pillow's."""
        x, y = place
        self._draw.text((x * _SCALE, y * _SCALE), words, colour, _font(size), anchor=anchor)

    def fitting(self, words: str, size: int, width: float) -> str:
        """The words, or as many letters of them as there is room for."""
        font = _font(size)
        while words and self._draw.textlength(words, font) > width * _SCALE:
            words = words.removesuffix("…")[:-1] + "…"
        return words


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _SCALE)
