"""Compiled blocks, on a processor: eager first, compiled after, nothing compiled twice, alike within rounding, and nothing left behind.

Whether it is faster only a GPU can show; on processors it is not, and so it is off there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import FakeFaces

from backend.images import to_plane
from backend.models.bundle import Model
from backend.pipelines.compiled import Compiler
from backend.pipelines.engine import Engine
from protocol.jobs import Guide, GuideKind, ImagePrompt, Photos, PictureJob, Sampling, Subject, Window

ASKED = "LIKENESS_INDUCTOR" in os.environ
WHY = "needs a C++ compiler, and a process that nothing else was compiled in: asked for by LIKENESS_INDUCTOR=1"
LEVELS = 2
"""How far a compiled picture may be from the eager one, in levels of 255."""


def graphs() -> int:
    """How many graphs were compiled in this process so far."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


@pytest.fixture
def wish(photo) -> PictureJob:
    return PictureJob(
        "a person",
        "",
        subjects=(Subject(Photos((photo(1),))),),
        image_prompts=(ImagePrompt(photo(4), weight=0.5, adapter="plus", window=Window(0.0, 0.5)),),
        guides=(Guide(GuideKind.DEPTH, to_plane(np.full((64, 64, 3), 90, np.uint8))),),
        sampling=Sampling(steps=4, seed=3),
        preview_every=0,
    )


@pytest.fixture(params=["aot_eager", pytest.param("inductor", marks=[pytest.mark.slow, pytest.mark.skipif(not ASKED, reason=WHY)])])
def compiled(request, tiny_folders, tmp_path) -> Iterator[Engine]:
    torch._dynamo.reset()
    engine = Engine(Model.open(tiny_folders["sdxl"]), FakeFaces())
    engine.parts.compiler = Compiler(request.param, tmp_path / "cache")
    yield engine
    engine.parts.compiler.close()
    torch._dynamo.reset()


def test_the_first_picture_is_eager_the_second_compiled_and_none_compiles_again(compiled: Engine, engine: Engine, wish) -> None:
    eager = engine.run(wish)[0].pixels
    before = graphs()
    assert np.array_equal(compiled.run(wish)[0].pixels, eager), "nothing is compiled yet"
    assert compiled.parts.compiler.wait(600)
    made = graphs()
    assert made > before
    calls: list[int] = []
    fast = compiled.parts.compiler._fast
    compiled.parts.compiler._fast = lambda block, plain: calls.append(1) or fast(block, plain)
    for seed in (3, 4, 5):
        job = replace(wish, prompt=f"prompt {seed}", sampling=replace(wish.sampling, seed=seed))
        difference = np.abs(compiled.run(job)[0].pixels.astype(int) - engine.run(job)[0].pixels.astype(int))
        assert difference.max() <= LEVELS
    assert calls, "or nothing that is compiled was used"
    assert graphs() == made, "no recompile: other words, seeds and steps fit the same graphs"


def test_another_size_is_eager_once_and_leaves_the_known_one_compiled(compiled: Engine, wish) -> None:
    compiled.run(wish)
    assert compiled.parts.compiler.wait(600)
    other = replace(wish, extent=None, guides=(), sampling=replace(wish.sampling, guidance_scale=1.0))
    made = graphs()
    compiled.run(other)
    assert compiled.parts.compiler.wait(600)
    assert graphs() > made, "without guidance the batch is half as large"
    made = graphs()
    compiled.run(wish)
    compiled.run(other)
    assert graphs() == made


def test_the_blocks_are_as_they_were_after_a_picture(compiled: Engine, wish) -> None:
    for _ in range(2):
        compiled.run(wish)
        assert compiled.parts.compiler.wait(600)
    for net in (compiled.parts.unet, compiled.parts.identity_net):
        for block in (part for part in net.modules() if type(part).__name__ == "BasicTransformerBlock"):
            assert "forward" not in vars(block)
            assert type(block.attn2.processor).__module__.startswith("diffusers")


def test_a_block_that_no_compiler_can_make_goes_on_as_it_is(tiny_folders, engine: Engine, wish) -> None:
    said: list[str] = []

    def broken(graph: object, inputs: object) -> None:
        raise ArithmeticError

    made = Engine(Model.open(tiny_folders["sdxl"]), FakeFaces())
    made.parts.compiler = Compiler(broken, say=said.append)
    for _ in range(2):
        assert np.array_equal(made.run(wish)[0].pixels, engine.run(wish)[0].pixels)
        assert made.parts.compiler.wait(600)
    made.parts.compiler.close()
    assert any("cannot be compiled" in words for words in said)
    torch._dynamo.reset()
