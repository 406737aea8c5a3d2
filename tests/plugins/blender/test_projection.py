"""A picture on a mesh, measured: plain renders before and after, in real Blender. Materials below shine with one grey."""

from __future__ import annotations

import numpy as np
import pytest

GREY = 124
"""What a light of 0.2 is in sRGB."""


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The largest of a pixel's three colours, in levels."""
    return np.abs(one[..., :3].astype(int) - other[..., :3].astype(int)).max(axis=2)


def shows_grey(picture: np.ndarray) -> np.ndarray:
    return (np.abs(picture[..., :3].astype(int) - GREY) <= 1).all(axis=2)


def test_seen_from_its_own_camera_the_head_is_the_picture(play):
    kept = play("projection").arrays("head")
    looked_at = kept["covered"] & (kept["normals"][..., 2] > np.cos(np.radians(60)))
    assert looked_at.mean() > 0.15
    assert difference(kept["after0"], kept["picture"])[looked_at].mean() < 0.6
    assert np.quantile(difference(kept["after0"], kept["picture"])[looked_at], 0.99) <= 3


def test_no_pixel_beside_the_head_changes(play):
    kept = play("projection").arrays("head")
    empty = kept["before0"][..., 3] == 0
    assert empty.mean() > 0.3
    assert (kept["after0"][empty] == kept["before0"][empty]).all()


def test_a_picture_shifted_by_one_pixel_would_be_noticed(play):
    kept = play("projection").arrays("head")
    looked_at = kept["covered"] & (kept["normals"][..., 2] > np.cos(np.radians(60)))
    assert difference(kept["after0"], np.roll(kept["picture"], 1, axis=1))[looked_at].mean() > 5


