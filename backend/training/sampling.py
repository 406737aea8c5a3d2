"""A small sampler for sheets: what the stock pipelines do, without their checks, for the weights under training."""

from dataclasses import dataclass

import torch
from torch import Tensor

from . import loop
from .parts import Base
from .untyped import Untyped, diffusers


@dataclass(frozen=True)
class Prompting:
    """Conditions of some pictures: texts, and perhaps image tokens (for them and for the unconditional half) and control pictures."""

    texts: list[str]
    tokens: Tensor | None = None
    """(n, k, width)."""
    nothing: Tensor | None = None
    """(n, k, width): tokens of no image."""
    identitynet: Untyped | None = None
    controls: Tensor | None = None
    """(n, 3, size, size) in 0 … 1."""
    strength: float = 1.0
    """IdentityNet's conditioning scale."""

    def states(self, text: Tensor) -> Tensor | tuple[Tensor, list[Tensor]]:
        """What the UNet's cross attention gets: text (2 n, tokens, width) alone, or text and the image tokens of both halves."""
        both = self.both()
        return text if both is None else (text, [both])

    def both(self) -> Tensor | None:
        """Image tokens of both halves, (2 n, k, width)."""
        return None if self.tokens is None or self.nothing is None else torch.cat([self.nothing, self.tokens])

    def residuals(self, x: Tensor, t: Tensor, added: dict[str, Tensor] | None) -> tuple[list[Tensor] | None, Tensor | None]:
        """IdentityNet's additions (2 n, C, h, w) to the UNet's blocks and to its middle, if there is one."""
        if self.identitynet is None or self.controls is None:
            return None, None
        controls = torch.cat([self.controls] * 2)
        return self.identitynet(x, t, self.both(), controls, self.strength, added_cond_kwargs=added, return_dict=False)


@torch.no_grad()
def sample(base: Base, prompting: Prompting, *, steps: int = 14, guidance: float = 3.0, seed: int = 0) -> Tensor:
    """Pictures (n, 3, size, size) in -1 … 1: Euler steps (Karras et al. 2022) with classifier-free guidance (Ho & Salimans 2022)."""
    where, n = loop.device(), len(prompting.texts)
    text, pooled = base.parts.encode(base.ids([""] * n + prompting.texts).to(where))
    added, states = base.parts.added(pooled, 2 * n, base.size, where), prompting.states(text)
    euler = diffusers.EulerDiscreteScheduler.from_config(base.schedule.config, timestep_spacing="trailing")
    euler.set_timesteps(steps, device=where)
    x = torch.randn((n, *base.latents.shape[1:]), generator=torch.Generator().manual_seed(seed)).to(where) * euler.init_noise_sigma
    for t in euler.timesteps:
        twice = euler.scale_model_input(torch.cat([x, x]), t).contiguous(memory_format=torch.channels_last)
        down, middle = prompting.residuals(twice, t, added)
        guess = base.parts.unet(
            twice, t, states, added_cond_kwargs=added, return_dict=False,
            down_block_additional_residuals=down, mid_block_additional_residual=middle,
        )[0].float()  # fmt: skip
        without, with_ = guess.chunk(2)
        x = euler.step(without + guidance * (with_ - without), t, x, return_dict=False)[0]
    with torch.autocast(where.type, enabled=False):
        return torch.cat([base.vae.decode(part / base.vae.config.scaling_factor).sample for part in (x[i : i + 8] for i in range(0, n, 8))])
