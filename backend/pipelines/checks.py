"""Asking often, while nets run, whether to go on: before every small block, so that a cancelled picture ends within a sixth of a step.

A GPU is given work ahead of what it has done. With nothing that waits for it, the next thousand kernels are in its queue already, which on
a small card is half a step that nothing can take back; so it is kept on a leash of a few blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch

from ..models.adapters import Untyped

BLOCKS_PER_MARK = 8
"""A mark (an event of CUDA) costs microseconds. SDXL with IdentityNet has about 150 blocks a step; two marks are a tenth of a step."""


class Mark(Protocol):
    """A place in a device's queue."""

    def record(self) -> None:
        """Put it at the queue's end."""
        ...

    def synchronize(self) -> None:
        """Wait until the device has come to it."""
        ...


class Leash:
    """Called before every block; waits where the device is more than two marks behind."""

    def __init__(self, mark: Callable[[], Mark], blocks: int = BLOCKS_PER_MARK) -> None:
        self._mark, self._blocks = mark, blocks
        self._count = 0
        self._last: Mark | None = None

    def __call__(self) -> None:
        """One block more is about to be asked for."""
        self._count += 1
        if self._count % self._blocks:
            return
        mark = self._mark()
        mark.record()
        if self._last is not None:
            self._last.synchronize()
        self._last = mark


class StepLeash:
    """Keeps no more than a step of captured nets in a device's queue: a net is asked for once its own last call has ended, so that what was
    asked for when somebody cancels is at most one call of each net."""

    def __init__(self, mark: Callable[[], Mark]) -> None:
        self._mark = mark
        self._ends: dict[int, Mark] = {}

    def before(self, net: object) -> None:
        """Wait until the device is through with the last call of `net`."""
        if (end := self._ends.get(id(net))) is not None:
            end.synchronize()

    def after(self, net: object) -> None:
        """The device was asked for a call of `net`."""
        end = self._ends[id(net)] = self._mark()
        end.record()


@contextmanager
def checked(
    modules: Iterable[Untyped], check: Callable[[], None], device: torch.device, asleep: Callable[[], bool] = lambda: False
) -> Generator[None]:
    """Call `check` before every block of `modules` (UNet, ControlNets, VAE): it may raise, which ends the call at once. Not while `asleep`
    says that a device only notes what it is asked for."""
    leash = leash_for(device)

    def before(*_: object) -> None:
        if asleep():
            return
        check()
        if leash is not None:
            leash()

    handles = [block.register_forward_pre_hook(before) for block in _small_blocks(modules)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def current(device: torch.device) -> AbstractContextManager[object]:
    """Makes a GPU the current one: events are recorded on the current device's stream, which else is the first one's."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def leash_for(device: torch.device) -> Leash | None:
    """A leash for a device that runs after the processor, None for others."""
    return Leash(_cuda_mark) if device.type == "cuda" else None


def step_leash_for(device: torch.device) -> StepLeash | None:
    """As `leash_for`, for nets that are asked for as a whole."""
    return StepLeash(_cuda_mark) if device.type == "cuda" else None


def _small_blocks(modules: Iterable[Untyped]) -> list[Untyped]:
    """Every transformer and residual block, once, also where views share it. What is within one is not looked through: SDXL has 5,000
    modules."""
    from diffusers.models.attention import BasicTransformerBlock
    from diffusers.models.resnet import ResnetBlock2D

    found: dict[int, Untyped] = {}
    left: list[Untyped] = list(modules)
    while left:
        part = left.pop()
        if isinstance(part, BasicTransformerBlock | ResnetBlock2D):
            found[id(part)] = part
        else:
            left += [child for child in part._modules.values() if child is not None]
    return list(found.values())


def _cuda_mark() -> Mark:
    return torch.cuda.Event()
