"""Attention processors of the shared UNet and ControlNets: image prompts beside the text, keys and values computed once per picture.

The mathematics is IP-Adapter's decoupled cross-attention (Ye et al. 2023, arXiv:2308.06721, eq. 5; `ip_adapter/attention_processor.py` in
tencent-ailab/IP-Adapter): `out = softmax(Q K^T) V + scale * softmax(Q K'^T) V'`, added before the output projection. The text part is
operation by operation diffusers' `AttnProcessor2_0`, so that a UNet with these processors and no lanes computes the same bits as a stock
one.

Processors hold tokens and cached tensors but no weights of the UNet, and are plain objects, not modules: nothing enters a state dict, and
putting the former processors back leaves the module as it was, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from protocol.jobs import STEADY, Schedule, Window

from ..models.adapters import ImageAdapter, LoraPair, Untyped
from .pacing import pace

Cached = tuple[Tensor, Tensor, Tensor]
"""The tensor that keys and values were made from (kept, so that its id cannot be another's), the keys, the values."""

ALWAYS = Window()

TEXTS_KEPT = 16
"""Texts (or subjects, in an IdentityNet) whose keys and values one layer keeps; a call that makes new tensors each step must not fill the
memory."""


@dataclass(slots=True)
class Clock:
    """Which sampling step runs. `steps` is asked when needed, because image-to-image decides its number of steps after the call began."""

    steps: Callable[[], int] = lambda: 1
    step: int = 0

    def within(self, window: Window) -> bool:
        """Whether the running step lies in `window`; the same rule as diffusers' `controlnet_keep`, so that both kinds of window agree."""
        steps = self.steps()
        return not (self.step / steps < window.start or (self.step + 1) / steps > window.end)

    def pace(self, schedule: Schedule, window: Window) -> float:
        """How much of a weight with this schedule counts in the running step."""
        return pace(schedule, window, self.step, self.steps())


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

    def scale(self, index: int) -> float:
        """The factor at attention processor `index`."""
        return self.weight if self.layers is None else self.weight * self.layers.get(index, 0.0)


@dataclass(slots=True, eq=False)
class LanedAttention:
    """Processor of one attention layer: `index` counts all attention processors of the UNet, as IP-Adapter files do."""

    index: int
    lanes: Sequence[Lane] = ()
    clock: Clock = field(default_factory=Clock)
    _text: dict[tuple[int, ...], Cached] = field(default_factory=dict[tuple[int, ...], Cached])
    _image: dict[tuple[int, int], tuple[Tensor, Tensor]] = field(default_factory=dict[tuple[int, int], tuple[Tensor, Tensor]])
    _regions: dict[tuple[int, int], Tensor] = field(default_factory=dict[tuple[int, int], Tensor])

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
        active = [lane for lane in self.lanes if self.clock.within(lane.window)]
        loras = [lane.adapter.lora[self.index] for lane in active if self.index in lane.adapter.lora]
        residual = hidden_states
        batch = hidden_states.shape[0]
        query = self._heads(attn, _with_lora(attn.to_q(hidden_states), hidden_states, [lora.query for lora in loras]))
        key, value = self._keys_and_values(attn, hidden_states, encoder_hidden_states, loras)
        if attention_mask is not None:
            length = (hidden_states if encoder_hidden_states is None else encoder_hidden_states).shape[1]
            attention_mask = attn.prepare_attention_mask(attention_mask, length, batch).view(batch, attn.heads, -1, length)
        out = _join(F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)).to(query.dtype)
        if encoder_hidden_states is not None:
            for lane in active:
                out = self._add(attn, out, query, lane)
        projected = attn.to_out[1](_with_lora(attn.to_out[0](out), out, [lora.out for lora in loras]))
        if attn.residual_connection:
            projected = projected + residual
        return projected / attn.rescale_output_factor

    def _keys_and_values(self, attn: Untyped, hidden: Tensor, text: Tensor | None, loras: Sequence[LoraPair]) -> tuple[Tensor, Tensor]:
        if text is None:
            return self._project(attn, hidden, loras)
        name = (id(text), *map(id, loras))
        cached = self._text.get(name)
        if cached is None:
            if len(self._text) >= TEXTS_KEPT:
                self._text.clear()
            source = attn.norm_encoder_hidden_states(text) if attn.norm_cross else text
            cached = self._text[name] = (text, *self._project(attn, source, loras))
        return cached[1], cached[2]

    def _project(self, attn: Untyped, source: Tensor, loras: Sequence[LoraPair]) -> tuple[Tensor, Tensor]:
        key = _with_lora(attn.to_k(source), source, [lora.key for lora in loras])
        value = _with_lora(attn.to_v(source), source, [lora.value for lora in loras])
        return self._heads(attn, key), self._heads(attn, value)

    def _add(self, attn: Untyped, out: Tensor, query: Tensor, lane: Lane) -> Tensor:
        scale = lane.scale(self.index) * self.clock.pace(lane.schedule, lane.window)
        if scale == 0:
            return out
        batch = query.shape[0]
        pair = self._image.get((id(lane), batch))
        if pair is None:
            tokens, (key, value) = lane.tokens[-batch:], lane.adapter.layers[self.index]  # the conditional half where it is alone
            pair = self._image[id(lane), batch] = (self._heads(attn, F.linear(tokens, key)), self._heads(attn, F.linear(tokens, value)))
        image = _join(F.scaled_dot_product_attention(query, *pair)).to(query.dtype)
        if lane.region is not None:
            image = image * self._region(lane, image)
        return out + scale * image

    def _region(self, lane: Lane, like: Tensor) -> Tensor:
        from diffusers.image_processor import IPAdapterMaskProcessor

        name = (id(lane), like.shape[1])
        if name not in self._regions:
            assert lane.region is not None
            mask = IPAdapterMaskProcessor.downsample(lane.region, like.shape[0], like.shape[1], 1)
            self._regions[name] = mask.to(like.dtype)
        return self._regions[name]

    @staticmethod
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


def style_layers(names: Sequence[str], factors: Mapping[str, float]) -> dict[int, float]:
    """Index -> factor for the attention processors whose name starts with one of `factors` (a prefix such as
    `up_blocks.0.attentions.1`)."""
    found: dict[int, float] = {}
    for index, name in enumerate(names):
        for prefix, factor in factors.items():
            if name.startswith(prefix + "."):
                found[index] = factor
    return found
