"""The docker's session: the state line, the greyed button, what is kept, who hears of changes, and mistakes that become sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
from krita_host import FakeHost
from krita_stage import FakeLauncher, Stage, painting
from plugin_krita.protocol.desk.state_line import state_line
from plugin_krita.protocol.events import Link
from plugin_krita.protocol.results import WorkerStage

from plugin_krita.form import Mode
from plugin_krita.view import Light


def test_without_a_backend_the_line_offers_to_start_one_and_says_how_it_goes(tmp_path: Path):
    stage = Stage(tmp_path / "krita", tmp_path / "state")
    stage.until(lambda: stage.presenter.backend.light is Light.OFF)
    assert stage.presenter.backend.can_start
    assert not stage.presenter.can_generate
    stage.presenter.start_backend()
    stage.until(lambda: stage.launcher.started == 1)
    assert stage.presenter.backend.light is Light.WAIT
    pair = painting(tmp_path / "state")
    stage.serve(pair)
    stage.until(lambda: stage.presenter.backend.light is Light.READY)
    stage.presenter.close()
    pair.close()


def test_where_none_can_be_started_the_line_says_why_and_offers_nothing(tmp_path: Path):
    stage = Stage(tmp_path / "krita", tmp_path / "state", launcher=FakeLauncher("No backend is installed."))
    stage.until(lambda: stage.presenter.backend.light is Light.OFF)
    assert stage.presenter.backend.sentence == "No backend is installed."
    assert not stage.presenter.backend.can_start
    stage.presenter.close()


def test_without_a_document_the_button_is_grey_and_says_so(stage: Stage):
    stage.ready()
    stage.host.close("one")
    stage.until(lambda: not stage.presenter.can_generate)
    assert stage.presenter.why_not == "Open a document first."
    stage.presenter.generate()
    assert stage.presenter.notice == "Open a document first."


def test_what_is_set_is_found_again_in_the_next_session(stage: Stage):
    stage.ready()
    stage.presenter.change(prompt="a hat", count=7, mode=Mode.REFINE)
    stage.presenter.close()
    stage.again()
    form = stage.presenter.form
    assert (form.prompt, form.count, form.mode, stage.presenter.button) == ("a hat", 7, Mode.REFINE, "Refine")


def test_listeners_hear_the_names_of_what_changed_once_a_tick_and_nothing_when_nothing_did(stage: Stage):
    stage.ready()
    stage.settle()
    stage.heard.clear()
    stage.presenter.tick()
    assert stage.heard == []
    stage.presenter.change(mode=Mode.NEW)
    stage.presenter.change(prompt="x")
    stage.presenter.tick()
    assert stage.heard == [frozenset({"form", "button"})]


def test_a_hosts_mistake_is_a_sentence_and_never_an_exception(stage: Stage):
    stage.ready()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    for name in ("document", "layers", "capture", "show_preview", "apply", "read_note", "write_note", "hide_preview"):
        setattr(stage.host, name, broken)
    for act in ("generate", "draft_from_layer", "draft_from_selection", "ask_pose", "cancel", "draft_save", "tick"):
        getattr(stage.presenter, act)()
    stage.settle()
    assert "ZeroDivisionError" in stage.presenter.notice
    assert isinstance(stage.host, FakeHost)


@pytest.mark.parametrize("link", list(Link))
@pytest.mark.parametrize("worker", [None, *WorkerStage])
@pytest.mark.parametrize("waited", [None, 1.0, 100.0])
def test_every_state_of_the_backend_has_its_sentence_and_the_button_only_where_it_helps(link: Link, worker: WorkerStage, waited: float):
    line = state_line(link, "The client's sentence.", worker, "", "a device", waited, "")
    assert line.sentence
    assert not line.can_start or link in (Link.NOT_RUNNING, Link.LOST)
    assert not state_line(link, "", worker, "", "", waited, "Nothing is installed.").can_start
    if link in (Link.NOT_OUR_KEY, Link.WRONG_VERSION):
        assert (line.light, line.sentence) == (Light.TROUBLE, "The client's sentence.")
    if link is Link.CONNECTED and worker is WorkerStage.READY:
        assert (line.light, line.sentence) == (Light.READY, "Ready: a device")
