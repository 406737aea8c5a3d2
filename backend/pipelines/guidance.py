"""Rescaled guidance (Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed", arXiv:2305.08891, section 3.4).

Strong guidance makes the prediction's contrast larger than any the model was trained on, and pictures too bright and too colourful. The
guided prediction is brought back to the contrast of the prediction from the text alone, and mixed with the unchanged one.

Some of diffusers' pipelines do this themselves and some, most with ControlNets, do not. All of them do the same thing in between: guidance,
then the scheduler's step. So it is done there, for every pipeline alike: what the UNet said of the text is remembered until the step asks.
"""

from __future__ import annotations

import functools
from collections.abc import Generator
from contextlib import contextmanager

from torch import Tensor

from ..models.adapters import Untyped


@contextmanager
def rescaled(unet: Untyped, schedule: Untyped, amount: float) -> Generator[None]:
    """Within the context, every step of `schedule` gets the guided prediction of `unet`, rescaled by `amount` (0 to 1).

    `schedule` is one that is used once and thrown away. A UNet without an unconditional half in its batch is left as it is.
    """
    if amount == 0:
        yield
        return
    from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion

    rescale: Untyped = getattr(pipeline_stable_diffusion, "rescale_noise_cfg")
    said: list[Tensor] = []
    plain = schedule.step

    def remember(_: object, __: object, output: Untyped) -> None:
        said[:] = [output[0]]

    @functools.wraps(plain)
    def step(guided: Tensor, *args: Untyped, **kwargs: Untyped) -> Untyped:
        if said and len(said[0]) == 2 * len(guided):
            guided = rescale(guided, said[0].chunk(2)[1], guidance_rescale=amount)
        return plain(guided, *args, **kwargs)

    schedule.step = step
    handle = unet.register_forward_hook(remember)
    try:
        yield
    finally:
        handle.remove()
