"""What was worked out of a picture or a face once, kept for the next job that shows the same: by content, within a budget of bytes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

KEPT_BYTES = 64 * 1024**2
"""16 tokens of SDXL in half precision, with their unconditional half, are 128 KiB; the 257 of a full adapter 2 MiB."""


class Kept:
    """Tensors by who made them and of what, the one that was not used for the longest time leaves first. Each model has its own.

    What is kept is handed out again as it is: nobody may change it.
    """

    def __init__(self, budget: int = KEPT_BYTES) -> None:
        self._budget = budget
        self._held: OrderedDict[tuple[int, bytes], tuple[object, Tensor]] = OrderedDict()
        self.bytes = 0

    def get(self, maker: object, content: bytes, make: Callable[[], Tensor]) -> Tensor:
        """What `make` gives, or gave when `maker` was asked about this `content` (a digest) before. More than the budget is not kept."""
        key = (id(maker), content)  # the maker is held beside it, so its id cannot become another's
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key][1]
        made = make()
        self._held[key] = maker, made
        self.bytes += made.nbytes
        while self.bytes > self._budget:
            _, (_, gone) = self._held.popitem(last=False)
            self.bytes -= gone.nbytes
        return made

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()
        self.bytes = 0


def digest(*parts: object) -> bytes:
    """What arrays, and words or numbers beside them, are known by: equal content of equal shape and type gives equal bytes."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            array: NDArray[np.generic] = np.ascontiguousarray(cast("NDArray[np.generic]", part))
            found.update(repr((array.shape, array.dtype.str)).encode())
            found.update(array.data)
        else:
            found.update(repr(part).encode())
    return found.digest()
