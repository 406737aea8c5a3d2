"""The add-on in real Blender: on, off and on again, and what its panels show."""

from __future__ import annotations

PANELS = {"backend", "character", "rig", "shot", "prompt", "loras", "live", "repaint", "advanced", "results"}


def test_it_is_switched_on_off_and_on_again_and_leaves_nothing(play):
    told = play("panels")
    assert len(told["on"]["classes"]) > 30
    assert told["again"] == told["on"]
    assert told["off"] == {"classes": [], "properties": [False, False]}
    assert told["ticking"]
    assert told["silent"]


def test_switching_it_on_looks_for_no_backend_and_makes_no_folder_of_it(play):
    assert not play("panels")["opened_by_registering"]
    assert not play("panels")["state_made"]


def test_every_panel_draws_with_nothing_in_the_scene_and_with_everything_set(play):
    for state in ("empty", "with_rig"):
        drawn = play("panels")[state]
        assert {name.removeprefix("LIKENESS_PT_") for name in drawn if "_PT_" in name} == PANELS
        assert all(lines for lines in drawn.values())


def test_without_a_backend_the_buttons_and_the_reason_are_there(play):
    lines = play("panels")["empty"]["LIKENESS_PT_prompt"]
    assert {"operator likeness.portrait", "operator likeness.texture"} <= set(lines)
    assert "likeness blender install" in " ".join(line.removeprefix("label ") for line in lines)


def test_each_guide_has_a_switch_and_a_weight(play):
    lines = play("panels")["empty"]["LIKENESS_PT_shot"]
    for name in ("skeleton", "depth", "normals", "face"):
        assert f"prop use_{name}" in lines
        assert {f"prop {name}", f"prop {name} off"} & set(lines)
    assert "prop normals off" in lines


def test_a_rig_shows_how_many_joints_were_found_and_a_joint_can_be_left_out(play):
    told = play("panels")
    assert "label 18/18 Rigify" in told["with_rig"]["LIKENESS_PT_rig"]
    assert "operator likeness.joint" in told["with_rig"]["LIKENESS_PT_rig"]
    assert told["corrected"]


def test_face_points_are_placed_on_the_skin_and_taken_away_again(play):
    told = play("panels")
    assert "operator likeness.remove_points" not in told["with_rig"]["LIKENESS_PT_rig"]
    assert told["with_points"] == ["label 5/5 Face", "operator likeness.remove_points"]
    x, y, z = told["placed"]["likeness_nose"]
    assert (x, z) == (0.0, 1.75)
    assert -0.1201 < y < -0.119
    assert told["placed"]["likeness_eye.R"][0] == -0.03
    assert told["without_points"] == []


def test_maps_are_previewed_without_a_backend_and_replace_those_of_the_last_time(play):
    told = play("panels")
    assert told["answer"] == ["FINISHED"]
    assert {"Likeness skeleton", "Likeness depth"} <= set(told["previewed"])
    assert told["previewed_again"] == told["previewed"]
    assert told["with_previews"]


def test_what_cannot_be_is_a_sentence_with_what_to_do(play):
    refused = play("panels")["refused"]
    assert "Choose one of its bones" in refused["no bone"]
    assert "No backend is installed" in refused["no backend"]


def test_settings_are_kept_in_the_file_and_the_session_outlives_it(play):
    told = play("panels")
    assert (told["fresh"], told["kept"]) == ("", "a pilot")
    assert told["same_session"]
    assert told["renamed"] == "Berta"


def test_a_deleted_rig_is_no_rig(play):
    lines = play("panels")["after_deleting"]
    assert not [line for line in lines if "18" in line]


def test_without_work_the_timer_comes_twice_a_second(play):
    assert play("panels")["next_beat"] == 0.5
