"""Small pictures in the panels: of files, loaded by Blender when they are first seen, and of planes, written to a folder once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from .png import png_of
from .protocol.planes import Plane

LIVE, LIVE_SIDE = "live", 256
"""The picture that changes all the time, and its longer side in pixels at most: as large as the panel shows it."""
MOST = 600
"""Pictures that are kept loaded; beyond that all are loaded anew when they are seen."""


class Thumbnails:
    """`previews` is a `bpy.utils.previews` collection; `close` gives it back."""

    def __init__(self, previews: Any, folder: Path) -> None:
        self._previews, self._folder = previews, folder
        self._names: dict[int, tuple[Plane, str]] = {}

    def of_file(self, path: Path) -> int:
        """The icon of a picture file; 0: none, as in a Blender without a window."""
        key = str(path)
        if key not in self._previews:
            if not path.is_file():
                return 0
            if len(self._previews) >= MOST:
                self._previews.clear()
            self._previews.load(key, key, "IMAGE")
        return int(self._previews[key].icon_id)

    def of_plane(self, plane: Plane) -> int:
        """The icon of a small picture that came from the backend."""
        known = self._names.get(id(plane))
        if known is None or known[0] is not plane:
            name = hashlib.sha256(bytes(plane.data)).hexdigest()[:32]
            path = self._folder / f"{name}.png"
            if not path.is_file():
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.write_bytes(png_of(plane))
            if len(self._names) >= MOST:
                self._names.clear()
            self._names[id(plane)] = known = (plane, str(path))
        return self.of_file(Path(known[1]))

    def show_live(self, plane: Plane) -> None:
        """Make this the live picture."""
        width, height, channels = plane.extent.width, plane.extent.height, plane.layout.channels
        rows = np.frombuffer(plane.data, np.uint8).reshape(height, width, channels)[..., :3]
        step = -(-max(width, height) // LIVE_SIDE)
        if step > 1:
            height, width = max(1, height // step), max(1, width // step)
            part = rows[: height * step, : width * step].reshape(height, min(step, rows.shape[0]), width, min(step, rows.shape[1]), 3)
            rows = part.mean(axis=(1, 3), dtype=np.float32)
        pixels = np.ones((height, width, 4), np.float32)
        pixels[..., :3] = rows[::-1] / np.float32(255)
        preview = self._previews[LIVE] if LIVE in self._previews else self._previews.new(LIVE)
        preview.image_size = (width, height)
        preview.image_pixels_float.foreach_set(pixels.ravel())

    def live_icon(self) -> int:
        """The icon of the live picture; 0 before the first."""
        return int(self._previews[LIVE].icon_id) if LIVE in self._previews else 0

    def close(self) -> None:
        """Let go of all; the add-on is switched off."""
        import bpy.utils.previews

        bpy.utils.previews.remove(self._previews)
