"""Second passes: the picture larger, in tiles where it is large; small faces once more; and what must stay as it was."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import FakeFaces

from backend.faces import Face
from backend.images import to_plane
from backend.models.bundle import Model
from backend.pipelines.cast import cast_of
from backend.pipelines.engine import Engine
from backend.pipelines.passes import head_mask, joined, larger, small_heads
from backend.pipelines.placement import fit_head, head_box
from backend.pipelines.plan import plan
from protocol.errors import InvalidRequest
from protocol.geometry import Bounds, Extent, Point
from protocol.jobs import Canvas, FacePass, Guide, GuideKind, Photos, PictureJob, Sampling, SecondPass, Subject

FEW = Sampling(steps=2, seed=4)
HEAD = 24
"""Height of the small head of these tests; the tiny model draws 64 x 64."""


class Counting:
    """Hears every step."""

    def __init__(self):
        self.steps = []

    def step(self, done, total):
        self.steps.append((done, total))

    def preview(self, pixels, step):
        pass

    def cancelled(self):
        return False


class Blind(FakeFaces):
    """Reads photos and finds nothing in pictures that were drawn: the face is where it was asked for."""

    def analyse(self, rgb):
        return super().analyse(rgb) if rgb.shape == (100, 80, 3) else []


@pytest.fixture(scope="module")
def blind(tiny_folders):
    return Engine(Model.open(tiny_folders["sdxl"]), Blind())


def points_at(x, y, height=HEAD):
    face = np.array([[22, 26], [42, 26], [32, 36], [25, 46], [39, 46]], np.float32)
    wide = height * 2.6 / 3.2
    return fit_head(face, np.array([x - wide / 2, y - height / 2, x + wide / 2, y + height / 2], np.float32))


def pose(points):
    return Guide(GuideKind.KEYPOINTS, keypoints=tuple(Point(float(x), float(y)) for x, y in points))


def job(**parts):
    return PictureJob(**({"prompt": "a hat", "sampling": FEW, "preview_every": 0} | parts))


def drawn(engine, wanted, watch=None):
    return engine.run(wanted, watch)[0].pixels


# The second pass -----------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0])
def test_a_new_picture_grows_and_the_same_job_gives_the_same_bytes(blind, photo, scale):
    wanted = job(subjects=(Subject(Photos((photo(1),))),), second_pass=SecondPass(scale, 0.5))
    picture = blind.run(wanted)[0]
    assert picture.pixels.shape == (round(64 * scale), round(64 * scale), 3)
    assert picture.drawn == Extent(round(64 * scale), round(64 * scale))
    assert np.array_equal(drawn(blind, wanted), picture.pixels)


def test_keypoints_grow_with_the_picture(blind, photo):
    wanted = job(subjects=(Subject(Photos((photo(1),))),), guides=(pose(points_at(32, 30, 40)),))
    first, second = blind.run(wanted)[0], blind.run(job(subjects=wanted.subjects, guides=wanted.guides, second_pass=SecondPass(1.5)))[0]
    assert np.allclose(second.keypoints[0], 1.5 * first.keypoints[0], atol=1e-3)


def test_a_size_that_the_model_does_not_draw_grows_exactly(blind):
    assert drawn(blind, job(extent=Extent(101, 75), second_pass=SecondPass(1.5, 0.5))).shape == (112, 152, 3)


def test_a_canvas_with_a_mask_keeps_its_size_and_every_byte_outside(blind, photo, picture):
    canvas, mask = picture(9, 90, 70), np.zeros((70, 90), np.uint8)
    mask[20:60, 30:70] = 255
    parts = {"canvas": Canvas(to_plane(canvas), to_plane(mask), strength=0.8), "subjects": (Subject(Photos((photo(1),))),)}
    result = drawn(blind, job(**parts, second_pass=SecondPass(1.5, 0.5)))
    assert result.shape == canvas.shape
    assert np.array_equal(result[mask == 0], canvas[mask == 0])
    assert not np.array_equal(result, drawn(blind, job(**parts)))


def test_a_large_second_pass_covers_everything_with_tiles_of_the_models_own_size(tiny_folders):
    model = Model.open(tiny_folders["sdxl"])
    again = larger(plan(job(extent=Extent(80, 48)), model), model, SecondPass(3.0))
    covered = np.zeros((144, 240), bool)
    for box in again.tiles:
        assert box.extent == Extent(64, 64)
        assert box.x % model.grid == box.y % model.grid == 0
        covered[box.y : box.bottom, box.x : box.right] = True
    assert len(again.tiles) > 4
    assert covered.all()


def test_a_second_pass_in_tiles_draws_with_its_people(blind, photo):
    wanted = job(subjects=(Subject(Photos((photo(1),))),), second_pass=SecondPass(2.0, 0.5))
    assert drawn(blind, wanted).shape == (128, 128, 3)


def test_tiles_that_are_the_picture_join_to_the_picture(picture):
    whole = picture(1, 100, 64)
    boxes = [Bounds(0, 0, 64, 64), Bounds(36, 0, 64, 64)]
    parts = [(box, whole[:, box.x : box.right]) for box in boxes]
    assert np.abs(joined(parts, np.zeros_like(whole)).astype(int) - whole).max() <= 1


def test_a_drawing_of_keypoints_and_a_second_pass_do_not_go_together(blind, photo):
    drawing = Guide(GuideKind.KEYPOINTS, photo(3, 64, 64))
    with pytest.raises(InvalidRequest, match="five points"):
        blind.run(job(subjects=(Subject(Photos((photo(1),))),), guides=(drawing,), second_pass=SecondPass()))


@pytest.mark.parametrize(
    "parts",
    [{"second_pass": SecondPass(5.0)},
     {"second_pass": SecondPass(2.0, 0.0)}, {"face_pass": FacePass(0.0)}, {"face_pass": FacePass(steps=0)}],
)  # fmt: skip
def test_what_cannot_be_meant_is_said(blind, parts):
    with pytest.raises(InvalidRequest, match=r"Choose|Ask"):
        blind.run(job(**parts))


# Small faces ---------------------------------------------------------------------------------------------------------------------------
def test_a_small_face_is_drawn_again_and_outside_the_head_not_one_byte_changes(blind, photo):
    points = points_at(32, 30)
    parts = {"subjects": (Subject(Photos((photo(1),))),), "guides": (pose(points),)}
    before, after = drawn(blind, job(**parts)), drawn(blind, job(**parts, face_pass=FacePass()))
    outside = head_mask(points, Extent(64, 64)) == 0
    assert np.array_equal(after[outside], before[outside])
    assert not np.array_equal(after[~outside], before[~outside])
    assert np.array_equal(drawn(blind, job(**parts, face_pass=FacePass())), after)


def test_a_face_that_is_large_enough_is_left_alone(blind, photo):
    parts = {"subjects": (Subject(Photos((photo(1),))),), "guides": (pose(points_at(32, 32, 40)),)}
    assert np.array_equal(drawn(blind, job(**parts, face_pass=FacePass())), drawn(blind, job(**parts)))


def test_the_pass_stays_within_the_mask_of_a_canvas(blind, photo, picture):
    canvas, mask = picture(9, 64, 64), np.zeros((64, 64), np.uint8)
    mask[:, :32] = 255
    parts = {"canvas": Canvas(to_plane(canvas), to_plane(mask)), "subjects": (Subject(Photos((photo(1),))),)}
    result = drawn(blind, job(**parts, guides=(pose(points_at(32, 30)),), face_pass=FacePass()))
    assert np.array_equal(result[mask == 0], canvas[mask == 0])


def test_each_face_is_drawn_with_its_own_person(blind, photo):
    """Who the second one is changes the second head, and nothing else."""
    places = points_at(18, 30), points_at(66, 30)
    one, other, third = (Subject(Photos((photo(number),))) for number in (1, 2, 3))
    guides, extent = tuple(map(pose, places)), Extent(80, 48)
    first = drawn(blind, job(subjects=(one, other), guides=guides, extent=extent))
    both = drawn(blind, job(subjects=(one, other), guides=guides, extent=extent, face_pass=FacePass()))
    heads = [head_mask(points, extent) > 0 for points in places]
    assert all(not np.array_equal(both[head], first[head]) for head in heads)
    assert np.array_equal(both[~(heads[0] | heads[1])], first[~(heads[0] | heads[1])])
    assert not np.array_equal(both, drawn(blind, job(subjects=(one, third), guides=guides, extent=extent, face_pass=FacePass())))


def test_which_heads_are_small_goes_by_what_is_drawn_and_by_what_was_asked_for(tiny_folders, photo):
    model, faces = Model.open(tiny_folders["sdxl"]), FakeFaces()
    identity = faces.identify([np.full((100, 80, 3), 90, np.uint8)])
    decided = plan(job(subjects=(Subject(Photos((photo(1),))),), guides=(pose(points_at(32, 30)),)), model)
    cast = cast_of(decided, [identity], None)

    def heads(*found, threshold=0.4):
        seen = [Face(head_box(points), points, np.ones(512, np.float32), 0.9) for points in found]
        return small_heads(decided, cast, model, FacePass(threshold=threshold), seen)

    near, far = points_at(34, 31, 26), points_at(60, 60, 20)
    assert np.allclose(heads()[0].points, points_at(32, 30), atol=1e-3)
    assert np.allclose(heads(near)[0].points, near)
    assert np.allclose(heads(far)[0].points, points_at(32, 30), atol=1e-3)  # somebody else's
    assert heads(near, threshold=0.3) == ()


def test_the_steps_of_all_passes_are_counted_and_the_bar_comes_to_its_end(blind, photo):
    watch = Counting()
    parts = {"subjects": (Subject(Photos((photo(1),))),), "guides": (pose(points_at(32, 30)),), "count": 2}
    blind.run(job(**parts, second_pass=SecondPass(1.5, 0.5), face_pass=FacePass(1.0)), watch)
    plain = Counting()
    blind.run(job(**parts), plain)
    assert plain.steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(watch.steps) > len(plain.steps)
    assert watch.steps[-1][0] == watch.steps[-1][1]
    assert [done for done, _ in watch.steps] == sorted({done for done, _ in watch.steps})


def test_a_job_with_passes_leaves_nothing_behind(blind, photo):
    parts = {"subjects": (Subject(Photos((photo(1),))),), "guides": (pose(points_at(32, 30)),)}
    before = drawn(blind, job(**parts))
    blind.run(job(**parts, second_pass=SecondPass(1.5, 0.5), face_pass=FacePass()))
    assert np.array_equal(drawn(blind, job(**parts)), before)
