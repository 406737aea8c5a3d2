"""IdentityNet and ControlNet views: shared weights, face tokens instead of text, regions, and silence at scale 0."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers.models.controlnets.multicontrolnet import MultiControlNetModel

from backend.pipelines.control import GatedControlNet
from backend.pipelines.identity import IdentityNet, face_tokens
from protocol.jobs import GuideKind


@pytest.fixture
def inputs(parts):
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    tokens = random(1, 16, 32)
    call = {"sample": random(1, 4, 16, 16), "timestep": torch.tensor(500), "controlnet_cond": random(1, 3, 64, 64)}
    call["added_cond_kwargs"] = {"text_embeds": random(1, 16), "time_ids": torch.ones(1, 6)}
    return parts["sdxl"].identity_net, tokens, call


def run(net, text, call, **extra):
    with torch.no_grad():
        return net(encoder_hidden_states=text, return_dict=False, **call, **extra)


def test_a_view_shares_every_weight_and_leaves_the_net_as_it_was(inputs):
    net, tokens, _ = inputs
    names, kind = [name for name, _ in net.named_parameters()], type(net)
    view = IdentityNet.of(net, tokens)
    assert {value.data_ptr() for value in view.parameters()} == {value.data_ptr() for value in net.parameters()}
    assert [name for name, _ in net.named_parameters()] == names
    assert type(net) is kind
    assert "tokens" not in vars(net)


def test_identity_net_sees_the_face_and_never_the_text(inputs):
    net, tokens, call = inputs
    expected = run(net, tokens, call)
    for text in (torch.zeros(1, 77, 32), torch.ones(1, 77, 32)):
        down, mid = run(IdentityNet.of(net, tokens), text, call)
        assert torch.equal(mid, expected[1])
        assert all(torch.equal(one, other) for one, other in zip(down, expected[0], strict=True))


def test_a_region_silences_everything_outside_it(inputs):
    net, tokens, call = inputs
    region = torch.zeros(1, 64, 64)
    region[..., 32:] = 1
    plain, masked = (run(IdentityNet.of(net, tokens, where), tokens, call) for where in (None, region))
    for one, other in zip((*plain[0], plain[1]), (*masked[0], masked[1]), strict=True):
        half = one.shape[-1] // 2
        assert not other[..., :half].any()
        assert torch.equal(one[..., half:], other[..., half:])


def test_at_scale_zero_a_net_adds_nothing_and_computes_nothing(inputs, parts):
    _, tokens, call = inputs
    net = parts["sdxl"].control_net(GuideKind.DEPTH)
    ran = []
    handle = net.conv_in.register_forward_hook(lambda *_: ran.append(True))
    try:
        down, mid = run(GatedControlNet.over(net), tokens, call, conditioning_scale=0.0)
    finally:
        handle.remove()
    assert not ran
    full = run(net, tokens, call, conditioning_scale=0.0)
    assert len(down) == len(full[0])
    assert all(torch.equal(one + part, one) for one, part in zip((*full[0], full[1]), (*down, mid), strict=True))


def test_the_unconditional_half_is_the_projection_of_zeros_and_not_zeros(parts):
    adapter = parts["sdxl"].face_adapter
    tokens = face_tokens(adapter, np.ones((1, 512), np.float32), guided=True)
    with torch.no_grad():
        nobody = adapter.projection(torch.zeros(1, 1, 512))
    assert torch.equal(tokens[:1], nobody)
    assert tokens[:1].any()
    assert face_tokens(adapter, np.ones((1, 512), np.float32), guided=False).shape == (1, 16, 32)


def test_a_silent_net_may_come_first_among_several_and_the_others_are_heard(inputs, parts):
    """diffusers adds the other nets' middle residual to the first one's in place."""
    net, tokens, call = inputs
    depth = parts["sdxl"].control_net(GuideKind.DEPTH)
    both = MultiControlNetModel([IdentityNet.of(net, tokens), GatedControlNet.over(depth)])
    stock = MultiControlNetModel([net, depth])
    pictures = {"controlnet_cond": [call["controlnet_cond"]] * 2, "conditioning_scale": [0.0, 0.7]}
    heard, expected = (run(one, tokens, {**call, **pictures}) for one in (both, stock))
    assert all(torch.equal(one, other) for one, other in zip((*heard[0], heard[1]), (*expected[0], expected[1]), strict=True))
    assert heard[1].any()


def test_the_picture_of_a_guide_is_embedded_once_however_many_steps(inputs, parts):
    _, tokens, call = inputs
    net = parts["sdxl"].control_net(GuideKind.DEPTH)
    ran = []
    handle = net.controlnet_cond_embedding.register_forward_hook(lambda *_: ran.append(True))
    view = GatedControlNet.over(net)
    try:
        for _ in range(5):
            run(view, tokens, call)
        assert len(ran) == 1
        run(view, tokens, {**call, "controlnet_cond": call["controlnet_cond"].clone()})
        assert len(ran) == 2, "another picture is another matter"
    finally:
        handle.remove()
