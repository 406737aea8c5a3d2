"""Previews by a small decoder (TAESD, diffusers' `AutoencoderTiny`), now and then among those by a matrix.

A matrix gives one pixel for eight by eight and costs nothing. TAESD gives every pixel at 0.57 of a 1024 x 1024 step's 19.5 TFLOP, so every
fourth step it is 0.7 % of the work. It is put into the device's queue behind the step, and made smaller there; nobody waits for it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from protocol.errors import ModelError

from ..models.adapters import Untyped
from ..models.parts import Parts
from .preview import PreviewMatrix, latents_to_rgb

Pixels = NDArray[np.uint8]
STEPS_BETWEEN = 4
"""Steps from one decoded preview to the next, at least."""
LONGEST_SIDE = 512
"""Of a decoded preview, in pixels: sharp enough in a docker, and 0.75 MiB on the wire."""


class Previewer:
    """Makes the previews of one picture: with a decoder every few steps a decoded one, else by the matrix."""

    def __init__(self, matrix: PreviewMatrix, decoder: Untyped = None) -> None:
        self._matrix, self._decoder = matrix, decoder
        self._decoded = 0

    def numbers(self, latents: Tensor, done: int) -> Tensor:
        """What is to be copied from the device after `done` steps: the latents (1, C, h, w) themselves, or a decoded preview (h, w, 3)."""
        if self._decoder is None or done - self._decoded < STEPS_BETWEEN:
            return latents
        self._decoded = done
        return decoded(self._decoder, latents)

    def pixels(self, numbers: Tensor) -> Pixels:
        """The preview (h, w, 3) from what was copied."""
        return numbers.numpy() if numbers.dtype == torch.uint8 else latents_to_rgb(numbers, self._matrix)


def decoded(decoder: Untyped, latents: Tensor) -> Tensor:
    """Scaled latents (1, C, h, w) -> colours (H, W, 3) in uint8, on their device: as diffusers decodes and rounds. A larger one is made
    smaller, by the mean of two by two pixels or more, until no side is longer than `LONGEST_SIDE`."""
    weight: Tensor = next(decoder.parameters())
    config = decoder.config
    with torch.no_grad():
        picture: Tensor = decoder.decode(latents[:1].to(weight) / config.scaling_factor + config.shift_factor, return_dict=False)[0]
        shrink = -(-max(picture.shape[-2:]) // LONGEST_SIDE)
        colours = torch.nan_to_num((picture / 2 + 0.5).clamp(0, 1).float())
        if shrink > 1:
            colours = F.avg_pool2d(colours, shrink)
        return (colours[0].permute(1, 2, 0) * 255).round().to(torch.uint8)


def decoder_of(parts: Parts) -> Untyped:
    """The model's decoder for previews, or None; ModelError for one that is made for other latents."""
    decoder = parts.preview_decoder
    channels = parts.base["vae"].config.latent_channels
    if decoder is not None and decoder.config.latent_channels != channels:
        raise ModelError(
            f"The model's preview_decoder is made for latents of {decoder.config.latent_channels} channels, and these have {channels}. "
            "Take the folder away, or install the one for this family."
        )
    return decoder
