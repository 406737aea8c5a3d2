"""A preview looks like the picture, whatever the VAE is; the matrix is found from examples."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from backend.pipelines.frames import Frame
from backend.pipelines.preview import SD15, SDXL, PreviewMatrix, fit_matrix, latents_to_rgb
from protocol.errors import ModelError
from protocol.geometry import Bounds, Extent


def test_a_linear_world_is_found_exactly() -> None:
    rng = np.random.default_rng(0)
    truth = PreviewMatrix(rng.normal(0, 0.08, (4, 3)).astype(np.float32), np.array([0.5, 0.4, 0.6], np.float32))
    latents = rng.standard_normal((3, 4, 16, 16)).astype(np.float32).clip(-1.5, 1.5)
    small = np.stack([latents_to_rgb(one, truth) for one in latents])
    found = fit_matrix(latents, small.repeat(4, axis=1).repeat(4, axis=2))
    np.testing.assert_allclose(found.factors, truth.factors, atol=2e-3)
    np.testing.assert_allclose(found.bias, truth.bias, atol=2e-3)
    assert abs(latents_to_rgb(latents[0], found).astype(int) - small[0]).max() <= 1


def test_a_tensor_of_any_kind_gives_the_same_preview_as_an_array() -> None:
    values = torch.randn(1, 4, 8, 6, generator=torch.Generator().manual_seed(1))
    expected = latents_to_rgb(values[0].numpy())
    assert expected.shape == (8, 6, 3)
    assert np.array_equal(latents_to_rgb(values.requires_grad_()), expected)
    assert abs(latents_to_rgb(values.detach().half()).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("matrix", [SDXL, SD15])
def test_no_latents_are_a_middling_grey_and_extremes_stay_in_range(matrix: PreviewMatrix) -> None:
    grey = latents_to_rgb(np.zeros((4, 2, 2), np.float32), matrix)
    assert 100 < grey.mean() < 160
    wild = np.array([1e9, -1e9, np.nan, np.inf], np.float32)
    assert latents_to_rgb(np.tile(wild, (4, 1)).reshape(4, 2, 2), matrix).dtype == np.uint8


def test_the_table_survives_json() -> None:
    table = json.loads(json.dumps(SDXL.to_table()))
    latents = np.random.default_rng(2).standard_normal((4, 5, 5)).astype(np.float32)
    assert abs(latents_to_rgb(latents, table).astype(int) - latents_to_rgb(latents)).max() <= 1


@pytest.mark.parametrize("factors", [[[1, 2]], "x", [[0, 0, float("nan")]] * 4, 7, None])
def test_a_wrong_table_gets_a_sentence(factors: object) -> None:
    for table in ({"factors": factors, "bias": [0, 0, 0]}, {"factors": factors}):
        with pytest.raises(ModelError, match=r"preview\.json"):
            latents_to_rgb(np.zeros((4, 2, 2), np.float32), table)


def test_other_channels_than_the_matrix_has_get_a_sentence() -> None:
    with pytest.raises(ModelError, match="16 channels"):
        latents_to_rgb(np.zeros((16, 2, 2), np.float32))


def test_a_preview_shows_the_whole_picture_with_the_drawn_part_in_its_place() -> None:
    canvas = np.full((300, 400, 3), (10, 20, 30), np.uint8)
    drawn = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    whole = Frame(Bounds(200, 100, 160, 160), Extent(128, 128)).spread(drawn, Extent(400, 300), canvas)
    assert whole.shape == (30, 40, 3)
    inside = np.zeros((30, 40), bool)
    inside[10:26, 20:36] = True
    assert (whole[inside] == (200, 100, 50)).all()
    assert (whole[~inside] == (10, 20, 30)).all()


def test_a_preview_of_a_picture_that_is_drawn_whole_stays_as_it_is() -> None:
    drawn = np.zeros((16, 16, 3), np.uint8)
    assert Frame(Bounds(0, 0, 128, 128), Extent(128, 128)).spread(drawn, Extent(128, 128), None) is drawn


def test_a_preview_of_a_picture_in_other_proportions_than_the_models_is_the_part_that_is_kept() -> None:
    drawn = np.repeat(np.arange(16, dtype=np.uint8)[:, None, None] * 16, 16, axis=1).repeat(3, axis=2)
    whole = Frame(Bounds(0, -32, 128, 128), Extent(128, 128)).spread(drawn, Extent(128, 64), None)
    assert (whole == drawn[4:12]).all()


def test_a_preview_of_a_small_part_of_a_large_canvas_stays_small() -> None:
    canvas = np.zeros((4000, 6000, 3), np.uint8)
    whole = Frame(Bounds(5900, 3900, 64, 64), Extent(1024, 1024)).spread(np.full((128, 128, 3), 255, np.uint8), Extent(6000, 4000), canvas)
    assert whole.shape == (341, 512, 3)
    assert whole.any()
