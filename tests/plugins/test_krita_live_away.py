"""Live gives way to ordinary pictures, and whatever goes away while it is on has its sentence; what is under way then ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from krita_following import Sent, at_backend, follow, listened, paint, quiet, shown, words
from krita_host import Document
from krita_stage import Stage
from scripted_worker import let_go

from plugin_krita.form import GuideRow, Mode, PersonRow, PromptRow


@pytest.fixture
def sent(stage: Stage) -> Sent:
    return listened(stage)


@pytest.fixture(autouse=True)
def _no_fault(stage: Stage) -> Iterator[None]:
    """Whatever a test does, no mistake of ours is told to the artist."""
    yield
    assert "Likeness made a mistake" not in stage.presenter.notice


# Giving way ---------------------------------------------------------------------------------------------------------------------------
def test_an_ordinary_picture_has_precedence_and_live_goes_on_after_it(stage: Stage, sent: Sent):
    stage.ready()
    stage.presenter.change(prompt="steps=2 hold=never", count=1)
    stage.presenter.turn_live(True)
    stage.until(lambda: at_backend(stage)[1] == 1)
    stage.presenter.change(prompt="steps=2 hold=full")
    stage.presenter.generate()
    words(stage, "until the picture under way is finished")
    stage.until(lambda: stage.presenter.progress is not None and "step" in stage.presenter.progress.words)
    known = len(sent)
    paint(stage.document, 5)
    quiet(stage)
    assert len(sent) == known, "nothing live beside it"
    stage.presenter.change(prompt="steps=1")
    let_go(stage.state, "full")
    stage.until(lambda: stage.presenter.results)
    stage.presenter.show(None)
    shown(stage)
    assert sent[-1][1]


def test_while_a_result_is_on_the_canvas_live_waits_and_says_what_to_do(stage: Stage, sent: Sent):
    follow(stage, count=1)
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.results)
    stage.presenter.show(stage.presenter.results[0].key)
    stage.until(lambda: stage.document.preview is not None)
    words(stage, "while a result is shown")
    known = len(sent)
    quiet(stage)
    assert len(sent) == known
    stage.presenter.show(None)
    words(stage, "Follows the canvas")


def test_keep_takes_a_shown_result_off_the_canvas_first(stage: Stage):
    follow(stage, count=1)
    stage.presenter.generate()
    stage.until(lambda: stage.presenter.results)
    stage.presenter.show(stage.presenter.results[0].key)
    stage.until(lambda: stage.document.preview is not None)
    stage.presenter.keep_live()
    stage.until(lambda: stage.document.undo)
    assert not stage.presenter.results[0].shown
    assert "live" in stage.document.layers[-1].name


# When things go away ------------------------------------------------------------------------------------------------------------------
def close_it(stage: Stage) -> None:
    stage.host.close("one")


def hide_it(stage: Stage) -> None:
    stage.presenter.watched(False)


@pytest.mark.parametrize(("act", "said"), [(close_it, "the document was closed"), (hide_it, "stopped while the docker was hidden")])
def test_it_stops_by_itself_and_what_is_under_way_ends(stage: Stage, act: Callable[[Stage], None], said: str):
    follow(stage)
    stage.presenter.change(prompt="steps=2 hold=never")
    stage.until(lambda: at_backend(stage)[1] == 1)
    act(stage)
    words(stage, said)
    assert stage.presenter.live.picture is None
    stage.until(lambda: at_backend(stage) == (0, 0))
    read = len(stage.host.glances)
    quiet(stage)
    assert len(stage.host.glances) == read
    assert stage.presenter.notice == ""


def test_it_goes_on_when_the_docker_is_seen_again(stage: Stage):
    follow(stage)
    stage.presenter.watched(False)
    stage.presenter.tick()
    stage.presenter.watched(True)
    words(stage, "stopped while the docker was hidden")
    shown(stage)
    words(stage, "Follows the canvas")


def test_another_document_is_followed_from_nothing_and_said_so(stage: Stage):
    follow(stage)
    stage.host.open(Document("two", 64, 64, "second.kra"))
    words(stage, "live follows “second.kra” now")
    assert stage.presenter.live.picture is None
    shown(stage)
    stage.presenter.keep_live()
    stage.until(lambda: stage.document.undo)
    assert stage.host.documents["one"].undo == []


def test_a_picture_of_a_document_that_is_gone_meanwhile_is_not_shown(stage: Stage):
    stage.ready()
    stage.presenter.change(prompt="steps=2 hold=never")
    stage.presenter.turn_live(True)
    stage.until(lambda: at_backend(stage)[1] == 1)
    stage.host.close("one")
    stage.until(lambda: stage.presenter.document is None)
    stage.until(lambda: at_backend(stage) == (0, 0))
    quiet(stage, 0.2)
    assert stage.presenter.live.picture is None


@pytest.mark.parametrize("kind", ["guide", "image prompt", "region"])
def test_a_layer_that_is_deleted_is_named_and_live_goes_on_without_it(stage: Stage, kind: str, sent: Sent):
    layer = stage.document.add("lines")
    layer.pixels[10:30, 10:40] = 255
    stage.ready()
    match kind:
        case "guide":
            stage.presenter.change(guides=(GuideRow(layer.key, "lines"),))
        case "image prompt":
            stage.presenter.change(image_prompts=(PromptRow(layer.key),))
        case _:
            stage.presenter.change(persons=(PersonRow("Ada", region=layer.key),))
    follow(stage, mode=Mode.REFINE)
    assert sent[0][0].guides or sent[0][0].image_prompts or sent[0][0].subjects[0].region is not None
    stage.document.layers.remove(layer)
    stage.document.changes += 1
    words(stage, "gone")
    known = len(sent)
    quiet(stage)
    assert len(sent) == known
    stage.presenter.change(guides=(), image_prompts=(), persons=())
    words(stage, "Follows the canvas")
    stage.until(lambda: len(sent) > known)


def test_what_the_backend_cannot_do_is_said_once_and_not_asked_again_until_something_changes(stage: Stage, sent: Sent):
    stage.ready()
    stage.presenter.change(prompt="steps=2 face_at=0")
    stage.presenter.turn_live(True)
    words(stage, "face")
    known = len(sent)
    quiet(stage)
    assert len(sent) == known
    stage.presenter.change(prompt="steps=1")
    shown(stage)
    words(stage, "Follows the canvas")


def test_without_the_backend_it_waits_and_goes_on_when_it_is_back(stage: Stage):
    follow(stage)
    picture = stage.presenter.live.picture
    stage.pair.stop()
    words(stage, "The backend is not connected")
    paint(stage.document, 8)
    quiet(stage, 0.3)
    assert stage.presenter.live.picture is picture, "what was there stays to look at"
    stage.pair.restart()
    shown(stage, picture)


def test_the_backend_that_dies_in_the_middle_of_a_live_picture_is_asked_for_it_again(stage: Stage):
    stage.ready()
    stage.presenter.change(prompt="steps=2 hold=go")
    stage.presenter.turn_live(True)
    stage.until(lambda: at_backend(stage)[1] == 1)
    stage.pair.stop()
    words(stage, "Live waits")
    let_go(stage.state, "go")
    stage.pair.restart()
    shown(stage)


def test_live_jobs_of_a_session_that_died_are_ended(stage: Stage):
    stage.ready()
    stage.presenter.change(prompt="steps=2 hold=never")
    stage.presenter.turn_live(True)
    stage.until(lambda: at_backend(stage)[1] == 1)
    stage.die()
    stage.again()
    stage.presenter.turn_live(False)
    stage.until(lambda: at_backend(stage) == (0, 0))
    stage.until(lambda: not stage.presenter._desk.client.jobs())
    assert stage.presenter.results == ()
    assert stage.presenter.notice == ""
