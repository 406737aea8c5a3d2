"""Calls of torch whose types a strict checker does not know, once each, with the types they have."""

import warnings
from pathlib import Path
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def tensor(array: NDArray[Any]) -> Tensor:
    """The array as a tensor that shares its memory."""
    return torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType]


def seed_torch(seed: int) -> None:
    """Make the weights that are drawn next repeatable."""
    torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]


def channels_last(module: M) -> M:
    """The module, its kernels laid out as bfloat16 convolutions on a CPU like them best."""
    module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue, reportUnknownMemberType]
    return module


def write_onnx(module: nn.Module, sample: Tensor, path: Path, outputs: list[str], free: dict[str, dict[int, str]]) -> None:
    """Write `module`, called with `sample`, as ONNX; its input is "input.1" as in insightface's files, the axes in `free` are open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # The tracing exporter is marked old, but names nodes as insightface expects, and needs no other package.
        warnings.simplefilter("ignore")
        torch.onnx.export(  # pyright: ignore[reportUnknownMemberType]
            module.float().eval(),
            (sample,),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["input.1"],
            output_names=outputs,
            dynamic_axes=free,
        )
