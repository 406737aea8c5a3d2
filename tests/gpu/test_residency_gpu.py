"""What only a GPU can show of models that wait for one another, of union ControlNets and of previews by a small decoder.

Honestly: written on a machine without a GPU and run on none so far. What is shown on a processor is in tests/models/test_parking.py,
tests/worker/test_warm_models.py, tests/pipelines/test_tiny_decoder.py and tests/pipelines/test_union.py: decisions, the order of moves,
equal bytes, the arithmetic. Bounds here that turn out too narrow on the first run are to be replaced by what was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import diffusers
import numpy as np
import pytest
from noise_planes import noise
from tiny_models import FakeFaces, tiny_model
from tiny_union import write_union

from backend.models.bundle import Model
from backend.pipelines.engine import Engine
from protocol.jobs import Guide, GuideKind, Photos, PictureJob, Sampling, Subject

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="There is no NVIDIA GPU here.")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny_model(tmp_path_factory.mktemp("model") / "tiny")
    write_union(made)
    widths, blocks = (16, 16, 16), (1, 1, 1)
    tiny = diffusers.AutoencoderTiny(
        encoder_block_out_channels=widths, decoder_block_out_channels=widths, num_encoder_blocks=blocks, num_decoder_blocks=blocks
    )
    tiny.save_pretrained(made / "preview_decoder")
    return made


@pytest.fixture
def engine_on(folder: Path) -> Callable[[str], Engine]:
    return lambda device: Engine(Model.open(folder), FakeFaces(), device=device)


class Viewer:
    def __init__(self) -> None:
        self.shown: dict[int, np.ndarray] = {}

    def step(self, done: int, total: int) -> None:
        pass

    def preview(self, pixels: np.ndarray, step: int) -> None:
        self.shown[step] = pixels

    def cancelled(self) -> bool:
        return False


def job(previews: int = 0) -> PictureJob:
    guides = (Guide(GuideKind.NORMALS, noise(2)), Guide(GuideKind.EDGES, noise(3)))
    person = (Subject(Photos((noise(1),))),)
    return PictureJob("a person", subjects=person, guides=guides, sampling=Sampling(steps=8, seed=7), preview_every=previews)


def test_a_parked_model_gives_its_memory_back_and_wakes_as_it_was(engine_on: Callable[[str], Engine]) -> None:
    engine = engine_on("cuda")
    first = engine.run(job())[0].pixels
    torch.cuda.synchronize()
    before, weights = torch.cuda.memory_allocated(), engine.parts.residency.bytes_here()
    engine.parts.park()
    assert before - torch.cuda.memory_allocated() > 0.9 * weights
    assert engine.parts.residency.bytes_here() == 0
    engine.parts.residency.wake()
    assert np.array_equal(engine.run(job())[0].pixels, first)


def test_guides_of_a_union_network_are_what_the_processor_draws(engine_on: Callable[[str], Engine]) -> None:
    there, here = (engine_on(device).run(job())[0].pixels.astype(int) for device in ("cuda", "cpu"))
    assert np.abs(there - here).mean() < 2


def test_decoded_previews_come_without_a_step_waiting_and_change_nothing(engine_on: Callable[[str], Engine]) -> None:
    engine, viewer = engine_on("cuda"), Viewer()
    assert np.array_equal(engine.run(job(1), viewer)[0].pixels, engine.run(job())[0].pixels)
    decoded = {step for step, preview in viewer.shown.items() if preview.shape == (64, 64, 3)}
    assert decoded <= {4}, "four steps lie between two, and after the eighth comes the picture itself"
    assert viewer.shown
