"""Live pictures in real Blender, with a real backend whose worker paints one colour per seed."""

from __future__ import annotations

import sys
from typing import Any

import pytest

pytestmark = pytest.mark.slow

LIMIT_S = 0.005
SHARE = 10
"""By how much a look at a heavy head must be quicker than an ordinary one; it is forty times."""


@pytest.fixture
def told(play, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("LIKENESS_TEST_PYTHON", sys.executable)
    return play("live", alone=True)["told"]


# What is seen of the rig ------------------------------------------------------------------------------------------------------------------
def test_the_points_are_those_of_an_ordinary_portrait_however_the_head_turns(told):
    """No ray is cast once a head was measured; this is what that may cost."""
    assert len(told["off"]) == 4 * 8
    for pose, (pixels, quick, slow) in told["off"].items():
        assert pixels < 0.01, pose
        assert quick == slow == (0 if pose.split()[1] in {"90", "180"} else 5), pose


def test_a_look_at_a_heavy_head_is_no_more_than_the_window_can_wait_for(told):
    """Processor time: the best of what was measured, as other work only adds to it."""
    assert told["vertices"] > 40_000
    assert min(told["spent"]["live"]) < LIMIT_S
    assert min(told["spent"]["live"]) * SHARE < max(told["spent"]["portrait"]), "the unsafe twin: lines of sight at every look"


def test_to_show_a_picture_takes_no_longer_and_leaves_an_image_that_need_not_be_saved(told):
    assert told["show"][0] < LIMIT_S
    name, dirty, kept, users, count = told["image"]
    assert (name, dirty, kept, users, count) == ("Likeness Live", False, False, 0, 1)
    assert told["kept"] == []


# Following --------------------------------------------------------------------------------------------------------------------------------
def test_a_picture_of_the_pose_comes_into_the_image(told):
    assert told["points"]
    assert told["first"] == [True, True, "Likeness Live"]
    assert told["sampling"] == [50, "a pilot", "Ada", 4]


def test_a_moved_bone_and_a_moved_camera_are_one_job_each_with_the_new_points(told):
    assert told["moved"] == [1, True]
    assert told["camera"] == 2


def test_the_next_picture_comes_into_the_same_image(told):
    assert told["same image"] == [True, True, False]


def test_nothing_is_looked_at_while_nothing_moves_and_nothing_is_sent_when_a_lamp_does(told):
    assert told["still"] == [0, 0]
    assert told["lamp"] == 0


def test_of_ten_quick_moves_the_last_is_drawn_and_not_all_of_them(told):
    assert told["ten"] == [True, True]


def test_live_pictures_are_no_steps_of_undo_and_what_is_undone_is_followed(told):
    assert told["undo"] == 0.0, "one step back undid the artist's own last change"
    assert told["undone"] == [True, 1]


def test_an_image_editor_that_shows_nothing_shows_it_and_has_it_back_after_undo_took_it(told):
    assert told["editor"] == [True, True, False, True]
    assert told["another image"], "an editor that shows something else is left alone"


def test_an_image_that_was_deleted_is_made_anew(told):
    assert told["made anew"] == 1


def test_in_full_is_one_ordinary_picture_with_the_same_seed_and_live_ones_wait_for_it(told):
    assert told["full"] == [["FINISHED"], 52, 1, 52, 0]
    assert told["full waits"] == ["The picture under way comes first; live ones go on after it.", True]
    assert told["full size"] == [96, 64]


# In the way -------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("obstacle", "words"), [("no camera", "Add one"), ("no rig", "Choose an armature"), ("other scene", "No window shows the scene Scene")]
)
def test_what_stands_in_the_way_is_said_nothing_is_sent_and_it_goes_on_afterwards(told, obstacle: str, words: str):
    sentence, quiet = told[obstacle]
    assert words in sentence
    assert quiet


def test_a_window_with_another_scene_says_which_one_is_followed(told):
    assert "Other" in " ".join(told["elsewhere"])
    assert "Live follows the scene Other" in told["elsewhere full"]
    assert "deleted" in told["deleted scene"]


def test_without_a_window_it_cannot_be_switched_on_and_says_why(told):
    sentence, on, untouched = told["refused"]
    assert "need a window" in sentence
    assert (on, untouched) == (False, True)
    assert told["refused script"] == sentence


def test_a_lost_backend_is_said_and_live_stays_on(told):
    assert told["lost"] == ["Live waits for the backend, which is not connected.", True]


# On and off -------------------------------------------------------------------------------------------------------------------------------
def test_it_adds_handlers_that_are_gone_when_it_is_off(told):
    kinds = ("depsgraph_update_post", "frame_change_post", "load_post", "redo_post", "undo_post")
    assert told["handlers"] == dict.fromkeys(kinds, 1)
    assert told["switch"]
    assert told["beat"]
    assert told["switched off"] == [True, False, 1]
    assert told["off looks"] == 0
    assert told["idle"]


def test_another_file_and_switching_the_add_on_off_leave_no_handler(told):
    assert told["another file"] == [True, False]
    assert told["still off"] == [True, False]
    assert told["unregistered"] == [True, False]


def test_the_panel_has_its_switch_the_picture_and_two_buttons(told):
    switch, alike, *buttons = told["panel"]
    assert switch == "prop likeness_live"
    assert "alike" in alike
    assert buttons == ["operator likeness.live_full", "operator likeness.live_editor"]
