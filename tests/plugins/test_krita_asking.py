"""From the form and the canvas to jobs: what is sent, what is repainted, where the result shows; checked against NumPy."""

from __future__ import annotations

import time

import numpy as np
import pytest
from krita_host import FakeHost, array_of, plane_of
from plugin_krita.protocol.checks import check_job
from plugin_krita.protocol.geometry import Bounds, Extent, Point
from plugin_krita.protocol.jobs import GuideKind, Lends
from plugin_krita.protocol.limits import MESSAGE_BYTES, PIXELS

from plugin_krita import pixels
from plugin_krita.asking import COMFORTABLE, NEW_PIXELS, Area, Seen, area_of, ask, fitted, head_place
from plugin_krita.form import Form, GuideRow, Mode, PersonRow, Pose, PromptRow
from plugin_krita.host import CanvasProblem, DocumentCard

RNG = np.random.default_rng(7)
SCALED = FakeHost().scaled
FACE = (Point(38, 52), Point(74, 52), Point(56, 72), Point(42, 92), Point(71, 92))


def card(width: int, height: int, selection: Bounds | None = None) -> DocumentCard:
    return DocumentCard("d", width, height, "d.kra", selection)


def seen(width: int = 60, height: int = 40, target: Bounds | None = None, mask: np.ndarray | None = None, **more: object) -> Seen:
    bounds = Bounds(0, 0, width, height)
    picture = RNG.integers(0, 255, (height, width, 4), np.uint8)
    picture[..., 3] = 255
    area = Area(target or bounds, bounds, target is None)
    return Seen("d", area, plane_of(picture), None if mask is None else plane_of(mask), **more)


# Areas -----------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(200))
def test_a_capture_lies_on_the_canvas_around_what_is_selected_and_is_never_too_large(seed: int):
    rng = np.random.default_rng(seed)
    width, height = (int(rng.integers(1, 12000)) for _ in range(2))
    x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
    target = Bounds(x, y, int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1)))
    try:
        area = area_of(Mode.FILL, card(width, height, target))
    except CanvasProblem:
        assert target.width * target.height > PIXELS * 0.8
        return
    box = area.bounds
    assert 0 <= box.x <= target.x
    assert 0 <= box.y <= target.y
    assert target.right <= box.right <= width
    assert target.bottom <= box.bottom <= height
    assert box.width * box.height <= max(COMFORTABLE, PIXELS)


def test_a_small_head_on_a_huge_canvas_is_sent_with_its_surroundings_and_not_the_canvas():
    box = area_of(Mode.FILL, card(6000, 4000, Bounds(3000, 2000, 150, 180))).bounds
    assert box == Bounds(3000 - 768, 2000 - 768, 150 + 2 * 768, 180 + 2 * 768)


def test_a_canvas_of_more_pixels_than_a_message_takes_is_a_sentence_and_a_selection_on_it_is_worked():
    with pytest.raises(CanvasProblem, match="Select a part"):
        area_of(Mode.REFINE, card(12000, 9000))
    assert area_of(Mode.REFINE, card(12000, 9000, Bounds(9000, 8000, 900, 900))).bounds.right <= 12000


# Masks and modes -------------------------------------------------------------------------------------------------------------------------
def test_fill_sends_the_selection_as_it_is_and_shows_the_layer_wherever_it_is_above_nothing():
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 10:30] = 255
    mask[20:22, 10:30] = 3
    asked = ask(Form(mode=Mode.FILL), seen(target=Bounds(10, 10, 20, 12), mask=mask), SCALED)
    canvas = asked.jobs[0].canvas
    assert (array_of(canvas.mask) == mask).all()
    assert canvas.strength == 1
    assert (canvas.feather, canvas.grow) == (None, None)
    assert (array_of(asked.mask) == 255).all()
    assert asked.mask.extent == Extent(20, 12)


def test_refine_changes_by_its_strength_in_the_selection_or_everywhere():
    whole = ask(Form(mode=Mode.REFINE, change=0.4), seen(), SCALED)
    assert (whole.jobs[0].canvas.mask, whole.jobs[0].canvas.strength, whole.mask) == (None, 0.4, None)
    mask = np.full((40, 60), 9, np.uint8)
    part = ask(Form(mode=Mode.REFINE, change=0.4), seen(target=Bounds(0, 0, 60, 40), mask=mask), SCALED)
    assert (array_of(part.jobs[0].canvas.mask) == 9).all()


def test_fill_without_a_selection_paints_everything():
    asked = ask(Form(), seen(), SCALED)
    assert (array_of(asked.jobs[0].canvas.mask) == 255).all()
    assert asked.mask is None


