"""Live: small quick pictures follow what is painted, cost nothing while nothing changes, and never touch the document unasked."""

from __future__ import annotations

import numpy as np
import pytest
from krita_following import Sent, at_backend, follow, listened, paint, quiet, shown, words
from krita_host import Document, array_of
from krita_stage import Stage
from painting_worker import colour
from plugin_krita.protocol.jobs import Shortcut

from plugin_krita.form import Mode, PersonRow


@pytest.fixture
def sent(stage: Stage) -> Sent:
    return listened(stage)


# On and off ---------------------------------------------------------------------------------------------------------------------------
def test_it_is_off_until_it_is_turned_on_and_then_nothing_is_read_or_sent(stage: Stage, sent: Sent):
    stage.ready()
    paint(stage.document, 9)
    quiet(stage)
    assert stage.presenter.live is None
    assert (stage.host.glances, sent) == ([], [])


def test_a_picture_comes_into_the_docker_and_the_document_stays_as_it_was(stage: Stage, sent: Sent):
    before = stage.document.seen().copy()
    follow(stage)
    quiet(stage)
    document = stage.document
    assert (document.seen() == before).all()
    assert (document.undo, document.preview, document.previews, document.note, document.modified) == ([], None, 0, None, False)
    assert stage.presenter.results == ()
    assert all(live for _, live in sent)
    assert not stage.presenter._desk.client.jobs(), "nothing is left to acknowledge"


def test_it_is_asked_for_as_a_draft_with_what_the_docker_says(stage: Stage, sent: Sent):
    stage.ready()
    stage.presenter.change(
        negative="hats", change=0.35, mode=Mode.REFINE, persons=(PersonRow("Ada", 0.7, 0.5),), count=4, guidance_scale=9.0
    )
    stage.presenter.turn_live(True)
    stage.until(lambda: sent)
    job = sent[0][0]
    assert (job.negative, job.canvas.strength, job.canvas.mask) == ("hats", 0.35, None)
    assert [(one.who.name, one.adapter, one.identity_net) for one in job.subjects] == [("Ada", 0.7, 0.5)]
    assert (job.count, job.preview_every, set(job.sampling.shortcuts)) == (1, 0, set(Shortcut) - {Shortcut.FEATURE_REUSE})
    assert (job.sampling.steps, job.sampling.guidance_scale) == (None, None), "a few-step LoRA brings its own"


def test_turned_off_it_ends_and_shows_nothing(stage: Stage):
    stage.ready()
    stage.presenter.change(prompt="steps=2 hold=never")
    stage.presenter.turn_live(True)
    stage.until(lambda: at_backend(stage)[1] == 1)
    stage.presenter.turn_live(False)
    assert stage.presenter.live is None
    stage.until(lambda: at_backend(stage) == (0, 0))
    stage.until(lambda: not stage.presenter._desk.client.jobs())


def test_the_setting_is_kept_over_sessions(stage: Stage):
    follow(stage)
    stage.presenter.close()
    stage.again()
    assert stage.presenter.form.live
    shown(stage)


def test_to_fill_the_whole_canvas_would_not_follow_the_brush_so_refine_does(stage: Stage):
    stage.ready()
    assert stage.presenter.form.mode is Mode.FILL
    stage.presenter.turn_live(True)
    assert stage.presenter.form.mode is Mode.REFINE
    stage.presenter.turn_live(False)
    stage.document.select(10, 10, 20, 20)
    stage.presenter.change(mode=Mode.FILL)
    stage.until(lambda: stage.presenter.document.selection is not None)
    stage.presenter.turn_live(True)
    assert stage.presenter.form.mode is Mode.FILL


def test_a_mode_that_begins_from_nothing_says_so_and_does_not_read_the_canvas(stage: Stage, sent: Sent):
    follow(stage, mode=Mode.NEW)
    words(stage, "Choose Refine to follow the brush")
    paint(stage.document, 3)
    quiet(stage)
    assert (stage.host.glances, len(sent)) == ([], 1)


# Following ----------------------------------------------------------------------------------------------------------------------------
def test_while_nothing_changes_no_pixel_is_read_and_nothing_is_sent(stage: Stage, sent: Sent):
    follow(stage)
    quiet(stage, 0.2)
    read, asked = len(stage.host.glances), len(sent)
    quiet(stage, 1.0)
    assert (len(stage.host.glances), len(sent)) == (read, asked)


def test_what_is_painted_is_in_the_next_picture(stage: Stage):
    stage.document.select(30, 20, 20, 20)
    stage.presenter.change(mode=Mode.REFINE)
    follow(stage, mode=Mode.REFINE)
    first = stage.presenter.live.picture
    paint(stage.document, 200)
    shown(stage, first)
    job = stage.presenter._live._picture[0]
    assert (array_of(job.plane)[:8, :8, :3] == 200).all(), "outside the selection it is as the canvas"


