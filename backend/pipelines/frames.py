"""The part of a picture that is drawn, and the size at which it is drawn: the way there and back, without ever stretching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from protocol.geometry import Bounds, Extent

from .sizes import nearest_size

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
PREVIEW_SIDE = 512


@dataclass(frozen=True, slots=True)
class Frame:
    """`bounds` of the picture, drawn at `extent`. The bounds have the proportions of the extent, to a pixel, and may stick out of the
    picture."""

    bounds: Bounds
    extent: Extent

    @property
    def scale(self) -> float:
        """Drawn pixels per pixel of the picture."""
        return self.extent.width / self.bounds.width

    def is_whole(self, extent: Extent) -> bool:
        """Whether a picture of `extent` is drawn as it is."""
        return self.bounds == Bounds(0, 0, extent.width, extent.height) and self.extent == extent

    def inward(self, points: Floats) -> Floats:
        """Points (n, 2) of the picture -> of what is drawn."""
        return ((points - self._corner) * self.scale).astype(np.float32)

    def outward(self, points: Floats) -> Floats:
        """Points (n, 2) of what is drawn -> of the picture."""
        return (points / self.scale + self._corner).astype(np.float32)

    @property
    def _corner(self) -> NDArray[np.float64]:
        return np.array([self.bounds.x, self.bounds.y], np.float64)

    def cut(self, picture: Pixels) -> Pixels:
        """What of `picture` (H, W, …) lies within the bounds."""
        box = self.bounds
        return picture[max(box.y, 0) : box.bottom, max(box.x, 0) : box.right]

    def cut_and_scale(self, picture: Pixels) -> Pixels:
        """The bounds of `picture` (H, W, …) at the drawn extent; where they stick out, the picture's edge goes on."""
        box, (height, width) = self.bounds, picture.shape[:2]
        inside = self.cut(picture)
        sides = (max(-box.y, 0), max(box.bottom - height, 0)), (max(-box.x, 0), max(box.right - width, 0))
        padded = np.pad(inside, (*sides, *[(0, 0)] * (picture.ndim - 2)), mode="edge")
        return scaled(padded, self.extent)

    def uncut(self, drawn: Pixels) -> tuple[Pixels, Bounds]:
        """What was drawn, (h, w, 3), at the size of the bounds, and these."""
        return scaled(drawn, self.bounds.extent), self.bounds

    def spread(self, small: Pixels, extent: Extent, canvas: Pixels | None) -> Pixels:
        """A small picture of what is drawn, (h, w, 3) -> one of the whole picture of `extent`, over its `canvas` where nothing is drawn.

        It has the scale of the small one, but at most `PREVIEW_SIDE` pixels a side.
        """
        box = self.bounds
        if box == Bounds(0, 0, extent.width, extent.height):
            return small
        scale = min(small.shape[1] / box.width, PREVIEW_SIDE / max(extent.width, extent.height))
        width, height = max(1, round(extent.width * scale)), max(1, round(extent.height * scale))
        if canvas is None:
            whole = Image.new("RGB", (width, height), (128, 128, 128))
        else:  # single pixels of it: a canvas may be large, and a preview is shown for a moment
            rows = np.minimum((np.arange(height) + 0.5) / scale, extent.height - 1).astype(np.intp)
            columns = np.minimum((np.arange(width) + 0.5) / scale, extent.width - 1).astype(np.intp)
            whole = Image.fromarray(np.ascontiguousarray(canvas[rows][:, columns]))
        place = Extent(max(1, round(box.width * scale)), max(1, round(box.height * scale)))
        whole.paste(Image.fromarray(scaled(small, place)), (round(box.x * scale), round(box.y * scale)))
        return np.asarray(whole)


def frame_for_picture(extent: Extent, sizes: Sequence[Extent]) -> Frame:
    """A whole picture of `extent`, drawn at that of `sizes` whose proportions are nearest; the bounds stick out where they differ."""
    drawn = extent if extent in sizes else nearest_size(extent, sizes)
    scale = min(drawn.width / extent.width, drawn.height / extent.height)
    width, height = max(round(drawn.width / scale), extent.width), max(round(drawn.height / scale), extent.height)
    return Frame(Bounds(-((width - extent.width) // 2), -((height - extent.height) // 2), width, height), drawn)


def scaled(picture: Pixels, extent: Extent) -> Pixels:
    """`picture` (h, w, 3), or a mask (h, w), at `extent`; the very same pixels when it has this size."""
    if picture.shape[:2] == (extent.height, extent.width):
        return np.ascontiguousarray(picture)
    return np.asarray(Image.fromarray(picture).resize((extent.width, extent.height), Image.Resampling.LANCZOS))
