"""What is the same in every step is computed once a picture, and nothing is computed that nobody reads: counted operation by operation."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from backend.images import to_plane
from protocol.jobs import Guide, GuideKind, ImagePrompt, Photos, PictureJob, Sampling, Subject, Window

aten = torch.ops.aten
STEPS = 5


class Operations(TorchDispatchMode):
    """Counts operations, and what reads each of some tensors."""

    def __init__(self, watched=()) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        self.one_by_one: Counter[str] = Counter()
        self._watched = {tensor.data_ptr(): name for name, tensor in watched}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count[func._schema.name] += 1
        for one in args:
            name = self._watched.get(one.data_ptr()) if isinstance(one, torch.Tensor) else None
            if name is not None and func in (aten.addmm.default, aten.mm.default, aten.bmm.default, aten.convolution.default):
                self.reads[name] += 1
                self.one_by_one[name] += func is aten.bmm.default
        return func(*args, **(kwargs or {}))


@pytest.fixture
def wish(photo) -> PictureJob:
    return PictureJob(
        "a person",
        subjects=(Subject(Photos((photo(1),)), identity_net_window=Window(0.0, 0.6)),),
        image_prompts=(ImagePrompt(photo(4), weight=0.5, adapter="plus"),),
        guides=(Guide(GuideKind.DEPTH, to_plane(np.full((64, 64, 3), 90, np.uint8)), window=Window(0.2, 1.0)),),
        sampling=Sampling(steps=STEPS, seed=3),
        preview_every=0,
    )


def weights(parts, face, reference):
    """The weights that read what lasts, by what they are for."""
    nets = {"unet": parts.unet, "identity": parts.identity_net, "depth": parts.control_net(GuideKind.DEPTH)}
    for net, module in nets.items():
        for name, layer in module.named_modules():
            if name.endswith(("attn2.to_k", "attn2.to_v")):
                yield f"{net} text", layer.weight
        if net != "unet":
            yield f"{net} picture", module.controlnet_cond_embedding.conv_in.weight
            yield f"{net} runs", module.conv_in.weight
    for kind, adapter in (("face", face), ("reference", reference)):
        for pair in adapter.layers.values():
            yield from ((f"{kind} tokens", one) for one in pair)


def test_keys_values_and_the_pictures_of_controls_are_computed_once_and_nets_are_silent_outside_of_their_windows(engine, wish) -> None:
    parts = engine.parts
    reference = parts.adapter(parts.model.adapter("plus"))
    known = list(weights(parts, parts.face_adapter, reference))
    with Operations(known) as seen:
        engine.run(wish)
    each = Counter(name for name, _ in known)
    for name in ("unet text", "identity text", "depth text", "face tokens", "reference tokens", "identity picture", "depth picture"):
        assert seen.reads[name] == each[name] > 0, f"{name}: each weight is read once a picture, not once a step"
    assert seen.reads["identity runs"] == 3, "60 in 100 of five steps"
    assert seen.reads["depth runs"] == 4
    assert seen.count["aten::_softmax"] == 0, "no map of attention is computed: the fused kernel gives what is attended to"
    assert not any(seen.one_by_one.values()), "tokens are contiguous: a product with a weight is one product of matrices"


def test_sliced_tokens_would_be_multiplied_one_by_one() -> None:
    """The unsafe twin: text and face tokens in one tensor, as the reference implementations keep them."""
    both, weight = torch.randn(2, 77 + 16, 32), torch.randn(64, 32)
    for tokens, poor in ((both[:, 77:], 1), (both[:, 77:].contiguous(), 0)):
        with Operations([("weight", weight)]) as seen:
            torch.nn.functional.linear(tokens, weight)
        assert (seen.reads["weight"], seen.one_by_one["weight"]) == (1, poor)
