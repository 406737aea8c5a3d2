"""LoRAs, put on for one call and taken off after it. No weight is touched: each layer's output is added to while it runs, so that taking
off is exact by nature and costs nothing, and any LoRAs go together at any weights."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from ..models.adapters import Untyped
from ..models.lora_names import Place
from ..models.loras import Added, Lora, added


@dataclass(frozen=True, slots=True, eq=False)
class Worn:
    """A LoRA and how strongly it acts; 0 is not at all, bit for bit, and below 0 against its training."""

    lora: Lora
    weight: float


@contextmanager
def wearing(modules: Mapping[str, Untyped], worn: Sequence[Worn]) -> Generator[None]:
    """Within it, `modules` (by their names in a pipeline) compute with all of `worn`; before and after it, they are as they were."""
    sums: dict[Place, list[Added]] = {}
    for one in worn:
        if one.weight != 0:
            for place, roles in one.lora.layers.items():
                layer = modules[place.part].get_submodule(place.layer)
                sums.setdefault(place, []).append(added(layer, roles, one.weight))
    handles: list[Untyped] = []
    try:
        for place, terms in sums.items():
            handles.append(modules[place.part].get_submodule(place.layer).register_forward_hook(_adding(terms)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def accent(worn: Sequence[Worn]) -> str:
    """What tells encodings of a prompt apart that were made with these: the LoRAs that change a text encoder, and their weights."""
    return "".join(f"|{one.lora.stamp}@{one.weight!r}" for one in worn if one.weight != 0 and one.lora.speaks)


def _adding(terms: Sequence[Added]) -> Callable[[Untyped, tuple[Tensor, ...], Tensor], Tensor]:
    def add(_: Untyped, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        for term in terms:
            out = out + term(given[0])
        return out

    return add
