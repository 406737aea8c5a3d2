"""CUDA graphs: all kernels of a net's call, started as one. What a picture may change lies in buffers that stay where they are.

A step of SDXL with IdentityNet is some two thousand kernels. Python asks for them one by one, which on a large card takes as long as the
card computes; a graph that was captured once is asked for as a whole, and runs the very same kernels. A graph knows addresses, no objects:
so each call's tensors (`entries` finds them all) are copied into buffers, the graph runs, and its answer is read from where it always lies.

A shape is run as it is at first, which warms up whatever has to be, captured the second time, and kept until too many others were used
since, until weights have moved, until blocks were compiled anew, or until memory is short: graphs are the first thing that goes, since
without them a picture is the same. Should a capture fail, nets go on as they are, which a sentence says.
While a graph runs nothing can be asked in between: a cancelled picture ends at most a step later (`checks.StepLeash`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..models.adapters import Untyped
from .entries import Call
from .trees import mapped, signature, tensors

KEPT = 12
"""Graphs that are kept. A picture with a person and a window of its own has two of the UNet and one of IdentityNet."""


class Captured(Protocol):
    """Work that can be done again."""

    def replay(self) -> None:
        """Do it again, with what now lies in the tensors that it read, into the tensors that it wrote."""
        ...

    def reset(self) -> None:
        """Give back what it holds."""
        ...


class Capturer(Protocol):
    """What captures; tests hand over one for the processor."""

    def capture(self, work: Callable[[], Untyped]) -> tuple[Captured, Untyped]:
        """Do `work` once, or only note it; what can do it again, and the answer, whose tensors each replay fills."""
        ...

    def held(self) -> int:
        """Bytes that all captured work has for itself: its answers, and what it needs in between."""
        ...

    def forget(self) -> None:
        """All of it was reset: let go of the memory."""
        ...


class CudaCapturer:
    """Captures on a GPU. All graphs share their memory for what they need in between, as only one runs at a time and its answer is read
    before the next."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)
        self._pool: Untyped = torch.cuda.graph_pool_handle()

    def capture(self, work: Callable[[], Untyped]) -> tuple[Captured, Untyped]:
        """Note the kernels of `work`; nothing is computed before the first replay."""
        with torch.cuda.device(self._device):
            graph, former = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
            try:
                # Other threads (previews, faces, compilers) may go on with the GPU meanwhile.
                with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                    answer = work()
            except BaseException:
                _end_capturing(torch.cuda.current_device(), self._pool)
                raise
            finally:
                torch.cuda.set_stream(former)  # after a failed capture torch leaves its own in place
        return graph, answer

    def held(self) -> int:
        """What the pool was given, used or not: nobody else gets it."""
        snapshot: Untyped = getattr(torch.cuda, "memory_snapshot")
        return sum(segment["total_size"] for segment in snapshot(self._pool))

    def forget(self) -> None:
        """A pool of which all graphs are gone cannot be used again; the next ones have another."""
        self._pool = torch.cuda.graph_pool_handle()
        torch.cuda.empty_cache()


def _end_capturing(device: int, pool: Untyped) -> None:
    """Tell torch's allocator that a capture that failed is over. By itself (`CUDAGraph::capture_end`) torch only does that after one that
    did not, and until then it empties no cache, not even before it says that memory is full."""
    with suppress(RuntimeError):  # it is over: whatever failed was not the device's
        for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
            inside: Untyped = getattr(torch, "_C")
            getattr(inside, name)(device, pool)


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """A graph with its buffers. `last` are the lasting tensors that were copied in last; `holds` keeps alive what the graph has addresses
    of."""

    graph: Captured
    buffers: tuple[Tensor, ...]
    last: list[Tensor | None]
    lasting: int
    answer: Untyped
    holds: tuple[object, ...]

    @property
    def bytes(self) -> int:
        """What the buffers take."""
        return sum(buffer.nbytes for buffer in self.buffers)

    def run(self, given: Sequence[Tensor]) -> Untyped:
        """Copy in what is new, replay; the answer lies in tensors that the next replay fills again."""
        for number, (buffer, tensor) in enumerate(zip(self.buffers, given, strict=True)):
            if number >= self.lasting or self.last[number] is not tensor:
                buffer.copy_(tensor, non_blocking=True)
                self.last[number] = tensor if number < self.lasting else None
        self.graph.replay()
        return self.answer


