"""The canvas adapter in Krita's own window: what is in the undo history, which layer is active, and what the artist does in between."""

from __future__ import annotations

from typing import Any

import krita_runs
import pytest

WHY_NOT = krita_runs.why_no_krita("krita", "Xvfb", "xdotool")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
KINDS = ("RGBA U8", "RGBA U16", "CMYKA U8")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One session with a document of each kind."""
    folder = tmp_path_factory.mktemp("undo")
    home = krita_runs.kept_home(folder / "home")
    krita_runs.copy_plugin(home / ".local" / "share" / "krita" / "pykrita", registering=False)
    krita_runs.install_scenario(home)
    krita_runs.enable_plugins(home, "krita_scenario")
    with krita_runs.krita(home, folder / "out", LIKENESS_SCENARIO="undo") as running:
        running.wait_for("quitting")
        code = running.process.wait(300)
        kinds = {event["kind"]: event for event in running.events() if event["event"] == "kind"}
        return {"code": code, "kinds": kinds, "log": running.log()}


@pytest.fixture(params=KINDS)
def kind(told: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    """What happened in a document of this kind."""
    return told["kinds"][request.param]


def test_krita_ends_well_and_finds_nothing_wrong(told: dict[str, Any]):
    assert told["code"] == 0
    assert "ASSERT" not in told["log"]
    assert tuple(told["kinds"]) == KINDS


def test_a_result_is_one_step_whatever_was_shown_before(kind: dict[str, Any]):
    assert kind["applied"] == ["Background", "result"]
    assert kind["steps of apply"] == 1
    assert kind["steps of direct plain"] == 1


def test_a_result_with_a_mask_is_one_step_too(kind: dict[str, Any]):
    assert kind["steps of direct masked"] == 1
    assert kind["steps of masked"] == 1


@pytest.mark.parametrize("way", ["direct plain", "direct masked", "masked"])
def test_below_that_step_there_is_no_other_one_of_ours(kind: dict[str, Any], way: str):
    """From Krita 5.2 on, a mask that is put into a layer that is not in the document yet can be a step of its own."""
    assert kind[f"undo text after {way}"] == kind["undo before"]


def test_redo_brings_the_result_back_with_its_pixels_and_unlocked(kind: dict[str, Any]):
    assert kind["after redo"] == [["Background", "result"], False]
    assert kind["redone pixels"]


def test_exchanging_the_previews_pixels_is_no_step(kind: dict[str, Any]):
    assert kind["undo of the preview"].startswith("Undo Add Layer")


def test_a_preview_that_is_hidden_leaves_no_trace_in_the_history(kind: dict[str, Any]):
    assert kind["hidden"] == ["Background"]
    assert kind["undo text after"] == kind["undo text before"]


def test_the_artists_layer_stays_the_active_one(kind: dict[str, Any]):
    assert kind["active"] == ["Background", "Background"]


def test_hiding_takes_no_step_of_the_artists_back(kind: dict[str, Any]):
    assert "[Likeness preview]" in kind["hers"]
    assert kind["hers after hiding"] == [name for name in kind["hers"] if name != "[Likeness preview]"]
    assert len(kind["hers after hiding"]) == 2