def test_expand_repaints_all_that_is_not_opaque_and_fades_over_what_is():
    one = seen()
    picture = array_of(one.picture).copy()
    picture[:, 40:, 3] = 0
    picture[:, 38:40, 3] = 128
    one = Seen("d", one.area, plane_of(picture), None)
    asked = ask(Form(mode=Mode.EXPAND, feather=8), one, SCALED)
    shown, sent = np.zeros((40, 60), np.uint8), array_of(asked.jobs[0].canvas.mask)
    assert asked.target == Bounds(30, 0, 30, 40)
    shown[:, 30:] = array_of(asked.mask)
    assert (shown[:, 38:] == 255).all()
    steps = shown[20, 29:38].astype(int)
    assert (np.diff(steps) > 0).all()
    assert ((sent == 255) == (shown > 0)).all()
    assert asked.jobs[0].canvas.feather == 0


def test_expand_stays_within_the_selection():
    one = seen(target=Bounds(0, 10, 60, 20), mask=np.pad(np.full((20, 60), 255, np.uint8), ((10, 10), (0, 0))))
    picture = array_of(one.picture).copy()
    picture[:, 40:, 3] = 0
    asked = ask(Form(mode=Mode.EXPAND), Seen("d", one.area, plane_of(picture), one.selection), SCALED)
    sent = array_of(asked.jobs[0].canvas.mask)
    assert (sent[:10] == 0).all()
    assert (sent[30:] == 0).all()
    assert (sent[10:30, 40:] == 255).all()


def test_a_new_picture_takes_nothing_of_the_canvas_and_its_pixels_are_bounded():
    one = Seen("d", Area(Bounds(0, 0, 9000, 6000), Bounds(0, 0, 9000, 6000), True), None, None)
    job = ask(Form(mode=Mode.NEW), one, SCALED).jobs[0]
    assert job.canvas is None
    assert job.extent.area <= NEW_PIXELS
    assert job.extent.width / job.extent.height == pytest.approx(1.5, abs=0.01)


def test_an_empty_selection_is_a_sentence():
    with pytest.raises(CanvasProblem, match="Nothing is selected"):
        ask(Form(), seen(target=Bounds(0, 0, 5, 5), mask=np.zeros((40, 60), np.uint8)), SCALED)


def test_pictures_that_do_not_fit_one_message_become_several_jobs_with_seeds_that_go_on():
    bounds = Bounds(0, 0, 8000, 5000)
    one = Seen("d", Area(bounds, bounds, True), plane_of(np.zeros((5000, 8000, 4), np.uint8)), None)
    jobs = ask(Form(mode=Mode.REFINE, count=9, seed=50), one, SCALED).jobs
    assert sum(job.count for job in jobs) == 9
    assert all(job.count * bounds.width * bounds.height * 3 <= MESSAGE_BYTES for job in jobs)
    seeds = [job.sampling.seed + number for job in jobs for number in range(job.count)]
    assert seeds == list(range(50, 59))


# Persons, image prompts, guides ----------------------------------------------------------------------------------------------------------
def test_each_person_keeps_to_the_opaque_part_of_its_layer_or_to_the_selection():
    layer = np.zeros((40, 60, 4), np.uint8)
    layer[5:9, 5:9, 3] = 200
    mask = np.full((40, 60), 255, np.uint8)
    persons = (PersonRow("Anna", 0.7, 0.6, "left"), PersonRow("Ben", region="selection"), PersonRow("Cem"))
    one = seen(target=Bounds(0, 0, 60, 40), mask=mask, layers={"left": plane_of(layer)})
    job = ask(Form(persons=persons), one, SCALED).jobs[0]
    check_job(job)
    first, second, third = job.subjects
    assert (first.who.name, first.adapter, first.identity_net) == ("Anna", 0.7, 0.6)
    assert (array_of(first.region) == layer[..., 3]).all()
    assert (array_of(second.region) == 255).all()
    assert third.region is None


def test_a_region_that_is_gone_or_empty_is_a_sentence_with_the_persons_name():
    with pytest.raises(CanvasProblem, match=r"gone.*Anna"):
        ask(Form(persons=(PersonRow("Anna", region="x"),)), seen(), SCALED)
    empty = seen(layers={"x": plane_of(np.zeros((40, 60, 4), np.uint8))}, names={"x": "left half"})
    with pytest.raises(CanvasProblem, match=r"Anna \(left half\) is empty"):
        ask(Form(persons=(PersonRow("Anna", region="x"),)), empty, SCALED)


def test_an_image_prompt_is_laid_over_white_and_brought_to_what_its_encoder_needs():
    layer = np.zeros((2000, 3000, 4), np.uint8)
    one = seen(references={"style": plane_of(layer)})
    prompt = ask(Form(image_prompts=(PromptRow("style", "composition", 0.4),)), one, SCALED).jobs[0].image_prompts[0]
    assert prompt.reference.extent == Extent(1024, 683)
    assert (array_of(prompt.reference) == 255).all()
    assert (prompt.lends, prompt.weight) == (Lends.COMPOSITION, 0.4)


