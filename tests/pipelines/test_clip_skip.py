"""Clip skip reads an earlier layer, for both halves of a prompt, whoever encodes it, and leaves the text encoders as they were."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny_model

from backend.models.bundle import Family, Model
from backend.models.parts import Parts
from backend.pipelines.build import pipeline, scheduler
from backend.pipelines.choices import Mode
from backend.pipelines.clip_skip import accent, skipping
from backend.pipelines.engine import Engine
from backend.scripting import portrait_job
from protocol.errors import InvalidRequest
from protocol.geometry import Extent
from protocol.jobs import PictureJob, Sampling

PROMPT, NEGATIVE = "a cat at the sea", "blurry"


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def parts(request, tmp_path_factory):
    folder = tiny_model(tmp_path_factory.mktemp(request.param) / "m", request.param)
    return Parts(Model.open(folder))


@pytest.fixture(scope="module")
def sd15(tmp_path_factory):
    return Parts(Model.open(tiny_model(tmp_path_factory.mktemp("sd15") / "m", "sd15")))


def encoded(parts, clip_skip, prompt=PROMPT):
    shell = pipeline(parts, Mode.TEXT, (), scheduler(parts, "default"), accent(clip_skip, parts.model.family))
    words = {
        "prompt": prompt,
        "negative_prompt": NEGATIVE,
        "device": "cpu",
        "num_images_per_prompt": 1,
        "do_classifier_free_guidance": True,
    }
    with torch.no_grad(), skipping(shell, clip_skip, parts.model.family):
        return shell.encode_prompt(**words)


def layer(encoder, tokenizer, text, number):
    """The layer `number` from the end (1 is the last), as transformers gives it."""
    ids = tokenizer(text, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        return encoder(ids, output_hidden_states=True).hidden_states[-number]


def test_sd15_reads_the_layer_before_the_last_and_normalises_it(sd15):
    encoder, tokenizer = sd15.base["text_encoder"], sd15.base["tokenizer"]
    wanted = encoder.final_layer_norm(layer(encoder, tokenizer, PROMPT, 2))
    against = encoder.final_layer_norm(layer(encoder, tokenizer, NEGATIVE, 2))
    found = encoded(sd15, 2)
    assert torch.equal(found[0], wanted)
    assert torch.equal(found[1], against)
    assert not torch.equal(found[0], encoded(sd15, 1)[0])


def test_it_is_what_diffusers_does_for_the_prompt(sd15):
    """diffusers looks for the norm under `text_model`, where transformers had it before 5.6; it is put there for this test."""
    shell = pipeline(sd15, Mode.TEXT, (), scheduler(sd15, "default"))
    encoder = shell.text_encoder
    encoder.__dict__["text_model"] = encoder
    try:
        stock = type(shell).encode_prompt(shell, PROMPT, "cpu", 1, True, NEGATIVE, clip_skip=1)
    finally:
        del encoder.__dict__["text_model"]
    assert torch.equal(encoded(sd15, 2)[0], stock[0])


def test_sdxl_skips_in_both_encoders_and_its_one_and_two_are_the_same(tmp_path):
    parts = Parts(Model.open(tiny_model(tmp_path / "m", "sdxl")))
    for encoder in ("text_encoder", "text_encoder_2"):  # the tiny ones have two layers, and 3 needs as many
        assert parts.base[encoder].config.num_hidden_layers == 2
    assert all(torch.equal(one, other) for one, other in zip(encoded(parts, 1), encoded(parts, 2), strict=True))
    assert accent(2, Family.SDXL) == accent(1, Family.SDXL) == ""


def test_sdxl_reads_deeper_layers_as_diffusers_does(tmp_path, monkeypatch):
    parts = Parts(Model.open(tiny_model(tmp_path / "m", "sdxl")))
    for encoder in ("text_encoder", "text_encoder_2"):  # the embeddings count as one more state, so 3 can be read of two layers
        monkeypatch.setattr(parts.base[encoder].config, "num_hidden_layers", 3)
    shell = pipeline(parts, Mode.TEXT, (), scheduler(parts, "default"))
    stock = type(shell).encode_prompt(shell, PROMPT, negative_prompt=NEGATIVE, device="cpu", clip_skip=1)
    found = encoded(parts, 3)
    assert torch.equal(found[0], stock[0])  # the prompt
    assert torch.equal(found[2], stock[2])  # its pooled words, which no skip changes
    both = [layer(parts.base[f"text_encoder{end}"], parts.base[f"tokenizer{end}"], NEGATIVE, 3) for end in ("", "_2")]
    assert torch.equal(found[1], torch.cat(both, -1))


def test_weighted_prompts_skip_too(sd15):
    weighted = encoded(sd15, 2, "a (cat:1.3) at the sea")
    assert not torch.equal(weighted[0], encoded(sd15, 1, "a (cat:1.3) at the sea")[0])
    encoder, tokenizer = sd15.base["text_encoder"], sd15.base["tokenizer"]
    assert torch.allclose(weighted[1], encoder.final_layer_norm(layer(encoder, tokenizer, NEGATIVE, 2)), atol=1e-6)


def test_nothing_is_left_behind(parts):
    encoder = parts.base["text_encoder"]
    before = encoded(parts, 1), dict(encoder._forward_hooks), dict(encoder._forward_pre_hooks)
    parts.prompts.clear()
    encoded(parts, 2)
    parts.prompts.clear()
    assert all(torch.equal(one, other) for one, other in zip(before[0], encoded(parts, 1), strict=True))
    assert (dict(encoder._forward_hooks), dict(encoder._forward_pre_hooks)) == before[1:]


def picture(engine, **sampling):
    job = PictureJob(PROMPT, extent=Extent(64, 64), sampling=Sampling(steps=2, seed=3, **sampling), preview_every=0)
    return engine.run(job)[0].pixels.tobytes()


def test_a_job_says_it_and_another_after_it_does_not_know(sd15):
    engine = Engine(sd15.model, None)
    plain = picture(engine)
    skipped = picture(engine, clip_skip=2)
    assert plain != skipped
    assert picture(engine) == plain
    assert picture(engine, clip_skip=1) == plain
    assert picture(engine, clip_skip=2) == skipped


def test_a_models_own_clip_skip_counts_where_the_job_says_nothing(sd15, tmp_path):
    folder = tiny_model(tmp_path / "m", "sd15")
    (folder / "model.toml").write_text((folder / "model.toml").read_text() + "clip_skip = 2\n")
    engine = Engine(Model.open(folder), None)
    assert picture(engine) == picture(Engine(sd15.model, None), clip_skip=2)
    assert picture(engine, clip_skip=1) == picture(Engine(sd15.model, None))


def test_more_than_there_are_layers_is_refused(sd15):
    with pytest.raises(InvalidRequest, match="text encoder's 2 layers"):
        picture(Engine(sd15.model, None), clip_skip=3)
    with pytest.raises(InvalidRequest, match="1 to 12"):
        picture(Engine(sd15.model, None), clip_skip=13)


def test_scripts_say_it_by_name():
    assert portrait_job(None, PROMPT, clip_skip=2).sampling.clip_skip == 2
    assert portrait_job(None, PROMPT).sampling.clip_skip is None
