"""`likeness bench start`: what a process costs before it is of use, in seconds of the processor, each in a fresh interpreter.

A server answers `hello` before any worker has imported torch; what a picture needs is imported by the worker meanwhile.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil

from protocol.discovery import read_connection
from protocol.errors import ServiceError

from .goals import Figure, Report
from .protocol_goals import own_backend

_ROOT = Path(__file__).resolve().parents[2]
_TOLD = "\nimport resource\nused = resource.getrusage(resource.RUSAGE_SELF)\nprint(used.ru_utime + used.ru_stime)"
PIPELINE = "from diffusers import StableDiffusionXLControlNetPipeline"
OFFICIAL = """
import cv2, torch, numpy
from PIL import Image
from diffusers.utils import load_image
from diffusers.models import ControlNetModel
from insightface.app import FaceAnalysis
from diffusers import StableDiffusionXLControlNetPipeline
"""
"""What `infer.py` of InstantID/InstantID imports; the stock pipeline stands for its own, which is a subclass of it."""
WORKER = "from backend.deferred import defer; defer(); import backend.worker.studio"
FIRST = f"{WORKER}; from backend.worker.ahead import import_ahead; import_ahead()"
"""All that a worker imports for a first picture; what of it comes after `WORKER` it imports while it waits for that."""
SERVER = "import backend.service"


def measure_start(rounds: int, say: Callable[[str], None] = lambda line: None) -> Report:
    """G13 and G14, `rounds` times each in turns; the first round warms the disk's cache and does not count."""
    if sys.platform == "win32":
        raise ServiceError("The time of a process's start is measured on Linux and macOS only.")
    ways: dict[str, Callable[[], float]] = {
        "hello": first_hello,
        "pipeline": lambda: imported(PIPELINE),
        "official": lambda: imported(OFFICIAL),
        "worker": lambda: imported(WORKER),
        "first": lambda: imported(FIRST),
        "server": lambda: imported(SERVER),
    }
    rows: list[dict[str, float]] = []
    for number in range(rounds + 1):
        say(f"round {number} of {rounds}")
        rows.append({name: way() for name, way in ways.items()})
    counted = rows[1:]

    def ratio(one: str, other: str) -> float:
        return statistics.median(row[one] / row[other] for row in counted)

    middle = {name: statistics.median(row[name] for row in counted) for name in ways}

    def figure(goal: str, what: str, one: str, other: str, target: float) -> Figure:
        return Figure(goal, what, ratio(one, other), target, "", "", {one: middle[one], other: middle[other]})

    figures = (
        figure("G13", "first hello, as a part of the pipeline's import", "hello", "pipeline", 0.03),
        figure("G14", "the server's imports, as a part of the official script's", "server", "official", 0.70),
        figure("G14", "the worker's imports, as a part of the official script's", "worker", "official", 0.70),
        figure("G14", "all imports of a first picture, as a part of the official script's", "first", "official", 0.70),
    )
    setting = {"rounds": rounds, "python": sys.version.split()[0], "seconds": "of the processor"}
    missing = ("the time to the first picture with compiled nets (second half of G13): it needs an NVIDIA GPU.",)
    return Report("Starting", setting, figures, (), missing)


def imported(code: str) -> float:
    """Seconds of the processor that a fresh interpreter takes for `code`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code + _TOLD], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServiceError(f"A fresh interpreter could not import what is measured: {done.stderr.strip().splitlines()[-1:]}")
    return float(done.stdout.split()[-1])


def first_hello() -> float:
    """Seconds of the processor that the server's process has used when its first client is connected; its worker is another process."""
    with tempfile.TemporaryDirectory() as folder, own_backend(Path(folder) / "state"):
        return used_by(read_connection(Path(folder) / "state").pid)


def used_by(pid: int) -> float:
    """Seconds of the processor that the threads of a process have used. Linux counts nanoseconds, psutil hundredths."""
    try:
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in Path(f"/proc/{pid}/task").iterdir()) / 1e9
    except OSError:
        used = psutil.Process(pid).cpu_times()
        return used.user + used.system
