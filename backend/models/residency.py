"""Where the parts of a model are, moment by moment: brought to the device when they work, taken away when others do, or streamed.

What a level means is `memory_plan`'s; here it is done. Parts announce themselves by hooks that run before them, so that whoever calls a
text encoder or the VAE knows nothing of it. The numbers are the same at every level: only the place of the weights changes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from .adapters import ImageAdapter, Untyped
from .loras import Lora
from .memory_plan import Level, Role, Stay, stay, together

CPU = torch.device("cpu")


class Shuttle(Protocol):
    """What moves modules; tests hand over one that counts and has little room."""

    def bring(self, name: str, module: Untyped, again: bool) -> None:
        """To the device; `again` says that it will leave and come again."""
        ...

    def take(self, name: str, module: Untyped) -> None:
        """Off the device."""
        ...

    def stream(self, name: str, module: Untyped) -> None:
        """Let the transformer blocks come and go while the module runs; all else of it comes to the device."""
        ...

    def unstream(self, name: str, module: Untyped) -> None:
        """Undo `stream`; where the module is then does not matter."""
        ...


class Mover:
    """Moves between a device and the processor's memory. What will leave again is kept there: weights do not change, so that taking them
    away copies nothing."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._homes: Untyped = WeakTensorKeyDictionary()
        self._pins = device.type == "cuda"

    def bring(self, name: str, module: Untyped, again: bool) -> None:
        """Copy to the device what is not there."""
        for tensor in _tensors(module):
            if tensor.device.type != self._device.type:
                if again and not self._is_at_home(tensor):
                    self._homes[tensor] = self._pinned(tensor.data)
                tensor.data = tensor.data.to(self._device, non_blocking=again)
            if not again:
                self._homes.pop(tensor, None)

    def take(self, name: str, module: Untyped) -> None:
        """Off the device: to the copy that is kept, if it still is one (diffusers changes a VAE's precision for a while)."""
        for tensor in _tensors(module):
            home: Tensor | None = self._homes.get(tensor)
            if tensor.device.type != self._device.type or self._device.type == "cpu":
                continue
            if home is None or home.dtype != tensor.dtype or home.shape != tensor.shape:
                home = self._homes[tensor] = tensor.data.to(CPU)
            tensor.data = home

    def stream(self, name: str, module: Untyped) -> None:
        """By diffusers' group offloading, one block of a transformer at a time; on CUDA the next one comes while one computes."""
        from diffusers.hooks.group_offloading import apply_group_offloading

        self.bring(name, module, True) if self._device.type == "cpu" else self._bring_all_but_blocks(module)
        for transformer in _transformers(module):
            apply_group_offloading(
                transformer,
                onload_device=self._device,
                offload_device=CPU,
                offload_type="block_level",
                num_blocks_per_group=1,
                use_stream=self._device.type == "cuda",
            )

    def unstream(self, name: str, module: Untyped) -> None:
        """Take diffusers' hooks off again."""
        from diffusers.hooks.hooks import HookRegistry

        for transformer in _transformers(module):
            for part in transformer.modules():
                registry: Untyped = getattr(part, "_diffusers_hook", None)
                if isinstance(registry, HookRegistry):
                    for hook in ("layer_execution_tracker", "lazy_prefetch_group_offloading", "group_offloading"):
                        registry.remove_hook(hook, recurse=False)

    def _bring_all_but_blocks(self, module: Untyped) -> None:
        within = {id(tensor) for transformer in _transformers(module) for tensor in _tensors(transformer)}
        for tensor in _tensors(module):
            if id(tensor) not in within:
                tensor.data = tensor.data.to(self._device)

    def _is_at_home(self, tensor: Tensor) -> bool:
        """Whether the copy in the processor's memory is one that the device can fetch by itself; models that waited leave plain ones."""
        home: Tensor | None = self._homes.get(tensor)
        return home is not None and (not self._pins or home.is_pinned())

    def _pinned(self, tensor: Tensor) -> Tensor:
        """A copy that the device can fetch by itself; the plain one where the system locks no more memory."""
        try:
            return tensor.pin_memory() if self._pins else tensor
        except RuntimeError:
            self._pins = False
            return tensor


@dataclass(slots=True)
class _Held:
    module: Untyped
    role: Role
    here: bool = False
    streamed: bool = False
    hooks: list[Untyped] = field(default_factory=list["Untyped"])


