"""Contact sheets: pictures in labelled rows on one page, for the demo and the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]

PAPER = (250, 248, 244)
INK = (38, 36, 44)
PALE = (128, 124, 132)
MARGIN = 36
GAP = 14
CORNER = 10


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One picture (H, W, 3) and the line below it."""

    picture: Pixels
    label: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Pictures beside each other, under a heading."""

    heading: str
    cells: tuple[Cell, ...]


def contact_sheet(title: str, subtitle: str, rows: Sequence[Row], height: int = 176) -> Pixels:
    """One page (H, W, 3): a title, and rows of pictures that are each `height` pixels high, their proportions kept."""
    scaled = [[_scaled(cell.picture, height) for cell in row.cells] for row in rows]
    width = max([620, *(sum(p.width for p in line) + GAP * (len(line) - 1) for line in scaled)]) + 2 * MARGIN
    row_height = 34 + height + 24 + 16
    page = Image.new("RGB", (width, 2 * MARGIN + 64 + row_height * len(rows)), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, MARGIN - 6), title, INK, _font(30))
    pen.text((MARGIN, MARGIN + 34), subtitle, PALE, _font(15))
    y = MARGIN + 70
    for row, pictures in zip(rows, scaled, strict=True):
        pen.text((MARGIN, y), row.heading, INK, _font(17))
        x = MARGIN
        for cell, picture in zip(row.cells, pictures, strict=True):
            page.paste(picture, (x, y + 30), _rounded(picture.size))
            pen.text((x + 2, y + 30 + height + 5), _fitted(cell.label, picture.width - 4), PALE, _font(12))
            x += picture.width + GAP
        y += row_height
    return np.asarray(page)


def _scaled(picture: Pixels, height: int) -> Image.Image:
    image = Image.fromarray(picture)
    return image.resize((max(1, round(image.width * height / image.height)), height), Image.Resampling.LANCZOS)


def _rounded(size: tuple[int, int]) -> Image.Image:
    """A mask with round corners, drawn four times as large and scaled down, so that the edge is smooth."""
    large = Image.new("L", (size[0] * 4, size[1] * 4), 0)
    ImageDraw.Draw(large).rounded_rectangle((0, 0, large.width - 1, large.height - 1), CORNER * 4, fill=255)
    return large.resize(size, Image.Resampling.LANCZOS)


def _fitted(text: str, width: int) -> str:
    """The text, cut to a width in pixels."""
    font = _font(12)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip(" ,") + "…"


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own typeface: there on every machine, and the same everywhere."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, so nothing can be lettered. Install Pillow from its wheel.")
    return font
