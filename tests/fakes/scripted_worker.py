# ruff: noqa: E402  (a program that finds the project beside it)
"""A worker whose prompts say how it fails: `steps=5 step_s=0.01 kill_at=3 times=1`, or `kill_in=load` (decode, save). Same seed, same
pixels, like the real one.

`hold=NAME` keeps a job at work, after its first step, until a test writes a file of that name into the folder given with --script (see
`let_go`); with `until=NAME` it takes step after step until then. Both end when the job is cancelled. With `deaf=3` a job is an unsafe twin,
which hears that it is cancelled only at every third step.

Run as a program by the server under test. `times` counts over all processes, in files of the folder given with --script.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from job_planes import planes_of

from backend.pipe import Beat, inherited_channel
from backend.planefile import write_planes
from backend.worker import serve as serving
from backend.worker.memory import Rung
from protocol.errors import Cancelled, NoFace
from protocol.geometry import Extent
from protocol.jobs import Job, PictureJob
from protocol.planes import Layout, Plane
from protocol.results import Faces, LoraInfo, MadePicture, ModelInfo, Outcome, Pictures
from protocol.shapes import Buffer

ORDER = "order"
"""A file of the folder given with --script."""


def pixels(seed: int, extent: Extent) -> Plane:
    """The picture of a seed."""
    row = hashlib.sha256(str(seed).encode()).digest()
    return Plane(Layout.RGB8, extent, (row * (extent.area * 3 // len(row) + 1))[: extent.area * 3])


def begun(state: Path) -> list[int]:
    """The seeds of the jobs that workers of the backend with this folder began, in that order."""
    return [int(line) for line in (state / "script" / ORDER).read_text().split()]


def let_go(state: Path, name: str) -> None:
    """Let the jobs go on that hold for this name, at the backend whose folder this is."""
    (state / "script" / name).touch()


class Scripted:
    title = "a scripted worker"

    def __init__(self, script: Path, talkative: bool = False) -> None:
        self._script, self._talkative = script, talkative
        self._dies_in, self._stalls = "", False
        self._told: list[str] = []

    def models(self) -> tuple[ModelInfo, ...]:
        self._told = self._loras()
        return (ModelInfo("scripted", "Does what it is told", "none", Extent(8, 8), loras=tuple(map(LoraInfo, self._told))),)

    def changed(self) -> tuple[ModelInfo, ...] | None:
        """A file `NAME.lora` in the script's folder is a LoRA."""
        return self.models() if self._loras() != self._told else None

    def _loras(self) -> list[str]:
        return sorted(path.stem for path in self._script.glob("*.lora")) if self._script else []

    def beat(self) -> Beat:
        return Beat(1000, 500, ("scripted",))

    def ladder(self) -> tuple[Rung, ...]:
        return Rung("all at once"), Rung("tiles"), Rung("one layer after another")

    def free(self) -> None:
        pass

    def run(self, job: Job, watch, rung: str | None) -> Outcome:
        if self._talkative:
            print(job, [bytes(plane.data) for plane in planes_of(job)], flush=True)
        if not isinstance(job, PictureJob):
            return Faces(())
        words = self._words(job)
        steps, extent = int(words.get("steps", 2)), job.extent or Extent(8, 8)
        armed = self._count(str(job.sampling.seed)) < int(words.get("times", 10**6))
        self._note(job.sampling.seed)
        self._dies_in = words.get("kill_in", "") if armed else ""
        self._stalls = "stall_in" in words
        self._reach("load")
        for step in range(steps):
            if step % int(words.get("deaf", 1)) == 0 and watch.cancelled():
                raise Cancelled
            if armed:
                self._fail(words, step, rung)
            self._hold(words.get("hold", ""), step, watch)
            time.sleep(float(words.get("step_s", 0)))
            watch.step(step + 1, steps)
            if "until" in words and (self._script / words["until"]).exists():
                break
            if job.preview_every and step % job.preview_every == 0:
                watch.show(pixels(step, Extent(4, 4)), step)
        self._reach("decode")
        made = tuple(MadePicture(pixels(job.sampling.seed + i, extent), job.sampling.seed + i) for i in range(job.count))
        if "echo" in job.prompt and job.canvas is not None:
            made = (MadePicture(job.canvas.picture, job.sampling.seed),)
        return Pictures(made, "scripted", rung=rung)

    def start(self) -> Scripted:
        """What a worker does before it is ready; with a file `start-kills`, so many processes do not survive it."""
        most = self._script / "start-kills"
        if most.exists() and self._count("starts") < int(most.read_text()):
            os.kill(os.getpid(), signal.SIGKILL)
        return self

    def save(self, path: Path, planes: Sequence[Buffer]) -> None:
        """The result's file, of which a kill leaves half."""
        if self._dies_in == "save" or self._stalls:
            write_planes(path, [memoryview(plane)[: len(plane) // 2] for plane in planes])
        self._reach("save")
        if self._stalls:
            time.sleep(3600)
        write_planes(path, planes)

    def _words(self, job: PictureJob) -> dict[str, str]:
        return dict(word.split("=") for word in job.prompt.split() if "=" in word)

    def _hold(self, name: str, step: int, watch) -> None:
        while name and step == 1 and not (self._script / name).exists():
            if watch.cancelled():
                raise Cancelled
            time.sleep(0.005)

    def _reach(self, place: str) -> None:
        if self._dies_in == place:
            os.kill(os.getpid(), signal.SIGKILL)

    def _count(self, what: str) -> int:
        """How often this was begun before."""
        with (self._script / what).open("ab") as file:
            file.write(b".")
            return file.tell() - 1

    def _note(self, seed: int) -> None:
        with (self._script / ORDER).open("a") as file:
            file.write(f"{seed}\n")

    def _fail(self, words: dict[str, str], step: int, rung: str | None) -> None:
        match next((word for word, at in words.items() if word.endswith("_at") and int(at) == step), ""):
            case "kill_at":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang_at":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "loop_at":
                while True:  # Python's other threads go on, so the heartbeat does
                    pass
            case "full_at" if rung is None or (words.get("rungs") == "all") or (words.get("rungs") == "2" and rung == "tiles"):
                raise RuntimeError("CUDA out of memory. Tried to allocate 9.00 GiB.")
            case "lost_at":
                raise RuntimeError(f"CUDA error: device-side assert triggered while drawing {words}")
            case "bug_at":
                raise ZeroDivisionError(words)
            case "face_at":
                raise NoFace("Photo 1 shows no face.")
            case _:
                pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pipe")
    parser.add_argument("--script", type=Path)
    parser.add_argument("--broken", action="store_true")
    parser.add_argument("--talkative", action="store_true", help="the unsafe twin: prints every job")
    options = parser.parse_args()
    print("hello from the scripted worker")
    if options.broken:
        sys.exit("CUDA is not there")
    worker = Scripted(options.script, options.talkative)
    serving.write_planes = worker.save
    sys.exit(serving.serve(inherited_channel(options.pipe), worker.start))
