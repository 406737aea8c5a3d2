"""Compiled blocks, on a processor: eager first, compiled after, nothing compiled twice, alike within rounding, and nothing left behind.

Whether it is faster only a GPU can show; on processors it is not, and so it is off there.
"""

from __future__ import annotations

import gc
import os
import shutil
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from tiny_models import FakeFaces
from torch._inductor.runtime.cache_dir_utils import default_cache_dir

from backend.images import to_plane
from backend.models.adapters import LoraPair
from backend.models.bundle import Model
from backend.pipelines.attention import LanedAttention, Ready, ReadyLane
from backend.pipelines.compiled import Compiler
from backend.pipelines.engine import Engine
from protocol.jobs import Guide, GuideKind, ImagePrompt, Photos, PictureJob, Sampling, Subject, Window

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
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


@pytest.fixture(
    params=["eager", pytest.param("inductor", marks=[pytest.mark.slow, pytest.mark.skipif(not COMPILER, reason="needs a C++ compiler")])]
)
def compiled(request, tiny_folders, tmp_path) -> Iterator[Engine]:
    torch._dynamo.reset()
    engine = Engine(Model.open(tiny_folders["sdxl"]), FakeFaces())
    engine.parts.compiler = Compiler(request.param, tmp_path / "cache")
    yield engine
    engine.parts.compiler.close()
    torch._dynamo.reset()


def test_the_first_picture_is_eager_the_second_compiled_and_none_compiles_again(compiled: Engine, engine: Engine, wish, photo) -> None:
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
        person = Subject(Photos((photo(seed),)), adapter=seed / 10, identity_net=1 - seed / 10)
        shown = ImagePrompt(photo(seed + 9), weight=seed / 8, adapter="plus", window=Window(0.0, 0.5))
        job = replace(wish, prompt=f"prompt {seed}", sampling=replace(wish.sampling, seed=seed), subjects=(person,), image_prompts=(shown,))
        difference = np.abs(compiled.run(job)[0].pixels.astype(int) - engine.run(job)[0].pixels.astype(int))
        assert difference.max() <= LEVELS
    assert calls, "or nothing that is compiled was used"
    assert graphs() == made, "no recompile: other words, seeds, persons and strengths fit the same graphs"


def test_another_size_is_eager_once_and_leaves_the_known_one_compiled(compiled: Engine, wish) -> None:
    wish = replace(wish, guides=(), image_prompts=())
    compiled.run(wish)
    assert compiled.parts.compiler.wait(600)
    other = replace(wish, sampling=replace(wish.sampling, guidance_scale=1.0))
    made = graphs()
    compiled.run(other)
    assert compiled.parts.compiler.wait(600)
    assert graphs() > made, "without guidance the batch is half as large"
    made = graphs()
    compiled.run(wish)
    compiled.run(other)
    assert graphs() == made


def test_the_blocks_are_as_they_were_after_a_picture(compiled: Engine, wish) -> None:
    wish = replace(wish, guides=(), image_prompts=(), sampling=replace(wish.sampling, steps=2))
    for _ in range(2):
        compiled.run(wish)
        assert compiled.parts.compiler.wait(600)
    for net in (compiled.parts.unet, compiled.parts.identity_net):
        for block in net.modules():
            assert "forward" not in vars(block)
        for block in (part for part in net.modules() if type(part).__name__ == "BasicTransformerBlock"):
            assert type(block.attn2.processor).__module__.startswith("diffusers")


def test_a_block_that_no_compiler_can_make_goes_on_as_it_is(tiny_folders, engine: Engine) -> None:
    wish = PictureJob("a hat", sampling=Sampling(steps=2, seed=3), preview_every=0)
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


def transformer(lanes: int, region: bool, lora: bool) -> tuple[BasicTransformerBlock, torch.Tensor, torch.Tensor]:
    """A block with a processor that was made ready, its input, and a text that it must not need."""
    torch.manual_seed(1)
    block = BasicTransformerBlock(16, 2, 8, cross_attention_dim=24).eval().requires_grad_(False)

    def tokens(number: int) -> torch.Tensor:
        return torch.randn(2, 2, number, 8)

    pairs = tuple((torch.randn(4, 16), torch.randn(16, 4)) for _ in range(4)) if lora else ()
    mask = torch.rand(2, 36, 1) if region else None
    active = tuple(ReadyLane(tokens(16), tokens(16), torch.tensor(0.3 + 0.1 * number), mask) for number in range(lanes))
    loras = (LoraPair(*pairs),) if lora else ()
    block.attn2.set_processor(LanedAttention(1, ready=Ready((tokens(77), tokens(77)), active, loras)))
    if lora:
        block.attn1.set_processor(LanedAttention(0, ready=Ready(None, (), loras)))
    return block, torch.randn(2, 36, 16), torch.randn(2, 77, 24)


