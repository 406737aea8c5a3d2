"""`likeness bench memory`: the most bytes that one picture holds beside the weights, by the engine and by plain diffusers.

On a GPU the allocator says it. On a processor every tensor is followed that an operation makes: what torch allocates, not what the system
gives to the process, which never gets smaller.
"""

from __future__ import annotations

import gc
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from protocol.errors import ServiceError

from ..config import Settings
from ..models.memory_plan import Level
from ..pipelines.tiles import tiled
from ..workbench import device_and_dtype, hush
from .goals import Figure, Report
from .rig import Rig
from .shapes import shapes_for

Pixels = NDArray[np.uint8]
GIB = 1024**3
CARDS = ((12, 11.0, 0.80, 1.15), (8, 7.5, 0.80, 1.60))
"""GB of a card; GiB that a plan for it may hold, as what part of plain's, and how many times longer it may take."""


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
    kind = shapes_for(shapes, device)
    few = steps if cuda else min(steps, 2)  # each step needs the same
    planned: tuple[Figure, ...] = ()
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(kind, Path(folder), device, torch.bfloat16 if cuda else torch.float32, 8)
        rig.draw(rig.job(1, 1))
        rig.plain.draw(rig.asked(1, 1))
        vae = rig.engine.parts.base["vae"]
        ours = highest(rig, lambda: rig.draw(rig.job(2, few)))
        plain = highest(rig, lambda: rig.plain.draw(rig.asked(2, few)))
        in_tiles = highest(rig, lambda: rig.draw(rig.job(2, few)), tiled(vae))
        weights = rig.engine.parts.weight_bytes()
        if cuda:
            planned = plans(rig, few, weights + plain)
    figures = (
        *planned,
        _figure("peak with the weights, as a part of plain's", weights, ours, plain),
        _figure("the same while the VAE decodes in tiles", weights, in_tiles, plain),
    )
    setting = {"shapes": kind.name, "side": kind.side, "device": device, "steps": few}
    notes = (f"weights {weights / GIB:.2f} GiB; keys, values and the control's embedding, kept for a picture, weigh more in small shapes",)
    missing = (
        () if cuda else ("G10, what the plans for 12 and 8 GB hold and cost: on a processor nothing leaves the device. It needs a GPU.",)
    )
    return Report("Memory of a picture", setting, figures, notes, missing)


def plans(rig: Rig, steps: int, plain: int) -> tuple[Figure, ...]:
    """G10: of the plans that fit a card of 12 and of 8 GB, and are as much smaller than plain diffusers as they should be, the one that
    moves least, beside everything at once. `plain` is what plain diffusers holds, weights included. It is given up here, since it holds
    the weights that are to leave."""
    del rig.plain
    gc.collect()
    whole, found = levels(rig, steps, [Level.ALL, *(level for level in Level if level is not Level.ALL)])
    figures: list[Figure] = []
    for card, room, share, longer in CARDS:
        fits = [(level, taken) for level, taken in found.items() if taken.peak <= room * GIB]
        if not fits:
            least = min(taken.peak for taken in found.values())
            figures.append(Figure("G10", f"peak of the plan for {card} GB, in GiB", least / GIB, room, "", "no plan fits"))
            continue
        level, taken = next(((level, taken) for level, taken in fits if taken.peak <= share * plain), fits[-1])
        held = f"{level.words}: {taken.peak / GIB:.2f} GiB, at most {room}"
        figures.append(Figure("G10", f"peak of the plan for {card} GB, as a part of plain's", taken.peak / plain, share, "", held))
        times = {"plan": taken.seconds, "all at once": whole.seconds}
        figures.append(
            Figure("G10", f"time of the plan for {card} GB, beside all at once", taken.seconds / whole.seconds, longer, "", "", times)
        )
    return tuple(figures)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a picture held at once, weights on the device included, and how long it took."""

    peak: int
    seconds: float


def levels(rig: Rig, steps: int, wanted: Sequence[Level]) -> tuple[Taken, dict[Level, Taken]]:
    """One picture at each level of the memory plan; the first, and the others by their levels. All must be the same bytes.

    Raises:
        ServiceError: one of them is another picture.
    """
    residency = rig.engine.parts.residency
    found: dict[Level, Taken] = {}
    pictures: list[Pixels] = []
    try:
        for level in wanted:
            residency.change(level)
            rig.draw(rig.job(3, 1))  # the way there is not the picture's
            residency.rest()
            before = torch.cuda.memory_allocated(rig.engine.parts.device) if rig.cuda else 0
            taken: list[float] = []

            def draw() -> None:
                seconds, picture = rig.timer.measure(lambda: rig.draw(rig.job(4, steps)))
                taken.append(seconds)  # noqa: B023  (called at once)
                pictures.append(picture)

            peak = highest(rig, draw) + before
            found[level] = Taken(peak, taken[0])
            if not np.array_equal(pictures[0], pictures[-1]):
                raise ServiceError(f"With {level.words!r} another picture was drawn, so its figures mean nothing.")
    finally:
        residency.change(Level.ALL)
    return found.pop(wanted[0]), found


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