class Graphs:
    """The captured graphs of one model's nets. `say` hears when there will be none."""

    def __init__(self, capturer: Capturer, say: Callable[[str], None] = lambda words: None, kept: int = KEPT) -> None:
        self._capturer, self._say, self._limit = capturer, say, kept
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._warm: set[Hashable] = set()
        self._places: dict[int, tuple[list[Tensor], tuple[int, ...]]] = {}
        self._stamp: Hashable = None
        self._broken = False
        self._drawn: set[Hashable] = set()
        self._refused: set[Hashable] = set()
        self._allowance: int | None = None
        self.capturing = False
        """Whether a capture is going on: nobody may wait for the device then."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """What all graphs hold together, buffers included."""
        return sum(kept.bytes for kept in self._kept.values()) + (self._capturer.held() if self._kept else 0)

    def allow(self, allowance: int | None) -> None:
        """How many bytes they may hold from now on, None for any; with 0 nothing is captured."""
        if allowance != self._allowance:
            self._allowance = allowance
            self._refused.clear()
            self._shrink()

    @contextmanager
    def within(self, stamp: Hashable = None) -> Generator[None]:
        """While a picture is drawn. `stamp` says which kernels nets consist of: with another one, graphs are captured anew."""
        if stamp != self._stamp:
            self.drop()
            self._stamp = stamp
        self._warm.clear()
        self._drawn.clear()
        self._moved()
        try:
            yield
        except torch.OutOfMemoryError:
            self.drop()  # whatever comes next needs the room more
            raise

    def drop(self) -> None:
        """Keep nothing."""
        for kept in self._kept.values():
            kept.graph.reset()
        if self._kept:
            self._kept.clear()
            self._capturer.forget()
        self._places.clear()

    def call(self, call: Call, may_capture: bool = True) -> Untyped:
        """What the net answers, by a graph where there is one. The answer may lie in tensors that the next call fills."""
        if self._broken:
            return call.now()
        lasting, passing, key = _described(call)
        kept = self._kept.get(key)
        if kept is None:
            if not may_capture or key not in self._warm or key in self._refused or self._allowance == 0:
                self._warm.add(key)
                return call.now()
            kept = self._captured(key, call, lasting, passing)
            if kept is None or not self._fits(key):
                return call.now()
        self._drawn.add(key)
        self._kept.move_to_end(key)
        return kept.run([*lasting, *passing])

    # Inside ------------------------------------------------------------------------------------------------------------------------
    def _captured(self, key: Hashable, call: Call, lasting: list[Tensor], passing: list[Tensor]) -> _Kept | None:
        given = [*lasting, *passing]
        try:
            buffers = tuple(torch.empty_like(tensor).copy_(tensor) for tensor in given)
            own = {id(tensor): buffer for tensor, buffer in zip(given, buffers, strict=True)}

            def buffered(tensor: Tensor) -> Tensor:
                return own[id(tensor)]

            ready = tuple(one._replace(text=mapped(one.text, buffered), lanes=mapped(one.lanes, buffered)) for one in call.ready)
            still = Call(call.net, call.run, call.layers, ready, mapped(call.args, buffered), mapped(call.kwargs, buffered))
            self.capturing = True
            graph, answer = self._capturer.capture(still.now)
        except torch.OutOfMemoryError:
            self._refused |= {key, *self._kept}
            self.drop()
            return None
        except Exception as error:  # whatever a driver finds wrong with a kernel: nets go on as they are
            self._broken = True
            self.drop()
            self._say(f"the nets' kernels are asked for one by one, since they cannot be captured ({type(error).__name__}: {error})")
            return None
        finally:
            self.capturing = False
        while len(self._kept) >= self._limit:
            self._kept.popitem(last=False)[1].graph.reset()
        last: list[Tensor | None] = [*lasting, *(None for _ in passing)]
        kept = self._kept[key] = _Kept(graph, buffers, last, len(lasting), answer, (call.net, call.run, ready))
        self._remember(call.net)
        return kept

    def _fits(self, key: Hashable) -> bool:
        """Whether the graph that was just captured may stay. Where there is too little room, those of other pictures go, and then all: what
        graphs share is only given back with the last of them. What this picture cannot have is not tried again."""
        if self._allowance is None or self.bytes <= self._allowance:
            return True
        if self._drawn.issuperset(set(self._kept) - {key}):
            self._refused |= {key, *self._kept}
        self.drop()
        return False

    def _shrink(self) -> None:
        if self._allowance is not None and self._kept and self.bytes > self._allowance:
            self.drop()

    def _remember(self, net: Untyped) -> None:
        if id(net) not in self._places:
            weights = [*net.parameters(), *net.buffers()]
            self._places[id(net)] = weights, _addresses(weights)

    def _moved(self) -> None:
        """Forget everything when a net's weights are elsewhere now: taken away and brought back, or laid out anew."""
        if any(_addresses(weights) != places for weights, places in self._places.values()):
            self.drop()


def _described(call: Call) -> tuple[list[Tensor], list[Tensor], Hashable]:
    """The tensors of a call, each once: those that last longer than a step (keys, values, scales) and those that do not; and what must be
    the same for a graph to fit. LoRAs of adapters never change where they are: they are part of the graph."""
    states = [(one.text, one.lanes) for one in call.ready]
    lasting = {id(tensor): tensor for tensor in tensors(states)}
    passing = {id(tensor): tensor for tensor in tensors((call.args, call.kwargs)) if id(tensor) not in lasting}
    number = {name: index for index, name in enumerate((*lasting, *passing))}
    pattern = tuple(number[id(tensor)] for tensor in tensors((states, call.args, call.kwargs)))
    loras = tuple((id(pair), *_addresses(list(tensors(pair)))) for one in call.ready for pair in one.loras)
    key = (id(call.net), signature((call.args, call.kwargs, states)), pattern, loras)
    return list(lasting.values()), list(passing.values()), key


def _addresses(weights: Sequence[Tensor]) -> tuple[int, ...]:
    return tuple(weight.data_ptr() for weight in weights)
