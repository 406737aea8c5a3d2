"""Taking the maps leaves the user's file as it was: every property of every datablock, before and after, in real Blender."""

from __future__ import annotations


def test_nothing_in_the_file_has_changed(play):
    played = play("untouched")
    assert played["count"] > 2000
    assert played["difference"] == []
    assert played["before"] == played["after"]
    assert played["covered"] > 0
    assert played["seen"] > 8


def test_nothing_has_changed_either_when_rendering_breaks_half_way(play):
    played = play("untouched")
    assert played["broken"] == ["broken by the test"]
    assert played["difference_after_breaking"] == []


def test_the_same_list_notices_a_careless_map_render(play):
    assert any("engine" in line for line in play("untouched")["careless"])
    assert any("frame_current" in line for line in play("untouched")["careless"])


def test_other_add_ons_do_not_hear_of_it_and_no_file_is_left(play):
    assert play("untouched")["heard"] == 0
    assert play("untouched")["files"] == []
