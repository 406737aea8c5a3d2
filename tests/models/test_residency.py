"""Parts that come and go: on a device that only counts, the same bytes at every level, nothing works while it is away, and few moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from small_device import Away, SmallDevice, bytes_of
from tiny_models import FakeFaces, tiny_model

from backend.images import to_plane
from backend.models.bundle import Model
from backend.models.memory_plan import Level, Stay
from backend.models.residency import Residency
from backend.pipelines.engine import Engine
from protocol.geometry import Extent
from protocol.jobs import Canvas, Guide, GuideKind, ImagePrompt, Photos, PictureJob, Sampling, Subject
from protocol.planes import Layout, Plane

ADAPTERS = {"instantid", "ip_adapter/plus"}
"""What stays at every level."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Engine:
    return Engine(Model.open(folder), FakeFaces())


@pytest.fixture
def engine_on(folder: Path) -> Callable[[SmallDevice, Level], Engine]:
    def made(device: SmallDevice, level: Level) -> Engine:
        engine = Engine(Model.open(folder), FakeFaces())
        engine.parts.residency = Residency(engine.parts.device, device)
        engine.parts.residency.change(level)
        return engine

    return made


def picture(value: int) -> Plane:
    return to_plane(np.random.default_rng(value).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def everything(prompt: str = "a person") -> PictureJob:
    """A canvas with a mask, a person, an image prompt and a guide: every part works."""
    mask = Plane(Layout.A8, Extent(64, 64), bytes(64 * 20) + b"\xff" * (64 * 44))
    return PictureJob(
        prompt,
        "",
        canvas=Canvas(picture(1), mask, strength=0.9),
        subjects=(Subject(Photos((picture(2),))),),
        image_prompts=(ImagePrompt(picture(3), adapter="plus"),),
        guides=(Guide(GuideKind.DEPTH, picture(4)),),
        sampling=Sampling(steps=3, seed=7),
        preview_every=0,
    )


@pytest.mark.parametrize("level", Level)
def test_every_level_gives_the_same_bytes(plain: Engine, engine_on: Callable, level: Level) -> None:
    engine = engine_on(SmallDevice(), level)
    for _ in range(2):
        assert np.array_equal(engine.run(everything())[0].pixels, plain.run(everything())[0].pixels)
        engine.parts.residency.rest()


def test_levels_may_change_between_pictures(plain: Engine, engine_on: Callable) -> None:
    engine = engine_on(SmallDevice(), Level.STREAMED)
    wanted = plain.run(everything())[0].pixels
    for level in (Level.STREAMED, Level.ALL, Level.NETS_STREAMED, Level.TAKING_TURNS, Level.ENCODERS_AWAY, Level.ALL):
        engine.parts.residency.change(level)
        assert np.array_equal(engine.run(everything())[0].pixels, wanted)
        engine.parts.residency.rest()


def test_encoders_are_gone_while_the_picture_is_sampled_and_come_once_each(engine_on: Callable) -> None:
    device = SmallDevice()
    engine = engine_on(device, Level.ENCODERS_AWAY)
    engine.run(everything())  # everything is read now
    engine.parts.residency.rest()
    device.log.clear()
    during: list[set[str]] = []
    engine.parts.unet.register_forward_pre_hook(lambda *_: during.append(set(device.here)))
    engine.run(everything("another prompt"))
    assert during
    assert all(here == {"unet", "identitynet", "controlnets/depth", *ADAPTERS} for here in during)
    assert sorted(device.moves("bring")) == ["text_encoder", "text_encoder_2", "vae", "vae"], "the canvas is encoded, the picture decoded"


def test_a_prompt_that_is_known_brings_no_text_encoder(engine_on: Callable) -> None:
    device = SmallDevice()
    engine = engine_on(device, Level.ENCODERS_AWAY)
    for _ in range(2):
        device.log.clear()
        engine.run(everything())
        engine.parts.residency.rest()
    assert "text_encoder" not in device.moves("bring")


def test_taking_turns_needs_room_for_one_phase_only(plain: Engine, engine_on: Callable) -> None:
    device = SmallDevice()
    engine = engine_on(device, Level.TAKING_TURNS)
    engine.run(everything())
    engine.parts.residency.rest()
    assert set(device.here) == ADAPTERS
    sizes = {name: bytes_of(held.module) for name, held in engine.parts.residency._held.items()}
    assert device.peak == sum(sizes[name] for name in ("unet", "identitynet", "controlnets/depth", *ADAPTERS))


def test_streamed_parts_leave_their_blocks_away(engine_on: Callable) -> None:
    all_here, streamed = SmallDevice(), SmallDevice()
    engine_on(all_here, Level.TAKING_TURNS).run(everything())
    engine_on(streamed, Level.STREAMED).run(everything())
    adapters = sum(streamed.here[name] for name in ADAPTERS)
    assert streamed.peak - adapters < 0.6 * (all_here.peak - adapters)
    assert set(streamed.moves("stream")) == {"unet", "identitynet", "controlnets/depth"}


def test_the_guard_of_these_tests_bites(engine_on: Callable) -> None:
    """The unsafe twin: a residency that moves things without being asked before they work."""
    engine = engine_on(SmallDevice(), Level.ENCODERS_AWAY)
    engine.run(everything())
    engine.parts.residency.rest()
    engine.parts.residency.enter = lambda name: None
    engine.parts.prompts.clear()
    with pytest.raises(Away, match=r"text_encoder|vae"):
        engine.run(everything())


def test_what_leaves_makes_room_before_what_comes(engine_on: Callable) -> None:
    """From streaming back to all on the device, and down again, on a card that holds all of it and not a byte more."""
    device = SmallDevice()
    engine = engine_on(device, Level.ALL)
    engine.run(everything())
    device.capacity = sum(device.here.values())
    for level in (Level.STREAMED, Level.ALL, Level.TAKING_TURNS, Level.STREAMED, Level.ENCODERS_AWAY):
        engine.parts.residency.change(level)
        engine.run(everything())
        engine.parts.residency.rest()
    assert device.peak == device.capacity


# The mover itself, as far as a processor shows it -----------------------------------------------------------------------------------
def test_diffusers_streaming_through_views_of_nets_is_bit_equal_and_leaves_no_hook(folder: Path, plain: Engine) -> None:
    engine = Engine(Model.open(folder), FakeFaces())
    wanted = plain.run(everything())[0].pixels
    engine.parts.residency.change(Level.STREAMED)
    assert np.array_equal(engine.run(everything())[0].pixels, wanted)
    assert engine.parts.residency.where()["unet"] is Stay.STREAMED
    blocks = [block for block in engine.parts.unet.modules() if type(block).__name__ == "BasicTransformerBlock"]
    assert all("forward" in vars(block) for block in blocks), "diffusers' hooks are on the blocks"
    assert "forward" not in vars(engine.parts.identity_net), "a view of a net must keep its own forward"
    engine.parts.residency.change(Level.ALL)
    assert not any(hooks(block) for block in blocks)
    assert np.array_equal(engine.run(everything())[0].pixels, wanted)


def hooks(module: torch.nn.Module) -> list[str]:
    registry = getattr(module, "_diffusers_hook", None)
    return list(registry.hooks) if registry is not None else []
