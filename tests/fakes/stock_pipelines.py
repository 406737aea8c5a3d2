"""Pipelines of diffusers put together by hand, with modules of their own: what the engine's results are compared with."""

from __future__ import annotations

import diffusers
import numpy as np
import torch
import transformers
from diffusers.models.controlnets.controlnet import ControlNetModel
from PIL import Image
from safetensors.torch import load_file

from backend.pipelines.choices import PIPELINES, Mode


class HandMadeIdentityNet(ControlNetModel):
    """What a person would write to get InstantID out of diffusers: a ControlNet whose text is replaced by the face tokens."""

    def forward(self, *args, encoder_hidden_states, **kwargs):
        return super().forward(*args, encoder_hidden_states=self.tokens, **kwargs)


def stock(folder, mode, nets=(), family="sdxl"):
    """A stock pipeline with modules of its own: nothing is shared with the engine."""
    kind = next(name for (one, other, control), name in PIPELINES.items() if (one.value, other, control) == (family, mode, bool(nets)))
    load = {
        "unet": diffusers.UNet2DConditionModel, "vae": diffusers.AutoencoderKL, "text_encoder": transformers.CLIPTextModel,
        "tokenizer": transformers.CLIPTokenizer, "image_encoder": transformers.CLIPVisionModelWithProjection,
    }  # fmt: skip
    if family == "sdxl":
        load |= {"text_encoder_2": transformers.CLIPTextModelWithProjection, "tokenizer_2": transformers.CLIPTokenizer}
    components = {name: loader.from_pretrained(folder / name) for name, loader in load.items()}
    components["scheduler"] = diffusers.EulerDiscreteScheduler.from_pretrained(folder / "scheduler")
    components["feature_extractor"] = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    if nets:
        components["controlnet"] = list(nets) if len(nets) > 1 else nets[0]
    if family == "sd15":
        components |= {"safety_checker": None, "requires_safety_checker": False}
    pipe = getattr(diffusers, kind)(**components)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def by_hand(pipe, mode, picture, **extra):
    arguments = {"prompt": "a hat", "negative_prompt": "blurry", "num_inference_steps": 4, "guidance_scale": 3.0, "output_type": "latent"}
    arguments["generator"] = torch.Generator("cpu").manual_seed(7)
    if mode is Mode.TEXT:
        arguments |= {"width": 64, "height": 64}
    else:
        arguments |= {"image": Image.fromarray(picture(1, 64, 64)), "strength": 0.8}
    if mode is Mode.INPAINT:
        arguments |= {"mask_image": Image.fromarray(half_mask()), "width": 64, "height": 64}
    with torch.no_grad():
        return pipe(**arguments, **extra).images.numpy()


def half_mask():
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    return mask


def control_name(mode):
    return "image" if mode is Mode.TEXT else "control_image"


def load_stock_adapters(pipe, paths):
    states = []
    for path in paths:
        halves = {"image_proj": {}, "ip_adapter": {}}
        for key, value in load_file(path).items():
            half, _, rest = key.partition(".")
            halves[half][rest] = value
        states.append(halves)
    pipe.load_ip_adapter(states, subfolder=[""] * len(states), weight_name=[""] * len(states), image_encoder_folder=None)
