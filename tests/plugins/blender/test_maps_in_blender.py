"""Depth and normals as Cycles gives them, against a z-buffer in numpy of the same triangles."""

from __future__ import annotations

import numpy as np
import pytest

KINDS = ("perspective", "orthographic")


@pytest.mark.parametrize("kind", KINDS)
def test_a_surface_is_seen_where_a_z_buffer_sees_one(play, kind: str):
    kept = play("maps").arrays(kind)
    assert 0.3 < kept["covered"].mean() <= 1.0
    assert (kept["covered"] == (kept["nearest"] > 0)).mean() > 0.998


@pytest.mark.parametrize("kind", KINDS)
def test_every_distance_is_the_z_buffer_s(play, kind: str):
    kept = play("maps").arrays(kind)
    both = kept["covered"] & (kept["nearest"] > 0)
    difference = np.abs(kept["distance"] - kept["nearest"])[both]
    assert np.quantile(difference, 0.98) < 1e-3
    assert (difference > 0.02).mean() < 0.01  # pixels on an edge, which fall to either side


@pytest.mark.parametrize("kind", KINDS)
def test_normals_are_unit_vectors_that_look_at_the_viewer_and_agree_with_the_triangles(play, kind: str):
    kept = play("maps").arrays(kind)
    both = kept["covered"] & (kept["nearest"] > 0)
    normals, flat = kept["normals"][both], kept["flat"][both]
    assert np.linalg.norm(normals, axis=1) == pytest.approx(1.0, abs=1e-3)
    # A triangle's own normal may look away; smooth shading differs from it by some degrees.
    cosine = np.abs((normals * flat).sum(axis=1))
    assert np.quantile(cosine, 0.05) > np.cos(np.radians(12))
    assert (normals[:, 2] > -0.3).all()
    flat_shaded = cosine > np.cos(np.radians(0.5))
    assert flat_shaded.mean() > 0.3


def test_pictures_have_the_size_that_was_asked_for_and_the_colours_of_the_networks(play):
    kept = play("maps").arrays("pictures")
    depth, normals = kept["depth"], kept["normals"]
    assert depth.shape == normals.shape == (144, 96, 3)
    nothing = (depth == 0).all(axis=2)
    assert 0.2 < nothing.mean() < 0.9
    assert (normals[nothing] == (128, 128, 255)).all()
    assert depth.max() == 255
    assert depth[~nothing].min() >= 24


def test_a_ball_looks_left_on_the_viewer_s_left_and_up_on_top(play):
    """The ball is the smooth thing in the middle; camera space has x to the right and y up."""
    normals = play("maps").arrays("orthographic")["normals"]
    rows, columns = np.mgrid[40:90, 55:105]
    ball = normals[40:90, 55:105]
    assert np.corrcoef(columns.ravel(), ball[..., 0].ravel())[0, 1] > 0.7
    assert np.corrcoef(rows.ravel(), ball[..., 1].ravel())[0, 1] < -0.7


def test_a_scene_that_cannot_be_drawn_says_why(play):
    played = play("maps")
    assert "no camera" in played["refused"]["none"]
    assert "panoramic" in played["refused"]["panoramic"]
    assert played["nothing"] == 0
