"""A device that is full, and one that is small, with a tiny real model: one rung down and done, the same pixels, and back up again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_device import SmallDevice, Unwatched
from tape import TapeCapturer
from tiny_models import FakeFaces, tiny_model

from backend.config import Settings
from backend.models.bundle import Model
from backend.models.header import read_header
from backend.models.memory_plan import Level, Role
from backend.models.part_sizes import parts_of
from backend.models.parts import Parts
from backend.models.residency import Residency
from backend.pipelines.graphs import Graphs
from backend.worker import loaded as loaded_module
from backend.worker.footing import PICTURES, Asked, Footing, Ground, plan_for, wears_loras
from backend.worker.memory import climb_down
from backend.worker.studio import StudioPipeline
from protocol.errors import OutOfMemory
from protocol.geometry import Extent
from protocol.jobs import Lora, Photos, PictureJob, Sampling, Shortcut, Subject
from protocol.planes import Layout, Plane
from protocol.results import Pictures

PLENTY = 10**12


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "tiny-sdxl")
    return folder


@pytest.fixture
def studio_on(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., StudioPipeline]:
    monkeypatch.setattr(loaded_module, "open_faces", lambda model, settings: FakeFaces())
    settings = Settings(models=models, logs=tmp_path, model="tiny-sdxl", device="cpu")

    def made(device: SmallDevice, room: int) -> StudioPipeline:
        return StudioPipeline(settings, tmp_path / "characters", PLENTY, room=lambda: room, shuttle=lambda: device)

    return made


def job(seed: int = 5, **more: object) -> PictureJob:
    photo = Plane(Layout.RGB8, Extent(40, 40), bytes([10, 80, 90]) * 1600)
    return PictureJob("a person", subjects=(Subject(Photos((photo,))),), sampling=Sampling(seed=seed), preview_every=0, **more)


def run(studio: StudioPipeline, asked: PictureJob, tried: list[str | None] | None = None) -> Pictures:
    def attempt(rung: str | None) -> Pictures:
        if tried is not None:
            tried.append(rung)
        return studio.run(asked, Unwatched(), rung)

    return climb_down(studio.ladder(), attempt, studio.free)


def bytes_of(made: Pictures) -> bytes:
    return bytes(made.pictures[0].picture.data)


@pytest.fixture
def usual(studio_on: Callable[..., StudioPipeline]) -> bytes:
    return bytes_of(run(studio_on(SmallDevice(), PLENTY), job()))


def weights(models: Path, *left_out: str) -> int:
    sizes = {part.name: part.weights for part in parts_of(Model.open(models / "tiny-sdxl"), 4)} | {"adapters": face_adapter(models)}
    return sum(size for name, size in sizes.items() if name not in {"faces", *left_out})


def face_adapter(models: Path) -> int:
    """Bytes of InstantID's adapter, the only one that these jobs take."""
    shapes = read_header(models / "tiny-sdxl" / "instantid.safetensors").shapes
    return sum(math.prod(shape) * 4 for shape in shapes.values())


def test_the_plan_decides_where_pictures_begin_and_the_heartbeat_says_it(
    studio_on: Callable[..., StudioPipeline], models: Path, usual: bytes
) -> None:
    model = Model.open(models / "tiny-sdxl")
    for level in (Level.ENCODERS_AWAY, Level.STREAMED):
        room = next(room for room in range(200_000, 40_000_000, 100_000) if plan_for(model, 4, room).level <= level)
        device = SmallDevice()
        studio = studio_on(device, room)
        made = run(studio, job())
        assert bytes_of(made) == usual
        assert made.rung is None, "as planned is no rung that was needed"
        assert level.words in studio.beat().plan
        assert (device.moves("stream") != []) == (level is Level.STREAMED)


def test_a_full_device_costs_one_rung_and_no_pixel(studio_on: Callable[..., StudioPipeline], models: Path, usual: bytes) -> None:
    """The plan was made while there was room for everything; meanwhile another program took what the encoders need."""
    device = SmallDevice(weights(models, "image_encoder") - 1)
    studio = studio_on(device, PLENTY)
    tried: list[str | None] = []
    made = run(studio, job(), tried)
    assert tried == [None, "with nothing else loaded", Level.ENCODERS_AWAY.words]
    assert made.rung == Level.ENCODERS_AWAY.words
    assert bytes_of(made) == usual
    tried.clear()
    assert run(studio, job(), tried).rung == Level.ENCODERS_AWAY.words
    assert tried == [None], "the next picture begins where this one ended"


def test_each_rung_that_is_needed_is_reached(studio_on: Callable[..., StudioPipeline], models: Path, usual: bytes) -> None:
    sizes = {part.name: part for part in parts_of(Model.open(models / "tiny-sdxl"), 4)}
    phase = sizes["unet"].weights + sizes["identitynet"].weights + face_adapter(models)
    for capacity, level in ((phase + 1000, Level.TAKING_TURNS), (phase - 1, Level.NETS_STREAMED)):
        device = SmallDevice(capacity)
        made = run(studio_on(device, PLENTY), job())
        assert (made.rung, bytes_of(made)) == (level.words, usual)
        assert device.peak <= capacity


