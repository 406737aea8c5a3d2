"""What is worked out of a face or a picture is kept for the next job that shows the same, within its bytes, and never for another model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import FakeFaces

from backend.models.bundle import Model
from backend.models.kept import Kept, digest
from backend.pipelines.engine import Engine
from protocol.jobs import ImagePrompt, Photos, PictureJob, Sampling, Subject


@pytest.fixture(scope="module")
def own_engine(tiny_folders):
    return Engine(Model.open(tiny_folders["sdxl"]), FakeFaces())


def calls_of(*modules):
    calls = []
    return calls, [module.register_forward_pre_hook(lambda *_: calls.append(1)) for module in modules]


def job(photo, seed=0, **more):
    person = Subject(Photos((photo(1),)))
    return PictureJob("a hat", subjects=(person,), sampling=Sampling(seed=seed, steps=2), preview_every=0, **more)


def test_the_second_picture_of_a_person_and_a_reference_projects_nothing_and_has_the_same_bytes(own_engine, photo):
    parts = own_engine.parts
    prompts = (ImagePrompt(photo(2), adapter="plus"), ImagePrompt(photo(3), adapter="base"), ImagePrompt(photo(4), adapter="faceid"))
    adapters = [parts.adapter(parts.model.adapter(name)) for name in ("plus", "base", "faceid")]
    calls, handles = calls_of(parts.image_encoder(), parts.face_adapter.projection, *(adapter.projection for adapter in adapters))
    try:
        first = own_engine.run(job(photo, image_prompts=prompts))[0].pixels
        once = len(calls)
        assert once >= 5
        again = own_engine.run(job(photo, image_prompts=prompts))[0].pixels
        own_engine.run(job(photo, seed=7, image_prompts=prompts))
        assert len(calls) == once
        assert np.array_equal(first, again)
        parts.kept.clear()
        assert np.array_equal(own_engine.run(job(photo, image_prompts=prompts))[0].pixels, first)
    finally:
        for handle in handles:
            handle.remove()


def test_another_person_another_picture_and_no_guidance_are_not_taken_for_the_known_ones(own_engine, photo):
    known = own_engine.run(job(photo, image_prompts=(ImagePrompt(photo(2)),)))[0].pixels
    other = own_engine.run(job(photo, image_prompts=(ImagePrompt(photo(5)),)))[0].pixels
    assert not np.array_equal(known, other)
    own_engine.run(
        PictureJob("a hat", subjects=(Subject(Photos((photo(1),))),), sampling=Sampling(guidance_scale=1.0, steps=1), preview_every=0)
    )
    assert np.array_equal(own_engine.run(job(photo, image_prompts=(ImagePrompt(photo(2)),)))[0].pixels, known)


def test_models_keep_nothing_for_each_other(tiny_folders, own_engine):
    other = Engine(Model.open(tiny_folders["sdxl"]), FakeFaces())
    assert other.parts.kept is not own_engine.parts.kept


def test_what_was_not_used_for_longest_leaves_when_the_bytes_are_full():
    kept, maker, made = Kept(budget=3 * 40), object(), []

    def ask(content):
        return kept.get(maker, content, lambda: made.append(content) or torch.ones(10))

    for content in (b"a", b"b", b"c", b"a", b"d", b"a", b"b"):
        ask(content)
        assert kept.bytes <= 120
    assert made == [b"a", b"b", b"c", b"d", b"b"]


def test_more_than_the_budget_is_given_and_not_kept():
    kept = Kept(budget=10)
    assert kept.get(object(), b"a", lambda: torch.ones(10)).sum() == 10
    assert kept.bytes == 0


def test_two_makers_of_the_same_content_are_told_apart_also_after_one_is_gone():
    kept = Kept()
    for number in range(50):  # ids of objects that are gone are given to new ones
        assert kept.get(object(), b"face", lambda number=number: torch.full((1,), float(number))) == number


def test_content_is_known_by_its_numbers_shape_and_type():
    array = np.arange(6, dtype=np.float32)
    same, others = array.copy(), (array.reshape(2, 3), array.astype(np.float64), array[::-1], array + 1)
    assert digest("face", array, True) == digest("face", same, True)
    assert len({digest("face", one, True) for one in (array, *others)}) == 5
    assert len({digest("face", array, True), digest("face", array, False), digest("picture", array, True), digest("face", array)}) == 4
