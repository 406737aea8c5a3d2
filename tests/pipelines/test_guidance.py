"""Rescaled guidance, in every stock pipeline: as diffusers does it where it does, and by hand where it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from PIL import Image
from stock_pipelines import by_hand, control_name, half_mask, stock

from backend.pipelines.choices import Mode
from backend.pipelines.control import Conditioning, GatedControlNet
from backend.pipelines.sample import Recipe, draw_latents
from protocol.geometry import Extent
from protocol.jobs import GuideKind, Window

AMOUNT, GUIDANCE = 0.7, 3.0
SIZE = Extent(64, 64)
KNOWS_IT = [("sdxl", Mode.TEXT), ("sdxl", Mode.IMAGE), ("sdxl", Mode.INPAINT), ("sd15", Mode.TEXT)]


def ours(parts, mode, picture, **extra):
    image = None if mode is Mode.TEXT else picture(1, 64, 64)
    mask = half_mask() if mode is Mode.INPAINT else None
    recipe = Recipe(SIZE, "a hat", "blurry", 4, GUIDANCE, mode=mode, image=image, mask=mask, strength=0.8, **extra)
    return draw_latents(parts, recipe, seed=7).numpy()


@pytest.mark.parametrize(("family", "mode"), KNOWS_IT)
def test_it_is_what_diffusers_does_where_diffusers_does_it(family, mode, parts, tiny_folders, picture):
    expected = by_hand(stock(tiny_folders[family], mode, family=family), mode, picture, guidance_rescale=AMOUNT)
    result = ours(parts[family], mode, picture, guidance_rescale=AMOUNT)
    assert np.abs(result - expected).max() <= 1e-4
    assert not np.allclose(result, ours(parts[family], mode, picture), atol=1e-4)


def rescale_by_hand(unet):
    """Let a UNet answer both halves with the guided and rescaled prediction: u + g (t - u) with u = t is t, so guidance changes nothing
    more. The formula is written out from the paper (arXiv:2305.08891, equations 14 to 16)."""
    plain = unet.forward

    def forward(*args, **kwargs):
        nothing, text = plain(*args, **kwargs)[0].chunk(2)
        guided = nothing + GUIDANCE * (text - nothing)
        rescaled = guided * text.std() / guided.std()
        wanted = AMOUNT * rescaled + (1 - AMOUNT) * guided
        return (torch.cat([wanted, wanted]),)

    unet.forward = forward


@pytest.mark.parametrize("control", [False, True], ids=["plain", "control"])
@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_it_is_the_papers_formula_in_every_pipeline(family, mode, control, parts, tiny_folders, picture):
    nets, extra, conditionings = [], {}, ()
    if control:
        depth = picture(2, 64, 64)
        nets = [ControlNetModel.from_pretrained(tiny_folders[family] / "controlnets" / "depth")]
        extra = {control_name(mode): Image.fromarray(depth), "controlnet_conditioning_scale": 0.7}
        net = GatedControlNet.over(parts[family].control_net(GuideKind.DEPTH))
        conditionings = (Conditioning(net, depth, 0.7, Window()),)
    pipe = stock(tiny_folders[family], mode, nets, family)
    rescale_by_hand(pipe.unet)
    expected = by_hand(pipe, mode, picture, **extra)
    assert np.abs(ours(parts[family], mode, picture, nets=conditionings, guidance_rescale=AMOUNT) - expected).max() <= 1e-4


def test_a_job_without_it_is_drawn_as_before_and_nothing_is_left_in_the_unet(parts, picture):
    before = ours(parts["sd15"], Mode.TEXT, picture)
    ours(parts["sd15"], Mode.TEXT, picture, guidance_rescale=AMOUNT)
    assert not parts["sd15"].unet._forward_hooks
    assert np.array_equal(ours(parts["sd15"], Mode.TEXT, picture), before)
