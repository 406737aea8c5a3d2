"""A base in one file is the same as in folders, bit for bit, or refused with the reason."""

from __future__ import annotations

import shutil

import pytest
import torch
from ldm_layout import card, checkpoint_state, keep_configs, vae_state, write_checkpoint
from safetensors.torch import load_file, save_file
from tiny_models import tiny_model

from backend.models.bundle import Model
from backend.models.checkpoint import open_checkpoint
from backend.models.parts import Parts
from protocol.errors import ModelError

ENCODERS = {"sdxl": ("text_encoder", "text_encoder_2"), "sd15": ("text_encoder",)}


@pytest.fixture(scope="module", params=["sdxl", "sd15"])
def stock(request, tmp_path_factory):
    """A tiny model in folders, and its modules as diffusers and transformers load them."""
    return tiny_model(tmp_path_factory.mktemp("stock") / request.param, request.param)


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("stock") / "sdxl", "sdxl")


def parts_of(folder):
    return Parts(Model.open(folder))


@pytest.fixture
def single(stock, tmp_path):
    """The same model, with the weights of its base in one file."""
    return in_one_file(stock, tmp_path)


def in_one_file(stock, tmp_path, name="base.safetensors", notes=None, **more):
    folder = tmp_path / "single"
    shutil.copytree(stock, folder)
    write_checkpoint(folder / name, parts_of(stock).base, notes, **more)
    keep_configs(folder)
    card(folder, checkpoint=name)
    return folder


def assert_same(one, other):
    left, right = one.state_dict(), other.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)


def assert_same_base(folder, stock):
    found, wanted = parts_of(folder), parts_of(stock)
    for name in ("unet", "vae", *ENCODERS[wanted.model.family.value]):
        assert_same(found.base[name], wanted.base[name])
        assert not found.base[name].training
        assert not any(parameter.requires_grad for parameter in found.base[name].parameters())


def test_a_checkpoint_gives_the_modules_it_was_written_from(single, stock):
    assert_same_base(single, stock)


def test_a_pickled_checkpoint_does_too(stock, tmp_path):
    assert_same_base(in_one_file(stock, tmp_path, "base.ckpt"), stock)


def test_positions_are_real_numbers_after_loading(single, stock):
    """Modules are made without memory first; what CLIP counts for itself must not stay there."""
    found, wanted = parts_of(single).base["text_encoder"], parts_of(stock).base["text_encoder"]
    words = torch.tensor([[512, 5, 9, 513]])
    assert torch.equal(found(words).last_hidden_state, wanted(words).last_hidden_state)
    assert not any(buffer.is_meta for buffer in found.buffers())


def test_half_precision_comes_from_a_file_in_any_precision(stock, tmp_path):
    folder = in_one_file(stock, tmp_path)
    found, wanted = Parts(Model.open(folder), dtype=torch.bfloat16).unet, parts_of(stock).unet
    assert found.dtype is torch.bfloat16
    assert all(torch.equal(value, wanted.state_dict()[key].bfloat16()) for key, value in found.state_dict().items())


def test_the_file_may_be_replaced_while_its_weights_are_in_use(stock, tmp_path):
    folder = in_one_file(stock, tmp_path)
    unet = parts_of(folder).unet
    before = {key: value.clone() for key, value in unet.state_dict().items()}
    with (folder / "base.safetensors").open("r+b") as file:
        file.seek(-4096, 2)
        file.write(b"\xff" * 4096)
    assert all(torch.equal(value, before[key]) for key, value in unet.state_dict().items())


def test_text_encoders_of_2022_lack_a_word_in_their_names(tmp_path):
    stock = tiny_model(tmp_path / "stock", "sd15")
    folder = in_one_file(stock, tmp_path)
    state = load_file(folder / "base.safetensors")
    old = {key.replace("transformer.text_model.", "transformer."): value for key, value in state.items()}
    save_file(old, folder / "base.safetensors")
    assert_same_base(folder, stock)


def test_a_unet_with_nine_channels_is_known_to_inpaint_only(tmp_path):
    stock = tiny_model(tmp_path / "stock", "sd15")
    state = checkpoint_state(parts_of(stock).base)
    name = "model.diffusion_model.input_blocks.0.0.weight"
    state[name] = torch.randn(state[name].shape[0], 9, 3, 3)
    folder = in_one_file(stock, tmp_path)
    save_file(state, folder / "base.safetensors")
    model = Model.open(folder)
    assert model.base.inpaints
    assert Parts(model).unet.config.in_channels == 9
    assert torch.equal(Parts(model).unet.conv_in.weight, state[name])


@pytest.mark.parametrize("place", ["first_stage_model.", "vae."])
def test_the_vae_may_stand_under_either_name(place, sdxl, tmp_path):
    folder = in_one_file(sdxl, tmp_path)
    state = load_file(folder / "base.safetensors")
    save_file({key.replace("first_stage_model.", place): value for key, value in state.items()}, folder / "base.safetensors")
    assert_same(parts_of(folder).base["vae"], parts_of(sdxl).base["vae"])


