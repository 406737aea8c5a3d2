"""The VAE in tiles: nearly what it makes of the whole, without seams, and nothing of it stays in the shared module."""

from __future__ import annotations

from contextlib import contextmanager

import diffusers
import numpy as np
import pytest
import torch

from backend.images import to_plane
from backend.pipelines import tiles
from backend.pipelines.tiles import needs_tiles, tiled
from backend.training.drawing import draw
from backend.training.world import person, shot
from backend.workbench import BUILT_IN
from protocol.geometry import Extent
from protocol.jobs import Canvas, PictureJob, Sampling


@pytest.fixture(scope="module")
def vae():
    return diffusers.AutoencoderKL.from_pretrained(BUILT_IN / "vae").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    """Four drawn people on different grounds, (1, 3, 256, 256): what a tile sees differs much from what its neighbour sees."""
    rng = np.random.default_rng(1)
    rows = [np.concatenate([draw(person(10_000_000 + 2 * row + one), shot(rng), 128).picture for one in range(2)], 1) for row in range(2)]
    return torch.from_numpy(np.concatenate(rows)).permute(2, 0, 1)[None].float() / 127.5 - 1


@contextmanager
def small_tiles():
    """Tiles of 128 pixels, so that a small picture has several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE", 128)
        yield


def levels(one, other):
    """The difference in levels of 255, (H, W)."""
    return ((one - other).abs().mean(1)[0] * 127.5).numpy()


@pytest.fixture(scope="module")
def decoded(vae, faces):
    with torch.no_grad():
        latents = vae.encode(faces).latent_dist.mean
        whole = vae.decode(latents).sample
        with small_tiles(), tiled(vae):
            ours = vae.decode(latents).sample
        vae.enable_tiling()
        theirs = vae.decode(latents).sample
        vae.disable_tiling()
    return whole, ours, theirs


def test_tiles_differ_from_the_whole_by_less_than_can_be_seen(decoded):
    whole, ours, _ = decoded
    assert levels(ours, whole).max() < 0.1


def test_the_tiles_of_diffusers_would_fail_that(decoded):
    whole, _, theirs = decoded
    assert levels(theirs, whole).mean() > 2
    assert levels(theirs, whole).max() > 20


def test_there_is_no_seam_where_tiles_meet(decoded):
    whole, ours, theirs = decoded
    assert seam(ours, whole) < 0.1
    assert seam(theirs, whole) > 0.5


def seam(one, whole):
    """The step that a difference makes across the tiles' borders (every 128 pixels of the picture), in levels."""
    difference = ((one - whole)[0].mean(0) * 127.5).numpy()
    steps = [np.abs(difference[border - 3 : border].mean(0) - difference[border : border + 3].mean(0)).mean() for border in (96, 128, 192)]
    return max(steps)


def test_the_encoder_works_in_tiles_too(vae, faces):
    with torch.no_grad():
        whole = vae.encode(faces).latent_dist.mean
        with small_tiles(), tiled(vae):
            ours = vae.encode(faces).latent_dist.mean
    assert (ours - whole).abs().max() < 1e-3 * whole.std()


def test_nothing_stays_in_the_module(vae, faces):
    with torch.no_grad():
        before = vae.encode(faces).latent_dist.mean
        with tiled(vae):
            pass
        assert torch.equal(vae.encode(faces).latent_dist.mean, before)
    assert "forward" not in vars(vae.decoder)
    assert not any(module._forward_hooks for module in vae.modules())


def test_a_picture_of_one_tile_is_the_same_bytes(engine):
    job = PictureJob("a hat", sampling=Sampling(steps=2, tiled=True), preview_every=0)
    plain = PictureJob("a hat", sampling=Sampling(steps=2), preview_every=0)
    assert np.array_equal(engine.run(job)[0].pixels, engine.run(plain)[0].pixels)


def test_large_pictures_are_decoded_in_tiles_by_themselves(vae):
    own = Extent(128, 128)
    assert not needs_tiles(vae, Extent(256, 256), own)
    assert needs_tiles(vae, Extent(256, 260), own)


def test_whole_or_tiled_can_be_chosen_and_a_job_leaves_no_tiles_behind(engine, picture, monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 32)

    def drawn(tiled_or_not):
        canvas = Canvas(to_plane(picture(1, 64, 64)), strength=0.5)
        return engine.run(PictureJob("a hat", canvas=canvas, sampling=Sampling(steps=2, tiled=tiled_or_not), preview_every=0))[0].pixels

    before = drawn(None)
    in_tiles = drawn(True)
    assert np.abs(in_tiles.astype(int) - before).max() <= 1
    assert np.array_equal(drawn(None), before)
    assert np.array_equal(drawn(False), before)
