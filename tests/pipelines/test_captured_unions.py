"""Union ControlNets, and ControlNets that take BGR, captured and compiled: the same bits, nothing anew for other pictures and scales.

A tape stands for CUDA graphs, as in test_graphs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from noise_planes import noise
from tape import TapeCapturer
from tiny_models import FakeFaces, tiny_model
from tiny_union import write_union

from backend.models.bundle import Model
from backend.pipelines.compiled import Compiler
from backend.pipelines.engine import Engine
from backend.pipelines.entries import _Number
from backend.pipelines.graphs import Graphs
from protocol.jobs import Guide, GuideKind, Photos, PictureJob, Sampling, Shortcut, Subject, Window
from protocol.planes import Plane

Photo = Callable[..., Plane]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a union network, and a ControlNet for depth that wants its channels turned round."""
    made = tiny_model(tmp_path_factory.mktemp("captured") / "tiny")
    config = made / "controlnets" / "depth" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"controlnet_conditioning_channel_order": "bgr"}))
    write_union(made)
    return made


@pytest.fixture(scope="module")
def plain(folder: Path) -> Engine:
    return Engine(Model.open(folder), FakeFaces())


@pytest.fixture
def captured(folder: Path) -> Engine:
    engine = Engine(Model.open(folder), FakeFaces())
    engine.parts.graphs = Graphs(TapeCapturer())
    return engine


def wish(*kinds: GuideKind, seed: int = 1, weight: float = 0.7, window: Window = Window(), **more: object) -> PictureJob:  # noqa: B008
    guides = tuple(Guide(kind, noise(seed + n), weight=weight / (n + 1), window=window) for n, kind in enumerate(kinds))
    return PictureJob("a hat", guides=guides, **({"sampling": Sampling(steps=4, seed=seed), "preview_every": 0} | more))


def equal(one: Engine, other: Engine, job: PictureJob) -> bool:
    return np.array_equal(one.run(job)[0].pixels, other.run(job)[0].pixels)


UNION = (GuideKind.NORMALS,), (GuideKind.NORMALS, GuideKind.EDGES), (GuideKind.LINES, GuideKind.NORMALS, GuideKind.SOFT_EDGES)


@pytest.mark.parametrize("kinds", [*UNION, (GuideKind.DEPTH,), (GuideKind.DEPTH, GuideKind.EDGES)])
def test_captured_they_draw_the_same_bits_and_nothing_is_captured_anew_for_other_pictures_and_scales(
    kinds: tuple[GuideKind, ...], captured: Engine, plain: Engine
) -> None:
    capturer = captured.parts.graphs._capturer
    assert equal(captured, plain, wish(*kinds))
    tapes = len(capturer.tapes)
    assert tapes == 1 + len({kind is GuideKind.DEPTH for kind in kinds}), "the UNet and each network, once for all its pictures"
    for changed in (wish(*kinds, seed=7), wish(*kinds, weight=0.3), wish(*kinds)):
        assert equal(captured, plain, changed)
    assert len(capturer.tapes) == tapes


def test_beside_a_person_with_windows_and_halves_the_bits_are_the_same(
    captured: Engine, plain: Engine, photo: Callable[..., Plane]
) -> None:
    person = (Subject(Photos((photo(1),)), identity_net_window=Window(0.0, 0.6)),)
    first = wish(*UNION[1], GuideKind.DEPTH, window=Window(0.3, 1.0), subjects=person, sampling=Sampling(steps=7, seed=2))
    halves = replace(first, sampling=replace(first.sampling, shortcuts=(Shortcut.GUIDANCE_INTERVAL,)))
    for job in (first, halves, first):
        assert equal(captured, plain, job)
    assert captured.parts.graphs._capturer.replays


def test_a_picture_whose_channels_are_turned_round_is_embedded_once(captured: Engine) -> None:
    net = captured.parts.control_net(GuideKind.DEPTH)
    assert net.config.controlnet_conditioning_channel_order == "bgr"
    embedded: list[int] = []
    handle = net.controlnet_cond_embedding.register_forward_pre_hook(lambda *_: embedded.append(1))
    captured.run(wish(GuideKind.DEPTH))
    handle.remove()
    assert len(embedded) == 1
    assert net.config.controlnet_conditioning_channel_order == "bgr", "the net itself stays as it is"


def test_their_blocks_are_compiled_too(folder: Path, plain: Engine) -> None:
    torch._dynamo.reset()
    engine = Engine(Model.open(folder), FakeFaces())
    engine.parts.compiler = compiler = Compiler("eager")
    job = wish(*UNION[1])
    union = engine.parts.control_net(GuideKind.NORMALS)
    block = next(part for part in union.modules() if type(part).__name__ == "BasicTransformerBlock")
    engine.run(job)
    assert compiler.wait(600)
    fast, used = compiler._fast, []
    compiler._fast = lambda one, forward: used.append(one) or fast(one, forward)
    drawn = engine.run(job)[0].pixels.astype(int)
    assert any(one is block for one in used)
    assert np.abs(drawn - plain.run(job)[0].pixels.astype(int)).max() <= 2
    compiler.close()
    torch._dynamo.reset()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_number_in_a_tensor_multiplies_as_a_number_does(dtype: torch.dtype) -> None:
    states = torch.linspace(-3, 3, 999).to(dtype)
    assert torch.equal(states * _Number(torch.tensor(0.7)), states * 0.7)
    if dtype is not torch.float32:
        rounded = torch.tensor(0.7, dtype=dtype)  # what a GPU makes of a bare tensor ()
        assert not torch.equal(states * rounded, states * 0.7), "the unsafe twin"
