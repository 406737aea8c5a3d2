"""Attention processors of the shared UNet and ControlNets: image prompts beside the text, keys and values computed once per picture.

The mathematics is IP-Adapter's decoupled cross-attention (Ye et al. 2023, arXiv:2308.06721, eq. 5; `ip_adapter/attention_processor.py` in
tencent-ailab/IP-Adapter): `out = softmax(Q K^T) V + scale * softmax(Q K'^T) V'`, added before the output projection. The text part is
operation by operation diffusers' `AttnProcessor2_0`, so that a UNet with these processors and no lanes computes the same bits as a stock
one.

Processors hold tokens and cached tensors but no weights of the UNet, and are plain objects, not modules: nothing enters a state dict, and
putting the former processors back leaves the module as it was, bit for bit.

All that depends on the picture and the step (which lanes act, their keys, values and scales) is found by `LanedAttention.made_ready`; what
follows is arithmetic on tensors alone. By itself a processor makes itself ready at each call. Compilers want it done before the block is
entered (`compiled`), CUDA graphs before the net is (`entries`): they put the outcome into `ready`, and the call is then free of state.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from protocol.jobs import STEADY, Schedule, Window

from ..models.adapters import ImageAdapter, LoraPair, Untyped
from .pacing import pace

Cached = tuple[Tensor, Tensor, Tensor]
"""The tensor that keys and values were made from (kept, so that its id cannot be another's), the keys, the values."""

ALWAYS = Window()

TEXTS_KEPT = 16
"""Texts (or subjects, in an IdentityNet) whose keys and values one layer keeps; a call that makes new tensors each step must not fill the
memory."""


class ReadyLane(NamedTuple):
    """A lane as one layer needs it in one step: keys and values (B, heads, T, width), the scale as a number or as a tensor () in float32,
    and the region (B, N, 1) for N queries."""

    key: Tensor
    value: Tensor
    scale: float | Tensor
    region: Tensor | None


class Ready(NamedTuple):
    """All that one layer needs beside its input: the text's keys and values (B, heads, T, width), or None where a layer attends to its own
    input; the lanes that act in this step; and their LoRAs."""

    text: tuple[Tensor, Tensor] | None
    lanes: tuple[ReadyLane, ...]
    loras: tuple[LoraPair, ...]


@dataclass(slots=True)
class Clock:
    """Which sampling step runs. `steps` is asked when needed, because image-to-image decides its number of steps after the call began."""

    steps: Callable[[], int] = lambda: 1
    step: int = 0
    _scales: dict[tuple[int, float, float], Tensor] = field(default_factory=dict[tuple[int, float, float], Tensor])

    def within(self, window: Window) -> bool:
        """Whether the running step lies in `window`; the same rule as diffusers' `controlnet_keep`, so that both kinds of window agree."""
        steps = self.steps()
        return not (self.step / steps < window.start or (self.step + 1) / steps > window.end)

    def pace(self, schedule: Schedule, window: Window) -> float:
        """How much of a weight with this schedule counts in the running step."""
        return pace(schedule, window, self.step, self.steps())

    def scale(self, lane: Lane, factor: float, device: torch.device) -> Tensor:
        """The weight of `lane` in the running step, times `factor`, as a tensor () in float32: the same object for all layers with that
        factor, and never that of another lane, so that which tensors are the same does not depend on the weights."""
        name = (id(lane), factor, lane.weight * factor * self.pace(lane.schedule, lane.window))
        if name not in self._scales:
            self._scales[name] = torch.full((), name[2], dtype=torch.float32, device=device)  # filled there, so nothing waits
        return self._scales[name]


@dataclass(slots=True, eq=False)
class Lane:
    """One image prompt on its way through the UNet.

    `tokens` (B, T, cross_attention_dim), in the order of the batch: unconditional then conditional with guidance (B = 2), the conditional
    alone without (B = 1). `layers` maps the index of an attention processor to a factor for `weight`; None means 1 everywhere, a missing
    index 0.
    `region` (1, H, W) in 0..1 keeps the prompt to a part of the picture; `schedule` changes the weight from step to step of its window.
    """

    adapter: ImageAdapter
    tokens: Tensor
    weight: float
    window: Window = ALWAYS
    layers: Mapping[int, float] | None = None
    region: Tensor | None = None
    schedule: Schedule = STEADY

    def factor(self, index: int) -> float:
        """The factor at attention processor `index`."""
        return 1.0 if self.layers is None else self.layers.get(index, 0.0)


@dataclass(slots=True, eq=False)
class LanedAttention:
    """Processor of one attention layer: `index` counts all attention processors of the UNet, as IP-Adapter files do."""

    index: int
    lanes: Sequence[Lane] = ()
    clock: Clock = field(default_factory=Clock)
    ready: Ready | None = None
    """What `made_ready` gave for the call that comes; None to have it found in the call."""
    _text: dict[tuple[int, ...], Cached] = field(default_factory=dict[tuple[int, ...], Cached])
    _image: dict[tuple[int, int], tuple[Tensor, Tensor]] = field(default_factory=dict[tuple[int, int], tuple[Tensor, Tensor]])
    _regions: dict[tuple[int, int, int], Tensor] = field(default_factory=dict[tuple[int, int, int], Tensor])

    def __call__(
        self,
        attn: Untyped,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **_: Untyped,
    ) -> Tensor:
        """(B, N, C) -> (B, N, C): what `attn` computes, with the lanes that are active in this step."""
        ready = self.ready
        if ready is None:
            ready = self.made_ready(attn, encoder_hidden_states, hidden_states.shape[0], hidden_states.shape[1], as_tensors=False)
        return attend(attn, hidden_states, encoder_hidden_states, attention_mask, ready)

    def made_ready(self, attn: Untyped, text: Tensor | None, batch: int, queries: int, as_tensors: bool) -> Ready:
        """What the layer `attn` needs in the running step for an input (batch, queries, C) and `text` (batch, T, C'), None for
        self-attention. Scales are numbers, or tensors for who must not have numbers in a graph (`as_tensors`)."""
        active = [lane for lane in self.lanes if self.clock.within(lane.window)]
        loras = tuple(lane.adapter.lora[self.index] for lane in active if self.index in lane.adapter.lora)
        if text is None:
            return Ready(None, (), loras)
        lanes = (self._lane(attn, lane, batch, queries, as_tensors) for lane in active)
        return Ready(self._keys_and_values(attn, text, loras), tuple(lane for lane in lanes if lane is not None), loras)

    def _keys_and_values(self, attn: Untyped, text: Tensor, loras: Sequence[LoraPair]) -> tuple[Tensor, Tensor]:
        name = (id(text), *map(id, loras))
        cached = self._text.get(name)
        if cached is None:
            if len(self._text) >= TEXTS_KEPT:
                self._text.clear()
            source = attn.norm_encoder_hidden_states(text) if attn.norm_cross else text
            cached = self._text[name] = (text, *_keys_and_values(attn, source, loras))
        return cached[1], cached[2]

    def _lane(self, attn: Untyped, lane: Lane, batch: int, queries: int, as_tensors: bool) -> ReadyLane | None:
        factor = lane.factor(self.index)
        scale: float | Tensor = lane.weight * factor * self.clock.pace(lane.schedule, lane.window)
        if scale == 0:
            return None
        pair = self._image.get((id(lane), batch))
        if pair is None:
            tokens, (key, value) = lane.tokens[-batch:], lane.adapter.layers[self.index]  # the conditional half where it is alone
            pair = self._image[id(lane), batch] = (_heads(attn, F.linear(tokens, key)), _heads(attn, F.linear(tokens, value)))
        if as_tensors:
            scale = self.clock.scale(lane, factor, pair[0].device)
        return ReadyLane(*pair, scale, self._region(lane, batch, queries, pair[0].dtype))

    def _region(self, lane: Lane, batch: int, queries: int, dtype: torch.dtype) -> Tensor | None:
        if lane.region is None:
            return None
        from diffusers.image_processor import IPAdapterMaskProcessor

        name = (id(lane), batch, queries)
        if name not in self._regions:
            self._regions[name] = IPAdapterMaskProcessor.downsample(lane.region, batch, queries, 1).to(dtype)
        return self._regions[name]


def attend(attn: Untyped, hidden: Tensor, text: Tensor | None, mask: Tensor | None, ready: Ready) -> Tensor:
    """Attention of `attn` from `hidden` (B, N, C) to what is `ready`, or to itself; nothing but arithmetic on tensors, for compilers."""
    batch = hidden.shape[0]
    query = _heads(attn, _with_lora(attn.to_q(hidden), hidden, [lora.query for lora in ready.loras]))
    key, value = _keys_and_values(attn, hidden, ready.loras) if ready.text is None else ready.text
    if mask is not None:
        length = (hidden if text is None else text).shape[1]
        mask = attn.prepare_attention_mask(mask, length, batch).view(batch, attn.heads, -1, length)
    out = _join(F.scaled_dot_product_attention(query, key, value, attn_mask=mask)).to(query.dtype)
    for lane in ready.lanes:
        image = _join(F.scaled_dot_product_attention(query, lane.key, lane.value)).to(query.dtype)
        if lane.region is not None:
            image = image * lane.region
        out = out + _scaled(image, lane.scale)
    projected = attn.to_out[1](_with_lora(attn.to_out[0](out), out, [lora.out for lora in ready.loras]))
    if attn.residual_connection:
        projected = projected + hidden
    return projected / attn.rescale_output_factor


def _scaled(image: Tensor, scale: float | Tensor) -> Tensor:
    """`scale * image`, rounded once also where the scale is a tensor: torch would first bring a tensor's number to half precision."""
    if isinstance(scale, Tensor):
        return (scale * image.to(scale.dtype)).to(image.dtype)
    return scale * image


def _keys_and_values(attn: Untyped, source: Tensor, loras: Sequence[LoraPair]) -> tuple[Tensor, Tensor]:
    key = _with_lora(attn.to_k(source), source, [lora.key for lora in loras])
    value = _with_lora(attn.to_v(source), source, [lora.value for lora in loras])
    return _heads(attn, key), _heads(attn, value)


def _heads(attn: Untyped, states: Tensor) -> Tensor:
    batch, _, width = states.shape
    return states.view(batch, -1, attn.heads, width // attn.heads).transpose(1, 2)


def _join(states: Tensor) -> Tensor:
    batch, heads, length, width = states.shape
    return states.transpose(1, 2).reshape(batch, length, heads * width)


def _with_lora(out: Tensor, states: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    for down, up in pairs:
        out = out + F.linear(F.linear(states, down), up)
    return out


@contextmanager
def attached(module: Untyped, lanes: Sequence[Lane] = (), clock: Clock | None = None) -> Generator[None]:
    """Give `module` (a UNet or ControlNet of diffusers) our processors, and put the former ones back at the end, also after an error.

    Self-attention keeps its own processor, except where a FaceID adapter brings a LoRA for it.
    """
    clock = clock or Clock()
    layers = attention_layers(module)
    former = [layer.processor for _, layer in layers]
    for index, (name, layer) in enumerate(layers):
        if name.endswith("attn2.processor") or any(index in lane.adapter.lora for lane in lanes):
            layer.set_processor(LanedAttention(index, lanes, clock))
    try:
        yield
    finally:
        for (_, layer), processor in zip(layers, former, strict=True):
            layer.set_processor(processor)


def attention_layers(module: Untyped) -> list[tuple[str, Untyped]]:
    """The attention layers with the names and in the order of `attn_processors`, which asks each of SDXL's 5,000 modules for what it is
    not: with putting processors in and out, 27 ms a picture."""
    from diffusers.models.attention_processor import Attention

    found: list[tuple[str, Untyped]] = []

    def look(part: Untyped, name: str) -> None:
        for word, child in part._modules.items():  # named_children() takes four times as long
            if isinstance(child, Attention):
                found.append((f"{name}{word}.processor", child))
            elif child is not None:
                look(child, f"{name}{word}.")

    look(module, "")
    return found
