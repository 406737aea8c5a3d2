"""Several models on one device: warm while there is room, else waiting in the processor's memory, never the one in use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from noise_planes import noise
from small_device import SmallDevice, Unwatched
from tiny_models import FakeFaces, tiny_model

from backend.config import Settings
from backend.models.bundle import Model
from backend.models.memory_plan import Level
from backend.worker import footing as footing_module
from backend.worker import loaded as loaded_module
from backend.worker.footing import guide_nets, plan_for
from backend.worker.studio import StudioPipeline
from protocol.errors import InvalidRequest
from protocol.jobs import Guide, GuideKind, Photos, PictureJob, Sampling, Subject

NAMES = ("one", "two", "three")
PLENTY = 10**12


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(NAMES):
        card = tiny_model(folder / name, seed=seed) / "model.toml"
        card.write_text(card.read_text().replace("tiny-sdxl", name))
    return folder


@pytest.fixture
def fleet(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[StudioPipeline, dict[str, SmallDevice]]]:
    """A studio with so much room, and a device for each model's moves, in the order in which the models are opened."""
    monkeypatch.setattr(loaded_module, "open_faces", lambda model, settings: FakeFaces())

    def made(room: int, budget: int = PLENTY) -> tuple[StudioPipeline, list[SmallDevice]]:
        devices: list[SmallDevice] = []

        def shuttle() -> SmallDevice:
            devices.append(SmallDevice())
            return devices[-1]

        settings = Settings(models=models, logs=tmp_path, model="one", device="cpu")
        return StudioPipeline(settings, tmp_path / "characters", budget, room=lambda: room, shuttle=shuttle), devices

    return made


def drawn(studio: StudioPipeline, name: str, rung: str | None = None, **more: object) -> bytes:
    job = PictureJob(
        "a person", model=name, subjects=(Subject(Photos((noise(1),))),), sampling=Sampling(steps=1, seed=5), preview_every=0, **more
    )
    made = studio.run(job, Unwatched(), rung)
    assert made.rung == rung, "no attempt failed"
    return bytes(made.pictures[0].picture.data)


def room_for(models: Path, level: Level, guides: tuple[Path, ...] = ()) -> int:
    """The least room that has a level planned, with its guides' ControlNets."""
    model = Model.open(models / "one")
    return next(room for room in range(200_000, 60_000_000, 50_000) if plan_for(model, 4, room, None, guides).level <= level)


def test_with_room_for_all_every_model_stays_on_the_device(fleet: Callable[..., tuple[StudioPipeline, list[SmallDevice]]]) -> None:
    studio, devices = fleet(PLENTY)
    for name in NAMES:
        drawn(studio, name)
    assert all(device.here and device.moves("take") == [] for device in devices)


def test_without_it_the_one_used_longest_ago_waits_and_comes_back_without_being_read_again(
    fleet: Callable[..., tuple[StudioPipeline, list[SmallDevice]]], models: Path
) -> None:
    alone, first = fleet(PLENTY)
    drawn(alone, "one")
    studio, devices = fleet(room_for(models, Level.ALL) + int(1.5 * sum(first[0].here.values())))
    pictures = {name: drawn(studio, name) for name in ("one", "two")}
    assert devices[0].here
    drawn(studio, "three")
    assert not devices[0].here, "the first waits"
    assert devices[1].here
    assert devices[2].here
    parts = studio._loaded.opened()[0].engine.parts
    assert parts.model.id == "one"
    unet = parts.unet
    assert drawn(studio, "one") == pictures["one"]
    assert studio._loaded.opened()[-1].engine.parts.unet is unet
    assert not devices[1].here, "now the second was used the longest time ago"
    assert drawn(studio, "two") == pictures["two"]
    assert len(devices) == 3, "no model was opened again"


def test_the_model_in_use_has_all_the_room_even_when_there_is_too_little(
    fleet: Callable[..., tuple[StudioPipeline, list[SmallDevice]]], models: Path
) -> None:
    studio, devices = fleet(room_for(models, Level.TAKING_TURNS))
    for name in ("one", "two", "one", "one"):
        drawn(studio, name)
        others = [device for device in devices if device is not devices[NAMES.index(name)]]
        assert all(not device.here for device in others)


