"""The docker's promises with a real backend: what is painted, where, how often it can be undone, and that nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from krita_host import Document, array_of
from krita_stage import Stage
from painting_worker import colour, similarity
from scripted_worker import let_go

from plugin_krita.form import Mode
from plugin_krita.host import CanvasProblem
from plugin_krita.view import Light


def generate(stage: Stage, count: int = 2, **values: object) -> None:
    before = len(stage.presenter.results)
    stage.ready()
    stage.presenter.change(count=count, live_preview=False, **values)
    stage.presenter.generate()
    stage.until(lambda: len(stage.presenter.results) == before + count)
    stage.settle()


def select_ring(document: Document) -> np.ndarray:
    """A selection that is no rectangle, with soft parts; whether each pixel is selected at all."""
    document.select(20, 10, 30, 30)
    document.selection[18:32, 28:42] = 0
    document.selection[10:14, 20:50] = 90
    return document.selection > 0


def test_outside_of_the_selection_not_one_byte_changes_and_inside_the_painting_is_seen(stage: Stage):
    before, inside = stage.document.seen(), select_ring(stage.document)
    generate(stage, mode=Mode.FILL)
    best = stage.presenter.results[0]
    stage.presenter.apply(best.key)
    stage.until(lambda: stage.document.undo)
    after = stage.document.seen()
    assert (after[~inside] == before[~inside]).all()
    assert (after[inside] == [*colour(best.seed)[::-1], 255]).all()


def test_what_is_painted_beside_the_selection_meanwhile_is_not_covered(stage: Stage):
    inside = select_ring(stage.document)
    generate(stage, mode=Mode.FILL)
    stage.document.layers[0].pixels[15:25, 25:45, :3] = 7
    before = stage.document.seen()
    stage.presenter.apply(stage.presenter.results[0].key)
    stage.until(lambda: stage.document.undo)
    assert (stage.document.seen()[~inside] == before[~inside]).all()


def test_the_unsafe_twin_a_layer_without_opacity_covers_what_was_painted_meanwhile(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    inside = select_ring(stage.document)
    generate(stage, mode=Mode.FILL)
    stage.document.layers[0].pixels[15:25, 25:45, :3] = 7
    before = stage.document.seen()
    monkeypatch.setattr("plugin_krita.results.opacity_of", lambda entry: None)
    stage.presenter.apply(stage.presenter.results[0].key)
    stage.until(lambda: stage.document.undo)
    assert (stage.document.seen()[~inside] != before[~inside]).any()


def test_one_apply_is_one_step_of_undo_whatever_was_shown_before(stage: Stage):
    stage.document.select(20, 10, 30, 30)
    generate(stage, count=3)
    for one in stage.presenter.results:
        stage.presenter.show(one.key)
        stage.until(lambda: stage.document.preview is not None)
    key = stage.presenter.results[1].key
    stage.presenter.apply(key)
    stage.presenter.apply(key)
    stage.until(lambda: stage.document.undo)
    stage.settle()
    assert len(stage.document.undo) == 1
    assert stage.document.preview is None
    assert [one.applied for one in stage.presenter.results] == [False, True, False]


def test_a_layer_says_its_prompt_its_seed_and_its_similarity(stage: Stage):
    generate(stage, count=1, prompt="a red coat")
    stage.presenter.apply(stage.presenter.results[0].key)
    stage.until(lambda: stage.document.undo)
    assert stage.document.layers[-1].name == "a red coat (seed 1000)"


def test_a_transparency_mask_leaves_the_picture_whole_and_says_where_it_shows(stage: Stage):
    inside = select_ring(stage.document)
    before = stage.document.seen()
    generate(stage, count=1)
    stage.presenter.apply(stage.presenter.results[0].key, transparency_mask=True)
    stage.until(lambda: stage.document.undo)
    assert (array_of(stage.document.masks[0]) == inside[10:40, 20:50] * 255).all()
    assert (stage.document.seen()[~inside] == before[~inside]).all()


def test_a_result_is_shown_on_the_canvas_with_its_opacity_and_hidden_again(stage: Stage):
    inside = select_ring(stage.document)
    generate(stage)
    one = stage.presenter.results[0]
    stage.presenter.show(one.key)
    stage.until(lambda: stage.document.preview is not None)
    bounds, picture = stage.document.preview
    assert (bounds.x, bounds.y, bounds.width, bounds.height) == (20, 10, 30, 30)
    assert (array_of(picture)[..., 3] == inside[10:40, 20:50] * 255).all()
    assert [result.shown for result in stage.presenter.results] == [True, False]
    stage.presenter.show(None)
    assert stage.document.preview is None
    assert stage.document.undo == []


def test_expand_paints_what_is_transparent_and_a_little_over_its_border(stage: Stage):
    stage.document.layers[0].pixels[:, 60:] = 0
    before = stage.document.seen()
    generate(stage, count=1, mode=Mode.EXPAND)
    stage.presenter.apply(stage.presenter.results[0].key)
    stage.until(lambda: stage.document.undo)
    after, made = stage.document.seen(), np.array([*colour(1000)[::-1], 255])
    assert (after[:, 60:] == made).all()
    assert (after[:, :56] == before[:, :56]).all()
    assert (after[:, 56:60] != before[:, 56:60]).any()


def test_expand_with_nothing_transparent_is_a_sentence(stage: Stage):
    stage.ready()
    stage.presenter.change(mode=Mode.EXPAND)
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.notice)
    assert "nothing to expand into" in stage.presenter.notice
    assert stage.presenter.progress is None


def test_a_new_picture_has_the_selections_box_or_the_canvas(stage: Stage):
    generate(stage, count=1, mode=Mode.NEW)
    assert stage.presenter.results[0].bounds.extent.width == 96
    stage.document.select(20, 10, 30, 20)
    generate(stage, count=1, mode=Mode.NEW)
    box = stage.presenter.results[0].bounds
    assert (box.x, box.y, box.width, box.height) == (20, 10, 30, 20)


def test_each_press_takes_a_new_seed_which_the_form_shows_and_a_locked_one_stays(stage: Stage):
    generate(stage, count=1)
    generate(stage, count=1)
    assert [one.seed for one in stage.presenter.results] == [1100, 1000]
    assert stage.presenter.form.seed == 1100
    generate(stage, count=1, seed=5, seed_locked=True)
    assert stage.presenter.results[0].seed == stage.presenter.form.seed == 5


def test_reuse_brings_prompt_seed_and_settings_back_and_the_same_picture_comes_of_it(stage: Stage):
    generate(stage, count=2, prompt="a red coat", guidance_scale=7.5)
    generate(stage, count=1, prompt="a hat", guidance_scale=None)
    second = next(one for one in stage.presenter.results if one.seed == 1001)
    stage.presenter.reuse(second.key)
    form = stage.presenter.form
    assert (form.prompt, form.seed, form.seed_locked, form.guidance_scale) == ("a red coat", 1001, True, 7.5)
    generate(stage, count=1)
    assert stage.presenter.results[0].seed == 1001


def test_newest_generation_first_and_in_it_the_most_alike(stage: Stage):
    stage.ready()
    stage.presenter.add_person("Anna")
    generate(stage, count=4)
    generate(stage, count=3)
    seeds = [one.seed for one in stage.presenter.results]
    assert seeds[:3] == sorted((1100, 1101, 1102), key=similarity, reverse=True)
    assert seeds[3:] == sorted((1000, 1001, 1002, 1003), key=similarity, reverse=True)


def test_progress_counts_steps_and_cancel_ends_it_without_a_picture(stage: Stage):
    stage.ready()
    stage.presenter.change(prompt="steps=200 step_s=0.05", count=1)
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.progress is not None and "step" in stage.presenter.progress.words)
    assert 0 < stage.presenter.progress.share < 0.5
    stage.presenter.cancel()
    stage.until(lambda: stage.presenter.progress is None)
    assert stage.presenter.results == ()
    assert stage.presenter.notice == ""


def test_the_picture_under_way_is_seen_on_the_canvas_within_the_selection_and_gives_way_to_the_best_result(stage: Stage):
    inside = select_ring(stage.document)
    stage.ready()
    stage.presenter.change(prompt="shown=seen", count=2, live_preview=True)
    stage.presenter.generate()
    stage.until(lambda: stage.document.preview is not None)
    assert stage.presenter.preview is not None
    assert (array_of(stage.document.preview[1])[..., 3] == inside[10:40, 20:50] * 255).all()
    assert 95 <= array_of(stage.document.preview[1])[0, 0, 0] <= 105
    let_go(stage.state, "seen")
    stage.until(lambda: len(stage.presenter.results) == 2 and stage.presenter.results[0].shown)
    stage.settle()
    assert stage.presenter.preview is None
    assert stage.document.undo == []


def test_a_failure_is_the_backends_sentence(stage: Stage):
    stage.ready()
    stage.presenter.change(prompt="face_at=0")
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.notice)
    assert stage.presenter.notice == "Photo 1 shows no face."
    assert stage.presenter.progress is None


def test_a_job_is_found_again_after_krita_died_and_placed_with_its_opacity(stage: Stage):
    before, inside = stage.document.seen(), select_ring(stage.document)
    stage.ready()
    stage.presenter.change(prompt="a long prompt " * 50 + "hold=again", count=2)
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.progress is not None and "step" in stage.presenter.progress.words)
    stage.die()
    stage.document.selection = None
    stage.again()
    let_go(stage.state, "again")
    stage.until(lambda: len(stage.presenter.results) == 2)
    one = stage.presenter.results[0]
    assert one.prompt == "a long prompt " * 50 + "hold=again"
    assert (one.bounds.x, one.bounds.width, one.seed) == (20, 30, 1000)
    stage.presenter.apply(one.key)
    stage.until(lambda: stage.document.undo)
    assert (stage.document.seen()[~inside] == before[~inside]).all()


def test_without_the_file_of_the_job_its_note_alone_finds_the_place(stage: Stage):
    stage.document.select(20, 10, 30, 30)
    stage.ready()
    stage.presenter.change(prompt="hold=again", count=1)
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.progress is not None and "step" in stage.presenter.progress.words)
    stage.die()
    for file in (stage.folder / "jobs").iterdir():
        file.unlink()
    stage.again()
    let_go(stage.state, "again")
    stage.until(lambda: stage.presenter.results)
    assert stage.presenter.results[0].bounds.x == 20
    assert stage.presenter.results[0].prompt == "hold=again"


def test_a_job_is_found_again_after_the_backend_died(stage: Stage):
    stage.ready()
    stage.presenter.change(prompt="hold=again", count=1)
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.progress is not None and "step" in stage.presenter.progress.words)
    stage.pair.stop()
    stage.until(lambda: stage.presenter.backend.light is Light.TROUBLE)
    assert "Jobs are kept" in stage.presenter.backend.sentence
    assert stage.presenter.progress is not None
    assert stage.presenter.progress.words == "waiting for the backend"
    assert stage.presenter.backend.can_start
    assert not stage.presenter.can_generate
    let_go(stage.state, "again")
    stage.pair.restart()
    stage.until(lambda: stage.presenter.results)


def test_pictures_are_acknowledged_only_when_they_are_in_the_document(stage: Stage):
    client = stage.presenter._desk.client
    stage.ready()

    def refuse(document: str, data: bytes, news: bool) -> None:
        raise CanvasProblem("The document is closed.")

    stage.host.write_note = refuse
    stage.presenter.change(count=1)
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.results)
    stage.settle()
    assert len(client.jobs()) == 1
    del stage.host.write_note
    stage.until(lambda: not client.jobs())
    assert stage.document.note is not None


def test_the_picture_of_a_closed_document_waits_until_it_is_opened_again(stage: Stage):
    stage.ready()
    stage.document.select(20, 10, 30, 30)
    stage.presenter.change(prompt="hold=closed", count=1)
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.progress is not None and "step" in stage.presenter.progress.words)
    closed = stage.host.close("one")
    stage.until(lambda: stage.presenter.document is None)
    let_go(stage.state, "closed")
    stage.until(lambda: "portrait.kra" in stage.presenter.notice)
    stage.die()
    stage.again()
    stage.settle()
    assert stage.presenter.results == ()
    stage.host.open(Document("two"))
    stage.settle()
    assert stage.presenter.results == ()
    stage.host.open(closed)
    stage.until(lambda: stage.presenter.results)
    stage.until(lambda: not stage.presenter._desk.client.jobs())


@pytest.mark.parametrize("what", ["resized", "layer removed", "selection moved", "nothing selected"])
def test_whatever_happens_to_the_document_meanwhile_the_result_goes_to_its_own_place(stage: Stage, what: str):
    document = stage.document
    region = document.add("region")
    region.pixels[..., 3] = 255
    document.select(60, 30, 30, 30)
    stage.ready()
    stage.presenter.add_person("Anna")
    stage.presenter.change_person(0, region=region.key)
    stage.presenter.change(prompt="hold=meanwhile", count=1)
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.progress is not None and "step" in stage.presenter.progress.words)
    match what:
        case "resized":
            document.width, document.height, document.selection = 70, 40, None
            for layer in document.layers:
                layer.pixels = layer.pixels[:40, :70].copy()
        case "layer removed":
            document.layers.remove(region)
        case "selection moved":
            document.select(0, 0, 5, 5)
        case _:
            document.selection = None
    let_go(stage.state, "meanwhile")
    stage.until(lambda: stage.presenter.results)
    box = stage.presenter.results[0].bounds
    assert (box.x, box.y, box.width, box.height) == (60, 30, 30, 30)
    stage.presenter.show(stage.presenter.results[0].key)
    stage.presenter.apply(stage.presenter.results[0].key)
    stage.until(lambda: stage.document.undo)
    assert stage.presenter.notice == ""


def test_the_history_is_in_the_document_and_comes_back_with_it(stage: Stage):
    inside = select_ring(stage.document)
    generate(stage, count=3, prompt="ein Wort mit ß")
    stage.presenter.apply(stage.presenter.results[0].key)
    stage.until(lambda: stage.document.undo)
    gone = stage.presenter.results[2].key
    stage.presenter.discard(gone)
    first = [(one.key, one.seed, one.prompt, one.applied) for one in stage.presenter.results]
    note = stage.document.note
    stage.until(lambda: stage.document.note != note)
    stage.settle()
    stage.die()
    stage.again()
    stage.until(lambda: stage.presenter.results)
    found = stage.presenter.results
    assert [(one.key, one.seed, one.prompt, one.applied) for one in found] == first
    stage.presenter.show(found[1].key)
    stage.until(lambda: stage.document.preview is not None)
    assert (array_of(stage.document.preview[1])[..., 3] == inside[10:40, 20:50] * 255).all()


def test_each_document_has_its_own_results(stage: Stage):
    generate(stage, count=1)
    stage.host.open(Document("two"))
    stage.until(lambda: stage.presenter.document is not None and stage.presenter.document.key == "two")
    assert stage.presenter.results == ()
    stage.host.active = "one"
    stage.until(lambda: stage.presenter.results)
