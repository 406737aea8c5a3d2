"""What a file is that is no checkpoint of SD 1.5 or SDXL, told from the names of its tensors, so that it can be refused by name."""

from __future__ import annotations

from .header import Header

_OURS = "Choose a checkpoint of SD 1.5 or SDXL."
_ADDED = "It is added to a base, and is none."

_ENDINGS = (
    ((".lora_down.weight", ".lora_up.weight", ".lora_A.weight", ".lora_B.weight"), "a LoRA"),
    ((".hada_w1_a", ".lokr_w1", ".lokr_w1_a", ".oft_diag", ".oft_blocks", ".on_input", ".dora_scale"), "a LyCORIS file, a kind of LoRA"),
)
_ADDITIONS = (
    (("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_"), "a LoRA"),
    (("image_proj", "ip_adapter.", "adapter_modules."), "an IP-Adapter or InstantID file"),
    (("control_model.", "controlnet_", "control_add_embedding.", "lllite_unet"), "a ControlNet"),
    (("adapter.body.", "body.0.resnets.", "adapter.conv_in.", "body.0.in_conv."), "a T2I-Adapter"),
    (("down_blocks.0.motion_modules.", "motion_modules."), "a motion module of AnimateDiff"),
    (("string_to_param", "emb_params", "clip_g", "clip_l"), "a textual inversion"),
)
_SEPARATE = (
    (("encoder.conv_in.", "decoder.conv_in.", "first_stage_model.", "quant_conv."), "a VAE, and no whole checkpoint"),
    (("vision_model.", "visual_projection", "visual."), "an image encoder (CLIP Vision)"),
    (("text_model.", "cond_stage_model.", "conditioner.", "encoder.block.0.layer."), "a text encoder alone"),
)
_MODELS = (  # before the parts: many of these carry a VAE and text encoders along
    (("joint_blocks.",), "Stable Diffusion 3"),
    (("distilled_guidance_layer.",), "Chroma"),
    (("double_stream_blocks.", "caption_projection.0.linear"), "HiDream"),
    (("double_blocks.", "single_blocks.", "single_transformer_blocks."), "FLUX, or a model built like it"),
    (("double_layers.", "single_layers."), "AuraFlow"),
    (("cap_embedder.", "context_refiner.", "noise_refiner."), "Lumina or Z-Image"),
    (("transformer_blocks.0.img_mod.", "transformer_blocks.0.txt_mod."), "Qwen-Image"),
    (("patchify_proj.",), "LTX-Video"),
    (("blocks.0.cross_attn.", "head.modulation"), "Wan, which makes films"),
    (("txt_in.individual_token_refiner.",), "HunyuanVideo"),
    (("clip_mapper.", "clip_txt_mapper.", "clip_txt_pooled_mapper."), "Stable Cascade"),
    (("pos_embed.proj.", "adaln_single.", "t_block.", "caption_projection."), "PixArt, or a model built like it"),
    (("transformer_blocks.0.", "layers.0.attention.", "blocks.0."), "a transformer of another family"),
)
_WRAPPERS = ("model.diffusion_model.", "transformer.", "diffusion_model.", "model.")


def is_vae(header: Header) -> bool:
    """Whether a file holds a whole VAE, alone or beside other things, in whatever names."""
    return any(
        header.has(f"{start}encoder.conv_in.") and header.has(f"{start}decoder.conv_in.") for start in ("", "first_stage_model.", "vae.")
    )


def stranger(header: Header) -> str:
    """What the file is and what to do, as the rest of a sentence that begins with its name."""
    names = header.shapes
    for endings, what in _ENDINGS:
        if any(name.endswith(endings) for name in names):
            return f"is {what}. {_ADDED}"
    bare = Header({_unwrapped(name): shape for name, shape in names.items()}, {})
    for beginnings, what in _ADDITIONS:
        if header.has(*beginnings) or (what.startswith("a ControlNet") and header.has("input_hint_block.")):
            return f"is {what}. {_ADDED}"
    if header.has("input_blocks.0.0.", "down_blocks.0.resnets.", "diffusion_model.input_blocks.0.0."):
        return f"holds a UNet alone, without text encoders and VAE. {_whole()}"
    for beginnings, what in _MODELS:
        if bare.has(*beginnings):
            return f"is {what}. {_OURS}"
    for beginnings, what in _SEPARATE:
        if header.has(*beginnings):
            return f"is {what}. {_OURS}"
    if any(".RDB1." in name or ".rdb1." in name for name in names):
        return f"is an upscaler. {_OURS}"
    first = next(iter(sorted(names)), None)
    held = f"its tensors are called {first!r} and so on" if first else "it holds no tensors"
    return f"is of no kind that is known here: {held}. {_OURS}"


def _whole() -> str:
    return 'Choose the full version of it, or put it as unet/ into a diffusers folder (README, section "Real models").'


def _unwrapped(name: str) -> str:
    for wrapper in _WRAPPERS:
        if name.startswith(wrapper):
            return name[len(wrapper) :]
    return name