def test_beyond_the_budget_of_all_memory_the_longest_unused_is_closed_never_the_one_in_use(
    fleet: Callable[..., tuple[StudioPipeline, list[SmallDevice]]],
) -> None:
    studio, devices = fleet(PLENTY, budget=1)
    for name in ("one", "two"):
        drawn(studio, name)
        assert studio.beat().loaded == (name,)
    assert len(devices) == 2


def test_a_guide_brings_its_controlnet_into_the_plan(fleet: Callable[..., tuple[StudioPipeline, list[SmallDevice]]], models: Path) -> None:
    """With room for everything but the ControlNet: pictures without it at one level, with it at the next, and nothing failed between."""
    room = room_for(models, Level.ALL)
    model = Model.open(models / "one")
    depth = Guide(GuideKind.DEPTH, noise(2))
    nets = guide_nets(model, PictureJob(guides=(depth, replace(depth, kind=GuideKind.SKELETON, weight=0.0))))
    assert nets == {models / "one" / "controlnets" / "depth"}
    assert plan_for(model, 4, room, None, nets).level > Level.ALL
    studio, devices = fleet(room)
    drawn(studio, "one")
    assert Level.ALL.words in studio.beat().plan
    devices[0].capacity = room
    drawn(studio, "one", guides=(depth,))
    assert Level.ALL.words not in studio.beat().plan
    assert "controlnets/depth" in studio.beat().plan
    drawn(studio, "one")
    assert Level.ALL.words in studio.beat().plan


def test_the_plan_is_shown_before_the_first_picture(fleet: Callable[..., tuple[StudioPipeline, list[SmallDevice]]], models: Path) -> None:
    studio, _ = fleet(room_for(models, Level.TAKING_TURNS))
    assert studio.beat().plan.startswith("one: ")
    assert Level.TAKING_TURNS.words in studio.beat().plan
    assert studio.beat().loaded == ()


def test_face_models_follow_the_plan_and_leave_the_device_when_it_is_full(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for on the device: there with plenty of room, not with little, and back on the processor once pictures need their room."""
    (models / "one" / "faces").mkdir(exist_ok=True)
    for name in ("det.onnx", "rec.onnx"):
        (models / "one" / "faces" / name).write_bytes(bytes(100_000))
    opened: list[tuple[str, ...]] = []

    def opening(model: Model, settings: Settings, providers: tuple[str, ...] = ("CPU",)) -> FakeFaces:
        opened.append(providers)
        return FakeFaces()

    monkeypatch.setattr(loaded_module, "open_faces", opening)
    monkeypatch.setattr(footing_module, "faces_may_be_there", lambda settings, device: settings.faces == "auto")

    def studio(room: int, faces: str) -> StudioPipeline:
        settings = Settings(models=models, logs=tmp_path, model="one", device="cpu", faces=faces)
        return StudioPipeline(settings, tmp_path / "characters", PLENTY, room=lambda: room, shuttle=SmallDevice)

    for room, faces in ((PLENTY, "cpu"), (room_for(models, Level.ALL), "auto")):
        drawn(studio(room, faces), "one")
    assert opened == [("CPU",), ("CPU",)]
    there = studio(PLENTY, "auto")
    alike = drawn(there, "one")
    assert opened[2:] == [("CUDAExecutionProvider", "CPUExecutionProvider")]
    assert "stays: unet" in there.beat().plan
    assert "processor" not in there.beat().plan
    lower = next(rung for rung in there.ladder() if rung.name == Level.TAKING_TURNS.words)
    with lower.way():
        assert drawn(there, "one", rung=lower.name) == alike
    assert opened[3:] == [("CPU",)]


def test_another_word_for_where_faces_are_read_is_refused(models: Path, tmp_path: Path) -> None:
    settings = Settings(models=models, logs=tmp_path, model="two", device="cpu", faces="gpu")
    with pytest.raises(InvalidRequest, match="one of cpu, auto"):
        drawn(StudioPipeline(settings, tmp_path / "characters", PLENTY), "two")
