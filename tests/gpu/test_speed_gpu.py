"""What only a GPU can show of memory plans, streaming and compiled blocks, with the built-in model.

Honestly: written on a machine without a GPU and run on none so far. What is shown on a processor is in tests/models/test_residency.py,
tests/worker/test_levels.py and tests/pipelines/test_compiled.py: the order of moves, decisions, equal bytes, no recompile. Bounds here that
turn out too narrow on the first run are to be replaced by what was measured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import backend
from backend.config import Settings, load_settings
from backend.images import open_picture, to_plane
from protocol.jobs import Photos, PictureJob, Sampling, Subject

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no NVIDIA GPU here.")]


def settings(folder: Path, device: str, dtype: str) -> Settings:
    return load_settings({"models": str(folder / "no-other-models"), "device": device, "dtype": dtype}, {})


def ada_at_the_sea() -> PictureJob:
    photo = to_plane(open_picture(Path(backend.__file__).parent / "sketch" / "samples" / "ada.png"))
    words = "portrait of a smiling person, red sweater, at the sea"
    return PictureJob(words, subjects=(Subject(Photos((photo,))),), sampling=Sampling(steps=8, seed=11), preview_every=0)


def on_device(module: object) -> int:
    return sum(weight.numel() * weight.element_size() for weight in module.parameters() if weight.device.type == "cuda")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_level_of_the_memory_plan_gives_the_same_bytes_and_takes_less(tmp_path: Path, dtype: str) -> None:
    from backend.models.memory_plan import Level
    from backend.workbench import open_workbench

    engine = open_workbench(settings(tmp_path, "cuda", dtype)).engine
    residency = engine.parts.residency
    pictures, resting = {}, {}
    for level in (*Level, Level.ALL):
        residency.change(level)
        for _ in range(2):  # diffusers learns the order of the blocks in the first step, and fetches ahead after it
            pictures[level] = engine.run(ada_at_the_sea())[0].pixels
        residency.rest()
        torch.cuda.empty_cache()
        resting[level] = torch.cuda.memory_allocated()
        assert np.array_equal(pictures[level], pictures[Level.ALL if Level.ALL in pictures else level])
    assert resting[Level.STREAMED] < resting[Level.ALL]
    assert resting[Level.TAKING_TURNS] < resting[Level.ENCODERS_AWAY] < resting[Level.ALL]


def test_what_is_away_is_in_the_processors_memory_and_what_is_streamed_has_its_blocks_there(tmp_path: Path) -> None:
    from backend.models.memory_plan import Level
    from backend.workbench import open_workbench

    engine = open_workbench(settings(tmp_path, "cuda", "float16")).engine
    engine.parts.residency.change(Level.TAKING_TURNS)
    engine.run(ada_at_the_sea())
    engine.parts.residency.rest()
    assert on_device(engine.parts.unet) == on_device(engine.parts.identity_net) == on_device(engine.parts.base["text_encoder"]) == 0
    engine.parts.residency.change(Level.STREAMED)
    engine.run(ada_at_the_sea())
    blocks = [block for block in engine.parts.unet.modules() if type(block).__name__ == "BasicTransformerBlock"]
    assert sum(on_device(block) for block in blocks) < sum(w.numel() * 2 for block in blocks for w in block.parameters()) / 2
    assert on_device(engine.parts.unet.conv_in) > 0


def test_compiled_blocks_draw_alike_and_compile_once(tmp_path: Path) -> None:
    from torch._dynamo.utils import counters

    from backend.pipelines.compiled import Compiler
    from backend.workbench import open_workbench

    plain = open_workbench(settings(tmp_path, "cuda", "float32")).engine.run(ada_at_the_sea())[0].pixels
    engine = open_workbench(settings(tmp_path, "cuda", "float32")).engine
    engine.parts.compiler = Compiler(cache=tmp_path / "cache")
    engine.run(ada_at_the_sea())
    assert engine.parts.compiler.wait(600)
    made = counters["stats"]["unique_graphs"]
    difference = np.abs(engine.run(ada_at_the_sea())[0].pixels.astype(int) - plain.astype(int))
    assert difference.mean() < 0.5
    assert counters["stats"]["unique_graphs"] == made, "no recompile at the second request"
    assert any((tmp_path / "cache").iterdir()), "what was compiled is kept on the disk"
    assert engine.parts.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    engine.parts.compiler.close()


def test_float8_storage_takes_less_and_draws_nearly_the_same(tmp_path: Path) -> None:
    from backend.workbench import open_workbench

    usual = open_workbench(settings(tmp_path, "cuda", "float16")).engine
    small = open_workbench(settings(tmp_path, "cuda", "float16")).engine
    small.parts.storage = torch.float8_e4m3fn
    difference = np.abs(usual.run(ada_at_the_sea())[0].pixels.astype(int) - small.run(ada_at_the_sea())[0].pixels.astype(int))
    assert on_device(small.parts.unet) < 0.65 * on_device(usual.parts.unet)
    assert difference.mean() < 8


def test_sdxls_vae_decodes_in_half_precision_as_in_single(tmp_path: Path) -> None:
    """In the published shapes, with random weights that overflow (the published ones were not at hand)."""
    import json

    import diffusers

    from backend.models.half_vae import fit_half_precision

    words = json.loads((Path(backend.__file__).parent / "models" / "stock" / "sdxl" / "vae" / "config.json").read_text(encoding="utf-8"))
    torch.manual_seed(3)
    with torch.device("cuda"):
        vae = diffusers.AutoencoderKL.from_config(words).requires_grad_(False).eval()
        latents = torch.randn(1, 4, 64, 64)
    for name, layer in vae.decoder.named_modules():
        if name.endswith(("conv_in", "conv1", "conv2", "to_out.0")):
            layer.weight *= 3e4
            layer.bias *= 3e4
    wanted = vae.decode(latents, return_dict=False)[0]
    overflows = vae.half().decode(latents.half(), return_dict=False)[0]
    assert not torch.isfinite(overflows).all(), "or nothing is shown"
    assert fit_half_precision(vae)
    found = vae.decode(latents.half(), return_dict=False)[0].float()
    assert (found - wanted).abs().mean() < 0.02 * wanted.std()


def test_reused_features_draw_the_same_bytes_with_graphs_at_hand(tmp_path: Path) -> None:
    from dataclasses import replace

    from backend.pipelines.graphs import CudaCapturer, Graphs
    from backend.workbench import open_workbench
    from protocol.jobs import Shortcut

    engine, job = open_workbench(settings(tmp_path, "cuda", "float16")).engine, ada_at_the_sea()
    job = replace(job, sampling=replace(job.sampling, steps=12, shortcuts=(Shortcut.FEATURE_REUSE,)))
    plain = engine.run(job)[0].pixels
    engine.parts.graphs = Graphs(CudaCapturer(engine.parts.device), print)
    engine.run(ada_at_the_sea())
    kept = len(engine.parts.graphs)
    assert np.array_equal(engine.run(job)[0].pixels, plain)
    assert len(engine.parts.graphs) == kept >= 2


def test_the_benchmark_of_the_engine_measures_every_goal_in_sdxls_shapes(tmp_path: Path) -> None:
    """What tests/speed/test_as_on_a_gpu.py goes through on a processor. Random weights, made on the GPU; about 11 GB of it."""
    from backend.speed.engine_goals import Run
    from backend.speed.run import measure_engine

    report = measure_engine(settings(tmp_path, "cuda", "auto"), None, Run(steps=4, rounds=2, cancels=4), print)
    print("\n".join(report.lines()))
    assert not report.failed
    assert {"G1", "G2", "G5", "G6", "G7", "G8", "G9", "G15"} == {figure.goal for figure in report.figures}
    assert report.setting["shapes"] == "sdxl"
    assert any("TFLOP/s" in note for note in report.notes)
