"""Transformer blocks of the UNet and the ControlNets, compiled while pictures go on being drawn. Off unless a setting says otherwise.

A whole SDXL UNet takes minutes to compile; its transformer blocks are all alike, so that one of each width is enough for all ("regional
compilation", 6 times cheaper). diffusers refuses that for ControlNets, and `Module.compile` would take the hooks that ask whether a picture
is cancelled into the graph; so the blocks' forwards are compiled by hand. A block is first run as it is, and what it was given is noted; a
thread compiles copies of such blocks, and the next picture finds them. The numbers differ in their last bits from those that are not
compiled: a picture of the first minute and the same one later are alike, not equal. That is why it is a choice.

Cross-attention stays outside of the graphs: it is a hundredth of the work since its keys and values are kept, and what is in it (persons,
windows, weights) changes from picture to picture, which a graph would have to be made anew for.
"""

from __future__ import annotations

import copy
import os
import queue
import threading
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import cast

import torch
import torch._dynamo
from torch import Tensor

from ..models.adapters import Untyped
from .attention import LanedAttention

Signature = tuple[Hashable, ...]
"""What decides whether a graph fits: the block's own numbers, and of each argument shape, strides, precision and device."""
VARIANTS = 64
"""Graphs for one piece of code: two widths of blocks, with and without guidance, in so many sizes of pictures."""


_dynamo: Untyped = torch.compiler
_outside: Untyped = _dynamo.disable


class Opaque:
    """An attention processor that graphs do not look into."""

    def __init__(self, inner: Untyped) -> None:
        self.inner = inner

    @_outside
    def __call__(
        self,
        attn: Untyped,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **rest: Untyped,
    ) -> Tensor:
        """What the processor within computes."""
        return self.inner(attn, hidden_states, encoder_hidden_states, attention_mask, temb, **rest)


class Compiler:
    """The compiled blocks of one device. `backend` is torch.compile's; `say` hears when blocks are ready, and why some are not."""

    def __init__(self, backend: str = "inductor", cache: Path | None = None, say: Callable[[str], None] = lambda words: None) -> None:
        if cache is not None:
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, VARIANTS)
        self._backend, self._say = backend, say
        self._ready: frozenset[Signature] = frozenset()
        self._wanted: queue.SimpleQueue[tuple[Signature, Untyped, Untyped] | None] = queue.SimpleQueue()
        self._asked: set[Signature] = set()
        self._compiled: dict[int, tuple[Untyped, Callable[..., Untyped]]] = {}
        self._idle = threading.Event()
        self._idle.set()
        self._laid_out: set[int] = set()
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, modules: Iterable[Untyped]) -> Generator[None]:
        """While a picture is drawn: blocks of `modules` (with our processors attached) that are ready run compiled, the others as ever."""
        ready = self._ready  # the same all through one picture
        blocks = {id(block): block for module in modules for block in _blocks(module)}
        sealed: list[tuple[Untyped, Untyped]] = []
        for module in modules:
            self._lay_out(module)
        try:
            for block in blocks.values():
                for attention in _attentions(block):
                    if isinstance(attention.processor, LanedAttention):
                        sealed.append((attention, attention.processor))
                        attention.processor = Opaque(attention.processor)
                block.forward = self._either(block, ready)
            yield
        finally:
            for block in blocks.values():
                block.__dict__.pop("forward", None)
            for attention, processor in sealed:
                attention.processor = processor

    def wait(self, timeout_s: float) -> bool:
        """Until all that was noted is compiled; False when it took longer."""
        return self._idle.wait(timeout_s)

    def close(self) -> None:
        """End the thread once it is done with its block."""
        if self._thread is not None:
            self._wanted.put(None)
            self._thread.join()
            self._thread = None

    # Inside ------------------------------------------------------------------------------------------------------------------------
    def _either(self, block: Untyped, ready: frozenset[Signature]) -> Callable[..., Untyped]:
        kind = cast("Untyped", type(block))
        plain = cast("Callable[..., Untyped]", MethodType(kind.forward, block))
        own = _numbers(block)

        def forward(*args: Untyped, **kwargs: Untyped) -> Untyped:
            signature = (*own, _signature(args), _signature(kwargs))
            if signature in ready:
                return self._fast(block, plain)(*args, **kwargs)
            if signature not in self._asked:
                self._ask(signature, block, (args, kwargs))
            return plain(*args, **kwargs)

        return forward

    def _fast(self, block: Untyped, plain: Callable[..., Untyped]) -> Callable[..., Untyped]:
        if id(block) not in self._compiled:
            self._compiled[id(block)] = (block, self._compile(plain))
        return self._compiled[id(block)][1]

    def _compile(self, forward: Callable[..., Untyped]) -> Callable[..., Untyped]:
        torch_compile: Untyped = getattr(torch, "compile")  # noqa: B009
        return torch_compile(forward, backend=self._backend, dynamic=False)

    def _ask(self, signature: Signature, block: Untyped, given: Untyped) -> None:
        """Have a copy of the block compiled for arguments like these."""
        self._asked.add(signature)
        self._idle.clear()
        processors = [(attention, attention.processor) for attention in _attentions(block)]
        former = block.__dict__.pop("forward", None)
        try:
            for attention, processor in processors:  # a copy needs neither the persons nor the hooks of this picture
                if isinstance(processor, Opaque):
                    attention.processor = Opaque(None)
            twin = copy.deepcopy(block)
        finally:
            for attention, processor in processors:
                attention.processor = processor
            if former is not None:
                block.forward = former
        twin._forward_pre_hooks.clear()
        for attention in _attentions(twin):
            if isinstance(attention.processor, Opaque):
                attention.processor.inner = _stand_in
        self._wanted.put((signature, twin, _like(given)))
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="compiler", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            signature, twin, (args, kwargs) = wanted
            try:
                with torch.no_grad():
                    self._compile(twin.forward)(*args, **kwargs)
                self._ready |= {signature}
            except Exception as error:  # whatever a compiler meets: the block goes on as it is
                self._say(f"a block stays as it is, since it cannot be compiled ({type(error).__name__})")
            if self._wanted.empty():
                self._say(f"{len(self._ready)} of {len(self._asked)} kinds of blocks are compiled")
                self._idle.set()

    def _lay_out(self, module: Untyped) -> None:
        """Convolutions of a GPU want channels last."""
        weight: Tensor = module.conv_in.weight
        if weight.device.type == "cuda" and id(weight) not in self._laid_out:
            self._laid_out.add(id(weight))
            module.to(memory_format=torch.channels_last)


