"""Textual inversions by their names in a prompt, against diffusers' own `load_textual_inversion`; tokenizer and table stay as they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from stock_pipelines import by_hand, stock
from tiny_models import TEXT_WIDTHS, FakeFaces, tiny_model

from backend.models.bundle import Model
from backend.models.inversions import load_inversion
from backend.models.parts import Parts
from backend.pipelines.choices import Mode
from backend.pipelines.engine import Engine
from backend.pipelines.inversion import named
from backend.pipelines.sample import Recipe, draw_latents
from protocol.errors import ModelError
from protocol.geometry import Extent
from protocol.jobs import PictureJob, Sampling


def vectors(family, count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, width, generator=generator) for width in TEXT_WIDTHS[family]]


def write(path, family, count=2):
    """As kohya's scripts write it."""
    names = ("clip_l", "clip_g") if family == "sdxl" else ("emb_params",)
    save_file(dict(zip(names, vectors(family, count), strict=True)), path)
    return path


def encoders(parts):
    return {name: part for name, part in parts.wearers.items() if name != "unet"}


def ours(parts, prompt, *inversions):
    recipe = Recipe(Extent(64, 64), prompt, "blurry", 4, 3.0, inversions=inversions)
    return draw_latents(parts, recipe, seed=7).numpy()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_a_word_of_vectors_equals_diffusers(family, count, parts, tiny_folders, picture, tmp_path):
    mine = parts[family]
    pipe = stock(tiny_folders[family], Mode.TEXT, family=family)
    for number, vector in enumerate(vectors(family, count)):
        ending = "_2" if number else ""
        places = {"tokenizer": getattr(pipe, f"tokenizer{ending}"), "text_encoder": getattr(pipe, f"text_encoder{ending}")}
        pipe.load_textual_inversion({"word": vector}, token="hat", **places)
    expected = by_hand(pipe, Mode.TEXT, picture)
    plain = ours(mine, "a hat")
    word = load_inversion("Hat", write(tmp_path / "hat.safetensors", family, count), encoders(mine))
    for prompt in ("a hat", "a <Hat>", "a embedding:HAT"):
        assert np.abs(ours(mine, prompt, word) - expected).max() <= 1e-4
    assert np.abs(plain - expected).max() > 1e-2
    assert np.array_equal(ours(mine, "a hat"), plain)


def test_a_word_has_a_weight_like_every_other_and_may_stand_in_long_prompts(parts, tmp_path):
    mine = parts["sdxl"]
    word = load_inversion("zebra", write(tmp_path / "zebra.safetensors", "sdxl"), encoders(mine))
    once, often = ours(mine, "a hat zebra", word), ours(mine, "a (hat zebra:1.4)", word)
    longer = ours(mine, "a hat, red, " * 30 + "zebra", word)
    assert not np.allclose(once, often)
    assert not np.allclose(longer, ours(mine, "a hat, red, " * 30 + "zebra"))


def test_encoders_that_take_the_highest_id_for_the_end_of_a_text_do_not_take_the_word_for_it(tmp_path):
    """SDXL's own text encoders are configured that way (`eos_token_id` 2); diffusers gives them the word as the whole text's summary."""
    folder = tiny_model(tmp_path / "model")
    path = write(tmp_path / "zebra.safetensors", "sdxl")
    usual = Parts(Model.open(folder))
    expected = ours(usual, "zebra red", load_inversion("zebra", path, encoders(usual)))
    for part in ("text_encoder", "text_encoder_2"):
        config = folder / part / "config.json"
        text = config.read_text()
        assert '"eos_token_id": 513' in text
        config.write_text(text.replace('"eos_token_id": 513', '"eos_token_id": 2'))
    other = Parts(Model.open(folder))
    assert np.array_equal(ours(other, "zebra red", load_inversion("zebra", path, encoders(other))), expected)


@pytest.fixture
def engine_with_words(tmp_path):
    folder = tiny_model(tmp_path / "model", "sd15")
    (folder / "embeddings" / "negatives").mkdir(parents=True)
    write(folder / "embeddings" / "negatives" / "easynegative.safetensors", "sd15", 4)
    write(folder / "embeddings" / "zebra.safetensors", "sd15")
    return Engine(Model.open(folder), FakeFaces())


def hooks(parts):
    modules = (module for part in parts.wearers.values() for module in part.modules())
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)


def job(prompt, negative):
    return PictureJob(prompt=prompt, negative=negative, preview_every=0, sampling=Sampling(seed=3))


