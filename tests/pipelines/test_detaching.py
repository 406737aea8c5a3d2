"""A job leaves nothing behind: modules are the same bits after it, and another job between two equal ones changes nothing."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch

from backend.pipelines import sample
from backend.pipelines.attention import attached
from protocol.errors import Cancelled
from protocol.geometry import Extent, Point
from protocol.jobs import (
    BlockWeight,
    Canvas,
    Course,
    Crop,
    Guide,
    GuideKind,
    ImagePrompt,
    Lends,
    Photos,
    PictureJob,
    Sampling,
    Schedule,
    Subject,
)
from protocol.planes import Layout, Plane


def plain_job(**changes):
    return PictureJob(prompt="a hat", preview_every=0, **changes)


def everything_job(photo, **changes):
    """Two people, image prompts (one with a LoRA, one with all its options), keypoints, two ControlNets and a masked canvas, at once."""
    size = {"width": 64, "height": 64}
    mask = Plane(Layout.A8, Extent(64, 64), bytes([0] * 2048 + [255] * 2048))
    points = tuple(Point(x, y) for x, y in [(24, 36), (40, 36), (32, 42), (26, 50), (38, 50)])
    return PictureJob(
        prompt="a hat",
        canvas=Canvas(photo(7, **size), mask),
        subjects=(
            Subject(Photos((photo(1), photo(2))), adapter_schedule=Schedule(Course.EASE_IN), identity_net_schedule=Schedule(Course.PEAK)),
            Subject(Photos((photo(11),))),
        ),
        image_prompts=(
            ImagePrompt(photo(3), adapter="base", lends=Lends.STYLE),
            ImagePrompt(photo(4), adapter="plus", lends=Lends.COMPOSITION),
            ImagePrompt(photo(5), adapter="faceid"),
            ImagePrompt(
                photo(9),
                adapter="base",
                crop=Crop.TOP,
                schedule=Schedule(Course.EASE_OUT),
                blocks=(BlockWeight("mid_block", 0.5),),
                negative=photo(10),
            ),
        ),
        guides=(
            Guide(GuideKind.KEYPOINTS, keypoints=points),
            Guide(GuideKind.DEPTH, photo(6, **size)),
            Guide(GuideKind.SKELETON, photo(8, **size)),
        ),
        preview_every=0,
        **changes,
    )


def pixels(engine, job, watch=None):
    return engine.run(job, watch)[0].pixels


def fingerprint(engine):
    """Every shared tensor by name, the classes of the attention processors, and the hooks."""
    found = {}
    for name, module in engine.parts._loaded.items():
        if isinstance(module, torch.nn.Module):
            found |= {f"{name}.{key}": value.clone() for key, value in module.state_dict().items()}
            found[f"{name} hooks"] = sum(len(part._forward_pre_hooks) + len(part._forward_hooks) for part in module.modules())
            found[f"{name} processors"] = [type(processor) for processor in getattr(module, "attn_processors", {}).values()]
            found[f"{name} modules"] = [key for key, _ in module.named_modules()]
    return found


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) if isinstance(one[key], torch.Tensor) else one[key] == other[key] for key in one
    )


def test_a_job_between_two_equal_jobs_changes_nothing(engine, photo):
    first = pixels(engine, plain_job())
    rich = pixels(engine, everything_job(photo))
    assert np.array_equal(pixels(engine, plain_job()), first)
    assert np.array_equal(pixels(engine, everything_job(photo)), rich)


def test_all_modules_are_the_same_bits_after_a_job_that_attaches_everything(engine, photo):
    pixels(engine, everything_job(photo))
    before = fingerprint(engine)
    pixels(engine, everything_job(photo, sampling=Sampling(seed=3)))
    assert same(before, fingerprint(engine))


def test_all_modules_are_the_same_bits_after_a_cancelled_job(engine, photo):
    pixels(engine, everything_job(photo))
    before = fingerprint(engine)
    with pytest.raises(Cancelled):
        pixels(engine, everything_job(photo), CancelledAt(7))
    assert same(before, fingerprint(engine))


def test_an_attachment_that_is_never_taken_off_would_be_noticed(engine, photo, monkeypatch):
    """The unsafe twin: the same checks, with an `attached` that forgets to detach."""
    first, rich = pixels(engine, plain_job()), everything_job(photo)
    before = fingerprint(engine)
    former = dict(engine.parts.unet.attn_processors)

    @contextmanager
    def leaking(module, lanes=(), clock=None):
        manager = attached(module, lanes, clock)
        manager.__enter__()
        leaked.append(manager)
        yield

    leaked = []
    monkeypatch.setattr(sample, "attached", leaking)
    try:
        pixels(engine, rich)
        assert not same(before, fingerprint(engine))
    finally:
        engine.parts.unet.set_attn_processor(former)
        for manager in reversed(leaked):
            manager.__exit__(None, None, None)
    monkeypatch.undo()
    assert np.array_equal(pixels(engine, plain_job()), first)


class CancelledAt:
    """Cancels at the n-th question."""

    def __init__(self, question: int) -> None:
        self.question, self.asked, self.steps = question, 0, 0

    def step(self, done, total):
        self.steps = done

    def preview(self, pixels, step):
        pass

    def cancelled(self):
        self.asked += 1
        return self.asked >= self.question
