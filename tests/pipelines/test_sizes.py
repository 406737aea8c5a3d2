"""The model's sizes: SDXL's own, the same proportions for other models, and the one that InstantID must not be given."""

from __future__ import annotations

import pytest

from backend.pipelines.sizes import INSTANTID_AVOIDS, SDXL_BUCKETS, buckets, nearest_size, snap
from protocol.geometry import Extent


def test_sdxls_buckets_have_its_area_and_its_grid() -> None:
    assert len(set(SDXL_BUCKETS)) == 41
    for bucket in SDXL_BUCKETS:
        assert (bucket.width % 64, bucket.height % 64) == (0, 0)
        assert 0.89 < bucket.area / 1024**2 <= 1.01
        assert Extent(bucket.height, bucket.width) in SDXL_BUCKETS


def test_other_models_get_the_same_proportions_on_their_grid() -> None:
    assert buckets(1024, 64) == SDXL_BUCKETS
    small = buckets(128, 16)
    assert small[0] == Extent(128, 128)
    assert all(one.width % 16 == one.height % 16 == 0 for one in small)
    assert all(0.7 < one.area / 128**2 < 1.3 for one in small)


@pytest.mark.parametrize(
    ("shape", "bucket"),
    [
        (Extent(1000, 1500), Extent(832, 1216)),
        (Extent(1920, 1080), Extent(1344, 768)),
        (Extent(333, 333), Extent(1024, 1024)),
        (Extent(1, 4000), Extent(512, 2048)),
    ],
)
def test_the_nearest_proportions_are_taken(shape: Extent, bucket: Extent) -> None:
    assert nearest_size(shape, SDXL_BUCKETS) == bucket


def test_the_size_that_instantid_must_not_have_can_be_left_out() -> None:
    allowed = [one for one in SDXL_BUCKETS if one != INSTANTID_AVOIDS]
    near = nearest_size(Extent(500, 500), allowed)
    assert near != Extent(1024, 1024)
    assert 0.9 < near.width / near.height < 1.1


def test_the_longest_proportions_can_be_bounded() -> None:
    assert nearest_size(Extent(1, 4000), SDXL_BUCKETS, longest=2) == Extent(704, 1408)
    assert nearest_size(Extent(1, 4000), [Extent(100, 900)], longest=2) == Extent(100, 900), "where a model has no other"


def test_snapping_goes_to_the_nearest_multiple_and_never_to_nothing() -> None:
    assert snap(Extent(100, 101), 8) == Extent(96, 104)
    assert snap(Extent(1, 1), 64) == Extent(64, 64)
