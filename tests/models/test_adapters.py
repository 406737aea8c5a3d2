"""Adapter files: the official layouts are read, everything else is refused with a sentence and never loaded wrongly."""

from __future__ import annotations

import os
import pickle

import official_layouts as layouts
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import WIDTH, write_adapter

from backend.models.adapters import AdapterKind
from backend.models.loading import load_adapter
from protocol.errors import ModelError

LAYOUTS = {
    "base": (layouts.base(20, WIDTH), AdapterKind.BASE, 4, (1, 20)),
    "more-tokens": (layouts.base(20, WIDTH, tokens=8), AdapterKind.BASE, 8, (1, 20)),
    "plus": (layouts.resampler(64, 1, 24, WIDTH), AdapterKind.PLUS, 16, (1, 17, 24)),
    "full": (layouts.full(24, WIDTH), AdapterKind.FULL, 17, (1, 17, 24)),
    "faceid": (layouts.faceid(WIDTH), AdapterKind.FACE_ID, 4, (1, 1, 512)),
    "portrait": (layouts.faceid(WIDTH, tokens=16), AdapterKind.FACE_ID, 16, (1, 1, 512)),
    "instantid": (layouts.resampler(64, 1, 512, WIDTH), AdapterKind.INSTANT_ID, 16, (1, 1, 512)),
}


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_official_layout_is_recognised_and_makes_its_tokens(name, ending, unet, tmp_path):
    shapes, kind, tokens, given = LAYOUTS[name]
    path = tmp_path / f"{name}.{ending}"
    write_adapter(path, shapes, layouts.attention(unet))
    adapter = load_adapter(path, unet)
    assert adapter.kind is kind
    with torch.no_grad():
        assert adapter.projection(torch.ones(given)).shape == (1, tokens, WIDTH)


def test_keys_and_values_reach_the_layer_of_their_number(unet, tmp_path):
    path = tmp_path / "base.safetensors"
    write_adapter(path, layouts.base(20, WIDTH), layouts.attention(unet, rank=4))
    adapter, state = load_adapter(path, unet), load_file(path)
    names = list(unet.attn_processors)
    assert [names[index].endswith("attn2.processor") for index in adapter.layers] == [True] * len(adapter.layers)
    assert set(adapter.lora) == set(range(len(names)))
    for index, (key, value) in adapter.layers.items():
        assert torch.equal(key, state[f"ip_adapter.{index}.to_k_ip.weight"])
        assert torch.equal(value, state[f"ip_adapter.{index}.to_v_ip.weight"])
    assert torch.equal(adapter.lora[3].out[1], state["ip_adapter.3.to_out_lora.up.weight"])


def test_the_names_that_training_scripts_write_are_read_too(unet, tmp_path):
    path = tmp_path / "base.safetensors"
    write_adapter(path, layouts.base(20, WIDTH), layouts.attention(unet))
    renamed = {
        key.replace("image_proj.", "image_proj_model.").replace("ip_adapter.", "adapter_modules."): value
        for key, value in load_file(path).items()
    }
    save_file(renamed, tmp_path / "trained.safetensors")
    assert load_adapter(tmp_path / "trained.safetensors", unet).kind is AdapterKind.BASE


def test_only_the_name_tells_faceid_plus_version_2_and_model_toml_overrules_it(unet, tmp_path):
    for name, kind in (("faceid-plus", AdapterKind.FACE_ID_PLUS), ("faceid-plusv2", AdapterKind.FACE_ID_PLUS_V2)):
        path = tmp_path / f"ip-adapter-{name}_sdxl.bin"
        write_adapter(path, layouts.faceid_plus(WIDTH, 1, 24), layouts.attention(unet, rank=4))
        assert load_adapter(path, unet).kind is kind
    told = load_adapter(tmp_path / "ip-adapter-faceid-plus_sdxl.bin", unet, AdapterKind.FACE_ID_PLUS_V2)
    assert told.projection.shortcut


def wrong(unet):
    base, attention = layouts.base(20, WIDTH), layouts.attention(unet)
    first = next(iter(attention))
    return {
        "other text width": (layouts.base(20, 48), {key: (rows, 48) for key, (rows, _) in attention.items()}, "another base model"),
        "tokens of another width": (layouts.base(20, 48), attention, "text width 48"),
        "a layer is missing": (base, {key: shape for key, shape in attention.items() if key != first}, "nothing for attention layer"),
        "more layers": (base, attention | {"99.to_k_ip.weight": (64, WIDTH)}, "attention tensors"),
        "a deeper resampler": (layouts.resampler(64, 1, 24, WIDTH, depth=5), attention, "does not fit its layout"),
        "a shallower resampler": (layouts.resampler(64, 1, 24, WIDTH, depth=3), attention, "does not fit its layout"),
        "positions": (layouts.resampler(64, 1, 24, WIDTH) | {"pos_emb.weight": (17, 24)}, attention, "does not fit its layout"),
        "an unknown projection": ({"something.weight": (4, 4), "norm.weight": (WIDTH,)}, attention, "unknown layout"),
        "half a LoRA": (base, attention | {"0.to_q_lora.down.weight": (4, 32)}, "incomplete"),
        "no attention": (base, {}, "missing"),
    }


@pytest.mark.parametrize("case", [
    "other text width", "tokens of another width", "a layer is missing", "more layers", "a deeper resampler", "a shallower resampler",
    "positions", "an unknown projection", "half a LoRA", "no attention",
])  # fmt: skip
def test_a_wrong_adapter_is_refused_with_a_sentence(case, unet, tmp_path):
    projection, attention, words = wrong(unet)[case]
    path = tmp_path / "wrong.safetensors"
    write_adapter(path, projection, attention)
    with pytest.raises(ModelError, match=words) as caught:
        load_adapter(path, unet)
    assert "wrong.safetensors" in str(caught.value)


def test_a_kind_that_the_file_cannot_be_is_refused(unet, tmp_path):
    path = tmp_path / "base.safetensors"
    write_adapter(path, layouts.base(20, WIDTH), layouts.attention(unet))
    with pytest.raises(ModelError, match=r"plus.*base"):
        load_adapter(path, unet, AdapterKind.PLUS)


@pytest.mark.parametrize("name", ["damaged.safetensors", "damaged.bin"])
def test_a_damaged_file_is_refused(name, unet, tmp_path):
    path = tmp_path / name
    write_adapter(path, layouts.base(20, WIDTH), layouts.attention(unet))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match="Download it again"):
        load_adapter(path, unet)


def test_a_missing_file_is_said(unet, tmp_path):
    with pytest.raises(ModelError, match="missing"):
        load_adapter(tmp_path / "none.safetensors", unet)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (self.place,)


def test_a_pickle_never_runs_code(unet, tmp_path):
    bomb = Bomb()
    bomb.place = str(tmp_path / "exploded")
    torch.save({"image_proj": bomb, "ip_adapter": {}}, tmp_path / "bomb.bin")
    with pytest.raises(ModelError):
        load_adapter(tmp_path / "bomb.bin", unet)
    assert not (tmp_path / "exploded").exists()


def test_the_bomb_of_the_test_above_does_explode_when_it_is_let(tmp_path):
    bomb = Bomb()
    bomb.place = str(tmp_path / "exploded")
    pickle.loads(pickle.dumps(bomb))
    assert (tmp_path / "exploded").exists()