class Residency:
    """The parts of one model on one device. Not for two threads at once, as nothing of a model is."""

    def __init__(self, device: torch.device, shuttle: Shuttle | None = None) -> None:
        self.device = device
        self.level = Level.ALL
        self._shuttle: Shuttle = shuttle or Mover(device)
        self._held: dict[str, _Held] = {}
        self._parked = False

    def adopt(self, name: str, role: Role, module: Untyped) -> Untyped:
        """Look after a part that was just read, and put it where the level wants it."""
        held = self._held[name] = _Held(module, role)
        for entrance in _entrances(role, module):
            held.hooks.append(entrance.register_forward_pre_hook(functools.partial(self._about_to_run, name)))
        self._settle(name, held)
        return module

    def change(self, level: Level) -> None:
        """Another level, from the next part that works."""
        if level is self.level:
            return
        self.level = level
        for name, held in self._held.items():  # first what leaves, so that there is room for what comes
            if stay(level, held.role) is not Stay.DEVICE:
                self._settle(name, held)
        for name, held in self._held.items():
            self._settle(name, held)

    def enter(self, name: str) -> None:
        """The part called `name` is about to work: what only others need leaves, then it comes."""
        if self.level is Level.ALL:
            return
        role = self._held[name].role
        for other, held in self._held.items():
            if held.here and held.role not in together(role) and stay(self.level, held.role) is Stay.AWAY:
                self._move(other, held, False)
        if not self._held[name].streamed:
            self._move(name, self._held[name], True)

    def _about_to_run(self, name: str, *_: object) -> None:
        self.enter(name)

    def rest(self) -> None:
        """A picture is done: everything that leaves after use leaves."""
        for name, held in self._held.items():
            if held.here and stay(self.level, held.role) is Stay.AWAY:
                self._move(name, held, False)

    def park(self) -> None:
        """The whole model makes room for another: everything leaves the device, and waits in the processor's memory."""
        for name, held in self._held.items():
            if held.streamed:
                self._shuttle.unstream(name, held.module)
                held.streamed = False
                held.here = True
            self._move(name, held, False)
        self._parked = True

    def wake(self) -> None:
        """The model is used again: everything to where the level wants it."""
        if self._parked:
            self._parked = False
            for name, held in self._held.items():
                self._settle(name, held)

    def bytes_here(self) -> int:
        """Bytes of weights that are on the device now; of what is streamed, all but the transformer blocks."""
        return sum(_size(held) for held in self._held.values() if held.here)

    @property
    def streams(self) -> bool:
        """Whether any part's blocks come and go."""
        return any(held.streamed for held in self._held.values())

    def where(self) -> dict[str, Stay]:
        """Each part that was read, and how it stays at this level."""
        return {name: stay(self.level, held.role) for name, held in self._held.items()}

    def _settle(self, name: str, held: _Held) -> None:
        wanted = stay(self.level, held.role)
        if held.streamed != (wanted is Stay.STREAMED):
            (self._shuttle.unstream if held.streamed else self._shuttle.stream)(name, held.module)
            held.streamed = not held.streamed
            held.here = True  # a part of it is; what else is away comes with the move below
            if not held.streamed:
                self._shuttle.bring(name, held.module, wanted is not Stay.DEVICE)
        if not held.streamed:
            self._move(name, held, wanted is Stay.DEVICE)

    def _move(self, name: str, held: _Held, here: bool) -> None:
        if held.here != here:
            if here:
                self._shuttle.bring(name, held.module, stay(self.level, held.role) is not Stay.DEVICE)
            else:
                self._shuttle.take(name, held.module)
            held.here = here


def shell_of(adapter: ImageAdapter) -> torch.nn.Module:
    """A module around the very tensors of an adapter, so that they can be looked after like those of a part."""
    shell = torch.nn.Module()
    shell.add_module("projection", adapter.projection)
    lora = [pair for one in adapter.lora.values() for pair in (one.query, one.key, one.value, one.out)]
    for number, tensor in enumerate(tensor for pair in (*adapter.layers.values(), *lora) for tensor in pair):
        shell.register_buffer(f"tensor_{number}", tensor, persistent=False)
    return shell


def lora_on(lora: Lora, device: torch.device) -> Lora:
    """A LoRA on the device: its loader puts it where the layers are, which may be away."""

    def moved(role: str, tensor: Tensor) -> Tensor:
        return tensor if role == "alpha" else tensor.to(device)  # alpha is read as a number

    layers = {place: {role: moved(role, tensor) for role, tensor in roles.items()} for place, roles in lora.layers.items()}
    return replace(lora, layers=layers)


def _entrances(role: Role, module: Untyped) -> list[Untyped]:
    """What is called of a part: itself, or of a VAE, whose forward nobody calls, its halves; nothing of what stays at every level."""
    if role is Role.ADAPTER:
        return []
    if role is not Role.VAE:
        return [module]
    names = ("encoder", "decoder", "quant_conv", "post_quant_conv")
    return [part for name in names if (part := getattr(module, name, None)) is not None]


def _transformers(module: Untyped) -> list[Untyped]:
    return [part for part in module.modules() if type(part).__name__ == "Transformer2DModel"]


def _size(held: _Held) -> int:
    away = {id(tensor) for transformer in _transformers(held.module) for tensor in _tensors(transformer)} if held.streamed else set[int]()
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(held.module) if id(tensor) not in away)


def _tensors(module: Untyped) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
