"""Operations of SDXL's real shapes, counted without weights, and what a picture in few steps has of them."""

from __future__ import annotations

import pytest
import torch

from backend.speed import arithmetic
from backend.speed.arithmetic import Cost, cost, few_steps, heard
from protocol.errors import ServiceError

PUBLISHED = {"unet": 6.76, "identity_net": 2.99, "vae": 10.47, "text": 0.111}
"""TFLOP of one call for one picture, counted op by op by another program."""


@pytest.mark.slow
def test_operations_of_the_real_shapes_are_those_that_another_count_found():
    found = arithmetic.operations()
    assert {name: round(value / 1e12, 2 if name != "text" else 3) for name, value in found.items()} == PUBLISHED


def test_a_call_for_two_pictures_counts_twice_and_a_guided_picture_reads_two_texts():
    one = {"unet": 10.0, "identity_net": 4.0, "vae": 5.0, "text": 1.0}
    assert cost({("unet", 2): 3, ("identity_net", 2): 3, ("vae", 1): 1}, one) == Cost(nets=84.0, decoding=5.0, text=2.0)
    assert cost({("unet", 1): 3, ("vae", 1): 1}, one).total == 36.0


def test_four_steps_without_guidance_meet_their_goal_by_operations_and_calls(rig, monkeypatch):
    monkeypatch.setattr(arithmetic, "operations", lambda: {name: value * 1e12 for name, value in PUBLISHED.items()})
    whole, decoding = few_steps(rig)
    assert whole.met
    assert decoding.met
    assert "9 calls of nets, not 61" in whole.detail


def test_calls_are_heard_with_how_many_pictures_they_are_for(rig):
    with heard(rig) as calls:
        rig.draw(rig.job(31, 3, end=0.5))
    assert calls == {("unet", 2): 3, ("identity_net", 2): 1, ("vae", 1): 1}


def test_a_picture_that_calls_its_nets_in_another_way_is_refused(rig, monkeypatch):
    """The unsafe twin: a net is called once more than it should be."""
    draw = rig.draw

    def careless(job, watch=None):
        rig.engine.parts.unet.conv_in(torch.zeros(1, 4, 8, 8))
        return draw(job, watch)

    monkeypatch.setattr(rig, "draw", careless)
    with pytest.raises(ServiceError, match="another way"):
        few_steps(rig)
