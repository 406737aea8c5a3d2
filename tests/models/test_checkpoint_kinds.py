"""What a file is, is told from its header: bases of SD 1.5 and SDXL are known, everything else is refused by its name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import accelerate
import diffusers
import pytest
import transformers
from ldm_layout import checkpoint_state
from safetensors.torch import save_file

from backend.models import tokenizers
from backend.models.catalog import Catalog
from backend.models.checkpoint import Prediction, recognised
from backend.models.distilled import Distillation, Told
from backend.models.family import Family
from backend.models.header import Header, read_header
from protocol.errors import ModelError
from protocol.geometry import Extent

PART_KINDS = {
    "unet": diffusers.UNet2DConditionModel, "vae": diffusers.AutoencoderKL, "text_encoder": transformers.CLIPTextModel,
    "text_encoder_2": transformers.CLIPTextModelWithProjection,
}  # fmt: skip


def stock_parts(family):
    """The real architectures, without memory for their weights."""
    parts = {}
    for name, kind in PART_KINDS.items():
        file = tokenizers.STOCK / family / name / "config.json"
        if file.is_file():
            words = json.loads(file.read_text())
            with accelerate.init_empty_weights():
                parts[name] = kind.from_config(words) if name in ("unet", "vae") else kind(kind.config_class(**words))
    return parts


@pytest.fixture(scope="module")
def real():
    """The shapes of the real checkpoints, by family."""
    parts = {family: stock_parts(family) for family in ("sdxl", "sd15")}
    return {family: {key: tuple(value.shape) for key, value in checkpoint_state(found).items()} for family, found in parts.items()}


def told(shapes, name="my_model.safetensors", **notes):
    return recognised(Header(shapes, {key.replace("__", "."): value for key, value in notes.items()}), Path(name), name)


def test_our_configurations_have_as_many_numbers_as_the_published_files():
    """The catalogue's bytes were established elsewhere; a header in front of half precision is all that may be between them."""
    files = {(part, file.place): file.bytes for part in ("sdxl-base", "sd15-base") for file in Catalog.load().parts[part].files}
    compared = 0
    for family in ("sdxl", "sd15"):
        for name, module in stock_parts(family).items():
            ending = "model" if name.startswith("text") else "diffusion_pytorch_model"
            size = files.get((f"{family}-base", f"{name}/{ending}.safetensors"))
            if size is not None:
                compared += 1
                assert 0 < size - 2 * sum(parameter.numel() for parameter in module.parameters()) < 250_000
    assert compared == 6


