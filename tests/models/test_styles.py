"""A style is the base with a LoRA in its weights."""

from __future__ import annotations

import diffusers
import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from tiny_models import _card, _unet, _vae

from backend.models.bundle import Model
from backend.models.parts import Parts
from protocol.errors import ModelError


@pytest.fixture
def folder(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = _unet("sdxl")
        unet.save_pretrained(tmp_path / "unet")
        _vae().save_config(tmp_path / "vae")
        unet.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights=False, target_modules=["to_q", "to_out.0"]))
    layers = get_peft_model_state_dict(unet)
    diffusers.StableDiffusionXLPipeline.save_lora_weights(tmp_path / "loras", unet_lora_layers=layers, weight_name="ink.safetensors")
    (tmp_path / "model.toml").write_text(_card("sdxl") + '\n[[style]]\nname = "ink"\nfile = "loras/ink.safetensors"\nweight = 0.5\n')
    return tmp_path, {key: value.clone() for key, value in layers.items()}


def test_a_style_adds_its_lora_to_the_weights_and_leaves_no_trace_of_it(folder):
    path, layers = folder
    plain, styled = Parts(Model.open(path)).unet, Parts(Model.open(path).with_style("ink")).unet
    before, after = plain.state_dict(), styled.state_dict()
    assert before.keys() == after.keys()
    changed = 0
    for key, value in before.items():
        name = key.removesuffix(".weight")
        down, up = (layers.get(f"{name}.lora_{half}.weight") for half in "AB")
        expected = value if down is None else value + 0.5 * up @ down
        changed += down is not None
        assert torch.allclose(after[key], expected, atol=1e-6)
    assert changed


def test_a_lora_for_other_modules_is_refused(folder):
    path, _ = folder
    save_file({"text_encoder.layer.lora_A.weight": torch.zeros(2, 2)}, path / "loras" / "ink.safetensors")
    with pytest.raises(ModelError, match="no LoRA for a UNet"):
        _ = Parts(Model.open(path).with_style("ink")).unet
