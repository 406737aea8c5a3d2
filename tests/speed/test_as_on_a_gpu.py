"""The way that `likeness bench engine` takes on an NVIDIA GPU, gone through on a processor: tiny shapes, bf16, and a stand-in for CUDA's
clock and counters. It shows that every goal of a GPU is asked for and printed, and nothing of how fast one is."""

from __future__ import annotations

import time

import pytest
import torch
from torch.utils._pytree import tree_leaves

from backend.config import load_settings
from backend.pipelines.compiled import Compiler
from backend.speed import engine_goals, rig, run
from backend.speed.engine_goals import Run
from backend.speed.goals import Figure
from backend.speed.run import measure_engine
from backend.speed.timing import CudaTime
from protocol.errors import ServiceError


class Event:
    """As `torch.cuda.Event`, of the processor's time."""

    def __init__(self, enable_timing: bool = False) -> None:
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, other: Event) -> float:
        return 1000 * (other.at - self.at)


class Rerun:
    """Does some work again, into the tensors of its first answer."""

    def __init__(self, work, answer):
        self.work, self.answer = work, answer

    def replay(self):
        for old, new in zip(tree_leaves(self.answer), tree_leaves(self.work()), strict=True):
            old.copy_(new)

    def reset(self):
        pass


class Again:
    """In place of captures: compiled blocks cannot be noted on the tape that tests of graphs use."""

    def capture(self, work):
        answer = work()
        return Rerun(work, answer), answer

    def held(self):
        return 0

    def forget(self):
        pass


@pytest.fixture
def gpu(monkeypatch):
    """A processor that says that it is a GPU."""
    for name, answer in {
        "synchronize": lambda *_: None,
        "get_device_name": lambda *_: "a stand-in for a GPU",
        "max_memory_allocated": lambda *_: 3 * 2**30,
    }.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "device", lambda *_: torch.no_grad())
    real = rig.Rig

    class OnGpu(real):
        cuda = property(lambda self: self.dtype is not torch.float32)

        def __init__(self, shapes, folder, device, dtype, face_width=64):
            self.dtype = dtype
            super().__init__(shapes, folder, "cpu", dtype, 2)
            if self.cuda:
                self.timer = CudaTime("cuda:0")

    monkeypatch.setattr(rig, "Rig", OnGpu)
    monkeypatch.setattr(run, "device_and_dtype", lambda settings: ("cuda", torch.float16))
    monkeypatch.setattr(engine_goals, "CudaCapturer", lambda device: Again())
    monkeypatch.setattr(engine_goals, "Compiler", lambda backend, **_: Compiler("eager"))


@pytest.mark.slow
def test_all_goals_of_a_gpu_are_measured_with_their_events_and_told(gpu, tmp_path):
    settings = load_settings({"device": "cuda", "models": str(tmp_path)}, {})
    report = measure_engine(settings, "tiny", Run(steps=5, rounds=1, cancels=2), lambda line: None)
    assert list(dict.fromkeys(figure.goal for figure in report.figures)) == ["G1", "G2", "G5", "G6", "G7", "G8", "G9", "G15"]
    assert report.setting["device"] == "a stand-in for a GPU"
    assert report.setting["numbers"] == "bfloat16"
    told = "\n".join(report.notes)
    assert "TFLOP/s" in told
    assert "of an H200's 790" in told
    assert "At most 3.00 GiB" in told
    assert not report.failed


def test_a_goal_that_cannot_be_measured_is_named_and_the_others_are(monkeypatch, tmp_path):
    """Else a kernel that rounds otherwise would cost all the other figures."""

    def breaks(*_: object) -> Figure:
        raise ServiceError("The two sides drew different pictures.")

    def works(*_: object) -> Figure:
        return Figure("G5", "a figure", 1.0, 2.0)

    found, failed = run.measured({"G1": breaks, "G5": works}, None, Run(), lambda line: None)
    assert [figure.goal for figure in found] == ["G5"]
    assert failed == ["G1: The two sides drew different pictures."]
