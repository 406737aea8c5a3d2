"""A device with as much memory as a test gives it: what is moved there is counted, what does not fit is refused, and what works while it is
away is a failure. Nothing really moves, so that the pixels must be those of a model that never moved."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any

import torch


class Away(AssertionError):  # noqa: N818
    """A part worked while it was not on the device."""


def bytes_of(module: Any, without: Collection[int] = ()) -> int:
    """Of a module's numbers, those of an adapter's layers among them; `without` has the ids of tensors that do not count."""
    tensors = (*module.parameters(), *(tensor for tensor in module.buffers() if tensor.is_floating_point()))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if id(tensor) not in without)


class SmallDevice:
    """A shuttle (`backend.models.residency`). `capacity` in bytes of weights, None for all; `log` has every move."""

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.log: list[tuple[str, str]] = []
        self.here: dict[str, int] = {}
        self.peak = 0
        self._guarded: set[str] = set()

    def bring(self, name: str, module: Any, again: bool = True) -> None:
        self._put("bring", name, module, bytes_of(module))

    def take(self, name: str, module: Any) -> None:
        self._guard(name, module)
        self.log.append(("take", name))
        self.here.pop(name, None)

    def stream(self, name: str, module: Any) -> None:
        self.here.pop(name, None)
        blocks = {id(t) for block in module.modules() if type(block).__name__ == "Transformer2DModel" for t in block.parameters()}
        self._put("stream", name, module, bytes_of(module, blocks))

    def unstream(self, name: str, module: Any) -> None:
        self.log.append(("unstream", name))
        del self.here[name]

    def moves(self, kind: str) -> list[str]:
        return [name for what, name in self.log if what == kind]

    def _put(self, kind: str, name: str, module: Any, size: int) -> None:
        self._guard(name, module)
        used = sum(self.here.values()) + size
        if self.capacity is not None and used > self.capacity:
            raise torch.OutOfMemoryError(f"CUDA out of memory. {used} bytes of {self.capacity}.")
        self.log.append((kind, name))
        self.here[name] = size
        self.peak = max(self.peak, used)

    def _guard(self, name: str, module: Any) -> None:
        """Every layer of the part asks whether it is here."""
        if name not in self._guarded:
            self._guarded.add(name)
            for part in module.modules():
                if not list(part.children()):
                    part.register_forward_pre_hook(functools.partial(self._check, name))

    def _check(self, name: str, *_: object) -> None:
        if name not in self.here:
            raise Away(name)


class Unwatched:
    """Nobody looks at what a worker does, and nobody cancels."""

    def step(self, done: int, total: int) -> None:
        pass

    def show(self, picture: object, step: int) -> None:
        pass

    def cancelled(self) -> bool:
        return False
