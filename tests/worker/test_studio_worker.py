"""The worker's pipeline with a tiny real model: every kind of job, through the types of the wire."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import FakeFaces, tiny_model

from backend import images
from backend.characters import CharacterStore
from backend.config import Settings
from backend.models.bundle import Model
from backend.pictures import Part, picture_plane
from backend.pipe import encode_outcome
from backend.pipelines.engine import Engine
from backend.worker import loaded as loaded_module
from backend.worker.memory import climb_down
from backend.worker.studio import StudioPipeline
from protocol.errors import Cancelled, InvalidRequest, NameTaken, NoFace, NumericalFailure, OutOfMemory, UnknownModel
from protocol.geometry import Extent
from protocol.jobs import AnalyseFaces, BlendCharacters, Character, Embed, MakeCharacter, Photos, PictureJob, Sampling, Share, Subject
from protocol.planes import Layout, Plane
from protocol.results import Pictures

SIXTEEN = Extent(64, 64)


class CountingFaces(FakeFaces):
    """Counts how often photos were looked at."""

    def __init__(self) -> None:
        self.identified = 0

    def identify(self, pictures, face=None):
        self.identified += 1
        return super().identify(pictures, face)


class Watch:
    def __init__(self, stop_at: int | None = None) -> None:
        self.steps, self.shown, self.stop_at = [], [], stop_at

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))

    def show(self, picture: Plane, step: int) -> None:
        self.shown.append(picture)

    def cancelled(self) -> bool:
        return self.stop_at is not None and len(self.steps) >= self.stop_at


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "tiny-sdxl")
    return folder


@pytest.fixture
def faces() -> CountingFaces:
    return CountingFaces()


@pytest.fixture
def studio(models: Path, faces: CountingFaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudioPipeline:
    monkeypatch.setattr(loaded_module, "open_faces", lambda model, settings: faces)
    settings = Settings(models=models, logs=tmp_path, model="tiny-sdxl", device="cpu")
    return StudioPipeline(settings, tmp_path / "characters")


def photo(value: int) -> Plane:
    return Plane(Layout.RGB8, Extent(40, 40), bytes([value, 80, 90]) * 1600)


def job(**more: object) -> PictureJob:
    return PictureJob("a person", sampling=Sampling(seed=5), preview_every=1, **more)


def anna(studio: StudioPipeline, *photos: Plane) -> None:
    studio.run(MakeCharacter("Anna", photos or (photo(10),)), Watch(), None)


def embedding(studio: StudioPipeline, name: str) -> np.ndarray:
    who = studio.run(Embed(shares=(Share(name),)), Watch(), None).who
    return np.frombuffer(bytes.fromhex(who.numbers), dtype="<f4")


def test_the_picture_is_the_engines_own_byte_for_byte(studio: StudioPipeline, models: Path) -> None:
    asked = job(subjects=(Subject(Photos((photo(10),))),), count=2)
    outcome = studio.run(asked, Watch(), None)
    direct = Engine(Model.open(models / "tiny-sdxl"), FakeFaces()).run(asked)
    assert [made.seed for made in outcome.pictures] == [5, 6]
    for made, picture in zip(outcome.pictures, direct, strict=True):
        assert bytes(made.picture.data) == picture.pixels.tobytes()
        assert made.similarities == pytest.approx(picture.similarities)
    encode_outcome(outcome)


def test_progress_and_previews_are_told(studio: StudioPipeline) -> None:
    watch = Watch()
    studio.run(job(count=2), watch, None)
    assert watch.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(shown.layout is Layout.RGB8 for shown in watch.shown)
    assert watch.shown


def test_a_cancelled_job_stops_at_the_next_step(studio: StudioPipeline) -> None:
    watch = Watch(stop_at=1)
    with pytest.raises(Cancelled):
        studio.run(job(count=4), watch, None)
    assert len(watch.steps) == 1


class Full:
    """Memory that is full at one call of a module, as often as `times`."""

    def __init__(self, module: torch.nn.Module, call: int, times: int) -> None:
        self.call, self.left, self.calls = call, times, 0
        self.handle = module.register_forward_pre_hook(self)

    def __call__(self, *_: object) -> None:
        self.calls += 1
        if self.left and self.calls == self.call:
            self.left, self.calls = self.left - 1, 0
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")


@pytest.mark.parametrize(("part", "call"), [("unet", 1), ("unet", 2), ("text_encoder", 1), ("vae.decoder", 1)])
def test_memory_that_is_full_at_any_step_is_retried_down_the_ladder_then_said_and_the_next_job_succeeds(
    studio: StudioPipeline, part: str, call: int
) -> None:
    clean = studio.run(job(), Watch(), None)
    parts = studio._model(None).engine.parts
    module = parts.base["vae"].decoder if part == "vae.decoder" else parts.base[part]

    def down_the_ladder() -> Pictures:
        parts.prompts.clear()
        return climb_down(studio.ladder(), lambda rung: studio.run(job(), Watch(), rung), studio.free)

    once = Full(module, call, times=1)
    made = down_the_ladder()
    once.handle.remove()
    assert made.rung == "with nothing else loaded"
    assert bytes(made.pictures[0].picture.data) == bytes(clean.pictures[0].picture.data)

    ever = Full(module, call, times=99)
    with pytest.raises(OutOfMemory, match="does not fit into the memory"):
        down_the_ladder()
    ever.handle.remove()
    after = studio.run(job(), Watch(), None)
    assert bytes(after.pictures[0].picture.data) == bytes(clean.pictures[0].picture.data)


def test_a_picture_of_numbers_that_are_none_is_said_and_not_painted(studio: StudioPipeline) -> None:
    vae = studio._model(None).engine.parts.base["vae"]
    handle = vae.decoder.register_forward_hook(lambda module, inputs, output: output * float("nan"))
    with pytest.raises(NumericalFailure, match="no colours"):
        studio.run(job(), Watch(), None)
    handle.remove()
    assert studio.run(job(), Watch(), None).pictures


@pytest.mark.parametrize(("budget", "stay"), [(10**12, ("tiny-sdxl", "twin")), (1, ("twin",))])
def test_models_stay_loaded_within_the_memory_budget_and_no_further(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int, stay: tuple[str, ...]
) -> None:
    if not (models / "twin").exists():
        shutil.copytree(models / "tiny-sdxl", models / "twin")
        config = models / "twin" / "model.toml"
        config.write_text(config.read_text().replace("tiny-sdxl", "twin"))
    monkeypatch.setattr(loaded_module, "open_faces", lambda model, settings: FakeFaces())
    settings = Settings(models=models, logs=tmp_path, model="tiny-sdxl", device="cpu")
    studio = StudioPipeline(settings, tmp_path / "characters", budget)
    first = studio.run(job(), Watch(), None)
    studio.run(job(model="twin"), Watch(), None)
    assert studio.beat().loaded == stay
    again = studio.run(job(), Watch(), None)
    assert bytes(again.pictures[0].picture.data) == bytes(first.pictures[0].picture.data)


def test_the_second_picture_of_a_photo_does_not_analyse_it_again(studio: StudioPipeline, faces: CountingFaces) -> None:
    for seed in (1, 2):
        studio.run(replace(job(subjects=(Subject(Photos((photo(10),))),)), sampling=Sampling(seed=seed)), Watch(), None)
    assert faces.identified == 1
    studio.run(job(subjects=(Subject(Photos((photo(11),))),)), Watch(), None)
    assert faces.identified == 2


def test_a_character_is_drawn_as_its_photos_are_and_without_analysing_them(studio: StudioPipeline, faces: CountingFaces) -> None:
    by_photos = studio.run(job(subjects=(Subject(Photos((photo(10), photo(12)))),)), Watch(), None)
    anna(studio, photo(10), photo(12))
    before = faces.identified
    by_name = studio.run(job(subjects=(Subject(Character("Anna")),)), Watch(), None)
    assert bytes(by_name.pictures[0].picture.data) == bytes(by_photos.pictures[0].picture.data)
    assert faces.identified == before


def test_a_made_character_tells_scores_likeness_of_its_photos_and_a_thumbnail(studio: StudioPipeline, tmp_path: Path) -> None:
    card = studio.run(MakeCharacter("Anna", (photo(10), photo(200))), Watch(), None).card
    assert card.scores == pytest.approx((0.9, 0.9))
    assert len(card.alike) == 2
    assert all(0 < alike < 1 for alike in card.alike)
    assert card.thumbnail.extent == Extent(96, 96)
    assert tuple(images.to_rgb(card.thumbnail)[48, 48]) == (10, 80, 90)
    assert [kept.name for kept in CharacterStore(tmp_path / "characters").cards()] == ["Anna"]


def test_a_person_made_from_a_region_of_the_canvas_is_the_one_of_the_photo_alone(studio: StudioPipeline, tmp_path: Path) -> None:
    """Two people side by side in one canvas; only the region goes to the backend, and only the region is kept."""
    canvas = np.hstack([images.to_rgb(photo(10)), images.to_rgb(photo(200))])
    anna(studio, picture_plane(Part(canvas, (0, 0, 40, 40))))
    studio.run(MakeCharacter("Ben", (picture_plane(Part(canvas, (40, 0, 80, 40))),)), Watch(), None)
    for name, value in (("Anna", 10), ("Ben", 200)):
        found = studio.run(AnalyseFaces(photo(value), name), Watch(), None).faces
        assert found[0].similarity == pytest.approx(1.0, abs=1e-5)
        (kept,) = CharacterStore(tmp_path / "characters").kept(name)[0].photos
        assert (kept.extent, bytes(kept.data)) == (photo(value).extent, bytes(photo(value).data))


def test_making_the_same_again_is_fine_and_another_under_its_name_is_not(studio: StudioPipeline) -> None:
    anna(studio)
    anna(studio)
    with pytest.raises(NameTaken):
        anna(studio, photo(99))
    studio.run(MakeCharacter("Anna", (photo(99),), replace=True), Watch(), None)


def test_a_photo_without_a_face_makes_nobody(studio: StudioPipeline, tmp_path: Path) -> None:
    with pytest.raises(NoFace):
        studio.run(MakeCharacter("Nobody", (Plane(Layout.RGB8, Extent(8, 8), bytes(192)),)), Watch(), None)
    assert CharacterStore(tmp_path / "characters").cards() == []


def test_faces_are_told_with_their_likeness_to_a_character(studio: StudioPipeline) -> None:
    anna(studio)
    own = studio.run(AnalyseFaces(photo(10), "Anna"), Watch(), None).faces
    other = studio.run(AnalyseFaces(photo(200), "Anna"), Watch(), None).faces
    assert own[0].similarity == pytest.approx(1.0, abs=1e-5)
    assert other[0].similarity < 0.5
    assert studio.run(AnalyseFaces(photo(10)), Watch(), None).faces[0].similarity is None
    with pytest.raises(UnknownModel):
        studio.run(AnalyseFaces(photo(10), "Ben"), Watch(), None)


def test_a_blend_lies_between_and_has_the_norm_of_its_parts(studio: StudioPipeline) -> None:
    anna(studio)
    studio.run(MakeCharacter("Ben", (photo(200),)), Watch(), None)
    studio.run(BlendCharacters("Child", (Share("Anna", 1.0), Share("Ben", 1.0))), Watch(), None)
    people = {name: embedding(studio, name) for name in ("Anna", "Ben", "Child")}

    def cosine(one: str, other: str) -> float:
        return float(people[one] @ people[other] / np.linalg.norm(people[one]) / np.linalg.norm(people[other]))

    assert cosine("Child", "Anna") == pytest.approx(cosine("Child", "Ben"), abs=1e-4)
    assert cosine("Child", "Anna") > cosine("Anna", "Ben") + 0.3
    assert np.linalg.norm(people["Child"]) == pytest.approx((np.linalg.norm(people["Anna"]) + np.linalg.norm(people["Ben"])) / 2, rel=1e-4)


def test_a_blend_with_weight_zero_for_one_is_the_other(studio: StudioPipeline) -> None:
    anna(studio)
    studio.run(MakeCharacter("Ben", (photo(200),)), Watch(), None)
    studio.run(BlendCharacters("Twin", (Share("Anna", 1.0), Share("Ben", 0.0))), Watch(), None)
    assert embedding(studio, "Twin") == pytest.approx(embedding(studio, "Anna"), rel=1e-4)
    with pytest.raises(InvalidRequest):
        studio.run(BlendCharacters("Nobody", (Share("Anna", 0.0),)), Watch(), None)


def test_the_lowest_rung_draws_too_and_leaves_the_model_as_it_was(studio: StudioPipeline) -> None:
    usual = studio.run(job(), Watch(), None)
    engine = studio._model(None).engine
    last = studio.ladder()[-1]
    with last.way():
        assert engine.always_tiled
        assert studio.run(job(), Watch(), last.name).rung == last.name
    assert not engine.always_tiled
    assert bytes(studio.run(job(), Watch(), None).pictures[0].picture.data) == bytes(usual.pictures[0].picture.data)


def test_models_are_told_with_what_they_can_do(studio: StudioPipeline) -> None:
    first = studio.models()[0]
    assert (first.id, first.extent, first.subjects, first.steps) == ("tiny-sdxl", SIXTEEN, True, 2)
    assert {kind.value for kind in first.guides} >= {"depth", "skeleton"}
    assert len(first.adapters) == 4


def test_an_unknown_model_is_said(studio: StudioPipeline) -> None:
    with pytest.raises(UnknownModel):
        studio.run(job(model="../../etc/passwd"), Watch(), None)


def test_the_heartbeat_tells_memory_and_what_is_loaded(studio: StudioPipeline) -> None:
    beat = studio.beat()
    assert (beat.memory_total or 0) > (beat.memory_free or 0) > 0
    assert studio.beat().loaded == ()
    studio.run(job(), Watch(), None)
    assert studio.beat().loaded == ("tiny-sdxl",)
