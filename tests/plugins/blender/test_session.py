"""A whole session in real Blender, with a real backend whose worker paints one colour per seed."""

from __future__ import annotations

import sys
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def told(play, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("LIKENESS_TEST_PYTHON", sys.executable)
    return play("session", alone=True)["told"]


def test_the_button_makes_a_portrait_and_touches_nothing_in_the_file(told):
    assert told["portrait"] == [["FINISHED"], 64, 64, 50, "Camera", True]
    assert told["untouched"] == []


def test_a_script_gets_its_results_back_and_its_values_stand_for_the_panels(told):
    seeds, prompt, panel, _ = told["script"]
    assert sorted(seeds) == [7, 8, 9]
    assert (prompt, panel) == ("a pilot", "")


def test_an_unlocked_seed_is_new_and_shown(told):
    assert told["random seed"] == [True, True]


def test_maps_are_of_the_moment_of_pressing_and_a_pose_without_a_key_is_still_there(told):
    presses, same_kinds, unchanged = told["moment"]
    assert (presses, same_kinds, unchanged) == (2, True, [])
    assert told["unkeyed pose"] == 1.2


def test_a_batch_over_frames_sees_each_frame_and_leaves_the_users_alone(told):
    assert told["batch"] == [["frame 1", "frame 11", "frame 21"], [9], 1]
    assert told["batch depths"] == [3, 3]
    assert told["batch untouched"] == []


def test_a_batch_goes_over_markers_and_cameras_too(told):
    assert told["markers"] == ["profile"]
    assert told["cameras"] == ["Camera", "Side"]


def test_a_texture_finds_its_mesh_after_it_was_renamed_and_is_baked(told):
    assert told["texture"] == [["Camera", "Side"], True]
    assert told["projected"] == 2
    assert told["baked"] == [["FINISHED"], [[64, 64]]]


def test_projections_are_taken_off_again(told):
    assert told["unprojected"] == [2, True]
    assert "Select one" in told["nothing projected"]


def test_one_apply_is_one_step_of_undo_and_undoing_takes_no_result_away(told):
    before, applied, undone = told["undo"]
    assert (applied, undone) == (before + 1, before)
    assert told["undone results"]
    width, height, _ = told["card size"]
    assert width == pytest.approx(height)
    assert width > 0.1


def test_undo_while_a_job_runs_breaks_nothing(told):
    assert told["undone meanwhile"] == [0, 6, 1]


def test_a_mesh_that_was_deleted_meanwhile_is_a_sentence_and_no_crash(told):
    assert "are gone" in told["gone"]


def test_a_repaint_changes_what_shows_the_head_and_not_one_pixel_outside(told):
    assert told["repaint"] == [1, True, True]
    assert told["repaint changed"] > 0.9
    assert "Choose one" in told["no image"]


def test_a_result_is_saved_byte_for_byte_its_settings_are_reused_and_it_can_be_discarded(told):
    assert told["saved"]
    assert told["reused"] == ["a pilot", 7, True]
    assert told["discarded"] == [1, False]


def test_the_panel_shows_progress_with_a_button_to_cancel(told):
    lines = told["panel"]
    assert [line for line in lines if line.startswith("progress")]
    assert "operator likeness.cancel" in lines


def test_maps_that_were_left_out_are_told_once(told):
    assert "left out" in told["left out"]
    assert "left out" not in " ".join(told["panel"])


def test_each_result_has_its_buttons(told):
    lines = told["results panel"]
    assert {f"operator likeness.{name}" for name in ("card", "project", "open", "save", "reuse", "discard")} <= set(lines)


def test_a_photo_without_a_face_is_refused_by_name(told):
    assert told["no face"] == "Photo 1 shows no face."
