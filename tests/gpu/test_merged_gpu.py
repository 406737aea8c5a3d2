"""What only a GPU can show of LoRAs in compiled and captured nets, of unions, and of what graphs hold.

Honestly: written on a machine without a GPU and run on none so far. What is shown on a processor is in tests/worker/test_levels.py and in
tests/pipelines/test_merged_loras.py, test_captured_unions.py and test_graphs.py. Bounds here that turn out too narrow on the first run are
to be replaced by what was measured. How soon a cancelled picture ends is measured by `likeness bench engine` (G7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lora_makers as makers
import numpy as np
import pytest
from noise_planes import noise
from tiny_models import FakeFaces, tiny_model
from tiny_union import write_union

from backend.models.bundle import Model
from backend.models.parts import Parts
from backend.pipelines.engine import Engine
from protocol.geometry import Extent
from protocol.jobs import Guide, GuideKind, PictureJob, Sampling
from protocol.weights import Lora

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no NVIDIA GPU here.")]
NEAR = 0.1
"""Of what a LoRA changes in a picture, how much may be rounding in half precision."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny_model(tmp_path_factory.mktemp("model") / "tiny")
    write_union(made)
    unet = Parts(Model.open(made)).unet
    (made / "loras").mkdir()
    for name, seed in (("ink", 1), ("film", 2)):
        makers.kohya_file(made / "loras" / f"{name}.safetensors", {"unet": makers.peft_state(unet, seed, makers.UNET)})
    return made


@pytest.fixture
def engine_on(folder: Path) -> Callable[..., Engine]:
    def made(graphs: bool = False, compiled: bool = False, dtype: torch.dtype = torch.float16) -> Engine:
        from backend.pipelines.compiled import Compiler
        from backend.pipelines.graphs import CudaCapturer, Graphs

        engine = Engine(Model.open(folder), FakeFaces(), device="cuda", dtype=dtype)
        if graphs:
            engine.parts.graphs = Graphs(CudaCapturer(engine.parts.device), print)
        if compiled:
            engine.parts.compiler = Compiler()
        return engine

    return made


def job(*worn: tuple[str, float], steps: int = 6, **more: object) -> PictureJob:
    loras = tuple(Lora(name, weight) for name, weight in worn)
    return PictureJob("a hat", loras=loras, sampling=Sampling(steps=steps, seed=3), preview_every=0, **more)


def pixels(engine: Engine, wish: PictureJob) -> np.ndarray:
    return engine.run(wish)[0].pixels.astype(int)


WORN = [(("ink", 0.8),), (("film", 0.5),), (("ink", 0.6), ("film", -0.4))]


@pytest.mark.parametrize(("graphs", "compiled"), [(True, False), (False, True), (True, True)])
def test_loras_draw_with_the_graphs_that_are_there_and_leave_no_bit(engine_on: Callable[..., Engine], graphs: bool, compiled: bool) -> None:
    from torch._dynamo.utils import counters

    eager, quick = engine_on(), engine_on(graphs, compiled)
    for _ in range(2):
        pixels(quick, job())
        assert quick.parts.compiler is None or quick.parts.compiler.wait(600)
    first, before = pixels(quick, job()), {name: weight.clone() for name, weight in quick.parts.unet.state_dict().items()}
    kept, made = len(quick.parts.graphs or ()), counters["stats"]["unique_graphs"]
    for worn in WORN:
        drawn = pixels(quick, job(*worn))
        assert np.abs(drawn - pixels(eager, job(*worn))).sum() <= NEAR * np.abs(drawn - first).sum()
        assert np.array_equal(pixels(quick, job(*worn)), drawn)
        assert np.array_equal(pixels(quick, job()), first)
    assert (len(quick.parts.graphs or ()), counters["stats"]["unique_graphs"]) == (kept, made), "nothing anew"
    assert all(torch.equal(weight, before[name]) for name, weight in quick.parts.unet.state_dict().items())


def test_originals_in_locked_memory_give_the_same_picture(engine_on: Callable[..., Engine]) -> None:
    engine = engine_on(graphs=True)
    usual = pixels(engine, job(*WORN[0]))
    engine.parts.originals.room = 0
    for _ in range(2):
        assert np.array_equal(pixels(engine, job(*WORN[0])), usual)
    assert all(copy.is_pinned() for copy, _ in engine.parts.originals._away.values())


def test_unions_are_captured_and_draw_the_same_bits(engine_on: Callable[..., Engine]) -> None:
    guides = (Guide(GuideKind.NORMALS, noise(2)), Guide(GuideKind.EDGES, noise(3), weight=0.4))
    plain, captured = engine_on(), engine_on(graphs=True)
    for wish in (job(guides=guides), job(guides=guides[:1]), job(guides=(replace(guides[0], weight=0.2), guides[1]))):
        assert np.array_equal(pixels(captured, wish), pixels(plain, wish))
    assert len(captured.parts.graphs) == 3, "the UNet, and the network for one picture and for two"


def test_after_all_graphs_are_gone_others_are_captured_again(engine_on: Callable[..., Engine]) -> None:
    """A pool whose last graph was reset cannot be captured into."""
    said: list[str] = []
    engine = engine_on(graphs=True)
    engine.parts.graphs._say = said.append
    first = pixels(engine, job())
    for _ in range(2):
        assert engine.parts.graphs.bytes > 0
        engine.parts.graphs.drop()
        assert engine.parts.graphs.bytes == 0
        assert np.array_equal(pixels(engine, job()), first)
        assert len(engine.parts.graphs) >= 1
    assert said == []


def test_graphs_keep_within_what_they_are_allowed(engine_on: Callable[..., Engine]) -> None:
    engine = engine_on(graphs=True)
    graphs = engine.parts.graphs
    pixels(engine, job())
    graphs.allow(int(graphs.bytes * 1.3))
    for width in (128, 64, 192, 64):
        pixels(engine, job(extent=Extent(width, 64)))
        assert graphs.bytes <= graphs._allowance
    held = torch.cuda.memory_reserved()
    graphs.allow(0)
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= held
