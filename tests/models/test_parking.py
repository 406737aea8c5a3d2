"""What else lies on a device: LoRAs where weights come and go, adapters, and whole models that wait for another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import lora_makers as makers
import numpy as np
import pytest
import torch
from small_device import SmallDevice
from tiny_models import FakeFaces, tiny_model

from backend.images import to_plane
from backend.models.bundle import Model
from backend.models.memory_plan import IN_FLIGHT, Level, Part, Role, Stay, Work, peak, stay
from backend.models.part_sizes import parts_of
from backend.models.parts import Parts
from backend.models.residency import Residency
from backend.pipelines.engine import Engine
from backend.worker.footing import guide_nets
from protocol.jobs import Guide, GuideKind, ImagePrompt, Photos, PictureJob, Sampling, Subject
from protocol.weights import Lora

GHOST = torch.device("meta")
"""A device whose tensors hold nothing: what is there can be seen, and nothing can be computed there."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny_model(tmp_path_factory.mktemp("model") / "tiny")
    base = Parts(Model.open(made)).base
    (made / "loras").mkdir()
    for seed, name in ((1, "ink"), (2, "gold")):
        states = {
            part: makers.peft_state(base[part], seed, makers.UNET if part == "unet" else makers.TEXT) for part in ("unet", "text_encoder")
        }
        makers.diffusers_file(made / "loras" / f"{name}.safetensors", states)
    return made


@pytest.fixture
def engine_on(folder: Path) -> Callable[..., Engine]:
    def made(device: SmallDevice | None, level: Level) -> Engine:
        engine = Engine(Model.open(folder), FakeFaces())
        if device is not None:
            engine.parts.residency = Residency(engine.parts.device, device)
        engine.parts.residency.change(level)
        return engine

    return made


def job(*loras: Lora) -> PictureJob:
    photo, depth = (to_plane(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)) for seed in (1, 2))
    return PictureJob(
        "a person", "", subjects=(Subject(Photos((photo,))),), guides=(Guide(GuideKind.DEPTH, depth),), loras=loras,
        sampling=Sampling(steps=3, seed=7), preview_every=0,
    )  # fmt: skip


@pytest.mark.parametrize("level", Level)
def test_what_a_device_holds_at_its_worst_moment_is_what_the_plan_says(folder: Path, level: Level) -> None:
    """Weights alone: in the plan from the headers of files, on the device as they were moved."""
    device, engine = SmallDevice(), Engine(Model.open(folder), FakeFaces())
    engine.parts.residency = Residency(engine.parts.device, device)
    engine.parts.residency.change(level)
    engine.run(replace(job(), image_prompts=(ImagePrompt(job().guides[0].picture),)))
    planned = parts_of(engine.parts.model, 4, None, guide_nets(engine.parts.model, job()))
    most = peak(level, planned, Work(0, 0, 0))
    assert 0.9 * most < device.peak + in_flight(level, planned) <= 1.01 * most


def in_flight(level: Level, planned: Sequence[Part]) -> int:
    """Bytes of the blocks that are on a device while they are streamed, which the fake one does not see."""
    return IN_FLIGHT * max((part.block for part in planned if stay(level, part.role) is Stay.STREAMED), default=0)


WORN = (Lora("ink", 0.8), Lora("gold", -0.4))


@pytest.mark.parametrize("level", Level)
def test_loras_go_with_every_level_and_nothing_works_while_it_is_away(engine_on: Callable[..., Engine], level: Level) -> None:
    """A with LoRAs, B without, A again: the bytes of a model that never moved."""
    plain, device = engine_on(None, Level.ALL), SmallDevice()
    engine = engine_on(device, level)
    for asked in (job(*WORN), job(), job(*WORN)):
        assert np.array_equal(engine.run(asked)[0].pixels, plain.run(asked)[0].pixels)
        engine.parts.residency.rest()
    assert not np.array_equal(plain.run(job(*WORN))[0].pixels, plain.run(job())[0].pixels)


def test_loras_act_within_blocks_that_diffusers_streams(engine_on: Callable[..., Engine]) -> None:
    plain, streamed = engine_on(None, Level.ALL), engine_on(None, Level.STREAMED)
    for asked in (job(*WORN), job(), job(*WORN)):
        assert np.array_equal(streamed.run(asked)[0].pixels, plain.run(asked)[0].pixels)
    blocks = [block for block in streamed.parts.unet.modules() if type(block).__name__ == "BasicTransformerBlock"]
    assert all("forward" in vars(block) for block in blocks), "diffusers' hooks are on the blocks"


def devices(tensors: object) -> set[str]:
    return {tensor.device.type for tensor in tensors}


def test_a_lora_lies_on_the_device_only_where_everything_does(folder: Path) -> None:
    parts = Parts(Model.open(folder), GHOST)
    parts.residency = Residency(GHOST, SmallDevice())

    def where() -> set[str]:
        return devices(tensor for roles in parts.lora("ink").layers.values() for role, tensor in roles.items() if role != "alpha")

    assert where() == {"meta"}
    parts.residency.change(Level.TAKING_TURNS)
    assert where() == {"cpu"}
    assert len(parts._shelved) == 1, "the one on the device was given back"
    parts.residency.change(Level.ALL)
    assert where() == {"meta"}
    parts.park()
    assert [key for key in parts._shelved if key.endswith("@meta")] == []


def test_an_adapter_is_looked_after_by_the_very_tensors_that_layers_hold(folder: Path) -> None:
    """So that whatever moves them moves the layers' own."""
    parts = Parts(Model.open(folder))
    adapters = {"instantid": parts.face_adapter}
    adapters |= {f"ip_adapter/{entry.name}": parts.adapter(entry) for entry in parts.model.adapters}
    for name, adapter in adapters.items():
        lora = [pair for one in adapter.lora.values() for pair in (one.query, one.key, one.value, one.out)]
        own = [tensor for pair in (*adapter.layers.values(), *lora) for tensor in pair] + list(adapter.projection.parameters())
        shell = parts.residency._held[name].module
        assert {id(tensor) for tensor in own} <= {id(tensor) for tensor in (*shell.parameters(), *shell.buffers())}
    assert any(adapter.lora for adapter in adapters.values())


@pytest.mark.parametrize("level", Level)
def test_a_parked_model_is_off_the_device_and_wakes_as_it_was(engine_on: Callable[..., Engine], level: Level) -> None:
    device = SmallDevice()
    engine = engine_on(device, level)
    first = engine.run(job(*WORN))[0].pixels
    engine.parts.residency.rest()
    resting = dict(device.here)
    engine.parts.park()
    assert device.here == {}
    assert engine.parts.residency.bytes_here() == 0
    engine.parts.residency.wake()
    assert device.here == resting
    assert np.array_equal(engine.run(job(*WORN))[0].pixels, first)


def test_bytes_on_the_device_are_those_that_were_brought() -> None:
    device = SmallDevice()
    residency = Residency(torch.device("cpu"), device)
    for name, role in (("one", Role.TEXT), ("two", Role.UNET)):
        residency.adopt(name, role, torch.nn.Linear(10, 10))
    assert residency.bytes_here() == 880 == sum(device.here.values())
    residency.change(Level.ENCODERS_AWAY)
    assert residency.bytes_here() == 440
