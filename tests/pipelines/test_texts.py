"""Weighted, broken and long prompts: against the text encoders asked by hand, and a plain prompt is left exactly alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.models.bundle import Family
from backend.pipelines.build import pipeline, scheduler
from backend.pipelines.choices import Mode
from backend.pipelines.clip_skip import skipping
from backend.pipelines.engine import Engine
from backend.pipelines.sample import Recipe, draw_latents
from backend.pipelines.texts import worded
from protocol.geometry import Extent
from protocol.jobs import PictureJob, Sampling, Subject

FAMILIES = ("sd15", "sdxl")
LONG = "a cat sat on the mat, " * 20


@pytest.fixture(params=FAMILIES)
def shell(request, parts):
    mine = parts[request.param]
    mine.prompts.clear()
    made = pipeline(mine, Mode.TEXT, [], scheduler(mine, "default"))
    made.stock = type(made).encode_prompt.__get__(made)
    made.worded = worded(made)
    return made


def encoded(shell, prompt, negative="", **extra):
    """Prompt, negative prompt, and with SDXL their pooled forms, as arrays."""
    asked = {"prompt": prompt, "device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
    with torch.no_grad():
        shell.worded = worded(_Stocked(shell))
        return [one.numpy() for one in shell.worded(**asked, negative_prompt=negative, **extra) if one is not None]


class _Stocked:
    """The pipeline with its own `encode_prompt`, not the one that the engine has put there."""

    def __init__(self, shell):
        self._shell, self.encode_prompt = shell, shell.stock

    def __getattr__(self, name):
        return getattr(self._shell, name)


def stock(shell, prompt, negative="", **extra):
    asked = {"prompt": prompt, "device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
    with torch.no_grad():
        return [one.numpy() for one in shell.stock(**asked, negative_prompt=negative, **extra) if one is not None]


def said(shell, text, skipped):
    """What the text encoders say at the layer that is asked for (1, 77, width), by transformers alone."""
    columns = []
    for ending in ("", "_2") if getattr(shell, "text_encoder_2", None) is not None else ("",):
        tokenizer, encoder = getattr(shell, f"tokenizer{ending}"), getattr(shell, f"text_encoder{ending}")
        ids = tokenizer(text, padding="max_length", max_length=77, return_tensors="pt").input_ids
        with torch.no_grad():
            layers = encoder(ids, output_hidden_states=True).hidden_states
            if hasattr(shell, "text_encoder_2"):
                columns.append(layers[-2 - skipped])
            else:
                columns.append(encoder.final_layer_norm(layers[-1 - skipped]))
    return torch.cat(columns, -1).numpy()


def same(ones, others):
    return len(ones) == len(others) and all(np.array_equal(one, other) for one, other in zip(ones, others, strict=True))


@pytest.mark.parametrize("prompt", ["a cat sat", "", "a smile :) (unfinished", "x" * 75])
def test_a_plain_prompt_gives_the_bytes_of_diffusers(shell, prompt):
    assert same(encoded(shell, prompt, "blurry"), stock(shell, prompt, "blurry"))


def test_escaped_brackets_are_the_characters(shell):
    assert same(encoded(shell, r"a \(cat\)", r"\[x\]"), stock(shell, "a (cat)", "[x]"))


@pytest.mark.parametrize("skipped", [0, 1], ids=["usual", "clip skip"])
def test_a_weight_moves_a_word_away_from_nothing_by_that_factor(shell, skipped, monkeypatch):
    """By hand: every token of the word is nothing + weight * (word - nothing), the others are as they are."""
    plain, nothing = said(shell, "a cat sat", skipped), said(shell, "", skipped)
    family = Family.SDXL if hasattr(shell, "text_encoder_2") else Family.SD15
    for encoder in (shell.text_encoder, getattr(shell, "text_encoder_2", shell.text_encoder)):
        monkeypatch.setattr(encoder.config, "num_hidden_layers", 3)  # the tiny ones have two, but the embeddings count as one more state
    with skipping(shell, (2 if family is Family.SDXL else 1) + skipped, family):
        result = encoded(shell, "a (cat:1.5) sat")[0]
    tokens = slice(2, 5)  # one character each in the tests' tokenizer: start, a, c a t, s a t
    expected = plain.copy()
    expected[:, tokens] = nothing[:, tokens] + 1.5 * (plain[:, tokens] - nothing[:, tokens])
    assert np.abs(result - expected).max() < 1e-5
    assert np.abs(result - plain).max() > 1e-3


def test_a_word_that_counts_less_comes_nearer_to_the_prompt_without_it(shell):
    less, plain = encoded(shell, "a (cat:0.5) sat")[0], stock(shell, "a cat sat")[0]
    nearly_gone = encoded(shell, "a (cat:0.0) sat")[0]
    assert 0 < np.abs(less - nearly_gone).mean() < np.abs(plain - nearly_gone).mean()


def test_a_weighted_negative_prompt_leaves_the_prompt_alone(shell):
    result, plain = encoded(shell, "a cat", "(bad:1.4)"), stock(shell, "a cat", "bad")
    assert np.array_equal(result[0], plain[0])
    assert not np.array_equal(result[1], plain[1])


def test_a_break_puts_two_prompts_side_by_side(shell):
    both = encoded(shell, "a cat BREAK on a mat", "blurry")
    one, other = stock(shell, "a cat", "blurry"), stock(shell, "on a mat", "blurry")
    assert both[0].shape[1] == both[1].shape[1] == 154
    assert np.abs(both[0] - np.concatenate([one[0], other[0]], 1)).max() < 1e-6
    assert np.abs(both[1] - np.concatenate([one[1], stock(shell, "", "")[1]], 1)).max() < 1e-6  # the shorter one is filled with nothing
    if len(both) == 4:  # SDXL: what is said of the whole picture is what the first passage says
        assert np.abs(both[2] - one[2]).max() < 1e-6


def test_a_long_prompt_is_read_to_its_end(shell):
    result, cut = encoded(shell, LONG), stock(shell, LONG)
    assert result[0].shape[1] > 154
    assert result[0].shape[1] == result[1].shape[1]
    assert cut[0].shape[1] == 77
    assert not np.array_equal(encoded(shell, LONG + "at sea")[0], result[0])
    assert same(stock(shell, LONG + "at sea"), cut)  # diffusers alone does not hear the end


def test_a_long_negative_prompt_is_read_beside_a_short_prompt(shell):
    result = encoded(shell, "a cat", LONG)
    assert result[0].shape == result[1].shape
    assert np.abs(result[0][:, :77] - stock(shell, "a cat")[0]).max() < 1e-6


def test_without_a_negative_prompt_sdxl_still_gets_zeros(parts):
    mine = parts["sdxl"]
    made = pipeline(mine, Mode.TEXT, [], scheduler(mine, "default"))
    made.stock = type(made).encode_prompt.__get__(made)
    result = encoded(made, "a (cat:1.2)", None)
    assert not result[1].any()
    assert result[0].shape == result[1].shape


@pytest.mark.parametrize("family", FAMILIES)
def test_a_job_with_such_a_prompt_leaves_nothing_behind(family, parts):
    def latents(prompt):
        return draw_latents(parts[family], Recipe(Extent(64, 64), prompt, "blurry", 2, 3.0), seed=3).numpy()

    before = latents("a cat")
    weighted = latents("a (cat:1.3) BREAK " + LONG)
    parts[family].prompts.clear()
    assert np.array_equal(latents("a cat"), before)
    assert not np.array_equal(weighted, before)
    assert np.array_equal(latents("a (cat:1.3) BREAK " + LONG), weighted)


def test_people_and_weighted_prompts_go_together(engine: Engine, photo):
    from protocol.jobs import Photos

    job = PictureJob("a (hat:1.4) BREAK [dull]", subjects=(Subject(Photos((photo(1),))),), sampling=Sampling(seed=1), preview_every=0)
    assert np.array_equal(engine.run(job)[0].pixels, engine.run(job)[0].pixels)
