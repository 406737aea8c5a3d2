"""What weights were before something was merged into them for a while: kept bit for bit, and put back.

On the device where there is room, which costs milliseconds, and is given back after each use; else in the processor's memory, where it is
kept for the next time, as copying 5 GB there takes longer than bringing them back.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from .adapters import Untyped

CPU = torch.device("cpu")


class Originals:
    """Keeps copies of weights of one model. `room` says how many bytes of them may lie on the device, None for any."""

    def __init__(self) -> None:
        self.room: int | None = None
        self._away: Untyped = WeakTensorKeyDictionary()

    @contextmanager
    def kept(self, weights: Sequence[Tensor]) -> Generator[None]:
        """Within it, `weights` may be changed in place; after it, also after an error, they are as they were, where they were."""
        copies = self._copies(weights)
        try:
            yield
        finally:
            _copy(weights, copies)
            for weight in weights:
                if weight in self._away:
                    self._away[weight] = (self._away[weight][0], weight._version)

    @property
    def bytes_away(self) -> int:
        """What lies in the processor's memory."""
        return sum(copy.nbytes for copy, _ in self._away.values())

    def forget(self) -> None:
        """Give that back."""
        self._away.clear()

    # Inside ------------------------------------------------------------------------------------------------------------------------
    def _copies(self, weights: Sequence[Tensor]) -> list[Tensor]:
        if self.room is None or sum(weight.nbytes for weight in weights) <= self.room:
            try:
                copies = [torch.empty_like(weight) for weight in weights]
            except torch.OutOfMemoryError:  # something else took the room since it was planned
                pass
            else:
                _copy(copies, weights)
                return copies
        return [self._home(weight) for weight in weights]

    def _home(self, weight: Tensor) -> Tensor:
        """The copy in the processor's memory; the one of last time, if nobody else has written to the weight since."""
        known: tuple[Tensor, int] | None = self._away.get(weight)
        if known is None or known[1] != weight._version or known[0].dtype != weight.dtype or known[0].shape != weight.shape:
            known = self._away[weight] = (self._locked(weight).copy_(weight.detach()), weight._version)
        return known[0]

    def _locked(self, weight: Tensor) -> Tensor:
        """Memory that the device can fetch by itself; plain one where the system locks no more."""
        try:
            return torch.empty_like(weight, device=CPU, requires_grad=False, pin_memory=weight.is_cuda)
        except RuntimeError:
            return torch.empty_like(weight, device=CPU, requires_grad=False)


def _copy(into: Sequence[Tensor], source: Sequence[Tensor]) -> None:
    """All in one; from the processor's memory, each as soon as the one before it."""
    all_at_once: Untyped = getattr(torch, "_foreach_copy_")
    with torch.no_grad():
        all_at_once(list(into), list(source), non_blocking=True)
