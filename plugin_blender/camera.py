"""Blender's camera as arithmetic: from places in the world to pixels of a picture of any size, and back to rays. Without Blender.

The frustum is the one of Blender's `BKE_camera_params_compute_viewplane` (blenkernel/intern/camera.cc): sensor fit, lens shift, pixel
aspect, orthographic scale. Pixels have (0, 0) in the upper left corner of the picture; the middle of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Fit = Literal["AUTO", "HORIZONTAL", "VERTICAL"]


@dataclass(frozen=True, slots=True)
class Lens:
    """What a camera's own data say. Shifts are shares of the fitted side; clips and the orthographic scale are in scene units."""

    orthographic: bool = False
    focal_mm: float = 50.0
    sensor_width_mm: float = 36.0
    sensor_height_mm: float = 24.0
    fit: Fit = "AUTO"
    shift_x: float = 0.0
    shift_y: float = 0.0
    ortho_scale: float = 6.0
    clip_start: float = 0.1
    clip_end: float = 1000.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture's size in pixels and the shape of a pixel (1, 1: square)."""

    width: int
    height: int
    aspect_x: float = 1.0
    aspect_y: float = 1.0


@dataclass(frozen=True, eq=False)
class Camera:
    """A lens at a place: `placement` (4, 4) takes camera space (x right, y up, looking along -z) to the world, without scale."""

    lens: Lens
    frame: Frame
    placement: Floats

    def project(self, places: Floats) -> Floats:
        """World (n, 3) -> (n, 3): x and y in pixels, and the distance along the viewing axis (negative: behind the camera).

        At distance 0 a perspective camera has no pixel; x and y are not finite there.
        """
        local = (np.asarray(places, dtype=np.float64).reshape(-1, 3) - self.placement[:3, 3]) @ self.placement[:3, :3]
        depth = -local[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            flat = local[:, :2] if self.lens.orthographic else local[:, :2] / depth[:, None]
        per_pixel, middle = self._scale()
        across = flat[:, 0] / per_pixel + middle[0]
        up = flat[:, 1] / per_pixel + middle[1]
        return np.stack([across, self.frame.height - up / self._ratio, depth], axis=1)

    def rays(self, pixels: Floats) -> tuple[Floats, Floats]:
        """Pixels (n, 2) -> where the rays begin, at the near clip, and their directions of length 1: (n, 3) and (n, 3) in the world."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        per_pixel, middle = self._scale()
        flat = np.stack(
            [(pixels[:, 0] - middle[0]) * per_pixel, ((self.frame.height - pixels[:, 1]) * self._ratio - middle[1]) * per_pixel], axis=1
        )
        one = np.ones(len(flat))
        begin = np.concatenate([flat, 0 * one[:, None]], axis=1) if self.lens.orthographic else np.zeros((len(flat), 3))
        way = np.stack([0 * one, 0 * one, -one], axis=1) if self.lens.orthographic else np.concatenate([flat, -one[:, None]], axis=1)
        begin = begin + way * self.lens.clip_start
        turn = self.placement[:3, :3].T
        way = way @ turn
        return begin @ turn + self.placement[:3, 3], way / np.linalg.norm(way, axis=1, keepdims=True)

    def backward(self, place: Floats) -> Floats:
        """The direction (3,) of length 1 from a place in the world to the camera: to its eye, or against its axis without perspective."""
        axis = self.placement[:3, 2]
        towards = axis if self.lens.orthographic else self.placement[:3, 3] - place
        length = np.linalg.norm(towards)
        return towards / length if length else axis

    @property
    def _ratio(self) -> float:
        return self.frame.aspect_y / self.frame.aspect_x

    def _scale(self) -> tuple[float, tuple[float, float]]:
        """Units per pixel at distance 1 (or anywhere, orthographic), and the pixel, counted from below, that the axis goes through.

        Vertical numbers are in widths of a pixel, as in Blender's viewplane.
        """
        lens, frame = self.lens, self.frame
        wide = frame.aspect_x * frame.width >= frame.aspect_y * frame.height
        horizontal = wide if lens.fit == "AUTO" else lens.fit == "HORIZONTAL"
        side = float(frame.width) if horizontal else self._ratio * frame.height
        # With AUTO the sensor's width counts even where the height of the picture is fitted.
        sensor = lens.sensor_height_mm if lens.fit == "VERTICAL" else lens.sensor_width_mm
        size = lens.ortho_scale if lens.orthographic else sensor / lens.focal_mm
        return size / side, (frame.width / 2 - lens.shift_x * side, self._ratio * frame.height / 2 - lens.shift_y * side)
