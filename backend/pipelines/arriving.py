"""Previews without waiting: a copy from the GPU is begun after the step, and shown when it has come, while the next step runs.

Asking for the numbers at once would hold the thread until the GPU has done the whole step, and leave the GPU without work meanwhile. On a
processor the numbers are there already, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Copy(Protocol):
    """Numbers on their way."""

    def ready(self) -> bool:
        """Whether they have come."""
        ...

    @property
    def numbers(self) -> Tensor:
        """They, once they have come."""
        ...


class Here:
    """Numbers that need no way."""

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers

    def ready(self) -> bool:
        """Always."""
        return True


class FromGpu:
    """A copy into pinned memory, beside the GPU's work, with an event at its end."""

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
        self.numbers.copy_(numbers, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record()

    def ready(self) -> bool:
        """Whether the event has passed."""
        return self._event.query()


def begin(numbers: Tensor) -> Copy:
    """A copy of `numbers`, begun."""
    return FromGpu(numbers) if numbers.is_cuda else Here(numbers)


class Arrivals:
    """Shows the newest copy that has come. `show` gets its numbers and the step that it is of."""

    def __init__(self, show: Callable[[Tensor, int], None], begin: Callable[[Tensor], Copy] = begin) -> None:
        self._show, self._begin = show, begin
        self._coming: tuple[Copy, int] | None = None

    def send(self, numbers: Tensor, step: int) -> None:
        """Numbers of a step; an older copy that has not come yet is not shown any more."""
        self.look()
        self._coming = self._begin(numbers.detach()), step
        self.look()

    def look(self) -> None:
        """Show what has come. Cheap: asked before every block."""
        if self._coming is not None and self._coming[0].ready():
            (copy, step), self._coming = self._coming, None
            self._show(copy.numbers, step)
