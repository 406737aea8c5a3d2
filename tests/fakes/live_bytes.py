"""How many bytes of tensors live at once while something is computed, counted on tensors without contents: real sizes, no memory, no GPU.

`peak_of(make, run)` makes modules within a fake mode and runs them; what lives beyond the modules' own weights is counted at every
operation, as the allocator of a device would see it. Workspaces of libraries and the allocator's own waste are not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Living(TorchDispatchMode):
    """Counts the bytes of the storages that live."""

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen = {weight.untyped_storage()._cdata for weight in weights}
        """Weights are seen again as views of themselves."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        name = storage._cdata
        if name in self._seen:
            return
        size = storage.nbytes()
        self._seen.add(name)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, name, size)

    def _gone(self, name: int, size: int) -> None:
        self._seen.discard(name)
        self.now -= size


def peak_of(make: Callable[[], Any], run: Callable[[Any], Any]) -> int:
    """Bytes beyond the weights of `make()` at the worst moment of `run(made)`."""
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        made = make()
        with Living((*made.parameters(), *made.buffers())) as living:
            run(made)
    return living.peak