class TestAnotherVae:
    @pytest.fixture
    def other(self, tmp_path):
        return parts_of(tiny_model(tmp_path / "other", "sdxl", seed=7)).base["vae"]

    @pytest.mark.parametrize("ending", ["safetensors", "pt"])
    @pytest.mark.parametrize("prefix", ["", "first_stage_model."])
    def test_it_may_be_a_file_in_the_old_names(self, other, ending, prefix, sdxl, tmp_path):
        folder = in_one_file(sdxl, tmp_path)
        state = vae_state(other, prefix)
        if ending == "pt":
            torch.save({"state_dict": state}, folder / "other.pt")
        else:
            save_file(state, folder / "other.safetensors")
        card(folder, vae=f"other.{ending}")
        assert_same(parts_of(folder).base["vae"], other)

    def test_it_may_be_a_file_in_the_names_of_diffusers(self, other, sdxl, tmp_path):
        folder = in_one_file(sdxl, tmp_path)
        save_file({key: value.clone() for key, value in other.state_dict().items()}, folder / "sdxl-vae-fp16-fix.safetensors")
        card(folder, vae="sdxl-vae-fp16-fix.safetensors")
        found = parts_of(folder).base["vae"]
        assert_same(found, other)
        assert found.config.force_upcast is False

    def test_the_names_of_old_versions_of_diffusers_are_understood(self, other, sdxl, tmp_path):
        old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
        state = {key: value.clone() for key, value in other.state_dict().items()}
        for new, name in old.items():
            state = {key.replace(new, name): value for key, value in state.items()}
        folder = in_one_file(sdxl, tmp_path)
        save_file(state, folder / "other.safetensors")
        card(folder, vae="other.safetensors")
        assert_same(parts_of(folder).base["vae"], other)

    def test_it_may_be_a_folder_and_stand_in_a_model_of_folders(self, other, sdxl, tmp_path):
        folder = tmp_path / "folders"
        shutil.copytree(sdxl, folder)
        other.save_pretrained(tmp_path / "a vae")
        card(folder, vae=str(tmp_path / "a vae"))
        assert_same(parts_of(folder).base["vae"], other)

    @pytest.mark.parametrize("write", ["unet", "nothing"])
    def test_what_is_no_vae_is_refused(self, write, sdxl, tmp_path):
        folder = in_one_file(sdxl, tmp_path)
        if write == "unet":
            shutil.copy(folder / "base.safetensors", folder / "no.safetensors")
            state = {key: value for key, value in load_file(folder / "no.safetensors").items() if key.startswith("model.")}
            save_file(state, folder / "no.safetensors")
        card(folder, vae="no.safetensors")
        with pytest.raises(ModelError, match=r"no VAE|not there"):
            _ = parts_of(folder).base["vae"]


class TestWhatDoesNotFitIsNeverLoaded:
    @pytest.fixture
    def spoiled(self, sdxl, tmp_path):
        """A checkpoint with one change."""
        folder = in_one_file(sdxl, tmp_path)

        def change(edit):
            state = load_file(folder / "base.safetensors")
            edit(state)
            save_file(state, folder / "base.safetensors")
            return parts_of(folder)

        return change

    def test_a_missing_tensor_of_the_unet_is_named(self, spoiled):
        with pytest.raises(ModelError, match=r"1 of .* tensors are missing, such as mid_block"):
            _ = spoiled(lambda state: state.pop("model.diffusion_model.middle_block.0.in_layers.2.weight")).unet

    def test_a_tensor_too_many_is_counted(self, spoiled):
        with pytest.raises(ModelError, match=r"of which .* are known"):
            _ = spoiled(lambda state: state.update({"model.diffusion_model.extra_tower.weight": torch.ones(2)})).unet

    def test_another_shape_is_named(self, spoiled):
        with pytest.raises(ModelError, match=r"should have \(32, 32\)|should have"):
            _ = spoiled(lambda state: state.update({"model.diffusion_model.out.0.weight": torch.ones(5)})).unet

    def test_a_missing_layer_of_a_text_encoder_is_named(self, spoiled):
        name = "conditioner.embedders.1.model.transformer.resblocks.1.ln_1.weight"
        with pytest.raises(ModelError, match=r"text encoder in base\.safetensors does not fit: 1 of"):
            _ = spoiled(lambda state: state.pop(name)).base

    def test_a_missing_vae_is_said_with_the_way_out(self, spoiled):
        def without(state):
            for key in [key for key in state if key.startswith("first_stage_model.")]:
                del state[key]

        with pytest.raises(ModelError, match=r"has no VAE.*--vae"):
            _ = spoiled(without).base

    def test_missing_text_encoders_are_said(self, spoiled):
        def without(state):
            for key in [key for key in state if key.startswith("conditioner.embedders.0.")]:
                del state[key]

        with pytest.raises(ModelError, match="no text encoder"):
            _ = spoiled(without).base

    def test_model_toml_cannot_make_another_family_of_it(self, sdxl, tmp_path):
        folder = in_one_file(sdxl, tmp_path)
        (folder / "model.toml").write_text((folder / "model.toml").read_text().replace('family = "sdxl"', 'family = "sd15"'))
        with pytest.raises(ModelError, match=r"model\.toml says sd15, and the checkpoint is sdxl"):
            Model.open(folder)

    def test_a_checkpoint_that_has_gone_is_said(self, sdxl, tmp_path):
        folder = in_one_file(sdxl, tmp_path)
        (folder / "base.safetensors").unlink()
        with pytest.raises(ModelError, match="not there"):
            Model.open(folder)


def test_what_a_header_says_is_what_is_loaded(sdxl, tmp_path):
    folder = in_one_file(sdxl, tmp_path, notes={"modelspec.title": "My base"}, v_pred=torch.tensor([]), ztsnr=torch.tensor([]))
    assert open_checkpoint(folder / "base.safetensors").title == "My base"
    config = parts_of(folder).scheduler.config
    assert (config.prediction_type, config.rescale_betas_zero_snr, config.timestep_spacing) == ("v_prediction", True, "trailing")
