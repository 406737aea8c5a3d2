"""What cannot be meant is said before anything is loaded."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from backend.models.bundle import Model
from backend.pipelines.plan import plan
from protocol.errors import InvalidRequest, UnknownModel
from protocol.geometry import Bounds, Extent, Point
from protocol.jobs import Canvas, Guide, GuideKind, ImagePrompt, Mark, Photos, PictureJob, Sampling, Schedule, Subject, Window
from protocol.planes import Layout, Plane

PHOTO = Plane(Layout.RGB8, Extent(8, 8), bytes(192))
WHO = Photos((PHOTO,))
BACKWARDS = Schedule(marks=(Mark(0.5, 1.0), Mark(0.2, 0.0)))


@pytest.fixture
def model(tiny_folders):
    return Model.open(tiny_folders["sdxl"])


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (PictureJob(count=0), "pictures"),
        (PictureJob(sampling=Sampling(steps=0)), "steps"),
        (PictureJob(sampling=Sampling(steps=5000)), "steps"),
        (PictureJob(sampling=Sampling(guidance_scale=float("nan"))), "guidance"),
        (PictureJob(sampling=Sampling(scheduler="magic")), "scheduler"),
        (PictureJob(sampling=Sampling(seed=-1)), "seed"),
        (PictureJob(extent=Extent(0, 10)), "0 x 10"),
        (PictureJob(extent=Extent(20000, 10)), "20000"),
        (PictureJob(subjects=(Subject(WHO, adapter=2.5),)), "2.5"),
        (PictureJob(subjects=(Subject(WHO, identity_net=float("nan")),)), "IdentityNet"),
        (PictureJob(subjects=(Subject(WHO, adapter_window=Window(0.5, 0.5)),)), "window"),
        (PictureJob(image_prompts=(ImagePrompt(PHOTO, weight=-1),)), "image prompt 1"),
        (PictureJob(image_prompts=(ImagePrompt(PHOTO, schedule=BACKWARDS),)), "schedule of image prompt 1 goes back"),
        (PictureJob(subjects=(Subject(WHO, adapter_schedule=BACKWARDS),)), r"schedule of person 1 \(image adapter\)"),
        (PictureJob(image_prompts=(ImagePrompt(PHOTO, negative=PHOTO),), sampling=Sampling(guidance_scale=1.0)), "acts by guidance"),
        (PictureJob(guides=(Guide(GuideKind.DEPTH),)), "needs a picture"),
        (PictureJob(guides=(Guide(GuideKind.KEYPOINTS, keypoints=(Point(1, 1),) * 5),)), "no person"),
        (PictureJob(subjects=(Subject(WHO),), guides=(Guide(GuideKind.KEYPOINTS, keypoints=(Point(1, 1),)),)), "five keypoints"),
        (PictureJob(subjects=(Subject(WHO),), guides=(Guide(GuideKind.KEYPOINTS, keypoints=(Point(float("nan"), 1),) * 5),)), "number"),
        (PictureJob(canvas=Canvas(PHOTO, strength=0.0)), "strength"),
        (PictureJob(canvas=Canvas(PHOTO, mask=Plane(Layout.A8, Extent(4, 4), bytes(16)))), "mask is 4 x 4"),
        (PictureJob(canvas=Canvas(PHOTO), extent=Extent(9, 9)), "differ in size"),
    ],
)
def test_what_cannot_be_meant_gets_a_sentence(model, wrong, word):
    with pytest.raises(InvalidRequest, match=word) as caught:
        plan(wrong, model)
    assert str(caught.value).endswith(".")


def test_another_model_is_not_quietly_replaced(model):
    with pytest.raises(UnknownModel, match="other"):
        plan(PictureJob(model="other"), model)


def test_what_a_job_leaves_out_comes_from_the_model(model):
    decided = plan(PictureJob(), model)
    assert (decided.steps, decided.guidance_scale, decided.negative, decided.extent) == (2, 3.0, "blurry", Extent(64, 64))


def test_a_model_says_how_much_of_the_surroundings_it_sees(model):
    mask = np.zeros((400, 400), np.uint8)
    mask[150:250, 150:250] = 255
    extent = Extent(400, 400)
    job = PictureJob(canvas=Canvas(Plane(Layout.RGB8, extent, bytes(3 * extent.area)), mask=Plane(Layout.A8, extent, mask.tobytes())))
    little, much = (plan(job, replace(model, defaults=replace(model.defaults, context=context))) for context in (0.1, 1.0))
    assert little.frame.bounds == Bounds(140, 140, 120, 120)
    assert much.frame.bounds == Bounds(50, 50, 300, 300)


def test_a_job_overrides_the_model_also_with_nothing(model):
    decided = plan(PictureJob(negative="", sampling=Sampling(steps=9, guidance_scale=0.0)), model)
    assert (decided.steps, decided.guidance_scale, decided.negative) == (9, 0.0, "")
    assert not decided.guided


def test_at_least_one_step_is_done_however_small_the_strength(model):
    decided = plan(PictureJob(canvas=Canvas(PHOTO, strength=0.01), sampling=Sampling(steps=10)), model)
    assert int(decided.steps * decided.strength) == 1


def test_a_person_is_never_drawn_at_a_size_that_the_model_avoids(tiny_folders, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_folders["sdxl"], tmp_path / "avoiding")
    (folder / "model.toml").write_text('id = "a"\nfamily = "sdxl"\nsize = [64, 64]\nsizes = "buckets"\navoid = [[64, 64]]\n')
    model = Model.open(folder)
    job = PictureJob(subjects=(Subject(WHO),))
    assert plan(PictureJob(), model).frame.extent == Extent(64, 64)
    assert plan(job, model).frame.extent == Extent(56, 56)


def test_several_people_of_whom_no_size_is_said_get_a_wide_picture(tiny_folders, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_folders["sdxl"], tmp_path / "beside")
    (folder / "model.toml").write_text('id = "a"\nfamily = "sdxl"\nsize = [64, 64]\nside_by_side = true\n')
    beside = Model.open(folder)
    (folder / "model.toml").write_text('id = "a"\nfamily = "sdxl"\nsize = [64, 64]\nsizes = "buckets"\n')
    bucketed = Model.open(folder)
    for people, own, bucket in ((1, Extent(64, 64), 1.0), (2, Extent(128, 64), 1.5), (3, Extent(192, 64), 2.0), (8, Extent(256, 64), 4.0)):
        job = PictureJob(subjects=(Subject(WHO),) * people)
        assert plan(job, beside).frame.extent == own
        wide = plan(job, bucketed).frame.extent
        assert abs(wide.width / wide.height / bucket - 1) < 0.2
    asked = PictureJob(subjects=(Subject(WHO),) * 2, extent=Extent(96, 64))
    assert plan(asked, beside).frame.extent == Extent(96, 64)


def test_frames_never_stretch(model):
    for extent in (Extent(300, 200), Extent(1, 400), Extent(77, 500), Extent(64, 64)):
        frame = plan(PictureJob(extent=extent), model).frame
        across, down = frame.extent.width / frame.bounds.width, frame.extent.height / frame.bounds.height
        assert abs(across / down - 1) < 0.02


def test_reading_a_model_and_planning_need_no_torch():
    code = "import sys, backend.models.bundle, backend.pipelines.plan; assert 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
