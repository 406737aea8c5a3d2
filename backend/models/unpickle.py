"""Run as a program, in a process that is thrown away: turn one pickle of torch into safetensors, reading tensors and never running code.

    python -I unpickle.py SOURCE COPY SHA256 MEMORY_BYTES SECONDS

The last line of the output is JSON: `{"ok": true}`, or `{"error": KIND, "detail": TEXT}` with a kind that `backend.models.pickles` has a
sentence for. Nothing of the project is imported here: whoever reads this file sees all that such a process does.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import Tensor

LEFTOVERS = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.callbacks.model_checkpoint ModelCheckpoint",
    "pytorch_lightning.utilities.types.CALLBACK_TYPE",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
)
"""What trainers left beside the weights of well-known files (sd-v1-4.ckpt has a callback of Lightning). An inert thing stands for each."""
WRAPPERS = ("state_dict", "model_state_dict", "module", "params_ema", "params")
"""Under these words some trainers keep the weights; what is beside them (optimisers, counters) is not needed."""
DEEPEST = 4
ROOM = 4
"""Times the file's size: what its tensors may be together. Weights that share their numbers are written out one by one."""


class Leftover:
    """Takes everything and does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class RefusedError(Exception):
    """Why there is no copy, as a word."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind, detail)


def convert(source: str, copy: str, sha256: str) -> None:
    """Write `copy`, or raise."""
    from safetensors import torch as safetensors

    tensors: dict[str, Tensor] = {}
    values: dict[str, str | int | float] = {}
    gather(unwrapped(read(source)), "", tensors, values, DEEPEST)
    if not tensors:
        raise RefusedError("empty")
    with open(source, "rb") as file:
        size = file.seek(0, 2)
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > ROOM * size + 2**20:
        raise RefusedError("bomb")
    notes = {"format": "pt", "likeness.source_sha256": sha256, "likeness.values": json.dumps(values)}
    safetensors.save_file(separate(tensors), copy, metadata=notes)  # pyright: ignore[reportUnknownMemberType]  # typed in part


def limit(memory: int, seconds: int) -> None:
    """Bound this process where the system can: memory of its own, time on the processor, no dumps of memory."""
    try:
        import resource
    except ImportError:  # Windows; the process that waits for this one bounds its time
        return
    limits = ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0))
    for what, most in limits:
        hard = resource.getrlimit(what)[1]
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def read(source: str) -> object:
    """The content, as tensors and plain values. Classes that are not known to be harmless are refused by name, and never looked up."""
    import torch

    zipped = zipfile.is_zipfile(source)
    if zipped:
        known = set(LEFTOVERS)
        unsafe = [name for name in torch.serialization.get_unsafe_globals_in_checkpoint(source) if name not in known]
        if unsafe:
            raise RefusedError("code", ", ".join(sorted(unsafe)[:3]))
    with torch.serialization.safe_globals([(Leftover, name) for name in LEFTOVERS]), open(source, "rb") as file:
        # Given a name, torch would take one that ends in .safetensors for what it says.
        mapped = zipped and not source.endswith(".safetensors")
        return torch.load(source if mapped else file, map_location="cpu", weights_only=True, mmap=mapped or None)


def unwrapped(content: object) -> object:
    """What the trainers' wrapper holds, if there is one."""
    for word in WRAPPERS:
        inner = cast("Mapping[object, object]", content).get(word) if isinstance(content, Mapping) else None
        content = cast("object", inner if isinstance(inner, Mapping) else content)
    return content


def gather(content: object, name: str, tensors: dict[str, Tensor], values: dict[str, str | int | float], depth: int) -> None:
    """Collect tensors, and short plain values, under their names joined by dots."""
    import torch

    if isinstance(content, torch.Tensor):
        if content.layout != torch.strided or content.is_quantized:
            raise RefusedError("kind", name)
        tensors[name or "tensor"] = content.detach()
    elif isinstance(content, Mapping) and depth:
        for key, value in cast("Mapping[object, object]", content).items():
            gather(value, f"{name}.{key}" if name else str(key), tensors, values, depth - 1)
    elif isinstance(content, (str, int, float)) and len(str(content)) < 200 and len(values) < 1000:
        values[name] = content


def separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor in memory of its own, as safetensors wants it."""
    seen: set[int] = set()
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        shared = storage.data_ptr() in seen or storage.nbytes() != tensor.numel() * tensor.element_size()
        seen.add(storage.data_ptr())
        out[name] = tensor.clone().contiguous() if shared else tensor.contiguous()
    return out


def told(error: BaseException) -> dict[str, str]:
    """The kind of an error, and what it says, shortened to the point."""
    if isinstance(error, RefusedError):
        return {"error": error.args[0], "detail": error.args[1]}
    text = str(error)
    if found := re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", text):
        return {"error": "code", "detail": found[1]}
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return {"error": "memory"}
    said = text.partition("WeightsUnpickler error: ")[2] or text
    return {"error": "damaged", "detail": (said.strip().splitlines() or [type(error).__name__])[0][:200]}


def run(arguments: list[str]) -> dict[str, Any]:
    """Convert, and say how it went."""
    try:
        convert(arguments[0], arguments[1], arguments[2])
    except Exception as error:  # whatever it is, the process that waits is told, and makes a sentence of it
        return told(error)
    return {"ok": True}


if __name__ == "__main__":
    limit(int(sys.argv[4]), int(sys.argv[5]))
    print(json.dumps(run(sys.argv[1:])))