def test_however_fast_it_is_painted_one_job_runs_one_waits_and_the_last_canvas_is_seen(stage: Stage, sent: Sent):
    follow(stage, prompt="steps=2 step_s=0.2", mode=Mode.REFINE)
    for value in range(60):
        paint(stage.document, value)
        for _ in range(3):
            stage.presenter.tick()
            stage.turn()
        waiting, running = at_backend(stage)
        assert waiting <= 1
        assert running <= 1
    stage.until(lambda: (array_of(sent[-1][0].canvas.picture)[..., :3] == 59).all())
    stage.until(lambda: stage.presenter._live._picture[0].number == len(sent))


def test_a_stroke_is_followed_while_it_is_painted_and_a_brush_that_rests_sends_nothing(stage: Stage, sent: Sent):
    follow(stage)
    stage.document.stroke = True
    stage.document.layers[0].pixels[:10, :10, :3] = 77
    shown(stage, stage.presenter.live.picture)
    read, asked = len(stage.host.glances), len(sent)
    stage.until(lambda: len(stage.host.glances) > read + 3)
    stage.settle()
    assert len(sent) == asked


def test_the_prompt_is_followed_with_the_same_seed_until_the_dice_are_thrown(stage: Stage, sent: Sent):
    follow(stage)
    first = stage.presenter.live.picture
    stage.presenter.change(prompt="steps=1 a red hat")
    second = shown(stage, first)
    assert len({job.sampling.seed for job, _ in sent}) == 1
    assert (second == array_of(first)).all()
    held = stage.presenter.live.picture
    stage.presenter.throw_live_dice()
    third = shown(stage, held)
    assert (third != second).any()
    assert len({job.sampling.seed for job, _ in sent}) == 2


def test_a_locked_seed_is_the_one_that_is_used(stage: Stage, sent: Sent):
    follow(stage, seed=4711, seed_locked=True)
    assert sent[0][0].sampling.seed == 4711
    assert (array_of(stage.presenter.live.picture) == colour(4711)).all()


def test_a_large_canvas_is_read_in_pieces_and_sent_small(stage: Stage, sent: Sent):
    document = Document("large", 2000, 1500)
    rows, columns = np.mgrid[0:1500, 0:2000]
    document.layers[0].pixels[..., 0], document.layers[0].pixels[..., 1] = rows * 255 // 1500, columns * 255 // 2000
    stage.host.open(document)
    stage.host.quick_pixels = 100_000
    follow(stage)
    assert len(stage.host.glances) > 25
    assert max(box.extent.area for box, _ in stage.host.glances) <= 100_000
    size = sent[0][0].canvas.picture.extent
    assert size.area <= 640 * 640
    assert abs(size.width / size.height - 2000 / 1500) < 0.01
    seen = array_of(sent[0][0].canvas.picture).astype(int)
    wanted = np.mgrid[0 : size.height, 0 : size.width]
    assert abs(seen[..., 0] - wanted[0] * 255 // size.height).max() <= 3, "no seams between the pieces"
    assert abs(seen[..., 1] - wanted[1] * 255 // size.width).max() <= 3


# Keeping it -------------------------------------------------------------------------------------------------------------------------
def test_keep_makes_one_layer_at_its_place_in_one_step_of_undo(stage: Stage):
    document = stage.document
    document.select(30, 20, 20, 24)
    follow(stage, mode=Mode.REFINE)
    made = stage.presenter._live._picture[0]
    before = document.seen().copy()
    stage.presenter.keep_live()
    stage.until(lambda: document.undo)
    assert len(document.undo) == 1
    assert f"live, seed {made.seed}" in document.layers[-1].name
    inside = document.selection > 0
    assert (document.seen()[~inside] == before[~inside]).all()
    assert (document.layers[-1].pixels[22:42, 32:48, 3] == 255).all()
    assert stage.presenter.notice == ""


def test_keep_of_a_shrunk_canvas_makes_a_layer_of_its_full_size(stage: Stage):
    stage.host.open(Document("large", 1600, 1200))
    follow(stage)
    stage.presenter.keep_live()
    stage.until(lambda: stage.document.undo)
    assert (stage.document.layers[-1].pixels[..., 3] == 255).all()


def test_keep_and_make_in_full_without_a_picture_say_why_not(stage: Stage):
    stage.ready()
    for act in (stage.presenter.keep_live, stage.presenter.live_in_full):
        act()
        assert "no live picture yet" in stage.presenter.notice
        stage.presenter.dismiss()


def test_make_in_full_is_an_ordinary_picture_with_its_seed_and_settings(stage: Stage, sent: Sent):
    follow(stage, mode=Mode.REFINE, change=0.4, count=3)
    made = stage.presenter._live._picture[0]
    stage.presenter.live_in_full()
    stage.until(lambda: stage.presenter.results)
    job = next(job for job, live in sent if not live)
    assert (job.sampling.seed, job.count, job.canvas.strength, job.sampling.shortcuts) == (made.seed, 1, 0.4, ())
    assert [one.seed for one in stage.presenter.results] == [made.seed]
