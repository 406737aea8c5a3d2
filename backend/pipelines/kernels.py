"""Which of torch's kernels computes attention on a GPU: its own choice, or one that a setting names.

torch knows, for each card, shape and precision, what it has: cuDNN's kernels first on Hopper and Blackwell, FlashAttention from Ampere on,
memory-efficient attention for the others and in float32, and plain matrices (`math`) where none of these can, which holds a matrix of all
pairs in memory: slow, and 1.3 GB at SDXL's largest layer. So `auto` leaves it be; what it comes to is `likeness doctor`'s to show, lest
`math` be taken unnoticed. diffusers' own choice (`set_attention_backend`) reaches none of the UNets' processors.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from protocol.errors import InvalidRequest

from ..models.adapters import Untyped

FLASH, EFFICIENT, CUDNN, MATH = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.MATH,
)
ORDERS: Mapping[str, tuple[SDPBackend, ...]] = {
    "flash": (FLASH, EFFICIENT, MATH),
    "efficient": (EFFICIENT, MATH),
    "cudnn": (CUDNN, FLASH, EFFICIENT, MATH),
    "math": (MATH,),
}
"""What is tried for each setting: a VAE's one wide head, or float32, are not for every kernel."""
AUTO = "auto"
NAMES: Mapping[SDPBackend, str] = {FLASH: "flash", EFFICIENT: "efficient", CUDNN: "cudnn", MATH: "math"}
WIDTHS: Mapping[str, tuple[int, ...]] = {"SDXL": (64,), "SD 1.5": (40, 80, 160)}
"""Numbers in a head of attention, by family."""
QUERIES, HEADS = 1024, 10


def check(name: str) -> None:
    """InvalidRequest for a word that is no such setting."""
    if name != AUTO and name not in ORDERS:
        raise InvalidRequest(f"There is no attention {name!r}; it is one of {', '.join((AUTO, *ORDERS))}.")


def prefer(name: str, at_end: Callable[[Callable[[], None]], object] = atexit.register) -> None:
    """Have attention computed as `name` says, in all threads, as long as this process lives: a compiler in the background must choose as
    the pictures do. Nothing for `auto`; InvalidRequest for a word that is no such setting."""
    check(name)
    if name != AUTO:
        stack = ExitStack()
        preferred: Untyped = sdpa_kernel
        stack.enter_context(preferred(list(ORDERS[name]), set_priority=True))
        at_end(stack.close)


def chosen(device: str, dtype: torch.dtype, width: int) -> str:
    """What torch takes now for heads of `width` numbers, by our names; "none" if it has nothing."""
    query = torch.empty((2, HEADS, QUERIES, width), device=device, dtype=dtype)
    choose: Callable[..., int] = getattr(torch, "_fused_sdp_choice")
    return NAMES.get(SDPBackend(choose(query, query, query)), "none")
