"""Blocks of the UNet and the ControlNets, compiled while pictures go on being drawn. Off unless a setting says otherwise.

A whole SDXL UNet takes minutes to compile; its blocks are alike, so that one of each width is enough for all ("regional compilation", 6
times cheaper). diffusers refuses that for ControlNets, and `Module.compile` would take the hooks that ask whether a picture is cancelled
into the graph; so the forwards of transformer and residual blocks are compiled by hand, whole, cross-attention included: what differs from
picture to picture is made ready before a block runs, and handed in as tensors. A block is first run as it is, and what it was given is
noted; a thread compiles copies of such blocks, and the next picture finds them. The numbers differ in their last bits from those that are
not compiled: a picture of the first minute and the same one later are alike, not equal. That is why it is a choice.

Each shape has a graph of its own: sizes of pictures are few, and one graph for all of them would be slower for each. Words, persons, seeds,
steps and strengths are numbers in tensors and share a graph; how many lanes act, how many tokens they have and whether they have regions
are shapes.
"""

from __future__ import annotations

import copy
import os
import queue
import threading
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MethodType
from typing import cast

import torch
import torch._dynamo
from torch import Tensor

from ..models.adapters import Untyped
from .attention import LanedAttention, Ready
from .trees import Signature, alike, signature

VARIANTS = 256
"""Graphs for one piece of code. SDXL has 2 widths of transformer blocks and 12 of residual ones, each with and without guidance, in so many
sizes of pictures and numbers of lanes."""
KINDS = ("BasicTransformerBlock", "ResnetBlock2D")


def _keep_at(cache: Path) -> None:
    """Have inductor keep what it makes in `cache`, unless the user named another folder by its variable.

    torch writes its own choice, a folder of temporary files, into that variable as soon as dynamo is imported (diffusers does that).
    """
    named = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if named is not None:
        from torch._inductor.runtime.cache_dir_utils import default_cache_dir

        if Path(named) != Path(default_cache_dir()).absolute():
            return
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)


