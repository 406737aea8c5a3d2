"""Everything that can stand before a camera is in the maps, or is not, as it is in a render."""

from __future__ import annotations

import pytest

SHARES = {
    "hair": (0.3, 0.7),
    "metaball": (0.3, 0.7),
    "empty mesh": (0, 0),
    "mesh in edit mode": (0.5, 1),
    "not for cameras": (0, 0),
    "moved without a key": (0, 0),
    "geometry nodes": (0.02, 0.2),
    "alpha in the shader": (0.49, 0.51),
    "alpha by mixing": (0.49, 0.51),
}


@pytest.mark.parametrize("kind", SHARES)
def test_what_is_rendered_covers_the_maps(play, kind: str):
    least, most = SHARES[kind]
    assert least <= play("kinds")["shares"][kind] <= most


@pytest.mark.parametrize("kind", SHARES)
def test_nothing_of_it_is_left_in_the_file(play, kind: str):
    assert set(play("kinds")["left"][kind].values()) == {0}
