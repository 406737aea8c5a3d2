"""The picture to repaint comes out of Blender as it is shown there, and the scene does not notice."""

from __future__ import annotations

import numpy as np


def test_the_last_render_is_read_pixel_by_pixel(play):
    kept = play("renders").arrays("render")
    assert kept["plain"][..., 3].max() == 255
    assert np.abs(kept["last"].astype(int) - kept["plain"]).max() <= 1


def test_a_fresh_render_is_the_user_s_own(play):
    kept = play("renders").arrays("render")
    inside = kept["plain"][..., 3] == 255
    assert (kept["fresh"][..., 3] == kept["plain"][..., 3]).all()
    assert np.abs(kept["fresh"].astype(int) - kept["plain"])[inside].max() <= 1


def test_a_fresh_render_has_the_size_and_the_camera_asked_for(play):
    kept = play("renders").arrays("render")
    assert kept["larger"].shape == (128, 192, 4)
    assert kept["aside"].shape == kept["fresh"].shape
    assert (kept["aside"] != kept["fresh"]).any()


def test_masks_are_the_pixels_that_show_the_object(play):
    kept = play("renders").arrays("render")
    red = (kept["plain"][..., 0] > 200) & (kept["plain"][..., 3] == 255)
    blue = (kept["plain"][..., 2] > 200) & (kept["plain"][..., 3] == 255)
    assert min(red.sum(), blue.sum()) > 200
    # The ball was moved without a key, and the render shows where the key has it.
    assert (kept["cube"] == np.where(blue, 255, 0)).all()
    assert set(np.unique(kept["ball"])) == {0, 255}
    assert not ((kept["ball"] > 0) & (kept["cube"] > 0)).any()


def test_a_joined_mask_is_drawn_out(play):
    kept = play("renders").arrays("render")
    both = (kept["cube"] > 0) | (kept["ball"] > 0)
    assert (kept["grown"][both] == 255).all()
    rows, columns = np.nonzero(both)
    wider = np.flatnonzero((kept["grown"] > 0).any(axis=0))
    assert (wider.min(), wider.max()) == (columns.min() - 2, columns.max() + 2)
    assert rows.size < (kept["grown"] > 0).sum()


def test_the_file_the_settings_and_the_last_render_stay(play):
    played = play("renders")
    kept = played.arrays("render")
    assert played["changed"] == []
    assert played["heard"] == 0
    assert played["files"] == []
    assert (kept["last again"] == kept["last"]).all()


def test_a_careless_render_would_be_noticed(play):
    played = play("renders")
    kept = played.arrays("render")
    assert played["careless"]
    assert (kept["last careless"] != kept["last"]).any()


def test_without_a_render_or_a_camera_a_sentence_says_so(play):
    assert "no render" in play("renders")["none yet"]
    assert "no camera" in play("renders")["no camera"]
