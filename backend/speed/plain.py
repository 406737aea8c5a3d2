"""The other side: plain diffusers with the same weights. InstantID as its paper's authors run it, in stock parts.

The stock SDXL pipeline with a ControlNet; the image adapter by diffusers' own `load_ip_adapter`; and a ControlNet that is given the face
tokens instead of the text, which is all that `pipeline_stable_diffusion_xl_instantid.py` (InstantID/InstantID) does beyond stock diffusers.
That file itself does not import under this diffusers (it looks for `diffusers.pipelines.controlnet.multicontrolnet`, which has moved).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..models.adapters import Untyped
from ..models.bundle import instant_id_file
from ..models.parts import Parts
from .shapes import official_halves

Pixels = NDArray[np.uint8]


class FaceControlNet(ControlNetModel):
    """A ControlNet whose text is replaced by `tokens` (B, 16, cross_attention_dim)."""

    tokens: Tensor

    def forward(self, *args: Untyped, encoder_hidden_states: Tensor, **kwargs: Untyped) -> Untyped:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As `ControlNetModel.forward`."""
        return super().forward(*args, encoder_hidden_states=self.tokens, **kwargs)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One picture, as both sides are asked for it. `keypoints` is IdentityNet's drawing (H, W, 3), `embedding` (512,)."""

    prompt: str
    negative: str
    embedding: NDArray[np.float32]
    keypoints: Pixels
    seed: int
    steps: int
    guidance_scale: float
    weight: float = 0.8


class Plain:
    """The plain pipeline over the very tensors of `parts`: only what `load_ip_adapter` reads is there twice."""

    def __init__(self, parts: Parts) -> None:
        import diffusers

        kind: Untyped = getattr(diffusers, "StableDiffusionXLControlNetPipeline")
        self.unet, self.net = twin(parts.unet), twin(parts.identity_net, FaceControlNet)
        scheduler: Untyped = parts.scheduler
        shell = {**parts.base, "unet": self.unet, "controlnet": self.net, "scheduler": scheduler.from_config(scheduler.config)}
        self.pipe = kind(**shell, add_watermarker=False)
        self.pipe.set_progress_bar_config(disable=True)
        path = instant_id_file(parts.model.folder)
        assert path is not None  # shapes.random_engine wrote it
        halves = official_halves(path, parts.device, parts.dtype)
        self.pipe.load_ip_adapter([halves], subfolder=[""], weight_name=[""], image_encoder_folder=None)
        self._device, self._dtype = parts.device, parts.dtype

    @property
    def projection(self) -> Untyped:
        """InstantID's resampler."""
        return self.unet.encoder_hid_proj.image_projection_layers[0]

    def draw(self, asked: Asked, end: float = 1.0, on_step: Callable[[int], None] = lambda step: None) -> Pixels:
        """The picture (H, W, 3). `end` is `control_guidance_end`: after that share of the steps IdentityNet runs on at scale 0."""
        both = torch.as_tensor(np.stack([0 * asked.embedding, asked.embedding])[:, None]).to(self._device, self._dtype)
        self.pipe.set_ip_adapter_scale(asked.weight)

        def step_end(pipe: Untyped, step: int, time: Untyped, kwargs: dict[str, Any]) -> dict[str, Any]:
            on_step(step + 1)
            return {}

        with torch.no_grad():
            self.net.tokens = self.projection(both)
            values: NDArray[np.float32] = self.pipe(
                prompt=asked.prompt,
                negative_prompt=asked.negative,
                num_inference_steps=asked.steps,
                guidance_scale=asked.guidance_scale,
                width=asked.keypoints.shape[1],
                height=asked.keypoints.shape[0],
                image=Image.fromarray(asked.keypoints),
                ip_adapter_image_embeds=[both[:, None]],
                controlnet_conditioning_scale=asked.weight,
                control_guidance_end=end,
                generator=torch.Generator("cpu").manual_seed(asked.seed),
                callback_on_step_end=step_end,
                output_type="np",
            ).images[0]
        return (values.clip(0, 1) * 255).round().astype(np.uint8)


def twin(module: Untyped, kind: Untyped = None) -> Untyped:
    """Another module over the same tensors: what is attached to one is not attached to the other, and the weights are there once."""
    made = kind or cast("Untyped", type(module))
    with torch.device("meta"):
        other = made.from_config(module.config)
    other.load_state_dict(module.state_dict(), assign=True)
    other.requires_grad_(False)
    return other.eval()
