"""Every IP-Adapter that is published, in small: read from both containers, and token for token what diffusers makes of the same file."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import numpy as np
import official_layouts as layouts
import pytest
import torch
from safetensors.torch import save_file
from tiny_models import WIDTH, write_adapter

from backend.models import adapter_kinds
from backend.models.adapter_keys import official_halves
from backend.models.adapters import AdapterKind
from backend.models.catalog import Catalog, CatalogFile, Part
from backend.models.loading import load_adapter, read_halves
from backend.pipelines.identity import face_tokens
from protocol.errors import ModelError

EMBEDS, HIDDEN, FACE = (2, 20), (2, 17, 24), (2, 1, 512)
PUBLISHED = {
    # file stem: image projection, LoRA's rank, kind, tokens, what it reads
    "ip-adapter_sd15": (layouts.base(20, WIDTH), 0, AdapterKind.BASE, 4, EMBEDS),
    "ip-adapter_sd15_light_v11": (layouts.base(20, WIDTH), 0, AdapterKind.BASE, 4, EMBEDS),
    "ip-adapter_sd15_vit-G": (layouts.base(28, WIDTH), 0, AdapterKind.BASE, 4, (2, 28)),
    "ip-adapter-plus_sd15": (layouts.resampler(64, 1, 24, WIDTH), 0, AdapterKind.PLUS, 16, HIDDEN),
    "ip-adapter-plus-face_sd15": (layouts.resampler(128, 2, 24, WIDTH), 0, AdapterKind.PLUS, 16, HIDDEN),
    "ip-adapter-full-face_sd15": (layouts.full(24, WIDTH), 0, AdapterKind.FULL, 17, HIDDEN),
    "ip-adapter_sdxl": (layouts.base(28, WIDTH), 0, AdapterKind.BASE, 4, (2, 28)),
    "ip-adapter_sdxl_vit-h": (layouts.base(20, WIDTH), 0, AdapterKind.BASE, 4, EMBEDS),
    "ip-adapter-plus_sdxl_vit-h": (layouts.resampler(64, 1, 24, WIDTH), 0, AdapterKind.PLUS, 16, HIDDEN),
    "ip-adapter-faceid_sd15": (layouts.faceid(WIDTH), 4, AdapterKind.FACE_ID, 4, FACE),
    "ip-adapter-faceid_sdxl": (layouts.faceid(WIDTH), 4, AdapterKind.FACE_ID, 4, FACE),
    "ip-adapter-faceid-plus_sd15": (layouts.faceid_plus(WIDTH, 1, 24), 4, AdapterKind.FACE_ID_PLUS, 4, FACE),
    "ip-adapter-faceid-plusv2_sd15": (layouts.faceid_plus(WIDTH, 1, 24), 4, AdapterKind.FACE_ID_PLUS_V2, 4, FACE),
    "ip-adapter-faceid-plusv2_sdxl": (layouts.faceid_plus(WIDTH, 1, 24), 4, AdapterKind.FACE_ID_PLUS_V2, 4, FACE),
    "ip-adapter-faceid-portrait_sdxl": (layouts.faceid(WIDTH, tokens=16), 0, AdapterKind.FACE_ID, 16, FACE),
    "ip-adapter-faceid-portrait-v11_sd15": (layouts.faceid(WIDTH, tokens=16), 0, AdapterKind.FACE_ID, 16, FACE),
    "ip-adapter-faceid-portrait_sdxl_unnorm": (layouts.resampler(64, 1, 512, WIDTH), 0, AdapterKind.FACE_ID_PORTRAIT_RAW, 16, FACE),
    "ip-adapter": (layouts.resampler(64, 1, 512, WIDTH), 0, AdapterKind.INSTANT_ID, 16, FACE),
}


def write(path, projection, attention):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        write_adapter(path, projection, attention)
    return path


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
@pytest.mark.parametrize("stem", PUBLISHED)
def test_a_published_adapter_makes_the_tokens_and_has_the_layers_that_diffusers_gives_it(stem, ending, unets, tmp_path):
    projection, rank, kind, tokens, given = PUBLISHED[stem]
    unet = unets["sd15" if "sd15" in stem else "sdxl"]
    path = write(tmp_path / f"{stem}.{ending}", projection, layouts.attention(unet, rank))
    adapter = load_adapter(path, unet)
    assert adapter.kind is kind
    stock = copy.deepcopy(unet)
    stock._load_ip_adapter_weights([read_halves(path)], low_cpu_mem_usage=False)
    theirs = stock.encoder_hid_proj.image_projection_layers[0].eval()
    with torch.no_grad():
        numbers = torch.randn(given, generator=torch.Generator().manual_seed(2))
        for module in (adapter.projection, theirs):
            if "plus" in kind.value and kind.needs_face:
                module.clip_embeds = torch.randn((2, 1, 17, 24), generator=torch.Generator().manual_seed(3))
                module.shortcut = kind is AdapterKind.FACE_ID_PLUS_V2
        ours, expected = adapter.projection(numbers), theirs(numbers)
    assert ours.shape[-2:] == (tokens, WIDTH)
    assert torch.equal(ours, expected)
    for index, processor in enumerate(stock.attn_processors.values()):
        assert hasattr(processor, "to_k_ip") == (index in adapter.layers)
        if index in adapter.layers:
            key, value = adapter.layers[index]
            assert torch.equal(key, processor.to_k_ip[0].weight)
            assert torch.equal(value, processor.to_v_ip[0].weight)
    assert bool(adapter.lora) == bool(rank)


@pytest.mark.parametrize("stem", ["ip-adapter-faceid-portrait_sdxl", "ip-adapter-faceid-portrait_sdxl_unnorm"])
def test_a_portrait_adapter_gives_every_photo_its_own_sixteen_tokens(stem, unets, tmp_path):
    unet = unets["sdxl"]
    adapter = load_adapter(write(tmp_path / f"{stem}.bin", PUBLISHED[stem][0], layouts.attention(unet)), unet)
    faces = np.random.default_rng(4).standard_normal((5, 512)).astype(np.float32)
    tokens = face_tokens(adapter, faces, guided=True)
    assert tokens.shape == (2, 80, WIDTH)
    with torch.no_grad():
        each = [adapter.projection(torch.from_numpy(face)[None, None]).reshape(16, WIDTH) for face in faces]
        nobody = adapter.projection(torch.zeros(1, 1, 512)).reshape(16, WIDTH)
    assert torch.allclose(tokens[1], torch.cat(each), atol=1e-5)
    assert torch.allclose(tokens[0], nobody.repeat(5, 1), atol=1e-5)


def trained(name):
    """How the same adapter is named by those who train and wrap."""
    half, _, rest = name.partition(".")
    long = {"image_proj": "image_proj_model", "ip_adapter": "adapter_modules"}[half]
    return {
        "training script": f"{long}.{rest}",
        "DDP": f"module.{long}.{rest}",
        "DDP within": f"{long}.module.{rest}",
        "compiled": f"_orig_mod.{long}.{rest}",
        "a part of a model": f"ip_adapter.{long}.{rest}",
        "halves in one half": f"ip_adapter.{half}.{rest}",
    }


@pytest.mark.parametrize("way", list(trained("image_proj.x")))
def test_wild_names_are_the_official_ones_again(way, unets, tmp_path):
    unet = unets["sdxl"]
    official = flat(write(tmp_path / "a.safetensors", layouts.base(20, WIDTH), layouts.attention(unet)))
    wild = {trained(name)[way]: value for name, value in official.items()} | {"unet.conv_in.weight": torch.zeros(2)}
    save_file(wild, tmp_path / "wild.safetensors")
    torch.save({"state_dict": wild, "step": 1000}, tmp_path / "wild.bin")
    for name in ("wild.safetensors", "wild.bin"):
        halves = read_halves(tmp_path / name)
        found = {f"{half}.{key}": value for half, state in halves.items() for key, value in state.items()}
        assert found.keys() == official.keys()
        assert all(torch.equal(found[key], official[key]) for key in found)


@pytest.mark.parametrize("number", ["", ".0"])
def test_keys_that_were_saved_within_the_unet_come_by_the_names_of_their_processors(number, unets, tmp_path):
    unet = unets["sdxl"]
    names = list(unet.attn_processors)
    official = flat(write(tmp_path / "a.safetensors", layouts.base(20, WIDTH), layouts.attention(unet, 4)))
    wild = {}
    for name, value in official.items():
        half, index, rest = name.split(".", 2)
        place = f"unet.{names[int(index)]}.{rest}" if half == "ip_adapter" else f"image_proj_model.{index}.{rest}"
        wild[place.replace("_ip.", f"_ip{number}.")] = value
    save_file(wild, tmp_path / "wild.safetensors")
    one, other = load_adapter(tmp_path / "a.safetensors", unet), load_adapter(tmp_path / "wild.safetensors", unet)
    assert all(torch.equal(one.layers[index][0], other.layers[index][0]) for index in one.layers)
    assert one.lora.keys() == other.lora.keys()


def flat(path):
    return {f"{half}.{key}": value for half, state in read_halves(path).items() for key, value in state.items()}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"id_encoder": {"x": torch.ones(1)}}, "PhotoMaker"),
        ({"pulid_encoder.x": torch.ones(1)}, "PuLID"),
        ({"double_blocks.0.x": torch.ones(1)}, "Flux"),
        ({"something": {"x": torch.ones(1)}}, "something"),
        ({"image_proj": {"proj.weight": torch.ones(1)}}, "ip_adapter is missing"),
        ({"image_proj": {"proj.weight": torch.ones(1)}, "image_proj_model": {"proj.weight": torch.zeros(1)}}, "twice"),
        ({"image_proj": {"proj.weight": torch.ones(1)}, "ip_adapter": {"1.to_k_ip.weight": "text"}}, "ip_adapter is missing"),
        ({"image_proj.x": torch.ones(1), "unet.a.attn2.processor.to_k_ip.0.weight": torch.ones(1)}, "no layer a"),
        ({"image_proj.x": torch.ones(1), "unet.a.attn2.processor.to_k_ip.1.weight": torch.ones(1)}, "several"),
    ],
)
def test_what_is_no_adapter_is_refused_with_what_it_is(state, words, unets, tmp_path):
    torch.save(state, tmp_path / "strange.bin")
    with pytest.raises(ModelError, match=words) as caught:
        load_adapter(tmp_path / "strange.bin", unets["sdxl"])
    assert "strange.bin" in str(caught.value)


@pytest.mark.parametrize(
    "projection",
    [layouts.resampler(2048, 1, 24, WIDTH), layouts.faceid(4096) | {"perceiver_resampler.proj_in.weight": (4096, 8)}],
    ids=["plus", "faceid"],
)
def test_kolors_adapters_are_refused_although_their_layers_fit(projection, unets, tmp_path):
    state = {"image_proj": {key: torch.zeros(shape, dtype=torch.uint8) for key, shape in projection.items()}}
    torch.save(state | {"ip_adapter": {"1.to_k_ip.weight": torch.zeros(1)}}, tmp_path / "kolors.bin")
    with pytest.raises(ModelError, match="Kolors"):
        load_adapter(tmp_path / "kolors.bin", unets["sdxl"])


def test_numbers_that_are_none_are_refused(unets, tmp_path):
    state = flat(write(tmp_path / "a.safetensors", layouts.base(20, WIDTH), layouts.attention(unets["sdxl"])))
    state["ip_adapter.3.to_v_ip.weight"][0, 0] = float("nan")
    save_file(state, tmp_path / "broken.safetensors")
    with pytest.raises(ModelError, match=r"broken.safetensors is broken: ip_adapter.3.to_v_ip.weight"):
        load_adapter(tmp_path / "broken.safetensors", unets["sdxl"])


@pytest.mark.parametrize(
    ("shapes", "kind", "other"),
    [
        (layouts.faceid_plus(WIDTH, 1, 24), AdapterKind.FACE_ID_PLUS_V2, AdapterKind.FACE_ID_PLUS),
        (layouts.resampler(64, 1, 512, WIDTH), AdapterKind.FACE_ID_PORTRAIT_RAW, AdapterKind.INSTANT_ID),
    ],
)
def test_the_catalogues_hash_tells_what_a_layout_and_a_wrong_name_do_not_and_model_toml_overrules_it(
    shapes, kind, other, unets, tmp_path, monkeypatch
):
    path = write(tmp_path / "renamed.bin", shapes, layouts.attention(unets["sdxl"], 4))
    assert load_adapter(path, unets["sdxl"]).kind is other
    file = CatalogFile("a/b", "main", "x.bin", "x.bin", path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    known = Catalog({"x": Part("x", "x", "sdxl", next(iter(Catalog.load().parts.values())).licence, (file,), {"kind": kind.value})})
    monkeypatch.setattr(adapter_kinds.Catalog, "load", lambda: known)
    assert load_adapter(path, unets["sdxl"]).kind is kind
    assert load_adapter(path, unets["sdxl"], other).kind is other


def test_the_halves_of_a_mixture_are_taken_once():
    tensor = torch.ones(2)
    state = {"image_proj.a": tensor, "image_proj_model.a": tensor.clone(), "adapter_modules.1.b": tensor, "module.unet.x": tensor}
    assert {half: list(tensors) for half, tensors in official_halves(Path("m.bin"), state).items()} == {
        "image_proj": ["a"], "ip_adapter": ["1.b"]
    }  # fmt: skip
