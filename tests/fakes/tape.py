"""A stand-in for CUDA graphs on a processor: it notes which operations read and wrote which tensors, and does them again.

As a CUDA graph does, it knows addresses and no objects: a number of Python that was in an operation is in it for ever, a branch that was
taken is taken again, and a tensor that was not in a buffer is read where it lay.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """The operations of some work; `replays` counts how often they were done again."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple] = []
        self.answers: list[torch.Tensor] = []
        self.replays = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.noted.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        self.replays += 1
        with torch.no_grad():
            for func, args, kwargs, out in self.noted:
                for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():  # views and what was written in place are there
                        old.copy_(new)

    def reset(self) -> None:
        self.noted.clear()


class TapeCapturer:
    """Captures onto tapes; the answer holds nothing that is right before the first replay, as on a GPU."""

    def __init__(self) -> None:
        self.tapes: list[Tape] = []
        self.forgotten = 0

    def capture(self, work):
        tape = Tape()
        with tape:
            answer = work()
        for tensor in tree_leaves(answer):
            tensor.fill_(float("nan"))
        tape.answers = tree_leaves(answer)
        self.tapes.append(tape)
        return tape, answer

    def held(self) -> int:
        """Bytes of answers; what a tape writes in between lies in ordinary memory."""
        return sum(tensor.nbytes for tape in self.tapes if tape.noted for tensor in tape.answers)

    def forget(self) -> None:
        assert not any(tape.noted for tape in self.tapes), "a pool that is in use is not given up"
        self.forgotten += 1

    @property
    def replays(self) -> int:
        return sum(tape.replays for tape in self.tapes)
