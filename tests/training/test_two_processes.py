"""One training in two processes: they take the same steps together, and one of them writes."""

import contextlib
import os
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TRAIN = """
import sys
from pathlib import Path
from backend.deferred import defer
defer()  # half of what is imported is for other tasks
import torch
from torch import nn
from backend.training import loop
from backend.training.budget import Budget

class Task:
    def __init__(self):
        torch.manual_seed(0)
        self.trained = nn.Linear(4, 2, bias=False).to(loop.device())
        self.drawn = []
    def loss(self, step, draw):
        values = torch.randn(8, 4, generator=draw)
        self.drawn.append(float(values.sum()))
        return (self.trained(values) - values[:, :2]).square().mean()
    def sheet(self, path):
        path.write_text("a sheet")
        print("SHOWN")
    def export(self, folder):
        print("EXPORTED")

task = Task()
loop.train(task, loop.Settings(Path(sys.argv[1]), Budget(float("inf"), 5, peak=0.1), precision="no", sheet_every=1e9))
print("WEIGHTS", [round(float(value), 5) for value in task.trained.weight.flatten()])
print("DRAWN", round(sum(task.drawn), 4))
"""


def free_port() -> int:
    """One that no system gives to whoever asks for any, as other programs do in the seconds until the processes listen."""
    for port in random.sample(range(20_000, 30_000), 1000):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def trained(outs: tuple[Path, Path], *, together: bool) -> list[str]:
    """What both processes print, each after five steps in its folder; as `accelerate launch --cpu --num_processes 2` starts them."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    shared |= {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": str(together), "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, str(out)],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for rank, out in enumerate(outs)
    ]
    try:
        return [process.communicate(timeout=600)[0] for process in begun]
    finally:
        for process in begun:
            process.kill()


def said(output: str, word: str) -> str:
    return next(line for line in output.splitlines() if line.startswith(word))


@pytest.mark.skipif(sys.platform == "win32", reason="torch's gloo has no IPv4 interface to bind on some Windows machines")
def test_two_processes_learn_from_different_pictures_and_end_with_the_same_weights(tmp_path: Path) -> None:
    one, other = trained((tmp_path, tmp_path), together=True)
    assert said(one, "WEIGHTS") == said(other, "WEIGHTS")
    assert said(one, "DRAWN") != said(other, "DRAWN")
    assert "EXPORTED" in one
    assert "SHOWN" in one
    assert "EXPORTED" not in other
    assert "SHOWN" not in other


@pytest.mark.skipif(sys.platform == "win32", reason="torch's gloo has no IPv4 interface to bind on some Windows machines")
def test_processes_that_are_not_told_to_work_together_would_write_over_each_other(tmp_path: Path) -> None:
    """The twin: what happened when the first question for the device did not read what `accelerate launch --cpu` asks for.

    Both write. Each has a folder here: in one folder one of the two may trip over the other's files, and then it writes nothing.
    """
    outputs = trained((tmp_path / "one", tmp_path / "other"), together=False)
    assert ["EXPORTED" in output for output in outputs] == [True, True]