def test_below_the_last_rung_it_is_said_and_no_level_was_tried_twice(studio_on: Callable[..., StudioPipeline]) -> None:
    device = SmallDevice(1)
    studio = studio_on(device, PLENTY)
    with pytest.raises(OutOfMemory, match="layers are streamed"):
        run(studio, job())
    device.capacity = None
    assert run(studio, job()).pictures


def test_the_ladder_climbs_back_when_there_is_room_again(studio_on: Callable[..., StudioPipeline], models: Path, usual: bytes) -> None:
    device = SmallDevice(weights(models, "image_encoder") - 1)
    studio = studio_on(device, PLENTY)
    assert run(studio, job()).rung == Level.ENCODERS_AWAY.words
    device.capacity = None
    rungs = [run(studio, replace(job(), sampling=Sampling(seed=seed))).rung for seed in range(PICTURES + 1)]
    assert rungs == [Level.ENCODERS_AWAY.words] * PICTURES + [None]
    assert bytes_of(run(studio, job())) == usual


def test_a_footing_never_climbs_above_its_plan_nor_at_the_first_good_picture() -> None:
    footing = Footing(Level.ENCODERS_AWAY, Level.ENCODERS_AWAY)
    footing.held(Level.STREAMED)
    levels = []
    for _ in range(PICTURES * 5):
        footing.held(footing.level)
        levels.append(footing.level)
    assert levels[: PICTURES - 1] == [Level.STREAMED] * (PICTURES - 1)
    assert levels[-1] is Level.ENCODERS_AWAY


@pytest.fixture
def ground(models: Path) -> tuple[Ground, Parts, list[int]]:
    """A model whose nets are to be captured, on a device with room for all; what others are asked to leave."""
    parts = Parts(Model.open(models / "tiny-sdxl"))
    parts.residency = Residency(parts.device, SmallDevice())
    parts.graphs = Graphs(TapeCapturer())
    asked: list[int] = []
    return Ground(lambda: PLENTY, asked.append, Asked(captured=True, merged=True)), parts, asked


def test_after_a_full_device_graphs_are_what_goes_first_and_they_come_back_after_some_pictures(
    ground: tuple[Ground, Parts, list[int]],
) -> None:
    here, parts, _ = ground
    with here.under(parts, True) as level:
        assert level is Level.ALL
        assert parts.graphs._allowance > 0
        assert parts.originals.room
    with pytest.raises(OutOfMemory), here.under(parts, True):
        raise OutOfMemory("full")
    for number in range(PICTURES):
        with here.under(parts, True) as level:
            assert (level, parts.graphs._allowance, parts.originals.room) == (Level.ALL, 0, 0), f"picture {number}: no part leaves"
            assert "nothing is captured, after the device was full" in here.sentence
    with here.under(parts, True):
        assert parts.graphs._allowance > 0
        assert "captured nets hold" in here.sentence


def test_others_leave_for_captured_nets_and_for_what_loras_replace(ground: tuple[Ground, Parts, list[int]]) -> None:
    here, parts, asked = ground
    with here.under(parts, True):
        pass
    with here.under(parts, True, worn=True):
        pass
    model = Model.open(parts.model.folder)
    plain, quicker = plan_for(model, 4, PLENTY), plan_for(model, 4, PLENTY, asked=Asked(captured=True, merged=True))
    assert asked[0] == plain.peak + quicker.work.captured
    assert asked[1] == asked[0] + next(part.weights for part in parts_of(model, 4) if part.role is Role.UNET)


def test_what_settings_ask_for_is_counted_where_it_can_be_and_refused_in_a_sentence_where_not() -> None:
    settings = Settings(models=Path(), logs=Path(), compile="yes", graphs="yes")
    assert Asked.by(settings, "cuda:0") == Asked(captured=True, merged=True)
    assert Asked.by(settings, "cpu") == Asked()
    assert Asked.by(replace(settings, graphs="no"), "cuda") == Asked(merged=True)
    small = Asked.by(replace(settings, storage="float8"), "cuda")
    assert not small.captured
    assert not small.merged
    assert "neither compiled nor captured" in small.unsound
    assert Asked.by(replace(settings, storage="float8", compile="no", graphs="no"), "cuda").unsound == ""


def test_a_shortcuts_lora_counts_as_one() -> None:
    few = Sampling(shortcuts=(Shortcut.FEW_STEPS,))
    assert wears_loras(PictureJob("a hat", loras=(Lora("ink", 0.5),)))
    assert wears_loras(PictureJob("a hat", sampling=few))
    assert not wears_loras(PictureJob("a hat"))


def test_on_a_processor_there_are_no_levels(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its memory is one."""
    monkeypatch.setattr(loaded_module, "open_faces", lambda model, settings: FakeFaces())
    studio = StudioPipeline(Settings(models=models, logs=tmp_path, model="tiny-sdxl", device="cpu"), tmp_path / "characters", PLENTY)
    assert [rung.name for rung in studio.ladder()] == ["all at once", "with nothing else loaded", "decoding in tiles"]
    assert studio.beat().plan == ""