@pytest.mark.parametrize("ground", ["white", "nothing", "black"])
def test_lines_reach_the_net_light_on_black_however_they_are_drawn(ground: str):
    layer = np.zeros((40, 60, 4), np.uint8)
    layer[..., :] = {"white": (255, 255, 255, 255), "nothing": (0, 0, 0, 0), "black": (0, 0, 0, 255)}[ground]
    layer[20:22, 5:55] = (255, 255, 255, 255) if ground == "black" else (0, 0, 0, 255)
    one = seen(layers={"lines": plane_of(layer)})
    guide = ask(Form(guides=(GuideRow("lines", "lines", 0.7),)), one, SCALED).jobs[0].guides[0]
    drawn = array_of(guide.picture)
    assert (drawn[20:22, 5:55] == 255).all()
    assert (drawn[:18, :, :3] == 0).all()
    assert (drawn[..., 3] == 255).all()
    assert (guide.kind, guide.weight) == (GuideKind.LINES, 0.7)


def test_depth_is_far_where_its_layer_has_nothing():
    one = seen(layers={"depth": plane_of(np.zeros((40, 60, 4), np.uint8))})
    drawn = array_of(ask(Form(guides=(GuideRow("depth"),)), one, SCALED).jobs[0].guides[0].picture)
    assert (drawn[..., :3] == 0).all()


def test_a_pose_placed_by_hand_is_sent_in_pixels_of_what_is_sent():
    bounds = Bounds(100, 50, 60, 40)
    one = Seen("d", Area(bounds, bounds, False), seen().picture, plane_of(np.full((40, 60), 255, np.uint8)))
    points = tuple(Point(100 + 10 * n, 50 + n) for n in range(5))
    form = Form(persons=(PersonRow("Anna"),), pose=Pose.HAND, points=points)
    guide = ask(form, one, SCALED, points).jobs[0].guides[0]
    assert (guide.kind, guide.keypoints) == (GuideKind.KEYPOINTS, tuple(Point(10 * n, n) for n in range(5)))
    assert ask(form.changed(pose=Pose.CANVAS), one, SCALED, points).jobs[0].guides == ()
    assert ask(form.changed(persons=()), one, SCALED, points).jobs[0].guides == ()


@pytest.mark.parametrize("box", [Bounds(10, 20, 200, 300), Bounds(0, 0, 50, 20), Bounds(500, 3, 1, 1)])
def test_a_fitted_face_lies_in_its_box_as_the_backend_would_lay_it(box: Bounds):
    from backend.pipelines.placement import fit_head

    points = np.array([(point.x, point.y) for point in FACE], np.float32)
    theirs = fit_head(points, np.array([box.x, box.y, box.right, box.bottom], np.float32))
    ours = np.array([(point.x, point.y) for point in fitted(FACE, box)])
    assert np.abs(ours - theirs).max() < 0.01


def test_without_a_selection_a_head_is_half_the_canvas_high():
    area = area_of(Mode.FILL, card(600, 400))
    assert head_place(area).height == 200


# Bytes ---------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(20))
def test_pixels_without_numpy_are_as_with_it(seed: int):
    rng = np.random.default_rng(seed)
    height, width = (int(rng.integers(1, 300)) for _ in range(2))
    picture, mask = rng.integers(0, 256, (height, width, 4), np.uint8), rng.integers(0, 256, (height, width), np.uint8)
    mask[mask < 250] = 0
    plane, a8 = plane_of(picture), plane_of(mask)
    x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
    box = Bounds(x, y, int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1)))
    assert (array_of(pixels.crop(plane, box)) == picture[box.y : box.bottom, box.x : box.right]).all()
    assert (array_of(pixels.opacity(plane)) == picture[..., 3]).all()
    assert (array_of(pixels.with_opacity(plane, a8)) == np.dstack([picture[..., :3], mask])).all()
    assert (array_of(pixels.negative(plane))[..., :3] == 255 - picture[..., :3]).all()
    assert (array_of(pixels.shown_where(a8)) == (mask > 0) * 255).all()
    assert pixels.is_empty(a8) == (not mask.any())
    assert pixels.mean(plane) == pytest.approx(picture[..., :3].mean())
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if rows.size:
        wide = Bounds(int(columns[0]), int(rows[0]), int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1)
        assert pixels.mask_box(a8) == wide
    else:
        assert pixels.mask_box(a8) is None


@pytest.mark.parametrize("by", [0, 1, 2, 3, 7, 20])
def test_a_mask_is_enlarged_as_by_the_backend(by: int):
    from backend.pipelines.paste import grow_mask

    mask = np.zeros((50, 70), np.uint8)
    mask[10:12, 20:25] = mask[40, 69] = 255
    assert (array_of(pixels.grown(plane_of(mask), by)) == grow_mask(mask, by)).all()
    faded = array_of(pixels.faded(plane_of(mask), by))
    assert ((faded > 0) == (grow_mask(mask, by) > 0)).all()
    assert (faded[mask > 0] == 255).all()


def test_a_canvas_of_24_megapixels_is_asked_about_in_seconds():
    bounds = Bounds(0, 0, 6000, 4000)
    picture = np.full((4000, 6000, 4), 255, np.uint8)
    picture[:, 5500:, 3] = 0
    one = Seen("d", Area(bounds, bounds, True), plane_of(picture), None)
    start = time.process_time()
    ask(Form(mode=Mode.EXPAND), one, SCALED)
    assert time.process_time() - start < 8
