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

import torch
from diffusers.configuration_utils import FrozenDict
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from torch import Tensor, nn

from ..models.adapters import Untyped
from .attention import LanedAttention, Ready, attention_layers
from .control import GatedControlNet, Remembered
from .trees import mapped
from .union import UnionMember


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
            elif isinstance(module, UnionMember):
                if module.turn is not None and module is module.turn.members[-1]:  # who asks for all
                    former.append((module, "asked", None))
                    object.__setattr__(module, "asked", _union(module, through))
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
    """Whether a view runs one net on one embedded picture."""
    kind = cast("Untyped", type(view))
    return kind.forward is GatedControlNet.forward and view.config.controlnet_conditioning_channel_order in ("rgb", "bgr")


def _unet(unet: Untyped, through: Callable[[Call], Untyped]) -> Callable[..., Untyped]:
    plain, layers = unet.forward, _layers(unet)

    def forward(sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, **rest: Untyped) -> Untyped:
        ready = tuple(layer.made_ready(encoder_hidden_states, sample) for layer in layers)
        answer = through(Call(unet.mid_block, plain, layers, ready, (sample, timestep, encoder_hidden_states), rest))
        return mapped(answer, Tensor.clone)

    return forward


def _control_net(view: Untyped, through: Callable[[Call], Untyped]) -> Callable[..., Untyped]:
    """The net is run with its picture embedded already and at scale 1; the scale, a number that changes, comes after it."""
    bare, layers = _bare(view), _layers(view)
    turned = _turned(view)

    def run(*args: Untyped, **kwargs: Untyped) -> Untyped:
        return ControlNetModel.forward(bare, *args, return_dict=False, **kwargs)

    def residuals(sample: Tensor, timestep: Tensor, context: Tensor, picture: Tensor, scale: float, **rest: Untyped) -> Untyped:
        ready = tuple(layer.made_ready(context, sample) for layer in layers)
        embedded = view.controlnet_cond_embedding(turned(picture))
        down, mid = through(Call(view.mid_block, run, layers, ready, (sample, timestep, context, embedded), rest))
        return [part * scale for part in down], mid * scale

    return residuals


def _union(view: UnionMember, through: Callable[[Call], Untyped]) -> Callable[..., Untyped]:
    """As of one net, for all its pictures. The scale of one alone comes after it; those of several act within it, and lie in tensors."""
    bare, layers = _bare(view), _layers(view)
    net: Untyped = view

    def run(
        sample: Tensor,
        timestep: Tensor,
        text: Tensor,
        pictures: Sequence[Tensor],
        types: Tensor,
        scales: Sequence[Tensor],
        kinds: Sequence[int],
        **rest: Untyped,
    ) -> Untyped:
        numbers = [_Number(scale) for scale in scales] or [1.0]
        return ControlNetUnionModel.forward(
            bare, sample, timestep, text, [*pictures], types, [*kinds], cast("list[float]", numbers), return_dict=False, **rest
        )

    def asked(
        sample: Tensor,
        timestep: Tensor,
        text: Tensor,
        pictures: Sequence[Tensor],
        types: Tensor,
        kinds: Sequence[int],
        scales: Sequence[float],
        **rest: Untyped,
    ) -> Untyped:
        ready = tuple(layer.made_ready(text, sample) for layer in layers)
        embedded = tuple(net.controlnet_cond_embedding(picture) for picture in pictures)
        alone = len(pictures) == 1
        inside = () if alone else tuple(torch.full((), scale, dtype=torch.float32, device=sample.device) for scale in scales)
        args = (sample, timestep, text, embedded, types, inside, tuple(kinds))
        down, mid = through(Call(net.mid_block, run, layers, ready, args, rest))
        after = scales[0] if alone else 1.0
        return [part * after for part in down], mid * after

    return asked


@dataclass(frozen=True, slots=True)
class _Number:
    """A number that lies in a tensor () in float32, by which tensors are multiplied as by a number of Python: rounded once."""

    scale: Tensor

    def __rmul__(self, states: Tensor) -> Tensor:
        return (states.to(self.scale.dtype) * self.scale).to(states.dtype)


def _bare(view: Untyped) -> Untyped:
    """The net for pictures that are embedded, the right way round, already."""
    bare = copy.copy(view)
    bare._modules = {**view._modules, "controlnet_cond_embedding": nn.Identity()}
    bare._internal_dict = FrozenDict({**view.config, "controlnet_conditioning_channel_order": "rgb"})
    return bare


def _turned(view: Untyped) -> Callable[[Tensor], Tensor]:
    """What turns a picture's channels round for nets that want them so: the same tensor for the same picture."""
    if view.config.controlnet_conditioning_channel_order == "rgb":
        return lambda picture: picture
    return Remembered(_Flip(), most=2)  # where guidance rests, pictures come as halves


class _Flip(nn.Module):
    def forward(self, picture: Tensor) -> Tensor:
        return torch.flip(picture, dims=[1])


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