class Compiler:
    """The compiled blocks of one device. `backend` is torch.compile's; `say` hears when blocks are ready, and why some are not."""

    def __init__(self, backend: str = "inductor", cache: Path | None = None, say: Callable[[str], None] = lambda words: None) -> None:
        if cache is not None:
            _keep_at(cache)
        self._backend, self._say = backend, say
        self._ready: frozenset[Signature] = frozenset()
        self._wanted: queue.SimpleQueue[tuple[Signature, Untyped, Untyped] | None] = queue.SimpleQueue()
        self._asked: set[Signature] = set()
        self._compiled: dict[int, tuple[Untyped, Callable[..., Untyped]]] = {}
        self._lock, self._pending = threading.Lock(), 0
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, modules: Sequence[Untyped]) -> Generator[int]:
        """While a picture is drawn: blocks of `modules` that are ready run compiled, the others as ever; gives how many kinds are ready."""
        ready = self._ready  # the same all through one picture
        blocks = {id(block): block for module in modules for block in _blocks(module)}
        for module in modules:
            _lay_out(module)
        try:
            for block in blocks.values():
                block.forward = self._either(block, ready)
            yield len(ready)
        finally:
            for block in blocks.values():
                block.__dict__.pop("forward", None)

    @property
    def idle(self) -> bool:
        """Whether nothing is being compiled."""
        return self._idle.is_set()

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
        own, laned = _numbers(block), _laned(block)

        def forward(*args: Untyped, **kwargs: Untyped) -> Untyped:
            unready = [(attention, processor) for attention, processor in laned if processor.ready is None]
            try:
                for attention, processor in unready:
                    text = kwargs.get("encoder_hidden_states") if attention is block.attn2 else None
                    processor.ready = processor.made_ready(attention, text, *args[0].shape[:2], as_tensors=True)
                name = (*own, signature((args, kwargs, [processor.ready for _, processor in laned])))
                if name in ready:
                    return self._fast(block, plain)(*args, **kwargs)
                if name not in self._asked:
                    self._ask(name, block, (args, kwargs))
                return plain(*args, **kwargs)
            finally:
                for _, processor in unready:
                    processor.ready = None

        return forward

    def _fast(self, block: Untyped, plain: Callable[..., Untyped]) -> Callable[..., Untyped]:
        if id(block) not in self._compiled:
            self._compiled[id(block)] = (block, self._compile(plain))
        return self._compiled[id(block)][1]

    def _compile(self, forward: Callable[..., Untyped]) -> Callable[..., Untyped]:
        torch_compile: Untyped = getattr(torch, "compile")
        return torch_compile(forward, backend=self._backend, dynamic=False, fullgraph=True)

    def _ask(self, name: Signature, block: Untyped, given: Untyped) -> None:
        """Have a copy of the block compiled for arguments like these."""
        self._asked.add(name)
        with self._lock:
            self._pending += 1
            self._idle.clear()
        self._wanted.put((name, _twin(block), alike(given)))
        if self._thread is None:
            # The thread must not keep alive what a closed model leaves: its compiled blocks hold the net's weights.
            self._thread = threading.Thread(target=self._work, args=(weakref.ref(self), self._wanted), name="compiler", daemon=True)
            weakref.finalize(self, self._wanted.put, None).atexit = False
            self._thread.start()

    @staticmethod
    def _work(compiler: weakref.ref[Compiler], wanted: queue.SimpleQueue[tuple[Signature, Untyped, Untyped] | None]) -> None:
        dynamo: Untyped = torch._dynamo.config
        dynamo.recompile_limit = dynamo.accumulated_recompile_limit = VARIANTS  # each thread has its own settings
        while (one := wanted.get()) is not None and (alive := compiler()) is not None:
            alive._try(*one)
            del one, alive

    def _try(self, name: Signature, twin: Untyped, given: Untyped) -> None:
        args, kwargs = given
        try:
            with torch.no_grad():
                self._compile(twin.forward)(*args, **kwargs)
            self._ready |= {name}
        except Exception as error:  # whatever a compiler meets: the block goes on as it is
            self._say(f"a block stays as it is, since it cannot be compiled ({type(error).__name__})")
        with self._lock:
            self._pending -= 1
            if self._pending == 0:
                self._say(f"{len(self._ready)} of {len(self._asked)} kinds of blocks are compiled")
                self._idle.set()


def _lay_out(module: Untyped) -> None:
    """Convolutions of a GPU want channels last. Weights that were away come back as they were read, so each picture looks."""
    weight: Tensor = module.conv_in.weight
    if weight.device.type == "cuda" and not weight.is_contiguous(memory_format=torch.channels_last):
        module.to(memory_format=torch.channels_last)


def _twin(block: Untyped) -> Untyped:
    """A copy of the block, without its hooks and with nothing of this picture in its processors but shapes."""
    former = block.__dict__.pop("forward", None)
    laned = _laned(block)
    try:
        for attention, processor in laned:
            attention.processor = LanedAttention(processor.index, ready=cast("Ready", alike(processor.ready)))
        twin = copy.deepcopy(block)
    finally:
        for attention, processor in laned:
            attention.processor = processor
        if former is not None:
            block.forward = former
    twin._forward_pre_hooks.clear()
    return twin


def _blocks(module: Untyped) -> list[Untyped]:
    return [part for part in module.modules() if type(part).__name__ in KINDS]


def _attentions(block: Untyped) -> list[Untyped]:
    return [attention for name in ("attn1", "attn2") if (attention := getattr(block, name, None)) is not None]


def _laned(block: Untyped) -> list[tuple[Untyped, LanedAttention]]:
    return [(attention, attention.processor) for attention in _attentions(block) if isinstance(attention.processor, LanedAttention)]


def _numbers(block: Untyped) -> Signature:
    """What of a block a graph depends on beside its arguments."""
    attentions = tuple((attention.heads, type(attention.processor).__name__) for attention in _attentions(block))
    norm = getattr(block, "norm1", None)
    residual = (getattr(norm, "eps", None), getattr(norm, "num_groups", None), getattr(block, "output_scale_factor", None))
    weights = tuple((tuple(weight.shape), weight.stride(), str(weight.dtype)) for weight in block.parameters())
    return (type(block).__name__, attentions, residual, bool(block.training), hash(weights))