def vocabulary_file(merges_text: str) -> str:
    """`vocab.json` as the published models have it."""
    return json.dumps(tokenizers.vocabulary(merges_text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def test_the_vocabulary_is_the_published_one_byte_for_byte():
    files = {file.place: file.sha256 for file in Catalog.load().parts["sdxl-base"].files}
    text = tokenizers.merges()
    assert hashlib.sha256(text.encode()).hexdigest() == files["tokenizer/merges.txt"] == files["tokenizer_2/merges.txt"]
    assert hashlib.sha256(vocabulary_file(text).encode()).hexdigest() == files["tokenizer/vocab.json"]


def test_the_tokenizers_read_as_those_of_the_published_files_do(tmp_path):
    text = tokenizers.merges()
    (tmp_path / "merges.txt").write_text(text, encoding="utf-8")
    (tmp_path / "vocab.json").write_text(vocabulary_file(text), encoding="utf-8")
    for padding in ("<|endoftext|>", "!"):
        config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": padding}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        published, ours = transformers.CLIPTokenizer.from_pretrained(tmp_path), tokenizers.stock_tokenizer(padding)
        for prompt in ("a photo of an astronaut", "Ünïcode, naïve café — 東京 🎉 (x:1.2)", "", "long " * 200):
            options = {"padding": "max_length", "max_length": 77, "truncation": True}
            assert ours(prompt, **options).input_ids == published(prompt, **options).input_ids
    assert ours("a photo of an astronaut").input_ids == [49406, 320, 1125, 539, 550, 18376, 49407]  # from CLIP's own notebook


@pytest.mark.parametrize(("family", "size"), [("sdxl", 1024), ("sd15", 512)])
def test_a_base_is_known_by_its_shapes(family, size, real):
    found = told(real[family])
    assert (found.family, found.extent) == (Family(family), Extent(size, size))
    assert (found.prediction, found.zero_snr, found.inpaints, found.told, found.clip_skip) == (Prediction.NOISE, False, False, None, None)
    assert found.has_vae
    assert found.has_text


def test_velocity_is_told_by_the_keys_of_comfyui_by_modelspec_and_by_kohya(real):
    assert told(real["sdxl"] | {"v_pred": (0,), "ztsnr": (0,)}).prediction is Prediction.VELOCITY
    assert told(real["sdxl"] | {"v_pred": (0,), "ztsnr": (0,)}).zero_snr
    assert told(real["sdxl"], modelspec__prediction_type="v").prediction is Prediction.VELOCITY
    assert told(real["sdxl"], modelspec__prediction_type="epsilon").prediction is Prediction.NOISE
    found = told(real["sdxl"], ss_v_parameterization="True", ss_zero_terminal_snr="True")
    assert (found.prediction, found.zero_snr) == (Prediction.VELOCITY, True)


def test_the_notes_of_modelspec_and_kohya_are_read(real):
    found = told(
        real["sd15"], modelspec__title=" Painter ", modelspec__resolution="768x768", modelspec__license="CC0-1.0", ss_clip_skip="2"
    )
    assert (found.title, found.extent, found.licence, found.clip_skip) == ("Painter", Extent(768, 768), "CC0-1.0", 2)
    assert told(real["sd15"], modelspec__encoder_layer="2").clip_skip == 2


@pytest.mark.parametrize("notes", [{"modelspec__resolution": "9x9"}, {"modelspec__resolution": "513x512"}, {"ss_clip_skip": "None"}])
def test_notes_that_make_no_sense_are_passed_over(notes, real):
    found = told(real["sd15"], **notes)
    assert (found.extent, found.clip_skip) == (Extent(512, 512), None)


def test_distilled_checkpoints_are_told_by_name_before_their_notes(real):
    assert told(real["sdxl"], "juggernautXL_lightning_4step.safetensors").told == Told(Distillation.LIGHTNING, 4)
    assert told(real["sdxl"], "best.safetensors", modelspec__title="SDXL Turbo").told == Told(Distillation.TURBO)
    assert told(real["sdxl"], "sd_xl_turbo_1.0_fp16.safetensors").extent == Extent(512, 512)
    assert told(real["sdxl"], "dreamshaperXL_turbo.safetensors").extent == Extent(1024, 1024)


CONV_IN = "model.diffusion_model.input_blocks.0.0.weight"


def test_nine_channels_mean_inpainting(real):
    assert told(real["sd15"] | {CONV_IN: (320, 9, 3, 3)}).inpaints
    assert told(real["sdxl"] | {CONV_IN: (320, 9, 3, 3)}).family is Family.SDXL


def widened(shapes, width):
    return {key: (shape[0], width) if key.endswith("attn2.to_k.weight") else shape for key, shape in shapes.items()}


def test_relatives_that_look_alike_are_refused_by_name(real):
    without = {key: shape for key, shape in real["sd15"].items() if not key.startswith("cond_stage_model.")}
    open_clip = without | {"cond_stage_model.model.token_embedding.weight": (49408, 1024)}
    refiner = {key.replace("embedders.1", "embedders.0"): shape for key, shape in real["sdxl"].items() if "embedders.0" not in key}
    cases = {
        "Stable Diffusion 2": [widened(open_clip, 1024), widened(without, 1024)],
        "refiner": [refiner, widened(real["sdxl"], 1280)],
        "EDM": [real["sdxl"] | {"edm_mean": (1,)}, real["sdxl"] | {"edm_vpred.sigma_max": (1,)}],
        "InstructPix2Pix": [real["sd15"] | {CONV_IN: (320, 8, 3, 3)}],
        "5 channels": [real["sd15"] | {CONV_IN: (320, 5, 3, 3)}],
        "Stable Video": [real["sd15"] | {"model.diffusion_model.input_blocks.1.1.time_stack.0.norm1.weight": (320,)}],
    }
    for words, shapes in cases.items():
        for one in shapes:
            with pytest.raises(ModelError, match=words):
                told(one)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["lora_unet_down_blocks_0.lora_down.weight"], "a LoRA"), (["unet.x.lora_A.weight"], "a LoRA"), (["x.hada_w1_a"], "LyCORIS"),
        (["image_proj.latents", "ip_adapter.1.to_k_ip.weight"], "IP-Adapter"), (["control_model.input_blocks.0.0.weight"], "ControlNet"),
        (["controlnet_cond_embedding.conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"], "ControlNet"),
        (["adapter.body.0.in_conv.weight"], "T2I-Adapter"), (["emb_params"], "inversion"), (["clip_l", "clip_g"], "inversion"),
        (["first_stage_model.encoder.conv_in.weight"], "a VAE"), (["encoder.conv_in.weight", "decoder.conv_in.weight"], "a VAE"),
        (["input_blocks.0.0.weight"], "a UNet alone"), (["down_blocks.0.resnets.0.conv1.weight"], "a UNet alone"),
        (["double_blocks.0.img_attn.norm.key_norm.scale", "vae.decoder.conv_in.weight"], "FLUX"),
        (["model.diffusion_model.double_blocks.0.img_attn.qkv.weight"], "FLUX"),
        (["model.diffusion_model.joint_blocks.0.x"], "Diffusion 3"),
        (["transformer.single_transformer_blocks.0.x"], "FLUX"), (["model.diffusion_model.cap_embedder.0.weight"], "Lumina or Z-Image"),
        (["blocks.0.cross_attn.k.weight"], "Wan"), (["model.diffusion_model.clip_mapper.weight"], "Cascade"),
        (["patchify_proj.weight"], "LTX"),
        (["vision_model.embeddings.class_embedding"], "image encoder"), (["text_model.encoder.layers.0.x"], "text encoder"),
        (["model.diffusion_model.distilled_guidance_layer.x", "model.diffusion_model.double_blocks.0.x"], "Chroma"),
        (["body.0.rdb1.conv1.weight"], "upscaler"), (["strange.thing"], r"strange\.thing"), ([], "no tensors"),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused_by_name(names, words):
    with pytest.raises(ModelError, match=words) as caught:
        told(dict.fromkeys(names, (1,)), "mine.safetensors")
    assert str(caught.value).startswith("mine.safetensors ")


def test_a_real_lora_made_by_diffusers_is_no_checkpoint(tmp_path):
    """Not only names that we thought of."""
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=32, norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    from peft import LoraConfig

    unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    unet.save_lora_adapter(tmp_path)
    with pytest.raises(ModelError, match="is a LoRA"):
        recognised(read_header(next(tmp_path.glob("*.safetensors"))), tmp_path, "mine")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"GGUF\x03\0\0\0\0\0\0\0", "GGUF"), (b"<!doctype html><html>", "web page"), (b"version https://git-lfs", "pointer"),
        (b"", "no safetensors"), (b"\xff" * 64, "no safetensors"), (b"\x10" + b"\0" * 7 + b"{" + b"x" * 15, "damaged"),
    ],
)  # fmt: skip
def test_what_is_no_safetensors_file_is_said(content, words, tmp_path):
    (tmp_path / "mine.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=words):
        read_header(tmp_path / "mine.safetensors")


@pytest.mark.parametrize("cut", [1, 100])
def test_a_file_that_was_cut_short_is_not_whole(cut, tmp_path):
    import torch

    save_file({"w": torch.ones(100)}, tmp_path / "w.safetensors")
    whole = (tmp_path / "w.safetensors").read_bytes()
    assert read_header(tmp_path / "w.safetensors").shapes == {"w": (100,)}
    (tmp_path / "w.safetensors").write_bytes(whole[:-cut])
    with pytest.raises(ModelError, match="not whole"):
        read_header(tmp_path / "w.safetensors")
