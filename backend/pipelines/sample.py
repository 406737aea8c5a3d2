"""One pipeline call: a finished recipe in, a picture (or its latents) out. What is attached for the call is detached after it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from protocol.errors import NumericalFailure
from protocol.geometry import Extent

from ..models.adapters import Untyped
from ..models.inversions import Inversion
from ..models.parts import Parts
from .accelerated import accelerated, merging
from .attention import Clock, Lane, attached
from .build import accepted, pipeline, scheduler
from .checks import checked, current
from .choices import Mode
from .clip_skip import accent as skipped
from .clip_skip import skipping
from .control import Conditioning, paced
from .decoding import looked_after
from .guidance import rescaled
from .halves import taking
from .identity import IdentityNet
from .inversion import accent as spoken
from .inversion import speaking
from .lora import Worn, accent, wearing
from .quick import FULLY, Shortening
from .reuse import reusing
from .schedulers import ETAS
from .tiles import tiled
from .union import joined

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """All that one picture is made of, at the size at which it is drawn.

    `image` (H, W, 3) is where image-to-image and inpaint start, `mask` (H, W) uint8 what is repainted (255); `lanes` the image prompts and
    faces, `nets` the ControlNets. With `guidance_scale` <= 1 there is no unconditional half, and the tokens of the lanes must have none.
    """

    extent: Extent
    prompt: str
    negative: str
    steps: int
    guidance_scale: float
    scheduler: str = "default"
    mode: Mode = Mode.TEXT
    image: Pixels | None = None
    mask: Pixels | None = None
    strength: float = 1.0
    lanes: tuple[Lane, ...] = ()
    nets: tuple[Conditioning, ...] = ()
    loras: tuple[Worn, ...] = ()
    inversions: tuple[Inversion, ...] = ()
    """Those that the prompts name."""
    guidance_rescale: float = 0.0
    tiled: bool = False
    """Whether the VAE works in tiles."""
    shortening: Shortening = FULLY
    clip_skip: int = 1


@dataclass(slots=True)
class Hooks:
    """What the caller hears: `step(done, steps, estimate)` after each step, `estimate` the latents (1, C, h, w) that the picture seems to
    become; `check()` before each small block of the nets and the VAE, and may raise to end the call at once.
    """

    step: Callable[[int, int, Tensor], None] = lambda done, steps, estimate: None
    check: Callable[[], None] = lambda: None


def draw(parts: Parts, recipe: Recipe, seed: int, hooks: Hooks | None = None) -> Pixels:
    """The picture (H, W, 3) of `recipe`; the same recipe and seed give the same bytes on the same machine."""
    values: NDArray[np.float32] = _call(parts, recipe, seed, hooks or Hooks(), {"output_type": "np"})[0]
    if not np.isfinite(values).all():
        raise NumericalFailure(
            f"The VAE of {parts.model.id!r} gave numbers that are no colours, as some do in half precision. Use float32."
        )
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


def draw_latents(parts: Parts, recipe: Recipe, seed: int = 0, noise: Tensor | None = None) -> Tensor:
    """The latents (1, C, h, w) of `recipe`, before the VAE's scaling factor is taken out; `noise` of their shape replaces the seed's."""
    return _call(parts, recipe, seed, Hooks(), {"output_type": "latent", "latents": noise})


def _call(parts: Parts, recipe: Recipe, seed: int, hooks: Hooks, extra: dict[str, Any]) -> Untyped:
    schedule = scheduler(parts, recipe.scheduler)
    family = parts.model.family
    said = accent(recipe.loras) + spoken(recipe.inversions) + skipped(recipe.clip_skip, family)
    shell = pipeline(parts, recipe.mode, [item.net for item in recipe.nets], schedule, said)
    clock = Clock(steps=lambda: max(int(shell.num_timesteps), 1))
    arguments = _arguments(recipe) | extra
    arguments["generator"] = torch.Generator("cpu").manual_seed(seed)
    if (eta := ETAS.get(type(schedule).__name__)) is not None:
        arguments["eta"] = eta
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        stack.enter_context(current(parts.device))
        originals = merging(parts)
        stack.enter_context(wearing(parts.wearers, recipe.loras, originals))
        stack.enter_context(skipping(shell, recipe.clip_skip, family))
        spelled = stack.enter_context(speaking(shell, recipe.inversions))
        arguments |= {name: spelled(text) for name in ("prompt", "negative_prompt") if (text := arguments[name]) is not None}
        stack.enter_context(attached(parts.unet, recipe.lanes, clock))
        for net in {id(item.net.mid_block): item.net for item in recipe.nets}.values():
            stack.enter_context(attached(net))
        for item in recipe.nets:
            stack.enter_context(paced(item, clock))
        nets = [item.net for item in recipe.nets]
        stack.enter_context(joined(nets))
        hooked = originals is None and bool(recipe.loras)
        asleep = stack.enter_context(accelerated(parts, nets, hooks.check, worn=hooked, whole=recipe.shortening.every == 1))
        stack.enter_context(reusing(recipe.shortening, parts.unet, nets, clock))
        people = [net for net in nets if isinstance(net, IdentityNet)]
        stack.enter_context(taking(recipe.shortening, parts.unet, nets, people, clock))
        stack.enter_context(checked((parts.unet, parts.base["vae"], *nets), hooks.check, parts.device, asleep))
        stack.enter_context(rescaled(parts.unet, schedule, recipe.guidance_rescale))
        stack.enter_context(looked_after(parts.base["vae"]))
        if recipe.tiled:
            stack.enter_context(tiled(parts.base["vae"]))
        estimate = _estimates(schedule)

        def step_end(_: Untyped, step: int, __: Untyped, kwargs: dict[str, Any]) -> dict[str, Any]:
            clock.step = step + 1
            hooks.step(step + 1, clock.steps(), estimate(kwargs["latents"]))
            return {}

        arguments["callback_on_step_end"] = step_end
        with torch.no_grad():
            return shell(**accepted(shell, arguments)).images


def _arguments(recipe: Recipe) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "prompt": recipe.prompt,
        "negative_prompt": recipe.negative or None,
        "num_inference_steps": recipe.steps,
        "guidance_scale": recipe.guidance_scale,
        "width": recipe.extent.width,
        "height": recipe.extent.height,
    }
    if recipe.image is not None:
        arguments |= {"image": Image.fromarray(recipe.image), "strength": recipe.strength}
    if recipe.mask is not None:
        arguments["mask_image"] = Image.fromarray(recipe.mask)
    if recipe.nets:
        arguments |= _controls(recipe)
    return arguments


def _controls(recipe: Recipe) -> dict[str, Any]:
    pictures = [Image.fromarray(item.picture) for item in recipe.nets]
    several = len(pictures) > 1
    name = "image" if recipe.mode is Mode.TEXT else "control_image"
    weights = [float(item.weight) for item in recipe.nets]
    return {
        name: pictures if several else pictures[0],
        "controlnet_conditioning_scale": weights if several else weights[0],
        "control_guidance_start": [item.window.start for item in recipe.nets],
        "control_guidance_end": [item.window.end for item in recipe.nets],
    }


def _estimates(schedule: Untyped) -> Callable[[Tensor], Tensor]:
    """Listen to the scheduler's estimate of the finished latents, clearer from step to step while the latents are still noise."""
    last: list[Tensor] = []
    plain = schedule.step

    @functools.wraps(plain)
    def step(*args: Untyped, **kwargs: Untyped) -> Untyped:
        out = plain(*args, **kwargs)
        last[:] = [out[1] if len(out) > 1 and out[1] is not None else out[0]]
        return out

    schedule.step = step
    return lambda latents: last[0] if last else latents


@contextmanager
def _quiet() -> Generator[None]:
    """Image-to-image moves the VAE to float32 and back, and diffusers warns about each of these moves although nothing is lost."""
    logger = logging.getLogger("diffusers.models.modeling_utils")

    def is_error(record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR

    logger.addFilter(is_error)  # setting its level would empty the caches of all loggers, which takes a tenth of a picture's set-up
    try:
        yield
    finally:
        logger.removeFilter(is_error)