@pytest.mark.parametrize(("lanes", "region", "lora"), [(0, False, False), (1, False, False), (2, True, False), (1, True, True)])
def test_a_transformer_block_is_one_graph_with_cross_attention_in_it(lanes: int, region: bool, lora: bool) -> None:
    torch._dynamo.reset()
    block, states, text = transformer(lanes, region, lora)
    with torch.no_grad():
        found = torch._dynamo.explain(block.forward)(states, encoder_hidden_states=text)
        assert (found.graph_count, found.graph_break_count) == (1, 0)
        nodes = [str(node.target) for node in found.graphs[0].graph.nodes]
        assert sum("scaled_dot_product_attention" in name for name in nodes) == 2 + lanes, "self-attention, the text, each lane"
        whole = torch.compile(block.forward, backend="aot_eager", fullgraph=True, dynamic=False)
        assert torch.equal(whole(states, encoder_hidden_states=text), block.forward(states, encoder_hidden_states=text))
    torch._dynamo.reset()


def test_other_strengths_and_tokens_fit_the_same_graph_and_a_number_instead_of_a_tensor_would_not() -> None:
    """With the unsafe twin: a strength that is a number of Python is in the graph, which another strength needs anew."""
    torch._dynamo.reset()
    block, states, text = transformer(1, True, False)
    whole = torch.compile(block.forward, backend="eager", fullgraph=True, dynamic=False)
    processor = block.attn2.processor
    made = graphs()
    with torch.no_grad():
        for weight in (0.3, 0.4, 1.0):
            lane = processor.ready.lanes[0]
            other = lane._replace(key=torch.randn(2, 2, 16, 8), scale=torch.tensor(weight))
            processor.ready = processor.ready._replace(lanes=(other,))
            assert torch.equal(whole(states, encoder_hidden_states=text), block.forward(states, encoder_hidden_states=text))
        assert graphs() == made + 1
        for weight in (0.3, 0.4):
            processor.ready = processor.ready._replace(lanes=(lane._replace(scale=weight),))
            whole(states, encoder_hidden_states=text)
        assert graphs() == made + 3
    torch._dynamo.reset()


def test_a_scale_in_a_tensor_is_rounded_as_a_number_is() -> None:
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        block, states, text = (one.to(dtype) for one in transformer(1, False, False))
        ready = block.attn2.processor.ready
        text_pair = tuple(one.to(dtype) for one in ready.text)
        lane = ready.lanes[0]._replace(key=ready.lanes[0].key.to(dtype), value=ready.lanes[0].value.to(dtype))
        drawn = []
        for scale in (0.7, torch.tensor(0.7)):
            block.attn2.processor.ready = Ready(text_pair, (lane._replace(scale=scale),), ())
            drawn.append(block.forward(states, encoder_hidden_states=text))
        assert torch.equal(*drawn)


def test_more_shapes_than_torch_would_compile_by_itself_are_compiled_in_the_background() -> None:
    """torch gives up after 8 graphs of one piece of code, and each thread has its own settings."""
    torch._dynamo.reset()
    compiler = Compiler("eager")
    block = BasicTransformerBlock(16, 2, 8).eval().requires_grad_(False)
    net = torch.nn.Module()
    net.conv_in, net.block = torch.nn.Conv2d(4, 4, 3), block
    made = graphs()
    with torch.no_grad():
        for _ in range(2):
            with compiler.within([net]):
                for length in range(4, 14):
                    block(torch.randn(1, length, 16))
            assert compiler.wait(600)
    assert graphs() == made + 10
    assert len(compiler._ready) == 10
    compiler.close()
    torch._dynamo.reset()


def test_what_is_compiled_is_kept_where_it_is_said_though_torch_named_a_folder_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dynamo, which diffusers imports, writes a folder of temporary files into inductor's variable."""
    for before in (None, default_cache_dir()):
        monkeypatch.delenv(VARIABLE, raising=False)
        if before is not None:
            monkeypatch.setenv(VARIABLE, before)
        Compiler("eager", tmp_path / "ours")
        assert os.environ[VARIABLE] == str(tmp_path / "ours")


def test_the_folder_that_a_user_names_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "theirs"))
    Compiler("eager", tmp_path / "ours")
    assert os.environ[VARIABLE] == str(tmp_path / "theirs")


@pytest.mark.parametrize(("device", "laid", "asked"), [("cuda", False, [torch.channels_last]), ("cuda", True, []), ("cpu", False, [])])
def test_convolutions_of_a_gpu_are_laid_out_with_channels_last_once(device: str, laid: bool, asked: list[torch.memory_format]) -> None:
    class Net:
        weight = SimpleNamespace(device=torch.device(device), is_contiguous=lambda memory_format: laid)
        conv_in = SimpleNamespace(weight=weight)

        def __init__(self) -> None:
            self.formats: list[torch.memory_format] = []

        def modules(self) -> list[object]:
            return []

        def to(self, memory_format: torch.memory_format) -> None:
            self.formats.append(memory_format)

    net = Net()
    with Compiler("eager").within([net]):
        assert net.formats == asked


def test_a_model_that_is_closed_takes_its_compiled_blocks_and_their_thread_along(tiny_folders) -> None:
    engine = Engine(Model.open(tiny_folders["sdxl"]), FakeFaces())
    compiler = engine.parts.compiler = Compiler("eager")
    for _ in range(2):
        engine.run(PictureJob("a hat", sampling=Sampling(steps=1), preview_every=0))
        assert compiler.wait(60)
    weights, thread = weakref.ref(engine.parts.unet.mid_block.attentions[0].transformer_blocks[0]), compiler._thread
    del engine, compiler
    gc.collect()
    assert weights() is None
    thread.join(60)
    assert not thread.is_alive()
