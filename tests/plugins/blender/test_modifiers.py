"""Pictures on meshes that are not what they look like: deformed, subdivided, posed, changed meanwhile. Measured in real Blender."""

from __future__ import annotations

import numpy as np
import pytest

EXACT = ("twisted", "shape keys", "posed", "triangulated")
SMOOTHED = ("subdivided", "posed, then subdivided", "subdivided, then twisted", "thickened")
GREY = 124
WORDS = {
    "mirror": "Mirror",
    "remesh": "Remesh",
    "shared": "single user",
    "edit mode": "object mode",
    "no mesh": "no mesh",
    "nothing chosen": "No mesh is chosen",
    "behind the camera": "sees no face",
    "not rendered": "sees no face",
    "eight maps": "8 UV maps",
    "linked": "linked from another file",
}


def missed(played, name: str) -> np.ndarray:
    """By how many levels the pixels of the head that show the picture miss it, without the outermost ones."""
    after = played.arrays(name)["after"]
    picture = played.arrays("picture")["pixels"]
    shows = (after[..., 3] > 0) & (np.abs(after[..., :3].astype(int) - GREY) > 1).any(axis=2)
    rows, columns = np.nonzero(shows)
    middle = np.hypot(rows - rows.mean(), columns - columns.mean()) < 0.32 * np.sqrt(shows.sum())
    assert middle.sum() > 2000
    return np.abs(after[..., :3].astype(int) - picture)[rows[middle], columns[middle]].max(axis=1)


@pytest.mark.parametrize("kind", EXACT)
def test_a_mesh_that_modifiers_move_shows_the_picture_where_it_looks_to_be(play, kind: str):
    assert play("modifiers")["shifts"][kind] < 0.05
    assert np.quantile(missed(play("modifiers"), kind), 0.95) <= 3


@pytest.mark.parametrize("kind", SMOOTHED)
def test_a_mesh_that_modifiers_rebuild_shows_it_within_a_pixel(play, kind: str):
    assert play("modifiers")["shifts"][kind] < 4
    assert np.quantile(missed(play("modifiers"), kind), 0.9) < 45  # a pixel of the lines' steepest slope is 39 levels


def test_a_picture_that_comes_back_later_belongs_to_the_pose_it_was_made_for(play):
    played = play("modifiers")
    assert played["later"] == ["Renamed"]
    assert np.quantile(missed(played, "later"), 0.95) <= 3
    assert np.quantile(missed(played, "later, turned"), 0.5) > 10


@pytest.mark.parametrize("kind", WORDS)
def test_what_cannot_take_a_picture_is_refused_with_a_sentence_and_left_alone(play, kind: str):
    assert WORDS[kind] in play("refused")["refused"][kind]
    assert play("refused")["untouched"][kind] == []


def test_objects_that_are_gone_or_changed_are_left_out(play):
    assert play("refused")["one deleted"] == ["Head"]
    assert "changed since" in play("refused")["refused"]["changed"]


def test_one_undo_takes_a_projection_back_and_redo_brings_it_again(play):
    played = play("refused")
    assert played["done"] == ["Likeness 1"]
    assert played["undone"] == {"layers": [], "maps": ["UVMap"], "material": "Below", "attributes": []}
    assert played["redone"] == [["Likeness 1"], "Below + Likeness 1"]
    assert played["removed after redo"] == 1


def test_a_projection_is_saved_with_the_file(play):
    played = play("refused")
    assert played["saved"] == ["Likeness 1"]
    assert np.quantile(missed(played, "saved"), 0.9) < 45
    assert played["removed after loading"] == [1, "Below"]
