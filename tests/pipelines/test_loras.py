"""LoRAs in one call, against diffusers' own `load_lora_weights` and `set_adapters` at the same weights; nothing of them is left."""

from __future__ import annotations

import lora_makers as makers
import numpy as np
import pytest
import torch
from stock_pipelines import by_hand, load_stock_adapters, stock
from tiny_models import tiny_model

from backend.models.bundle import Model
from backend.models.loras import load_lora
from backend.models.parts import Parts
from backend.pipelines.attention import Lane
from backend.pipelines.choices import Mode
from backend.pipelines.ip_adapter import face_prompt_tokens
from backend.pipelines.lora import Worn, wearing
from backend.pipelines.sample import Recipe, draw_latents
from protocol.geometry import Extent

FACE = np.random.default_rng(5).standard_normal((1, 512)).astype(np.float32)
UNIT = FACE / np.linalg.norm(FACE)
FAMILIES = {"sdxl": ("unet", "text_encoder", "text_encoder_2"), "sd15": ("unet", "text_encoder")}


def ours(parts, **extra):
    return draw_latents(parts, Recipe(Extent(64, 64), "a hat", "blurry", 4, 3.0, **extra), seed=7).numpy()


def assert_close(one, other):
    assert np.abs(one - other).max() <= 1e-4


def made(parts, seed, text=True):
    names = FAMILIES[parts.model.family.value]
    base = parts.base
    return {
        name: makers.peft_state(base[name], seed, makers.UNET if name == "unet" else makers.TEXT)
        for name in names
        if text or name == "unet"
    }


def worn(parts, *pairs):
    return tuple(Worn(load_lora(path, parts.wearers), weight) for path, weight in pairs)


@pytest.mark.parametrize("family", ["sdxl", "sd15"])
@pytest.mark.parametrize("writer", [makers.diffusers_file, makers.kohya_file])
def test_two_loras_for_unet_and_text_encoders_equal_diffusers(family, writer, parts, tiny_folders, picture, tmp_path):
    mine = parts[family]
    one, other = (writer(tmp_path / f"{seed}.safetensors", made(mine, seed)) for seed in (1, 2))
    pipe = stock(tiny_folders[family], Mode.TEXT, family=family)
    for path in (one, other):
        pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=f"a{path.stem}")
    pipe.set_adapters(["a1", "a2"], [0.8, -0.5])
    expected = by_hand(pipe, Mode.TEXT, picture)
    plain = ours(mine)
    found = ours(mine, loras=worn(mine, (one, 0.8), (other, -0.5)))
    assert_close(found, expected)
    assert np.abs(found - plain).max() > 1e-2
    assert np.array_equal(ours(mine), plain)


def test_a_lora_goes_beside_the_lora_of_a_faceid_adapter(parts, tiny_folders, picture, tmp_path):
    folder, mine = tiny_folders["sd15"], parts["sd15"]
    path = makers.diffusers_file(tmp_path / "mine.safetensors", made(mine, 3))
    pipe = stock(folder, Mode.TEXT, family="sd15")
    load_stock_adapters(pipe, [folder / "ip_adapter" / "faceid.safetensors"])
    pipe.set_ip_adapter_scale(0.9)
    pipe.load_lora_weights(str(tmp_path), weight_name=path.name, adapter_name="mine")
    pipe.set_adapters(["faceid_0", "mine"], [1.0, 0.7])
    embeds = torch.from_numpy(np.concatenate([0 * UNIT, UNIT]))[:, None]
    expected = by_hand(pipe, Mode.TEXT, picture, ip_adapter_image_embeds=[embeds])
    entry = mine.model.adapter("faceid")
    lane = Lane(mine.adapter(entry), face_prompt_tokens(mine, entry, FACE, None, guided=True), 0.9)
    assert_close(ours(mine, lanes=(lane,), loras=worn(mine, (path, 0.7))), expected)


def test_at_weight_0_a_lora_changes_not_one_bit(parts, picture, tmp_path):
    mine = parts["sdxl"]
    path = makers.diffusers_file(tmp_path / "mine.safetensors", made(mine, 3))
    assert np.array_equal(ours(mine, loras=worn(mine, (path, 0.0))), ours(mine))


def test_prompts_that_a_lora_speaks_differently_are_encoded_again_and_others_are_not(parts, picture, tmp_path):
    mine = parts["sdxl"]
    speaking = makers.diffusers_file(tmp_path / "speaking.safetensors", made(mine, 4))
    silent = makers.diffusers_file(tmp_path / "silent.safetensors", made(mine, 4, text=False))
    ours(mine)
    known = len(mine.prompts)
    ours(mine, loras=worn(mine, (silent, 0.7)))
    assert len(mine.prompts) == known
    first = ours(mine, loras=worn(mine, (speaking, 0.7)))
    second = ours(mine, loras=worn(mine, (speaking, 0.4)))
    assert len(mine.prompts) == known + 2
    assert not np.array_equal(first, second)
    assert np.array_equal(ours(mine, loras=worn(mine, (speaking, 0.7))), first)


def bits(modules):
    return {
        name: (
            {key: value.clone() for key, value in module.state_dict().items()},
            sum(len(part._forward_hooks) for part in module.modules()),
        )
        for name, module in modules.items()
    }


def equal(one, other):
    return all(
        one[name][1] == other[name][1] and all(torch.equal(value, other[name][0][key]) for key, value in one[name][0].items())
        for name in one
    )


def test_nothing_is_left_after_a_call_that_fails(parts, tmp_path):
    mine = parts["sdxl"]
    modules = mine.wearers
    path = makers.diffusers_file(tmp_path / "mine.safetensors", made(mine, 5))
    before = bits(modules)
    loras = worn(mine, (path, 1.0))
    on = wearing(modules, loras)
    on.__enter__()
    assert not equal(before, bits(modules))  # the unsafe twin: what is left on is noticed
    on.__exit__(RuntimeError, RuntimeError(), None)
    assert equal(before, bits(modules))


def test_a_lora_goes_beside_the_style_of_a_model(tmp_path):
    folder = tiny_model(tmp_path / "model", "sd15")
    plain = Parts(Model.open(folder))
    (folder / "loras").mkdir()
    style = makers.diffusers_file(folder / "loras" / "style.safetensors", made(plain, 6, text=False))
    mine = makers.diffusers_file(folder / "loras" / "mine.safetensors", made(plain, 7))
    card = folder / "model.toml"
    card.write_text(card.read_text() + '\n[[style]]\nname = "style"\nfile = "loras/style.safetensors"\nweight = 0.5\n')
    styled = Parts(Model.open(folder).with_style("style"))
    expected = ours(plain, loras=worn(plain, (style, 0.5), (mine, 0.7)))
    assert_close(ours(styled, loras=(Worn(styled.lora("mine"), 0.7),)), expected)
