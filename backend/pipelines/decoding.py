"""The VAE in half precision, looked after: what overflows there is computed once more in single precision, that picture alone."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..models.adapters import Untyped


@contextmanager
def looked_after(vae: Untyped) -> Generator[None]:
    """Within the context, an AutoencoderKL in half precision encodes and decodes once more in single precision what did not come out as
    numbers. It is left in the precision that it had, also where a pipeline moved it and did not move it back (diffusers 0.42.1 leaves it in
    single precision after inpainting with ControlNets, and the next picture fails)."""
    before = vae.dtype
    if before is not torch.float16:
        yield
        return
    vae.encode = _twice(vae, vae.encode, _said_of_a_picture)
    vae.decode = _twice(vae, vae.decode, _picture)
    try:
        yield
    finally:
        del vae.encode, vae.decode
        if vae.dtype is not before:
            vae.to(before)


def _twice(vae: Untyped, plain: Callable[..., Untyped], numbers: Callable[[Untyped], Tensor]) -> Callable[..., Untyped]:
    def work(given: Tensor, *args: Untyped, **kwargs: Untyped) -> Untyped:
        made = plain(given, *args, **kwargs)
        if vae.dtype is not torch.float16 or _finite(numbers(made)) or not _finite(given):
            return made
        vae.to(torch.float32)
        try:
            return plain(given.float(), *args, **kwargs)
        finally:
            vae.to(torch.float16)

    return work


def _said_of_a_picture(made: Untyped) -> Tensor:
    distribution: Untyped = made[0]
    return distribution.parameters


def _picture(made: Untyped) -> Tensor:
    return made[0]


def _finite(numbers: Tensor) -> bool:
    return bool(torch.isfinite(numbers).all())
