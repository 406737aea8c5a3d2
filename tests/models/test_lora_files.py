"""LoRA files: every name of a layer, every way of adding to one against PEFT's arithmetic, and what is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import lora_makers as makers
import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from peft import LoHaConfig, LoKrConfig, LoraConfig, inject_adapter_in_model
from safetensors.torch import save_file
from torch import nn

import backend.models
from backend.models.lora_files import LoraFile, read_lora_file
from backend.models.lora_names import Names, _original
from backend.models.loras import fit, load_lora
from backend.models.originals import Originals
from backend.pipelines.lora import Worn, wearing
from protocol.errors import ModelError


@pytest.fixture(scope="session")
def state(unets):
    return makers.peft_state(unets["sdxl"], 1, makers.UNET)


def layers_of(path, unet):
    return {place.layer: roles for place, roles in load_lora(path, {"unet": unet}).layers.items()}


@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_names_of_the_original_code_are_the_ones_that_diffusers_converts(family, unets):
    unet = unets[family]
    originals = {layer: _original(layer, unet) for layer, child in unet.named_modules() if isinstance(child, (nn.Linear, nn.Conv2d))}
    assert all(originals.values())
    marked = {
        f"model.diffusion_model.{name}.{end}": torch.tensor(float(i)) for i, name in enumerate(originals.values()) for end in ("weight",)
    }
    config = {**unet.config, "class_embed_type": None}
    marked |= {"model.diffusion_model.out.0.weight": torch.zeros(1), "model.diffusion_model.out.0.bias": torch.zeros(1)}
    biases = {key.replace(".weight", ".bias"): value for key, value in marked.items()}
    converted = convert_ldm_unet_checkpoint(marked | biases, config)
    for number, layer in enumerate(originals):
        assert converted[f"{layer}.weight"] == number, layer


REAL = {
    # what real files hold: kohya's for SDXL and SD 1.5, LCM-LoRA's, SDXL-Lightning's, and the layers that are meant
    "sdxl": {
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q": "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "lora_unet_input_blocks_8_1_transformer_blocks_9_attn2_to_out_0": "down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_out.0",
        "lora_unet_middle_block_1_transformer_blocks_9_ff_net_0_proj": "mid_block.attentions.0.transformer_blocks.9.ff.net.0.proj",
        "lora_unet_output_blocks_2_2_conv": "up_blocks.0.upsamplers.0.conv",
        "lora_unet_output_blocks_5_1_proj_in": "up_blocks.1.attentions.2.proj_in",
        "lora_unet_input_blocks_3_0_op": "down_blocks.0.downsamplers.0.conv",
        "lora_unet_input_blocks_1_0_emb_layers_1": "down_blocks.0.resnets.0.time_emb_proj",
        "lora_unet_label_emb_0_2": "add_embedding.linear_2",
        "lora_unet_down_blocks_0_resnets_0_conv1": "down_blocks.0.resnets.0.conv1",
        "unet.mid_block.attentions.0.proj_out": "mid_block.attentions.0.proj_out",
    },
    "sd15": {
        "lora_unet_down_blocks_0_attentions_0_proj_in": "down_blocks.0.attentions.0.proj_in",
        "lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_attn2_to_v": "up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_v",
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_2": "mid_block.attentions.0.transformer_blocks.0.ff.net.2",
        "lora_unet_output_blocks_5_2_conv": "up_blocks.1.upsamplers.0.conv",
        "lora_unet_output_blocks_2_1_conv": "up_blocks.0.upsamplers.0.conv",
        "lora_unet_output_blocks_11_0_skip_connection": "up_blocks.3.resnets.2.conv_shortcut",
    },
}
KOHYAS = {"sdxl": (722, (72, 192)), "sd15": (192, (72,))}
"""How many layers kohya's scripts report: of the UNet's attention ("create LoRA for U-Net: 722 modules"), and of the text encoders."""


@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_names_in_real_files_mean_the_layers_of_the_real_models(family):
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    stock = Path(backend.models.__file__).parent / "stock" / family
    with torch.device("meta"):
        modules = {"unet": UNet2DConditionModel.from_config(json.loads((stock / "unet" / "config.json").read_text()))}
        for part, kind in (("text_encoder", CLIPTextModel), ("text_encoder_2", CLIPTextModelWithProjection)):
            if (stock / part).is_dir():
                modules[part] = kind(CLIPTextConfig.from_pretrained(stock / part))
    names = Names(modules)
    for name, layer in REAL[family].items():
        assert names.place(name).layer == layer
    attended = [
        layer for layer, child in modules["unet"].named_modules() if ".attentions." in layer and isinstance(child, (nn.Linear, nn.Conv2d))
    ]
    flat = {f"lora_unet_{_original(layer, modules['unet']).replace('.', '_')}" for layer in attended}
    assert len(flat) == len(attended) == KOHYAS[family][0]
    for number, count in enumerate(KOHYAS[family][1], 1):
        kinds = ("self_attn_q_proj", "self_attn_k_proj", "self_attn_v_proj", "self_attn_out_proj", "mlp_fc1", "mlp_fc2")
        places = {
            names.place(f"lora_te{number if family == 'sdxl' else ''}_text_model_encoder_layers_{layer}_{kind}")
            for layer in range(count // 6)
            for kind in kinds
        }
        assert None not in places
        assert len(places) == count


@pytest.mark.parametrize(
    "prefix", ["lora_unet_", "lycoris_", "unet.", "base_model.model.", "", "diffusion_model.", "base_model.model.unet."]
)
def test_a_layer_goes_by_all_its_names(prefix, unets):
    names = Names({"unet": unets["sdxl"]})
    layer = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    for name in (layer, _original(layer, unets["sdxl"]), layer.replace(".to_q", ".processor.to_q")):
        flat = name.replace(".processor.", ".").replace(".", "_") if prefix.endswith("_") else name
        assert names.place(prefix + flat).layer == layer
    assert names.place("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out").layer.endswith("to_out.0")
    assert names.place("lora_unet_down_blocks_9_attentions_0_proj_in") is None


@pytest.mark.parametrize("way", ["bare", "adapter name", "old processors", "diffusers' linear layers", "original names"])
def test_the_same_lora_in_another_writing_is_the_same(way, state, unets, tmp_path):
    unet = unets["sdxl"]
    usual = layers_of(makers.diffusers_file(tmp_path / "usual.safetensors", {"unet": state}), unet)

    def renamed(key):
        stem, _, role = key.rpartition(".lora_")
        end = "down" if role.startswith("A") else "up"
        match way:
            case "bare":
                return f"base_model.model.{key}"
            case "adapter name":
                return f"unet.{stem}.lora_{role[0]}.default.weight"
            case "old processors" if ".attn" in stem:
                head, _, last = stem.removesuffix(".0").rpartition(".")
                return f"{head}.processor.{last}_lora.{end}.weight"
            case "diffusers' linear layers":
                return f"unet.{stem}.lora_linear_layer.{end}.weight"
            case "original names":
                return f"lora_unet_{_original(stem, unet).replace('.', '_')}.lora_{end}.weight"
            case _:
                return f"unet.{stem}.lora.{end}.weight"

    save_file({renamed(key): value.contiguous() for key, value in state.items()}, tmp_path / "wild.safetensors")
    wild = layers_of(tmp_path / "wild.safetensors", unet)
    assert wild.keys() == usual.keys()
    assert all(torch.equal(wild[layer][role], usual[layer][role]) for layer in usual for role in ("down", "up"))


def test_alphas_come_from_tensors_or_from_what_peft_writes_beside(state, unets, tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {f"unet.{key}": value.contiguous() for key, value in state.items()}
    config = {"unet.r": 4, "unet.lora_alpha": 2, "unet.alpha_pattern": {"attn1.to_q": 8}, "unet.use_rslora": False}
    save_file(tensors, path, metadata={"lora_adapter_metadata": json.dumps(config)})
    alphas = {layer: float(roles["alpha"]) for layer, roles in layers_of(path, unets["sdxl"]).items()}
    assert {alpha for layer, alpha in alphas.items() if layer.endswith("attn1.to_q")} == {8.0}
    assert {alpha for layer, alpha in alphas.items() if not layer.endswith("attn1.to_q")} == {2.0}
    folder = tmp_path / "peft"
    folder.mkdir()
    save_file({f"base_model.model.{key}": value.contiguous() for key, value in state.items()}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 3, "use_rslora": True}))
    assert {float(roles["alpha"]) for roles in layers_of(folder / "adapter_model.safetensors", unets["sdxl"]).values()} == {6.0}


class Small(nn.Module):
    """A layer of each kind."""

    def __init__(self):
        super().__init__()
        self.linear, self.conv = nn.Linear(12, 20), nn.Conv2d(8, 16, 3, stride=2, padding=1)

    def forward(self, rows, picture):
        return self.linear(rows), self.conv(picture)


CONFIGS = {
    "LoRA": lambda: LoraConfig(r=4, lora_alpha=3, target_modules=["linear", "conv"], init_lora_weights=False),
    "DoRA": lambda: LoraConfig(r=4, lora_alpha=3, target_modules=["linear", "conv"], init_lora_weights=False, use_dora=True),
    "LoHa": lambda: LoHaConfig(r=4, alpha=3, target_modules=["linear", "conv"], init_weights=False),
    "LoHa, Tucker": lambda: LoHaConfig(r=4, alpha=3, target_modules=["conv"], init_weights=False, use_effective_conv2d=True),
    "LoKr": lambda: LoKrConfig(r=1, alpha=3, target_modules=["linear", "conv"], init_weights=False),
    "LoKr, both halves": lambda: LoKrConfig(r=1, alpha=3, target_modules=["linear"], init_weights=False, decompose_both=True),
    "LoKr, Tucker": lambda: LoKrConfig(r=1, alpha=3, target_modules=["conv"], init_weights=False, use_effective_conv2d=True),
}


@pytest.mark.parametrize("originals", [None, Originals()], ids=["beside the layers", "merged into their weights"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_what_is_added_is_what_peft_adds(kind, originals):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        plain = Small().eval()
        theirs = inject_adapter_in_model(CONFIGS[kind](), copy.deepcopy(plain), "mine").eval()
        rows, picture = torch.randn(5, 12), torch.randn(2, 8, 9, 9)
        layers: dict[str, dict[str, torch.Tensor]] = {}
        for key, value in theirs.state_dict().items():
            layer, _, rest = key.partition(".")
            role = rest.removesuffix(".weight").split(".")[0]
            if role.startswith(("lora_", "hada_", "lokr_")):
                role = {"lora_A": "down", "lora_B": "up", "lora_magnitude_vector": "magnitude"}.get(role, role)
                if role == "magnitude":
                    value = value.flatten() * 1.1
                    theirs.state_dict()[key].mul_(1.1)
                layers.setdefault(layer, {"alpha": torch.tensor(3.0)})[role] = value.clone()
        with torch.no_grad():
            expected, before = theirs(rows, picture), plain(rows, picture)
            lora = fit("mine", LoraFile("mine", layers), {"unet": plain})
            weights = copy.deepcopy(plain.state_dict())
            with wearing({"unet": plain}, (Worn(lora, 1.0),), originals):
                found = plain(rows, picture)
                changed = not all(torch.equal(weight, weights[name]) for name, weight in plain.state_dict().items())
                assert changed == (originals is not None), "weights are touched only where that is asked for"
            assert all(torch.equal(weight, weights[name]) for name, weight in plain.state_dict().items())
            after = plain(rows, picture)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert not torch.allclose(found[-1], before[-1]) or "conv" not in layers
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_whole_factors_of_a_kronecker_product_have_no_rank_so_alpha_says_nothing():
    plain = nn.ModuleDict({"linear": nn.Linear(6, 8)})
    one, other, rows = torch.randn(4, 2), torch.randn(2, 3), torch.randn(5, 6)
    layers = {"linear": {"lokr_w1": one, "lokr_w2": other, "alpha": torch.tensor(9.0)}}
    with torch.no_grad():
        expected = plain["linear"](rows) + rows @ torch.kron(one, other).T * 0.5
        with wearing({"unet": plain}, (Worn(fit("mine", LoraFile("mine", layers), {"unet": plain}), 0.5),)):
            assert torch.allclose(plain["linear"](rows), expected, atol=1e-5)


@pytest.mark.parametrize("originals", [None, Originals()], ids=["beside the layers", "merged into their weights"])
def test_whole_matrices_middle_factors_biases_and_norms_are_added_as_they_are_meant(originals):
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.conv = nn.Linear(6, 6), nn.Conv2d(6, 8, 3, padding=1)
            self.layer, self.group = nn.LayerNorm(6), nn.GroupNorm(2, 8)

        def forward(self, rows, picture):
            return self.layer(self.linear(rows)), self.group(self.conv(picture))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        plain, merged = Normed(), None
        merged = copy.deepcopy(plain)
        down, middle, up = torch.randn(3, 6, 1, 1), torch.randn(3, 3, 3, 3), torch.randn(8, 3, 1, 1)
        diff, bias, norm, norm_bias = torch.randn(6, 6), torch.randn(6), torch.randn(8), torch.randn(6)
        rows, picture = torch.randn(4, 6), torch.randn(1, 6, 5, 5)
    layers = {
        "linear": {"diff": diff, "diff_b": bias},
        "conv": {"down": down, "mid": middle, "up": up, "alpha": torch.tensor(1.5), "diff_b": norm},
        "layer": {"diff_b": norm_bias},
        "group": {"diff": norm},
    }
    with torch.no_grad():
        merged.linear.weight += 0.5 * diff
        merged.linear.bias += 0.5 * bias
        merged.conv.weight += 0.5 * 0.5 * torch.einsum("oi,ijkl,jc->ockl", up[:, :, 0, 0], middle, down[:, :, 0, 0])
        merged.conv.bias += 0.5 * norm
        merged.layer.bias += 0.5 * norm_bias
        merged.group.weight += 0.5 * norm
        with wearing({"unet": plain}, (Worn(fit("mine", LoraFile("mine", layers), {"unet": plain}), 0.5),), originals):
            found = plain(rows, picture)
        for one, other in zip(found, merged(rows, picture), strict=True):
            assert torch.allclose(one, other, atol=1e-5)


def wrong(state):
    other = {key: torch.zeros(value.shape[0], 99) if "lora_A" in key else value for key, value in state.items()}
    key = next(key for key in state if "attn2.to_k.lora_A" in key)
    first = {"A": torch.ones(4, 4, 3, 3), "B": torch.ones(32, 4, 1, 1)}
    return {
        "another width": ({f"unet.{name}": value for name, value in other.items()}, "other shapes"),
        "SD 1.5's": ({f"unet.{name}": value for name, value in (state | {key: torch.zeros(4, 768)}).items()}, "for SD 1.5"),
        "unknown layers": ({f"lora_unet_nowhere.lora_{end}.weight": torch.ones(2) for end in ("down", "up")}, "none of its 1"),
        "one unknown layer": (
            {f"unet.{name}": value for name, value in state.items()} | {"unet.nowhere.lora_A.weight": torch.ones(2)},
            "only ",
        ),
        "half": ({f"unet.{name}": value for name, value in state.items() if name != key}, "incomplete"),
        "twice": ({"unet.conv_in.lora_A.weight": torch.ones(1), "unet.conv_in.lora.down.weight": torch.ones(1)}, "twice"),
        "the same layer by two names": (
            {f"{name}.lora_{end}.weight": factor for name in ("unet.conv_in", "unet.input_blocks.0.0") for end, factor in first.items()},
            "twice",
        ),
        "OFT": ({"lora_unet_conv_in.oft_blocks": torch.ones(1)}, "OFT"),
        "(IA)3": ({"lora_unet_conv_in.weight": torch.ones(1), "lora_unet_conv_in.on_input": torch.ones(1)}, "IA|nothing is known"),
        "Flux": ({"transformer.single_transformer_blocks.0.lora_A.weight": torch.ones(1)}, "Flux"),
        "an adapter": ({"ip_adapter.1.to_k_ip.weight": torch.ones(1)}, "IP-Adapter"),
        "an embedding": ({"emb_params": torch.ones(1)}, "textual inversion"),
        "a checkpoint": ({"model.diffusion_model.out.2.weight": torch.ones(1)}, "whole checkpoint"),
        "anything": ({"hello": torch.ones(1)}, "nothing is known"),
        "nothing": ({}, "empty"),
        "NaN": ({"lora_unet_conv_in.lora_down.weight": torch.full((2,), float("inf"))}, "NaN"),
    }  # fmt: skip


@pytest.mark.parametrize("case", list(wrong({"attn2.to_k.lora_A": torch.ones(1)})))
def test_a_wrong_lora_is_refused_with_the_reason(case, state, unets, tmp_path):
    tensors, words = wrong(state)[case]
    save_file({key: value.clone().contiguous() for key, value in tensors.items()}, tmp_path / "strange.safetensors")
    with pytest.raises(ModelError, match=words) as caught:
        load_lora(tmp_path / "strange.safetensors", {"unet": unets["sdxl"]})
    assert "strange.safetensors" in str(caught.value)


@pytest.mark.parametrize("bytes_", [b"", b"\xff" * 100, (2**40).to_bytes(8, "little") + b"{}", (10**6).to_bytes(8, "little") + b"{" * 50])
def test_a_file_whose_header_lies_is_refused(bytes_, tmp_path):
    (tmp_path / "lying.safetensors").write_bytes(bytes_)
    with pytest.raises(ModelError, match=r"lying.safetensors .*(damaged|cannot be read)"):
        read_lora_file(tmp_path / "lying.safetensors")


def test_a_header_that_tells_of_more_bytes_than_there_are_is_refused(tmp_path):
    header = json.dumps({"a.lora_down.weight": {"dtype": "F32", "shape": [2**30, 2**10], "data_offsets": [0, 2**42]}}).encode()
    (tmp_path / "lying.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(ModelError, match=r"lying.safetensors .*damaged"):
        read_lora_file(tmp_path / "lying.safetensors")
