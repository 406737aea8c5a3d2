"""`likeness bench memory`: the most bytes that one picture holds beside the weights, by the engine and by plain diffusers.

On a GPU the allocator says it. On a processor every tensor is followed that an operation makes: what torch allocates, not what the system
gives to the process, which never gets smaller.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from protocol.errors import InvalidRequest

from ..config import Settings
from ..pipelines.tiles import tiled
from ..workbench import device_and_dtype, hush
from .goals import Figure, Report
from .rig import Rig
from .shapes import SHAPES

GIB = 1024**3


class LiveBytes(TorchDispatchMode):
    """Follows every storage that operations make within the block; `peak` is the most bytes that lived at once."""

    def __init__(self) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.now, self.peak = 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[object],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run the operation, and look at what it made."""
        given = {tensor.untyped_storage()._cdata for tensor in _tensors((args, kwargs))}  # pyright: ignore[reportPrivateUsage]
        made = func(*args, **(kwargs or {}))
        for tensor in _tensors(made):
            storage = tensor.untyped_storage()
            key = storage._cdata  # pyright: ignore[reportPrivateUsage]
            if key not in given and key not in self._known:
                self._known.add(key)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, key, storage.nbytes())
        return made

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def measure_memory(settings: Settings, shapes: str | None, steps: int) -> Report:
    """A picture by the engine, by plain diffusers, and by the engine decoding in tiles; and the weights that lie there meanwhile."""
    device, _ = device_and_dtype(settings)
    hush()
    cuda = device.startswith("cuda")
    name = shapes or ("sdxl" if cuda else "small")
    if name not in SHAPES:
        raise InvalidRequest(f"There are no shapes called {name!r}; there are {', '.join(SHAPES)}.")
    few = steps if cuda else min(steps, 2)  # each step needs the same
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(SHAPES[name], Path(folder), device, torch.bfloat16 if cuda else torch.float32, 8)
        rig.draw(rig.job(1, 1))
        rig.plain.draw(rig.asked(1, 1))
        vae = rig.engine.parts.base["vae"]
        ours = highest(rig, lambda: rig.draw(rig.job(2, few)))
        plain = highest(rig, lambda: rig.plain.draw(rig.asked(2, few)))
        in_tiles = highest(rig, lambda: rig.draw(rig.job(2, few)), tiled(vae))
        weights = rig.engine.parts.weight_bytes()
    figures = (
        _figure("peak with the weights, as a part of plain's", weights, ours, plain),
        _figure("the same while the VAE decodes in tiles", weights, in_tiles, plain),
    )
    setting = {"shapes": name, "side": SHAPES[name].side, "device": device, "steps": few}
    notes = (f"weights {weights / GIB:.2f} GiB; keys, values and the control's embedding, kept for a picture, weigh more in small shapes",)
    missing = (
        "the 12 GB and 8 GB plans of G10 (at most 0.80 of plain, at most 11 and 7.5 GiB): no plan moves modules off the device yet.",
    )
    return Report("Memory of a picture", setting, figures, notes, missing)


def highest(rig: Rig, work: Callable[[], object], way: AbstractContextManager[Any] | None = None) -> int:
    """The most bytes that `work` held at once beside what was there before."""
    with way or nullcontext():
        if rig.cuda:
            device = rig.engine.parts.device
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            work()
            return torch.cuda.max_memory_allocated(device) - before
        with LiveBytes() as live:
            work()
        return live.peak


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _figure(what: str, weights: int, ours: int, plain: int) -> Figure:
    detail = f"beside the weights {ours / 1024**2:.1f} MiB, plain {plain / 1024**2:.1f} MiB"
    return Figure("peak", what, (weights + ours) / (weights + plain), 1.05, "", detail)
