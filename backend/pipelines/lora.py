"""LoRAs, put on for one call and taken off after it. No weight is touched: each layer's output is added to while it runs, so that taking
off is exact by nature and costs nothing, and any LoRAs go together at any weights.

Where the UNet is compiled or captured, hooks would need a graph for each file and rank, with their numbers in it for ever. There LoRAs are
merged into its weights for the call, in place: the same compiled blocks and the same graphs draw with any LoRAs and with none.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import Tensor

from ..models.adapters import Untyped
from ..models.lora_names import Place
from ..models.loras import Lora, Roles, added, merge
from ..models.originals import Originals

MERGED = "unet"
"""The part whose weights LoRAs are merged into; text encoders run once, and as they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Worn:
    """A LoRA and how strongly it acts; 0 is not at all, bit for bit, and below 0 against its training."""

    lora: Lora
    weight: float


@contextmanager
def wearing(modules: Mapping[str, Untyped], worn: Sequence[Worn], originals: Originals | None = None) -> Generator[None]:
    """Within it, `modules` (by their names in a pipeline) compute with all of `worn`; before and after it, they are as they were. With
    `originals`, which keep what is changed, the UNet has them in its weights."""
    terms: dict[Place, list[tuple[Roles, float]]] = {}
    for one in worn:
        if one.weight != 0:
            for place, roles in one.lora.layers.items():
                terms.setdefault(place, []).append((roles, one.weight))
    with ExitStack() as stack:
        merged = [(_layer(modules, place), terms.pop(place)) for place in list(terms) if originals is not None and place.part == MERGED]
        if originals is not None and merged:
            stack.enter_context(originals.kept([weight for layer, own in merged for weight in _changed(layer, own)]))
            for layer, own in merged:
                merge(layer, own)
        for place, own in terms.items():
            layer = _layer(modules, place)
            stack.callback(layer.register_forward_hook(_adding([added(layer, *one) for one in own])).remove)
        yield


def _layer(modules: Mapping[str, Untyped], place: Place) -> Untyped:
    return modules[place.part].get_submodule(place.layer)


def _changed(layer: Untyped, terms: Sequence[tuple[Roles, float]]) -> list[Tensor]:
    """What of a layer `merge` writes to."""
    bias = [layer.bias] if any("diff_b" in roles for roles, _ in terms) else []
    return [layer.weight, *bias]


def accent(worn: Sequence[Worn]) -> str:
    """What tells encodings of a prompt apart that were made with these: the LoRAs that change a text encoder, and their weights."""
    return "".join(f"|{one.lora.stamp}@{one.weight!r}" for one in worn if one.weight != 0 and one.lora.speaks)


def _adding(terms: Sequence[Callable[[Tensor], Tensor]]) -> Callable[[Untyped, tuple[Tensor, ...], Tensor], Tensor]:
    def add(_: Untyped, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
        for term in terms:
            out = out + term(given[0])
        return out

    return add
