"""G16: what the add-ons do with a picture's pixels at their end, by their own functions, packed as they are installed.

The backend never imports an add-on: a process of its own does, with stand-ins for the hosts, which hand pixels out as the hosts do and
take no time themselves. Each round brings a picture of the canvas out and the finished one in, and says how long that took.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

from protocol.errors import ServiceError

from ..blender.package import package
from ..krita.package import plugin_files

_COMMON = """
import importlib, sys, time, types, unittest.mock
import numpy as np

folder, side = sys.argv[1], int(sys.argv[2])
made = types.ModuleType("add_on")  # its __init__ would register with the host
made.__path__ = [folder]
sys.modules["add_on"] = made
for host in ("krita", "bpy", "mathutils", "gpu", "bmesh"):
    sys.modules[host] = unittest.mock.MagicMock()

def part(name):
    return importlib.import_module("add_on." + name)

geometry, planes = part("protocol.geometry"), part("protocol.planes")
rng = np.random.default_rng(5)
ramp = np.linspace(0, 200, side)
smooth = np.stack([ramp[:, None] + ramp[None] / 4, ramp[None] + 0 * ramp[:, None], 220 - ramp[:, None] + 0 * ramp[None]], axis=-1)
rgb = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
rgba = np.dstack([rgb, np.full((side, side), 255, np.uint8)])

def serve(**works):
    for work in works.values():
        work()
    print("ready", flush=True)
    for line in sys.stdin:
        print(*works[line.strip()](), flush=True)

def now():
    return np.array([time.perf_counter(), time.process_time()])
"""
_KRITA = """
colour, pixels = part("canvas_colour"), part("pixels")
raw = rgba[..., [2, 1, 0, 3]].tobytes()
mask = planes.Plane(planes.Layout.A8, geometry.Extent(side, side), bytes(side * side))

class Canvas:
    def pixelData(self, *box):
        return raw
    def colorModel(self):
        return "RGBA"
    def colorDepth(self):
        return "U8"
    def colorProfile(self):
        return "sRGB-elle-V2-srgbtrc.icc"

def work():
    begin = now()
    out = colour.document_pixels(Canvas(), geometry.Bounds(0, 0, side, side))
    back = colour.node_bytes(Canvas(), out)
    masked = pixels.with_opacity(out, mask)
    took = now() - begin
    assert out.data == back == raw and not any(masked.data[3::4])
    return took

serve(work=work)
"""
_BLENDER = """
import io
from PIL import Image
pictures, steps = part("scene_pictures"), part("png_steps")
floats = (rgba[::-1] / np.float32(255)).astype(np.float32).reshape(-1)

class Pixels:
    def __len__(self):
        return len(floats)
    def foreach_get(self, out):
        out[:] = floats

class Picture:
    type, name, is_float, size, pixels = "IMAGE", "canvas", False, (side, side), Pixels()

def finished(work):
    try:
        while True:
            next(work)
    except StopIteration as end:
        return end.value

def work():
    begin = now()
    out = pictures.plane_of_image(Picture())
    png = finished(steps.png_in_steps(out, 0))
    took = now() - begin
    assert bytes(out.data) == rgb.tobytes() and np.array_equal(np.asarray(Image.open(io.BytesIO(png))), rgb)
    return took

def compress():
    out = pictures.plane_of_image(Picture())
    begin = now()
    png = finished(steps.png_in_steps(out))
    took = now() - begin
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), rgb)
    return took

serve(work=work, compress=compress)
"""


class _Pixels:
    """The process of one add-on."""

    def __init__(self, folder: Path, program: str, side: int) -> None:
        command = [sys.executable, "-c", _COMMON + program, str(folder), str(side)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line()

    def work(self) -> tuple[float, float]:
        """Seconds of one picture out and one in, by the wall and of the processor. Raises `ServiceError` when the process ended."""
        return self._asked("work")

    def _asked(self, work: str) -> tuple[float, float]:
        assert self._process.stdin is not None  # it was asked for
        try:
            self._process.stdin.write(f"{work}\n")
            self._process.stdin.flush()
        except OSError:
            pass  # the answer, which does not come, says it
        wall, processor = self._line().split()
        return float(wall), float(processor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise ServiceError("An add-on's pixels could not be measured: its functions failed here; the lines above say where.")
        return line


class KritaPixels(_Pixels):
    """BGRA8 of an sRGB canvas, as it lies there; back into a layer; and the opacity of a selection laid over it."""

    def __init__(self, folder: Path, side: int) -> None:
        for name, data in plugin_files({}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        super().__init__(folder, _KRITA, side)


class BlenderPixels(_Pixels):
    """Floats of an image, bottom row first, to bytes; and the finished picture into the PNG that is kept until it is compressed."""

    def __init__(self, folder: Path, side: int) -> None:
        with zipfile.ZipFile(BytesIO(package(("linux-x64",), {}).data)) as archive:
            archive.extractall(folder)
        super().__init__(folder, _BLENDER, side)

    def compress(self) -> tuple[float, float]:
        """Seconds of compressing the finished picture, which is done after it is shown, while nothing else waits."""
        return self._asked("compress")
