"""Several people in one picture: whose part is whose, whose face is whose."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from tiny_models import FakeFaces

from backend.faces import Face, cosine
from backend.images import to_plane
from backend.models.bundle import Model
from backend.pipelines.cast import whose
from backend.pipelines.engine import Engine
from backend.pipelines.placement import fit_head
from backend.pipelines.regions import regions_for, shared_out
from protocol.geometry import Extent
from protocol.jobs import Canvas, Photos, PictureJob, Sampling, SecondPass, Subject
from protocol.planes import Layout, Plane

POINTS = np.array([[38, 52], [74, 52], [56, 72], [42, 92], [71, 92]], np.float32)
WIDE = Extent(96, 48)


def head(x, y=24.0, height=30.0):
    """Keypoints of a head of this height with its middle at (x, y)."""
    return fit_head(POINTS, np.array([x - height, y - height / 2, x + height, y + height / 2], np.float32))


def face(points, embedding=None):
    return Face(np.zeros(4, np.float32), points, np.ones(512, np.float32) if embedding is None else embedding, 0.9)


def test_the_picture_is_shared_out_without_rest_and_with_soft_borders():
    left, right = shared_out([head(24), head(72)], WIDE)
    assert np.allclose(left + right, 1)
    assert np.array_equal(left > 0.5, np.arange(96)[None].repeat(48, 0) < 48)
    border = left[24, 40:56]
    assert (np.diff(border) <= 0).all()
    assert ((border > 0.01) & (border < 0.99)).sum() >= 4


def test_three_people_each_have_their_own_part():
    shares = shared_out([head(16), head(48), head(80)], WIDE)
    assert np.allclose(sum(shares), 1)
    assert [int(share[24].argmax()) // 32 for share in shares] == [0, 1, 2]


def test_a_large_head_beside_a_small_one_keeps_all_of_itself():
    large, small = shared_out([head(30, height=40), head(62, height=12)], WIDE)
    assert large[24, 30 - 16 : 30 + 16].min() > 0.9
    assert small[24, 57:67].min() > 0.9


def test_a_given_region_is_taken_as_it_is_and_is_nobody_elses():
    given = np.zeros((48, 96), np.float32)
    given[:, :40] = 1
    first, second = regions_for([head(20), head(72)], [given, None], WIDE)
    assert first is given
    assert not second[:, :40].any()
    assert second[:, 60:].min() > 0.9


def test_somebody_whose_head_others_were_given_keeps_a_part_all_the_same():
    everything = np.ones((48, 96), np.float32)
    _, second = regions_for([head(24), head(72)], [everything, None], WIDE)
    assert second[24, 72] > 0.9


def test_a_single_person_has_the_whole_picture():
    assert regions_for([head(24)], [None], WIDE) == (None,)


def test_every_person_has_the_face_at_their_place_and_not_the_largest():
    large_stranger, left, right = face(head(48, height=46)), face(head(20, height=20)), face(head(76, height=20))
    assert whose([large_stranger, left, right], [head(78, height=22), head(18, height=22)]) == (right, left)


def test_one_face_is_never_two_peoples():
    only = face(head(30))
    assert whose([only], [head(24), head(40)]) == (only, None)


def test_a_face_far_from_everybodys_place_is_nobodys_but_somebody_alone_has_it():
    far = face(head(90, height=20))
    assert whose([far], [head(10, height=20), head(36, height=20)]) == (None, None)
    assert whose([far], [head(10, height=20)]) == (far,)


class TwoFaces(FakeFaces):
    """Finds a face in each half of a wide picture, the largest first; who it is depends on the half's mean colour."""

    def analyse(self, rgb):
        width = rgb.shape[1]
        if width < 1.2 * rgb.shape[0]:
            return super().analyse(rgb)
        left, right = super().analyse(rgb[:, : width // 2]), super().analyse(rgb[:, width // 2 :])
        return [face(np.add(one.keypoints, [width // 2, 0]), one.embedding) for one in right] + left


@pytest.fixture(scope="module")
def engine(tiny_folders):
    return Engine(Model.open(tiny_folders["sdxl"]), TwoFaces())


def two(photo, **parts):
    subjects = (Subject(Photos((photo(1),))), Subject(Photos((photo(2),))))
    return PictureJob(**({"prompt": "two people", "preview_every": 0, "extent": Extent(80, 48), "subjects": subjects} | parts))


def test_two_people_without_regions_do_not_blend(engine, photo):
    """With regions of the whole picture for both, which is what blends them, another picture comes out."""
    result = engine.run(two(photo))[0]
    assert result.keypoints[0][:, 0].max() < 40 < result.keypoints[1][:, 0].min()
    everywhere = Plane(Layout.A8, Extent(80, 48), bytes([255] * 80 * 48))
    subjects = tuple(Subject(Photos((photo(seed),)), region=everywhere) for seed in (1, 2))
    assert not np.array_equal(engine.run(two(photo, subjects=subjects))[0].pixels, result.pixels)


def test_regions_that_grow_with_a_second_pass_bring_no_warning_of_a_library(engine, photo):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        result = engine.run(two(photo, second_pass=SecondPass(2.0), sampling=Sampling(steps=2)))[0]
    assert result.pixels.shape == (96, 160, 3)


def test_the_likeness_of_each_is_that_of_the_face_at_their_place(engine, photo, picture):
    result = engine.run(two(photo))[0]
    faces = TwoFaces()
    right, left = faces.analyse(result.pixels)
    who = [faces.identify([picture(seed, 80, 100)]).embedding for seed in (1, 2)]
    assert result.similarities == pytest.approx((cosine(left.embedding, who[0]), cosine(right.embedding, who[1])))


def test_a_person_at_weight_zero_takes_no_part_of_the_picture(engine, photo):
    alone = two(photo, subjects=(Subject(Photos((photo(1),))), Subject(Photos((photo(2),)), adapter=0.0, identity_net=0.0)))
    everywhere = Plane(Layout.A8, Extent(80, 48), bytes([255] * 80 * 48))
    given = two(photo, subjects=(Subject(Photos((photo(1),)), region=everywhere),))
    assert len(engine.run(alone)[0].similarities) == 2
    assert engine.run(alone)[0].pixels.shape == engine.run(given)[0].pixels.shape


@pytest.mark.parametrize("masked", [False, True], ids=["image to image", "inpaint"])
def test_two_people_are_drawn_over_a_canvas_and_leave_nothing_behind(masked, engine, photo, picture):
    canvas = picture(9, 80, 48)
    mask = np.zeros((48, 80), np.uint8)
    mask[8:40, 10:70] = 255
    plane = Plane(Layout.A8, Extent(80, 48), mask.tobytes()) if masked else None
    wanted = two(photo, extent=None, canvas=Canvas(to_plane(canvas), plane, strength=0.7), sampling=Sampling(steps=3))
    plain = PictureJob(prompt="a hat", preview_every=0)
    before, rich = engine.run(plain)[0].pixels, engine.run(wanted)[0].pixels
    assert np.array_equal(engine.run(plain)[0].pixels, before)
    assert np.array_equal(engine.run(wanted)[0].pixels, rich)
    if masked:
        assert np.array_equal(rich[mask == 0], canvas[mask == 0])