def test_names_in_prompt_and_negative_prompt_are_found_and_nothing_of_them_stays(engine_with_words):
    engine = engine_with_words
    tables = {name: part.get_input_embeddings().weight.clone() for name, part in encoders(engine.parts).items()}
    known = len(engine.parts.base["tokenizer"])
    plain = engine.run(job("a hat", "blurry"))[0].pixels
    engine.run(job("a (hat:1.2)", "blurry"))
    hooked = hooks(engine.parts)  # transformers leaves some of its own with the first call for hidden states
    with_word = engine.run(job("a hat", "blurry, EasyNegative"))[0].pixels
    both = engine.run(job("a <zebra>", "(easynegative:1.2)"))[0].pixels
    assert not np.array_equal(plain, with_word)
    assert not np.array_equal(with_word, both)
    assert np.array_equal(engine.run(job("a hat", "blurry"))[0].pixels, plain)
    assert np.array_equal(engine.run(job("a hat", "blurry, EasyNegative"))[0].pixels, with_word)
    assert len(engine.parts.base["tokenizer"]) == known
    for name, part in encoders(engine.parts).items():
        assert torch.equal(part.get_input_embeddings().weight, tables[name])
    assert hooks(engine.parts) == hooked


def test_a_file_that_is_replaced_is_read_anew(engine_with_words):
    engine = engine_with_words
    first = engine.run(job("zebra", ""))[0].pixels
    path = engine.parts.model.folder / "embeddings" / "zebra.safetensors"
    save_file({"emb_params": torch.ones(3, 32)}, path)
    assert not np.array_equal(engine.run(job("zebra", ""))[0].pixels, first)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a zebra, red", ("zebra",)), ("a Zebra-print", ()), ("zebras", ()), ("(bad-hands-5:0.8)", ("bad-hands-5",)),
        ("<zebra>", ("zebra",)),
        ("embedding:zebra", ("zebra",)), ("bad-hands-5a zebra_2", ()), ("zebra zebra", ("zebra",)), ("", ()),
    ],
)  # fmt: skip
def test_a_name_counts_as_a_whole_word(text, found):
    assert named([text], ["zebra", "bad-hands-5", "hands"]) == found


@pytest.mark.parametrize("writer", ["a1111", "diffusers", "diffusers-flat", "kohya"])
def test_every_layout_holds_the_same_vectors(writer, parts, tmp_path):
    vector = vectors("sd15", 2)[0]
    path = tmp_path / ("zebra.safetensors" if writer == "kohya" else "zebra.pt")
    match writer:
        case "a1111":
            torch.save(
                {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.nn.Parameter(vector)}, "name": "zebra", "step": 9}, path
            )
        case "diffusers":
            torch.save({"<zebra>": vector}, path)
        case "diffusers-flat":
            vector = vector[:1]
            torch.save({"<zebra>": vector[0].half()}, path)
        case _:
            save_file({"emb_params": vector}, path)
    found = load_inversion("zebra", path, encoders(parts["sd15"]))
    assert torch.allclose(found.vectors["text_encoder"], vector, atol=2e-3)


@pytest.mark.parametrize(
    ("state", "family", "words"),
    [
        ({"emb_params": torch.ones(2, 1024)}, "sd15", "for SD 2"),
        ({"emb_params": torch.ones(2, 32)}, "sdxl", "two text encoders"),
        ({"clip_l": torch.ones(2, 16), "clip_g": torch.ones(2, 16)}, "sd15", "for SDXL"),
        ({"clip_l": torch.ones(2, 16)}, "sdxl", "half of one"),
        ({"clip_l": torch.ones(2, 16), "clip_g": torch.ones(3, 16)}, "sdxl", "2 and 3 vectors"),
        ({"a": torch.ones(2, 32), "b": torch.ones(2, 32)}, "sd15", "2 words"),
        ({"a": torch.ones(2, 2, 32)}, "sd15", "no vectors"),
        ({"emb_params": torch.ones(80, 32)}, "sd15", "80 vectors"),
        ({"emb_params": torch.full((2, 32), float("nan"))}, "sd15", "NaN"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(state, family, words, parts, tmp_path):
    save_file(state, tmp_path / "strange.safetensors")
    with pytest.raises(ModelError, match=words) as caught:
        load_inversion("strange", tmp_path / "strange.safetensors", encoders(parts[family]))
    assert "strange.safetensors" in str(caught.value)
