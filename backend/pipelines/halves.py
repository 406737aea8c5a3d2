"""Guidance that rests, and an IdentityNet for one half: the shortcuts that act while a pipeline runs.

A stock pipeline doubles its batch (unconditional, conditional) and takes the guided mean of the answers. Where guidance rests, the UNet and
the nets are asked for the conditional half alone, and both halves get this answer: u + g (t - u) with u = t is t, exactly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from diffusers.utils.outputs import BaseOutput
from torch import Tensor

from ..models.adapters import Untyped
from .attention import Clock
from .quick import FULLY, Shortening

LASTING = frozenset({"encoder_hidden_states", "controlnet_cond"})
"""Arguments that are the same tensors in every step."""
KEPT = 64


@contextmanager
def taking(
    shortening: Shortening, unet: Untyped, nets: Sequence[Untyped], identity_nets: Sequence[Untyped], clock: Clock
) -> Generator[None]:
    """Within the context, `unet` and `nets` (views of ControlNets, `identity_nets` among them) answer for as much as `shortening` says."""
    if shortening == FULLY:
        yield
        return
    memory = _Halves()
    former: list[tuple[Untyped, Untyped]] = []

    def resting() -> bool:
        return not clock.within(shortening.guided)

    def wrap(module: Untyped, identity: bool) -> None:
        plain, context = module.forward, getattr(module, "context", None)

        def forward(*args: Untyped, **kwargs: Untyped) -> Untyped:
            sample = kwargs["sample"] if "sample" in kwargs else args[0]
            alone = resting()
            if sample.shape[0] != 2 or not (alone or identity):
                return plain(*args, **kwargs)
            out = plain(*_half(args), **{name: memory.half(value) if name in LASTING else _half(value) for name, value in kwargs.items()})
            return _doubled(out, fill=not alone)

        former.append((module, module.__dict__.get("forward")))
        module.forward = forward
        if context is not None:  # what an IdentityNet attends to is its own, and has both halves
            module.context = functools.partial(_context, context, memory)

    try:
        wrap(unet, False)
        for net in nets:
            wrap(net, shortening.conditional_identity and any(net is one for one in identity_nets))
        yield
    finally:
        for module, forward in former:
            module.__dict__.pop("context", None)
            if forward is None:
                del module.__dict__["forward"]
            else:
                module.forward = forward


def _context(context: Callable[[Tensor], Tensor], memory: _Halves, text: Tensor) -> Tensor:
    return memory.half(context(text)) if text.shape[0] == 1 else context(text)


class _Halves:
    """Conditional halves that are the same object again for the same tensor: keys and values of attention are known by it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Untyped, Untyped]] = {}

    def half(self, value: Untyped) -> Untyped:
        """As `_half`, remembered."""
        if id(value) not in self._known:
            if len(self._known) > KEPT:
                self._known.clear()
            self._known[id(value)] = (value, _half(value))
        return self._known[id(value)][1]


def _half(value: Untyped) -> Untyped:
    """`value` with every tensor of batch 2 in it replaced by its conditional half."""
    match value:
        case torch.Tensor() if value.ndim > 0 and value.shape[0] == 2:
            return value[1:]
        case dict():
            return {key: _half(inner) for key, inner in cast("Mapping[str, Untyped]", value).items()}
        case list() | tuple():
            inner = [_half(one) for one in cast("Sequence[Untyped]", value)]
            return tuple(inner) if isinstance(value, tuple) else inner
        case _:
            return value


def _doubled(value: Untyped, fill: bool) -> Untyped:
    """An answer for the conditional half as one for both: the same twice, or with `fill` nothing for the unconditional one."""
    match value:
        case torch.Tensor() if value.ndim > 0:
            return torch.cat([torch.zeros_like(value) if fill else value, value])  # copies: several nets are added in place
        case BaseOutput():
            parts = cast("Mapping[str, Untyped]", value).items()
            return type(value)(**{key: _doubled(inner, fill) for key, inner in parts})
        case list() | tuple():
            inner = [_doubled(one, fill) for one in cast("Sequence[Untyped]", value)]
            return tuple(inner) if isinstance(value, tuple) else inner
        case _:
            return value