def _stand_in(attn: Untyped, hidden_states: Tensor, *_: object, **__: object) -> Tensor:
    """Any numbers of the right shape: graphs do not look in here."""
    return hidden_states


def _blocks(module: Untyped) -> list[Untyped]:
    return [part for part in module.modules() if type(part).__name__ == "BasicTransformerBlock"]


def _attentions(block: Untyped) -> list[Untyped]:
    return [attention for name in ("attn1", "attn2") if (attention := getattr(block, name, None)) is not None]


def _numbers(block: Untyped) -> Signature:
    """What of a block a graph depends on beside its arguments."""
    attention = block.attn1
    kinds = tuple(type(one.processor).__name__ for one in _attentions(block))
    weights = tuple((tuple(weight.shape), str(weight.dtype)) for weight in block.parameters())
    return (attention.heads, bool(block.training), kinds, hash(weights))


def _signature(value: Untyped) -> Hashable:
    match value:
        case Tensor():
            return (tuple(value.shape), value.stride(), str(value.dtype), str(value.device))
        case dict():
            return tuple((str(key), _signature(inner)) for key, inner in cast("dict[str, Untyped]", value).items())
        case list() | tuple():
            return tuple(_signature(inner) for inner in cast("Sequence[Untyped]", value))
        case _:
            return repr(value)


def _like(value: Untyped) -> Untyped:
    """The same arguments with other numbers, of the same shapes and strides."""
    match value:
        case Tensor():
            made = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device)
            return made.normal_() if made.is_floating_point() else made.zero_()
        case dict():
            return {key: _like(inner) for key, inner in cast("dict[str, Untyped]", value).items()}
        case list() | tuple():
            inner = [_like(one) for one in cast("Sequence[Untyped]", value)]
            return tuple(inner) if isinstance(value, tuple) else inner
        case _:
            return value
