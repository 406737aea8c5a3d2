"""Arguments and answers of nets: tensors in tuples, lists and dictionaries. What they look like, and the same with other tensors."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import cast

import torch
from diffusers.utils.outputs import BaseOutput
from torch import Tensor

from ..models.adapters import Untyped

Signature = tuple[Hashable, ...]
"""What decides whether something made for one value fits another: shapes, strides, precisions, devices; of all else, what it is."""


def signature(value: Untyped) -> Hashable:
    """What of `value` must be the same for two values to be alike."""
    match value:
        case Tensor():
            return (tuple(value.shape), value.stride(), str(value.dtype), str(value.device))
        case dict():
            return tuple((str(key), signature(inner)) for key, inner in cast("Mapping[str, Untyped]", value).items())
        case list() | tuple():
            return tuple(signature(inner) for inner in cast("Sequence[Untyped]", value))
        case _:
            return repr(value)


def tensors(value: Untyped) -> Iterator[Tensor]:
    """All tensors of `value`, in an order that two values with the same signature share."""
    match value:
        case Tensor():
            yield value
        case dict():
            for inner in cast("Mapping[str, Untyped]", value).values():
                yield from tensors(inner)
        case list() | tuple():
            for inner in cast("Sequence[Untyped]", value):
                yield from tensors(inner)
        case _:
            pass


def mapped(value: Untyped, change: Callable[[Tensor], Tensor]) -> Untyped:
    """`value` with every tensor replaced by what `change` makes of it."""
    match value:
        case Tensor():
            return change(value)
        case dict():
            parts = {key: mapped(inner, change) for key, inner in cast("Mapping[str, Untyped]", value).items()}
            return type(value)(**parts) if isinstance(value, BaseOutput) else parts
        case list():
            return [mapped(inner, change) for inner in cast("Sequence[Untyped]", value)]
        case tuple():
            kind, inner = cast("Untyped", type(cast("Untyped", value))), [mapped(one, change) for one in cast("Sequence[Untyped]", value)]
            return kind(*inner) if hasattr(kind, "_fields") else tuple(inner)
        case _:
            return value


def alike(value: Untyped) -> Untyped:
    """`value` with other numbers in tensors of the same shapes and strides."""

    def other(tensor: Tensor) -> Tensor:
        made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)
        return made.normal_() if made.is_floating_point() else made.zero_()

    return mapped(value, other)
