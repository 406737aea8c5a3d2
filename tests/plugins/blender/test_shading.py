"""A projected picture is lit like the skin below, or shines; holes in the skin stay holes."""

from __future__ import annotations

import numpy as np
import pytest

COLOUR = np.array([200, 120, 80])


def middle(picture: np.ndarray) -> np.ndarray:
    return picture[45:75, 65:95]


def test_a_lit_picture_is_the_colour_of_the_skin(play):
    kept = play("shading").arrays("lit")
    assert play("shading")["shading"] == "lit"
    came, known = middle(kept["came"]).astype(int), middle(kept["known"]).astype(int)
    assert known[..., :3].std() > 5  # lit from the side
    assert np.abs(came - known).mean() < 1.5


@pytest.mark.parametrize("kind", ["glossy", "none"])
def test_a_lit_picture_is_seen_over_any_material(play, kind: str):
    """In the proportions of its colours, as bright as the light makes it."""
    seen = middle(play("shading").arrays(kind)["came"])[..., :3].astype(float)
    bright = seen[seen.max(axis=2) > 60]
    assert len(bright) > 100
    assert (bright[:, 0] > bright[:, 1]).mean() > 0.95
    assert (bright[:, 1] > bright[:, 2]).mean() > 0.95


@pytest.mark.parametrize("shading", ["flat", "lit"])
def test_holes_stay_holes(play, shading: str):
    kept = play("shading").arrays(f"holes {shading}")
    before, came = kept["before"], kept["came"]
    assert (before[:, 82:, 3] == 0).all()  # the head has only its one half
    assert (came[..., 3] == before[..., 3]).all()
    assert np.abs(middle(came)[:, 2:12].astype(int) - middle(before)[:, 2:12]).max() > 50
    if shading == "flat":
        assert np.abs(middle(came)[:, 2:12, :3].astype(int) - COLOUR).max() <= 2