def test_the_back_of_the_head_keeps_its_old_material(play):
    kept = play("projection").arrays("head")
    assert (kept["after180"] == kept["before180"]).all()
    back = np.zeros(kept["after90"].shape[:2], bool)
    back[:, back.shape[1] // 2 + 8 :] = True  # from the person's left, the face is on the viewer's left
    changed = difference(kept["after90"], kept["before90"])
    assert changed[back].max() == 0
    assert changed[~back].max() > 50


def test_every_corner_is_where_blender_s_camera_sees_it(play):
    assert play("projection")["corners"] < 0.02


def test_one_large_face_seen_steeply_is_true_to_perspective(play):
    kept = play("projection").arrays("cube")
    inside = (kept["before"][..., 3] > 0) & ~shows_grey(kept["after"])
    assert play("projection")["cube exact"]
    assert inside.mean() > 0.1
    assert np.quantile(difference(kept["after"], kept["picture"])[inside], 0.98) <= 3


def test_plain_texture_coordinates_would_bend_it(play):
    kept = play("projection").arrays("cube")
    inside = (kept["before"][..., 3] > 0) & ~shows_grey(kept["after"])
    assert np.quantile(difference(kept["bent"], kept["picture"])[inside], 0.9) > 10


def test_what_stands_before_a_wall_is_not_painted_onto_it(play):
    kept = play("projection").arrays("wall")
    ball = (kept["with_before"][..., 2] > 200) & (kept["with_before"][..., 0] < 10)
    assert ball.sum() > 1000
    core = ball & np.roll(ball, 3, 0) & np.roll(ball, -3, 0) & np.roll(ball, 3, 1) & np.roll(ball, -3, 1)
    assert shows_grey(kept["without"])[core].all()
    assert difference(kept["with_after"], kept["with_before"])[ball].max() == 0
    around = ~ball & (kept["without"][..., 3] > 0)
    assert (difference(kept["without"], kept["picture"])[around] <= 3).mean() > 0.99


def test_beside_the_picture_the_wall_keeps_its_old_material(play):
    kept = play("projection").arrays("beside")
    height, width = kept["after"].shape[:2]
    within = np.zeros((height, width), bool)
    within[height // 4 - 1 : height - height // 4 + 1, width // 4 - 1 : width - width // 4 + 1] = True
    assert shows_grey(kept["after"])[~within].all()
    assert not shows_grey(kept["after"])[height // 4 + 2 : -height // 4 - 2, width // 4 + 2 : -width // 4 - 2].any()


def test_clear_pixels_show_what_is_below(play):
    kept = play("projection").arrays("clear")
    clear = np.zeros(kept["before"].shape[:2], bool)
    clear[:, : clear.shape[1] // 2 - 1] = True
    assert (kept["after"][clear] == kept["before"][clear]).all()
    assert difference(kept["after"], kept["before"])[~clear].max() > 50


@pytest.mark.parametrize(("turn", "colour"), [(0, 0), (-70, 1), (70, 2)])
def test_of_three_cameras_each_paints_what_it_looks_at(play, turn: int, colour: int):
    picture = play("cameras").arrays(f"cameras{turn}")["after"].astype(int)
    middle = picture[80:112, 118:138, :3].reshape(-1, 3)
    others = [index for index in range(3) if index != colour]
    assert (middle[:, colour] > 235).all()
    assert (middle[:, others] < 60).mean() > 0.95


def test_between_two_cameras_the_pictures_blend_without_an_edge(play):
    """Seen from between them, red runs over into blue: along a row no pixel differs from the next by half of the way."""
    row = play("cameras").arrays("cameras35")["after"][96].astype(int)
    head = np.flatnonzero(row[:, 3] > 0)[12:-12]
    assert row[head, 0].max() > 200
    assert row[head, 2].max() > 200
    assert np.abs(np.diff(row[head, :3], axis=0)).max() < 60
    assert not shows_grey(row[head][None])[0].any()


def test_pictures_of_one_head_put_together_look_like_it_from_between(play):
    kept = play("cameras").arrays("put together")
    inside = (kept["known"][..., 3] == 255) & (kept["after"][..., 3] == 255)
    levels = difference(kept["after"], kept["known"])[inside]
    assert kept["known"][inside][:, :3].std() > 20
    assert levels.mean() < 3
    assert np.quantile(levels, 0.9) <= 6
    assert difference(np.roll(kept["after"], 3, axis=1), kept["known"])[inside].mean() > 15  # pictures that miss each other by that


def test_no_camera_paints_the_back(play):
    picture = play("cameras").arrays("cameras180")["after"]
    assert shows_grey(picture[80:112, 118:138]).all()


def test_one_of_several_pictures_can_be_taken_off(play):
    played = play("cameras")
    assert played["layers"] == ["Likeness 1", "Likeness 2", "Likeness 3"]
    assert played["two left"] == ["Likeness 1", "Likeness 3"]
    picture = played.arrays("without the second")["after"].astype(int)
    assert picture[80:112, 118:138, 1].max() <= GREY + 1


def test_looking_changes_nothing(play):
    assert play("cameras")["looking"] == []


def test_two_objects_get_one_picture_each_with_its_own_materials(play):
    both = play("cameras")["both"]
    assert both["layers"] == ["Likeness 1", "Likeness 2"]
    assert sorted(both["objects"]) == ["Bare", "Head"]
    assert both["active"] == "UVMap"
    assert all("Likeness 2" in name for name in (*both["slots"], *both["bare"]))
    assert both["materials"] == 4  # the user's two, and one of ours for "Below" and one for the head without any


def test_a_mesh_turned_inside_out_by_its_scale_is_painted_on_its_outside(play):
    kept = play("cameras").arrays("mirrored")
    right = kept["after"][90:102, 221:237]
    assert (right[..., 3] > 0).all()
    assert difference(right, kept["picture"][90:102, 221:237]).mean() < 3


def test_taking_all_pictures_off_leaves_every_property_as_it_was(play):
    assert play("cameras")["removed"] == 4
    assert play("cameras")["after removing"] == []
