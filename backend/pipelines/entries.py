"""Where nets are entered: each call of the UNet and of a ControlNet as arithmetic on tensors, with all that is decided decided before it.

Which lanes act, keys, values, scales, the embedded picture of a control: `attention` and `control` know these in Python. Here they are
asked before the net runs, and handed in as tensors, so that compilers find no Python state in a block, and a CUDA graph every number that
may change in a buffer of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from diffusers.models.controlnets.controlnet import ControlNetModel
from torch import Tensor, nn

from ..models.adapters import Untyped
from .attention import LanedAttention, Ready, attention_layers
from .control import GatedControlNet
from .trees import mapped


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A layer with one of our processors. `halvings` is how often the picture was halved where it stands; `cross` whether it attends to
    the text."""

    attention: Untyped
    processor: LanedAttention
    halvings: int
    cross: bool

    def made_ready(self, text: Tensor, sample: Tensor) -> Ready:
        """What it needs for a net's `sample` (B, C, h, w)."""
        height, width = sample.shape[-2:]
        for _ in range(self.halvings):
            height, width = (height + 1) // 2, (width + 1) // 2
        return self.processor.made_ready(self.attention, text if self.cross else None, sample.shape[0], height * width, as_tensors=True)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a net. `run(*args, **kwargs)` depends on nothing but these, `ready` and the net's weights. `net` tells nets apart: the
    block in the middle, which all views of a ControlNet share; its weights are where those of the whole net are."""

    net: Untyped
    run: Callable[..., Untyped]
    layers: Sequence[Layer]
    ready: tuple[Ready, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def now(self) -> Untyped:
        """What the net answers."""
        for layer, ready in zip(self.layers, self.ready, strict=True):
            layer.processor.ready = ready
        return self.run(*self.args, **self.kwargs)


@contextmanager
def entered(modules: Sequence[Untyped], through: Callable[[Call], Untyped] = Call.now) -> Generator[None]:
    """While a picture is drawn: calls of `modules` (a UNet and views of ControlNets, with our processors attached) go `through` a function.
    ControlNets of uncommon kinds go on by themselves.

    Its answers are copied before the next call, or computed with at once: they may lie in buffers that are used again.
    """
    former: list[tuple[Untyped, str, Untyped]] = []
    try:
        for module in modules:
            if not isinstance(module, GatedControlNet):
                former.append((module, "forward", module.__dict__.get("forward")))
                module.forward = _unet(module, through)
            elif _is_plain(module):
                former.append((module, "residuals", None))
                object.__setattr__(module, "residuals", _control_net(module, through))
        yield
    finally:
        for module, name, before in former:
            del module.__dict__[name]
            if before is not None:
                module.__dict__[name] = before


def _is_plain(view: Untyped) -> bool:
    """Whether a view runs one net on one embedded picture: not those that turn its channels round in each step, nor a union of nets."""
    kind = cast("Untyped", type(view))
    return kind.forward is GatedControlNet.forward and view.config.controlnet_conditioning_channel_order == "rgb"


def _unet(unet: Untyped, through: Callable[[Call], Untyped]) -> Callable[..., Untyped]:
    plain, layers = unet.forward, _layers(unet)

    def forward(sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, **rest: Untyped) -> Untyped:
        ready = tuple(layer.made_ready(encoder_hidden_states, sample) for layer in layers)
        answer = through(Call(unet.mid_block, plain, layers, ready, (sample, timestep, encoder_hidden_states), rest))
        return mapped(answer, Tensor.clone)

    return forward


def _control_net(view: Untyped, through: Callable[[Call], Untyped]) -> Callable[..., Untyped]:
    """The net is run with its picture embedded already and at scale 1; the scale, a number that changes, comes after it."""
    bare, layers = copy.copy(view), _layers(view)
    bare._modules = {**view._modules, "controlnet_cond_embedding": nn.Identity()}

    def run(*args: Untyped, **kwargs: Untyped) -> Untyped:
        return ControlNetModel.forward(bare, *args, return_dict=False, **kwargs)

    def residuals(sample: Tensor, timestep: Tensor, context: Tensor, picture: Tensor, scale: float, **rest: Untyped) -> Untyped:
        ready = tuple(layer.made_ready(context, sample) for layer in layers)
        embedded = view.controlnet_cond_embedding(picture)
        down, mid = through(Call(view.mid_block, run, layers, ready, (sample, timestep, context, embedded), rest))
        return [part * scale for part in down], mid * scale

    return residuals


def _layers(module: Untyped) -> list[Layer]:
    last = len(module.down_blocks) - 1
    found: list[Layer] = []
    for name, attention in attention_layers(module):
        if isinstance(attention.processor, LanedAttention):
            found.append(Layer(attention, attention.processor, _halvings(name, last), name.endswith("attn2.processor")))
    return found


def _halvings(name: str, last: int) -> int:
    """How often the picture is halved at the layer called `name`, `last` times in the middle."""
    match name.split(".")[:2]:
        case ["down_blocks", number]:
            return int(number)
        case ["up_blocks", number]:
            return last - int(number)
        case _:
            return last
