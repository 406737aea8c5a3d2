"""ControlNets beside the shared UNet: cheap views of loaded nets that keep what is constant and do nothing outside their window."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel, ControlNetOutput
from numpy.typing import NDArray
from torch import Tensor, nn

from protocol.jobs import STEADY, Schedule, Window

from ..models.adapters import Untyped
from .attention import ALWAYS, Clock


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """One ControlNet in a call: `net` (a GatedControlNet), its picture (H, W, 3) uint8 at the size that is drawn, its scale and window, and
    how the scale changes within it."""

    net: Untyped
    picture: NDArray[np.uint8]
    weight: float
    window: Window = ALWAYS
    schedule: Schedule = STEADY


class Remembered(nn.Module):
    """A module that is asked for the same tensor again and again, and answers from memory when it is the very same object as one of the
    last `most`."""

    def __init__(self, inner: nn.Module, most: int = 1) -> None:
        super().__init__()
        self.inner = inner
        self._most = most
        self._known: dict[int, tuple[Tensor, Tensor]] = {}

    def forward(self, states: Tensor) -> Tensor:
        """What `inner` answers to `states`, of whatever shape it takes."""
        if id(states) not in self._known:
            while len(self._known) >= self._most:
                del self._known[next(iter(self._known))]
            self._known[id(states)] = (states, self.inner(states))
        return self._known[id(states)][1]


class GatedControlNet(ControlNetModel):
    """A view of a ControlNet: the same parameters, no copy. At scale 0, as outside its window, it adds nothing and computes nothing.

    diffusers computes a net at scale 0 and multiplies by it; leaving it out gives the same numbers. `pace` is the scale's factor in the
    running step.
    """

    pace: Callable[[], float] | None = None

    @classmethod
    def over(cls, net: Untyped) -> Self:
        """A view of `net`, which stays untouched; views of one net may be used together."""
        view = copy.copy(net)
        view.__class__ = cls
        view._modules = dict(net._modules)
        view._modules["controlnet_cond_embedding"] = Remembered(net.controlnet_cond_embedding)
        return view

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        controlnet_cond: Tensor,
        conditioning_scale: float = 1.0,
        return_dict: bool = True,
        **rest: Untyped,
    ) -> Untyped:
        """As `ControlNetModel.forward`; residuals (B, C, h, w) for every block of the UNet, or numbers that add nothing."""
        if self.pace is not None:
            conditioning_scale = conditioning_scale * self.pace()
        down, mid = self.answer(sample, timestep, encoder_hidden_states, controlnet_cond, conditioning_scale, rest)
        return ControlNetOutput(down_block_res_samples=down, mid_block_res_sample=mid) if return_dict else (down, mid)  # pyright: ignore[reportArgumentType]

    def answer(self, sample: Tensor, timestep: Tensor, text: Tensor, picture: Tensor, scale: float, rest: dict[str, Any]) -> Untyped:
        """What the net adds at a scale, which may be 0."""
        if scale == 0:
            return self.nothing(sample)
        return self.placed(*self.residuals(sample, timestep, self.context(text), picture, scale, **rest))

    def nothing(self, sample: Tensor) -> tuple[list[Tensor], Tensor]:
        """What a silent net adds to a `sample` (B, C, h, w). The middle one has its full shape, since diffusers adds other nets' to it in
        place."""
        height, width = sample.shape[-2:]
        for _ in self.down_blocks[1:]:
            height, width = (height + 1) // 2, (width + 1) // 2
        zero = torch.zeros((), dtype=sample.dtype, device=sample.device)
        middle: Untyped = cast("Untyped", self).controlnet_mid_block
        return [zero] * len(self.controlnet_down_blocks), zero.new_zeros(sample.shape[0], middle.out_channels, height, width)

    def residuals(self, sample: Tensor, timestep: Tensor, context: Tensor, picture: Tensor, scale: float, **rest: Untyped) -> Untyped:
        """What the net itself says, wherever it is in the picture: the list for the blocks on the way down, and the one for the middle."""
        return super().forward(sample, timestep, context, picture, scale, return_dict=False, **rest)

    def context(self, text: Tensor) -> Tensor:
        """What the net attends to: the text (B, tokens, width)."""
        return text

    def placed(self, down: Sequence[Tensor], mid: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """The residuals (B, C, h, w) of the blocks and of the middle, everywhere in the picture."""
        return down, mid


@contextmanager
def paced(item: Conditioning, clock: Clock) -> Generator[None]:
    """Let the net's scale follow its schedule, by `clock`; a steady one is left alone."""
    if item.schedule.steady:
        yield
        return
    item.net.pace = lambda: clock.pace(item.schedule, item.window)
    try:
        yield
    finally:
        item.net.pace = None
