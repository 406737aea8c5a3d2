"""What only a GPU can show of captured nets, compiled blocks and the kernels of attention, with the built-in model.

Honestly: written on a machine without a GPU and run on none so far. What is shown on a processor, with a tape in place of a graph, is in
tests/pipelines/test_graphs.py, test_compiled.py and test_kernels.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import backend
from backend.config import Settings, load_settings
from backend.images import open_picture, to_plane
from protocol.jobs import Photos, PictureJob, Sampling, Subject, Window

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no NVIDIA GPU here.")]


def settings(folder: Path, **more: str) -> Settings:
    return load_settings({"models": str(folder / "no-other-models"), "device": "cuda", "dtype": "float16", **more}, {})


def ada(seed: int = 11, words: str = "portrait of a smiling person, at the sea", weight: float = 0.8) -> PictureJob:
    photo = to_plane(open_picture(Path(backend.__file__).parent / "sketch" / "samples" / "ada.png"))
    subject = Subject(Photos((photo,)), adapter=weight, identity_net_window=Window(0.0, 0.6))
    return PictureJob(words, subjects=(subject,), sampling=Sampling(steps=8, seed=seed), preview_every=0)


def test_captured_nets_draw_the_same_bytes_and_nothing_is_captured_twice(tmp_path: Path) -> None:
    from backend.workbench import open_workbench

    plain = open_workbench(settings(tmp_path)).engine
    engine = open_workbench(settings(tmp_path, graphs="yes")).engine
    assert np.array_equal(engine.run(ada())[0].pixels, plain.run(ada())[0].pixels)
    kept = len(engine.parts.graphs)
    assert kept >= 2, "the UNet and IdentityNet; none would mean that a capture failed"
    for job in (ada(seed=12), ada(words="a person in a red coat"), ada(weight=0.5), ada()):
        assert np.array_equal(engine.run(job)[0].pixels, plain.run(job)[0].pixels)
    assert len(engine.parts.graphs) == kept


def test_a_captured_picture_asks_for_less_than_half_of_its_kernels_one_by_one(tmp_path: Path) -> None:
    from torch.profiler import ProfilerActivity, profile

    from backend.workbench import open_workbench

    launches = {}
    for graphs in ("no", "yes"):
        engine = open_workbench(settings(tmp_path, graphs=graphs)).engine
        engine.run(ada())
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            engine.run(ada(seed=12))
        # cudaLaunchKernel, cudaLaunchKernelExC, cuLaunchKernelEx …: as the library that asks has it.
        launches[graphs] = sum(event.count for event in seen.key_averages() if "LaunchKernel" in event.key)
    assert launches["no"] > 1000, "the profiler sees them"
    assert launches["yes"] < 0.5 * launches["no"], "encoders, copies, the scheduler and the VAE are still asked for one by one"


def test_compiled_and_captured_together_draw_alike(tmp_path: Path) -> None:
    from backend.workbench import open_workbench

    plain = open_workbench(settings(tmp_path, dtype="float32")).engine.run(ada())[0].pixels
    engine = open_workbench(settings(tmp_path, dtype="float32", graphs="yes", compile="yes")).engine
    engine.run(ada())
    assert engine.parts.compiler.wait(600)
    for _ in range(2):
        difference = np.abs(engine.run(ada())[0].pixels.astype(int) - plain.astype(int))
        assert difference.mean() < 0.5
    assert len(engine.parts.graphs) >= 2


def test_a_capture_that_fails_on_the_device_costs_no_picture(tmp_path: Path) -> None:
    from backend.pipelines.graphs import CudaCapturer, Graphs
    from backend.workbench import open_workbench

    engine = open_workbench(settings(tmp_path)).engine
    plain = engine.run(ada())[0].pixels
    said: list[str] = []
    real = CudaCapturer(engine.parts.device)

    class Syncing:
        def capture(self, work):
            return real.capture(lambda: (work(), torch.cuda.synchronize()))  # not permitted while a stream is captured

    engine.parts.graphs = Graphs(Syncing(), said.append)
    assert np.array_equal(engine.run(ada())[0].pixels, plain)
    assert len(said) == 1
    assert np.array_equal(engine.run(ada())[0].pixels, plain)
    ballast = torch.empty(2**28, dtype=torch.uint8, device="cuda")
    held = torch.cuda.memory_reserved()
    del ballast
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= held - 2**28, "the allocator does not think that a capture is still going on"


def test_what_graphs_held_is_free_again_once_they_are_dropped(tmp_path: Path) -> None:
    from backend.workbench import open_workbench

    engine = open_workbench(settings(tmp_path, graphs="yes")).engine
    engine.run(replace(ada(), preview_every=1))
    held = torch.cuda.memory_allocated()
    engine.parts.graphs.drop()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() < held


@pytest.mark.parametrize("name", ["flash", "efficient", "cudnn", "math"])
def test_each_kernel_that_this_card_has_draws_alike(tmp_path: Path, name: str) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from backend.pipelines import kernels
    from backend.workbench import open_workbench

    engine = open_workbench(settings(tmp_path)).engine
    plain = engine.run(ada())[0].pixels.astype(int)
    order: list[SDPBackend] = list(kernels.ORDERS[name])
    with sdpa_kernel(order, set_priority=True):
        assert np.abs(engine.run(ada())[0].pixels.astype(int) - plain).mean() < 2


def test_plain_matrices_are_not_what_torch_takes_for_the_families_heads() -> None:
    from backend.pipelines import kernels

    for widths in kernels.WIDTHS.values():
        for width in widths:
            assert kernels.chosen("cuda", torch.float16, width) in ("flash", "efficient", "cudnn")
