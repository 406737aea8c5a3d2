"""A baked texture shows what the projection showed, from its camera and from elsewhere, and baking leaves the rest alone."""

from __future__ import annotations

import numpy as np
import pytest

KINDS = ("flat", "lit", "without UVs", "subdivided")


def differences(play, kind: str, turn: int) -> np.ndarray:
    """Levels between the renders with the pictures and with the texture, for the pixels of the head."""
    kept = play("bake").arrays(kind)
    before, after = kept[f"before{turn}"], kept[f"after{turn}"]
    assert (before[..., 3] == after[..., 3]).all()
    return np.abs(before[..., :3].astype(int) - after[..., :3])[before[..., 3] > 0].max(axis=1)


@pytest.mark.parametrize("turn", [0, 60])
@pytest.mark.parametrize("kind", KINDS)
def test_the_texture_looks_as_the_pictures_did(play, kind: str, turn: int):
    levels = differences(play, kind, turn)
    assert levels.size > 4000
    # Two materials meet at every second face of the subdivided head, which 512 texels cannot draw sharply.
    assert levels.mean() < (12 if kind == "subdivided" else 2.5)
    assert np.quantile(levels, 0.9) <= (60 if kind == "subdivided" else 6)


@pytest.mark.parametrize("kind", ["flat", "without UVs"])
def test_no_seam_is_black(play, kind: str):
    """The picture and the skin below have no darker colour than 20."""
    kept = play("bake").arrays(kind)
    for turn in (0, 60):
        after = kept[f"after{turn}"]
        assert after[after[..., 3] > 0][:, :3].max(axis=1).min() > 60


@pytest.mark.parametrize("kind", KINDS)
def test_the_texture_is_packed_and_takes_the_pictures_place(play, kind: str):
    told = play("bake")[kind]
    assert told["packed"]
    assert told["size"] == [512, 512]
    assert told["layers"] == 0
    assert not any("Likeness 1" in name for name in told["materials"])


def test_a_mesh_keeps_its_own_map_and_one_without_gets_one(play):
    assert play("bake")["flat"]["maps"] == ["UVMap"]
    assert play("bake")["without UVs"]["maps"] == ["Likeness texture"]
    assert play("bake")["own map"]


def test_the_user_s_material_is_still_in_the_file(play):
    assert "Skin" in play("bake")["lit"]["materials"]


def test_baking_changes_nothing_but_the_new_image(play):
    played = play("bake")
    assert played["untouched"] == []
    assert played["mode"] == ["EDIT_MESH", "Cube"]
    assert played["heard"] == 0
    assert played["last render kept"]


def test_baking_takes_back_no_pose_that_has_no_key(play):
    """As Blender's own rendering does, which asks the animation once more."""
    assert play("bake")["a render's pose"] == 3
    assert play("bake")["pose"] == 5


def test_baking_that_breaks_half_way_leaves_nothing(play):
    played = play("bake")
    assert played["broken"] == "broken by the test"
    assert played["after breaking"] == []
    assert played["images left"] == 0
