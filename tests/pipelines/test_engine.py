"""What a job promises, through `Engine.run`, with a tiny random model."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import FakeFaces, write_adapter

from backend.images import to_plane
from backend.models.bundle import Model
from backend.pipelines.engine import Engine
from protocol.errors import Cancelled, InvalidRequest, NoFace, UnknownModel
from protocol.geometry import Extent, Point
from protocol.jobs import Canvas, Character, Guide, GuideKind, ImagePrompt, Lends, Photos, PictureJob, Sampling, Subject, Window


class Listener:
    """Remembers what it hears, and cancels when told to."""

    def __init__(self, cancel_at_step: int | None = None, cancel_at_question: int | None = None) -> None:
        self.steps: list[tuple[int, int]] = []
        self.previews: list[tuple[int, tuple[int, ...]]] = []
        self.questions = 0
        self._step, self._question = cancel_at_step, cancel_at_question

    def step(self, done, total):
        self.steps.append((done, total))

    def preview(self, pixels, step):
        self.previews.append((step, pixels.shape))

    def cancelled(self):
        self.questions += 1
        return (self._step is not None and len(self.steps) >= self._step) or self.questions == self._question


def job(**parts):
    return PictureJob(**({"prompt": "a hat", "preview_every": 0} | parts))


def person(photo, seed=1, **parts):
    return Subject(Photos((photo(seed),)), **parts)


def only(engine, wanted):
    return engine.run(wanted)[0].pixels


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(engine, photo):
    wanted = job(subjects=(person(photo),))
    assert np.array_equal(only(engine, wanted), only(engine, wanted))
    other = job(subjects=(person(photo),), sampling=Sampling(seed=1))
    assert not np.array_equal(only(engine, wanted), only(engine, other))


def test_picture_i_of_a_series_is_the_picture_of_seed_plus_i(engine):
    series = engine.run(job(count=3, sampling=Sampling(seed=5)))
    assert [picture.seed for picture in series] == [5, 6, 7]
    assert np.array_equal(series[2].pixels, only(engine, job(sampling=Sampling(seed=7))))


def test_a_prompt_is_encoded_once_and_the_pictures_are_the_same_bytes(engine):
    calls = []
    handle = engine.parts.base["text_encoder"].register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        engine.parts.prompts.clear()
        first = only(engine, job(prompt="a prompt of this test", count=2))
        once = len(calls)
        assert once > 0
        assert np.array_equal(only(engine, job(prompt="a prompt of this test")), first)
        assert len(calls) == once
        only(engine, job(prompt="a prompt of this test", negative="another negative"))
        assert len(calls) > once
        engine.parts.prompts.clear()
        assert np.array_equal(only(engine, job(prompt="a prompt of this test")), first)
    finally:
        handle.remove()


def test_a_person_at_weight_zero_gives_the_base_bit_for_bit(engine, photo):
    base = only(engine, job())
    nobody = person(photo, adapter=0.0, identity_net=0.0)
    silent = ImagePrompt(photo(2), weight=0.0)
    result = engine.run(job(subjects=(nobody,), image_prompts=(silent,)))[0]
    assert np.array_equal(result.pixels, base)
    assert len(result.similarities) == 1


def test_adapter_and_identity_net_act_independently(engine, photo):
    corners = [(0.8, 0.0), (0.0, 0.8), (0.8, 0.8)]
    pictures = [only(engine, job(subjects=(person(photo, adapter=one, identity_net=other),))) for one, other in corners]
    pictures.append(only(engine, job()))
    assert len({picture.tobytes() for picture in pictures}) == 4


def test_an_empty_prompt_works_with_a_face(engine, photo):
    assert only(engine, job(prompt="", subjects=(person(photo),))).shape == (64, 64, 3)


def test_several_photos_of_a_person_are_one_identity(engine, photo):
    both = Subject(Photos((photo(1), photo(2))))
    assert not np.array_equal(only(engine, job(subjects=(both,))), only(engine, job(subjects=(person(photo),))))


def test_a_window_keeps_a_prompt_to_its_part_of_the_steps(engine, photo):
    sampling = Sampling(steps=4)
    late = ImagePrompt(photo(2), weight=1.0, window=Window(0.5, 1.0))
    always, never = ImagePrompt(photo(2), weight=1.0), ImagePrompt(photo(2), weight=0.0)
    pictures = [only(engine, job(image_prompts=(prompt,), sampling=sampling)) for prompt in (late, always, never)]
    assert len({picture.tobytes() for picture in pictures}) == 3


def test_a_window_between_two_steps_changes_nothing(engine, photo):
    between = Window(0.3, 0.45)  # of four steps, none lies within
    subject = person(photo, adapter_window=between, identity_net_window=between)
    sampling = Sampling(steps=4)
    assert np.array_equal(only(engine, job(subjects=(subject,), sampling=sampling)), only(engine, job(sampling=sampling)))


def test_two_people_each_have_their_own_region_and_similarity(engine, photo):
    left = np.zeros((64, 64), np.uint8)
    left[:, :32] = 255
    first, second = person(photo, 1, region=to_plane(left)), person(photo, 2, region=to_plane(255 - left))
    result = engine.run(job(subjects=(first, second)))[0]
    assert len(result.similarities) == 2
    assert result.keypoints[0][:, 0].max() < 32 < result.keypoints[1][:, 0].min()


def test_a_region_of_the_whole_picture_is_as_none(engine, photo):
    everywhere = to_plane(np.full((64, 64), 255, np.uint8))
    points = tuple(Point(x, y) for x, y in [(22, 26), (42, 26), (32, 36), (25, 46), (39, 46)])
    pose = (Guide(GuideKind.KEYPOINTS, keypoints=points),)
    with_region = only(engine, job(subjects=(person(photo, region=everywhere),), guides=pose))
    assert np.array_equal(with_region, only(engine, job(subjects=(person(photo),), guides=pose)))


def test_keypoints_place_the_face_and_are_reported(engine, photo):
    points = tuple(Point(x, y) for x, y in [(22, 26), (42, 26), (32, 36), (25, 46), (39, 46)])
    result = engine.run(job(subjects=(person(photo),), guides=(Guide(GuideKind.KEYPOINTS, keypoints=points),)))[0]
    assert np.allclose(result.keypoints[0], [(point.x, point.y) for point in points])


def test_the_similarity_to_every_person_is_measured(engine, photo):
    similarity = engine.run(job(subjects=(person(photo),)))[0].similarities[0]
    assert similarity is not None
    assert -1 <= similarity <= 1


@pytest.mark.parametrize(
    ("size", "box"),
    [((203, 157), (20, 30, 90, 60)), ((300, 200), (250, 150, 50, 50)), ((90, 61), (0, 0, 1, 1)), ((1, 4000), (0, 1999, 1, 2))],
    ids=["no multiple of 8", "at the border", "one pixel", "1 x 4000"],
)
def test_outside_the_mask_not_one_byte_changes(engine, photo, picture, size, box):
    (width, height), (x, y, across, down) = size, box
    canvas, mask = picture(9, width, height), np.zeros((height, width), np.uint8)
    mask[y : y + down, x : x + across] = 255
    result = only(engine, job(canvas=Canvas(to_plane(canvas), to_plane(mask)), subjects=(person(photo),)))
    assert result.shape == canvas.shape
    assert np.array_equal(result[mask == 0], canvas[mask == 0])
    assert (result[mask > 0] != canvas[mask > 0]).any()


def test_growing_lets_more_be_repainted_and_shows_none_of_it_outside_the_mask(engine, picture):
    canvas, mask = picture(9, 64, 64), np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    result = only(engine, job(canvas=Canvas(to_plane(canvas), to_plane(mask), grow=8)))
    assert np.array_equal(result[mask == 0], canvas[mask == 0])


def test_an_empty_mask_is_said(engine, picture):
    canvas = Canvas(to_plane(picture(9, 64, 64)), to_plane(np.zeros((64, 64), np.uint8)))
    with pytest.raises(InvalidRequest, match="mask is empty"):
        engine.run(job(canvas=canvas))


@pytest.mark.parametrize("size", [(64, 64), (203, 157), (1, 400), (10, 10)])
def test_image_to_image_keeps_the_size_of_the_canvas(engine, picture, size):
    canvas = picture(9, *size)
    assert only(engine, job(canvas=Canvas(to_plane(canvas), strength=0.5))).shape == canvas.shape


def test_a_size_that_the_model_does_not_draw_is_met_exactly(engine):
    assert only(engine, job(extent=Extent(101, 75))).shape == (75, 101, 3)


def test_sd15_draws_with_image_prompts_controls_and_a_mask(engine_15, photo, picture):
    mask = np.zeros((64, 64), np.uint8)
    mask[:32] = 255
    wanted = job(
        canvas=Canvas(to_plane(picture(9, 64, 64)), to_plane(mask)),
        image_prompts=(ImagePrompt(photo(1), adapter="plus"), ImagePrompt(photo(2), adapter="faceid-plusv2")),
        guides=(Guide(GuideKind.DEPTH, photo(3, 64, 64)),),
    )
    assert only(engine_15, wanted).shape == (64, 64, 3)


def test_a_face_prompt_takes_an_adapter_for_faces(engine, photo):
    by_kind = only(engine, job(image_prompts=(ImagePrompt(photo(2), lends=Lends.FACE),)))
    assert np.array_equal(by_kind, only(engine, job(image_prompts=(ImagePrompt(photo(2), lends=Lends.FACE, adapter="faceid"),))))


def test_without_guidance_people_and_prompts_still_act(engine, photo):
    sampling = Sampling(guidance_scale=1.0)
    rich = only(engine, job(subjects=(person(photo),), image_prompts=(ImagePrompt(photo(2)),), sampling=sampling))
    assert not np.array_equal(rich, only(engine, job(sampling=sampling)))


@pytest.mark.parametrize("name", ["euler", "euler-a", "ddim", "dpm++2m", "dpm++2m-karras", "unipc", "lcm"])
def test_every_scheduler_draws_and_repeats_itself(engine, name):
    wanted = job(sampling=Sampling(steps=3, scheduler=name))
    assert np.array_equal(only(engine, wanted), only(engine, wanted))


def test_every_step_of_every_picture_is_told(engine):
    listener = Listener()
    engine.run(job(count=2, sampling=Sampling(steps=3)), listener)
    assert listener.steps == [(step, 6) for step in range(1, 7)]


def test_image_to_image_tells_the_steps_that_it_really_does(engine, picture):
    listener = Listener()
    engine.run(job(canvas=Canvas(to_plane(picture(9, 64, 64)), strength=0.5), sampling=Sampling(steps=4)), listener)
    assert listener.steps == [(1, 2), (2, 2)]


def test_a_preview_comes_every_few_steps(engine):
    listener = Listener()
    engine.run(job(preview_every=2, sampling=Sampling(steps=5)), listener)
    assert listener.previews == [(2, (16, 16, 3)), (4, (16, 16, 3))]


def test_a_cancelled_job_ends_after_the_running_step(engine):
    listener = Listener(cancel_at_step=2)
    with pytest.raises(Cancelled):
        engine.run(job(sampling=Sampling(steps=10)), listener)
    assert len(listener.steps) == 2


def test_a_job_can_be_cancelled_within_a_step(engine):
    listener = Listener(cancel_at_question=4)
    with pytest.raises(Cancelled):
        engine.run(job(sampling=Sampling(steps=10)), listener)
    assert not listener.steps


def test_a_job_that_was_cancelled_before_does_not_begin(engine):
    with pytest.raises(Cancelled):
        engine.run(job(), Listener(cancel_at_question=1))


def test_a_saved_person_is_drawn_by_name(tiny_folders, engine, photo, picture):
    faces = FakeFaces()
    ann = faces.identify([picture(1, 80, 100)])
    by_name = Engine(Model.open(tiny_folders["sdxl"]), faces, characters={"ann": ann}.__getitem__)
    assert np.array_equal(only(by_name, job(subjects=(Subject(Character("ann")),))), only(engine, job(subjects=(person(photo),))))


def test_a_photo_without_a_face_is_said(engine):
    black = to_plane(np.zeros((50, 50, 3), np.uint8))
    with pytest.raises(NoFace):
        engine.run(job(subjects=(Subject(Photos((black,))),)))


def test_what_the_model_does_not_have_is_said_with_what_it_has(engine, engine_15, photo):
    with pytest.raises(UnknownModel, match="skeleton, depth"):
        engine.run(job(guides=(Guide(GuideKind.NORMALS, photo(1, 64, 64)),)))
    with pytest.raises(UnknownModel, match="base, faceid"):
        engine.run(job(image_prompts=(ImagePrompt(photo(1), adapter="nothing"),)))
    with pytest.raises(UnknownModel, match="FaceID"):
        engine_15.run(job(subjects=(person(photo),)))


def test_an_adapter_for_another_image_encoder_is_refused(tiny_folders, engine, photo, tmp_path):
    import official_layouts

    from backend.models.adapters import AdapterKind
    from backend.models.loading import load_adapter
    from backend.pipelines.ip_adapter import check_encoder
    from protocol.errors import ModelError

    path = tmp_path / "wide.safetensors"
    write_adapter(path, official_layouts.base(28, 32), official_layouts.attention(engine.parts.unet))
    adapter = load_adapter(path, engine.parts.unet)
    assert adapter.kind is AdapterKind.BASE
    with pytest.raises(ModelError, match="28 features"):
        check_encoder(adapter, engine.parts.image_encoder().config)
