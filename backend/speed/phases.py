"""Where the time of one picture goes, and what a device reaches with it: printed with the goals, not goals themselves."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..models.adapters import Untyped
from ..pipelines.engine import Unwatched
from .goals import seconds
from .rig import Rig, flops

H200_TERAFLOPS = 790.0
"""Of bf16 matrix products, measured on such a machine; its specification says 989."""
H200_BUDGET = {"text": 0.010, "steps": 30 * 0.045, "decoding": 0.040}
"""Seconds for 30 steps of 1024 x 1024; the limits by arithmetic are 0.5 ms, 30 x 25.5 ms and 13.4 ms."""


@dataclass(frozen=True, slots=True)
class Phases:
    """Seconds of one picture: `before` is all that comes before the first step; `text` and `face` are parts of it, in the text encoders
    and in the net that reads the photo."""

    before: float
    text: float
    face: float
    steps: float
    decoding: float

    @property
    def whole(self) -> float:
        """Seconds of all of it."""
        return self.before + self.steps + self.decoding

    def lines(self, protocol_s: float | None = None) -> list[str]:
        """In words, with each part's share. `protocol_s` is what the way to the backend and back takes beside it."""
        rest = self.before - self.text - self.face
        parts = {"text": self.text, "face": self.face, "the rest before the first step": rest, "steps": self.steps, "VAE": self.decoding}
        parts |= {"protocol": protocol_s} if protocol_s is not None else {}
        whole = sum(parts.values())
        shares = (f"{name} {seconds(value)} ({value / whole:.1%})" for name, value in parts.items())
        return [f"One picture of a new person with a new prompt, {seconds(whole)}: {', '.join(shares)}"]

    def over_budget(self, steps: int) -> list[str]:
        """On an H200 with SDXL's shapes: which phases take longer than they should."""
        budget = {**H200_BUDGET, "steps": H200_BUDGET["steps"] * steps / 30}
        found = {"text": self.text, "steps": self.steps, "decoding": self.decoding}
        return [f"{name}: {seconds(found[name])}, should be {seconds(limit)}" for name, limit in budget.items() if found[name] > limit]


class _Stamps(Unwatched):
    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.last_step = 0.0

    def step(self, done: int, total: int) -> None:
        if done == total:
            self.last_step = self.now()

    def now(self) -> float:
        self._rig.timer.finish()
        return self._rig.timer.now()


def phases(rig: Rig, number: int, steps: int) -> Phases:
    """One picture of a new person with a new prompt, waiting for the device at each border."""
    stamps = _Stamps(rig)
    begun: list[float] = []
    text: list[float] = []
    face: list[float] = []
    encoders = [module for name, module in rig.engine.parts.base.items() if name.startswith("text_encoder")]

    def note(*_: object) -> None:
        if not begun:
            begun.append(stamps.now())

    def within(module: Untyped, times: list[float]) -> list[Untyped]:
        def into(*_: object) -> None:
            times.append(-stamps.now())

        def out(*_: object) -> None:
            times.append(stamps.now())

        return [module.register_forward_pre_hook(into), module.register_forward_hook(out)]

    handles = [rig.engine.parts.identity_net.conv_in.register_forward_pre_hook(note), *within(rig.stand_in.net, face)]
    handles += [handle for encoder in encoders for handle in within(encoder, text)]
    try:
        start = stamps.now()
        rig.draw(rig.job(number, steps, photo=number), stamps)
        end = stamps.now()
    finally:
        for handle in handles:
            handle.remove()
    return Phases(begun[0] - start, sum(text), sum(face), stamps.last_step - begun[0], end - stamps.last_step)


def reached(rig: Rig, number: int, steps: int, picture_s: float) -> str:
    """Floating point operations a second of a picture that took `picture_s` seconds."""
    few = 2
    # Each time somebody new with a new prompt: what is known already is not computed again.
    one, two = (flops(lambda: rig.draw(rig.job(number + count, count))) for count in (few, 2 * few))  # noqa: B023  (called at once)
    per_step = (two - one) / few
    total = one + per_step * (steps - few)
    rate = total / picture_s / 1e12
    share = f", {rate / H200_TERAFLOPS:.0%} of an H200's {H200_TERAFLOPS:.0f}" if rig.cuda else ""
    return f"{total / 1e12:.3f} TFLOP a picture ({per_step / 1e12:.4f} a step); {rate:.3f} TFLOP/s{share}"


def peak(rig: Rig) -> str:
    """The most memory that a GPU has held since the process began."""
    return f"At most {torch.cuda.max_memory_allocated(rig.engine.parts.device) / 1024**3:.2f} GiB of the GPU were allocated"
