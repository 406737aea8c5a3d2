"""Features that are reused: in some steps only the outermost blocks of the UNet compute, on what the inner ones said the step before.

DeepCache (Ma et al., "Accelerating Diffusion Models for Free", arXiv:2312.00858): what the inner blocks say changes little from one step to
the next, while the outermost ones, at the full size, give the detail. ControlNets rest in such a step: what they last said to the
outermost blocks counts on. The paper reuses everything before the outermost block on the way up; so does this.

Nothing of a block is changed but which function answers for it, and that only while one picture is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from ..models.adapters import Untyped
from .attention import Clock
from .quick import LEAST, Shortening


class Turns:
    """Which steps compute everything: every `every`-th, the last one, those where guidance begins or ends to act, and all of few."""

    def __init__(self, clock: Clock, shortening: Shortening) -> None:
        self._clock, self._shortening = clock, shortening
        self._step = -1
        self._guided: bool = False
        self._fresh: bool = True

    @property
    def fresh(self) -> bool:
        """Whether the running step computes everything. The same for all nets of a step."""
        step, steps = self._clock.step, self._clock.steps()
        if step != self._step:
            guided = self._clock.within(self._shortening.guided)
            whole = self._step < 0 or step % self._shortening.every == 0 or step + 1 >= steps or steps < LEAST
            self._fresh = whole or guided != self._guided  # batches differ
            self._step, self._guided = step, guided
        return self._fresh


@contextmanager
def reusing(shortening: Shortening, unet: Untyped, nets: Sequence[Untyped], clock: Clock) -> Generator[None]:
    """Within the context, the inner blocks of `unet` and all of `nets` (views of ControlNets) compute in some of the steps only."""
    if shortening.every == 1 or len(unet.down_blocks) < 2:
        yield
        return
    turns = Turns(clock, shortening)
    inner = [*unet.down_blocks[1:], unet.mid_block, *unet.up_blocks[:-1]]
    former = [(block, block.__dict__.get("forward")) for block in inner]
    try:
        for block in unet.down_blocks[1:]:
            block.forward = _down(block, turns)
        unet.mid_block.forward = _silent(unet.mid_block, turns)
        for block in unet.up_blocks[:-2]:
            block.forward = _silent(block, turns)
        unet.up_blocks[-2].forward = _remembered(unet.up_blocks[-2], turns)
        for net in nets:
            object.__setattr__(net, "answer", _resting(net, turns, len(unet.up_blocks[-1].resnets)))
        yield
    finally:
        for block, forward in former:
            del block.__dict__["forward"]
            if forward is not None:
                block.forward = forward
        for net in nets:
            net.__dict__.pop("answer", None)


def _down(block: Untyped, turns: Turns) -> Callable[..., Untyped]:
    """In a step that reuses, a block on the way down gives as many numbers as it would give residuals; only blocks that rest read them."""
    plain, count = block.forward, len(block.resnets) + len(block.downsamplers or ())

    def forward(hidden_states: Tensor, *args: Untyped, **kwargs: Untyped) -> Untyped:
        if turns.fresh:
            return plain(hidden_states, *args, **kwargs)
        nothing = hidden_states.new_zeros(())
        return nothing, (nothing,) * count

    return forward


def _silent(block: Untyped, turns: Turns) -> Callable[..., Untyped]:
    plain = block.forward

    def forward(hidden_states: Tensor, *args: Untyped, **kwargs: Untyped) -> Untyped:
        return plain(hidden_states, *args, **kwargs) if turns.fresh else hidden_states

    return forward


def _remembered(block: Untyped, turns: Turns) -> Callable[..., Untyped]:
    """The last of the inner blocks: what it said is what the outermost one goes on with."""
    plain = block.forward
    said: list[Tensor] = []

    def forward(*args: Untyped, **kwargs: Untyped) -> Untyped:
        if turns.fresh:
            said[:] = [plain(*args, **kwargs)]
        return said[0]

    return forward


def _resting(net: Untyped, turns: Turns, read: int) -> Callable[..., Untyped]:
    """`answer` of a ControlNet, of whose residuals the outermost block on the way up reads the first few. Those are kept; the others are
    not read in a step that reuses. Outside its window it says nothing."""
    plain = net.answer
    said: list[Tensor] = []

    def answer(sample: Tensor, timestep: Tensor, text: Tensor, picture: Tensor, scale: float, rest: dict[str, Any]) -> Untyped:
        if turns.fresh:
            down, middle = plain(sample, timestep, text, picture, scale, rest)
            said[:] = down[:read]
            return down, middle
        nothing, middle = net.nothing(sample)
        return ([*said, *nothing[read:]] if scale != 0 else nothing), middle

    return answer
