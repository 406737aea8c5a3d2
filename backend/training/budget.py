"""Training within a budget of minutes: the learning rate falls to zero exactly when the time is over, and a stopped run goes on.

One machine is faster than another, so the small networks of the recognition room (recogniser, detector, image encoder, judge) are not
trained for a number of steps but for a number of minutes. Progress p in [0, 1] is the larger of "time used / time allowed" and
"steps done / steps allowed"; the learning rate rises over the first 4 % and then follows half a cosine down to zero
(Loshchilov & Hutter 2017, SGDR, without restarts).
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

WARM_UP = 0.04


@dataclass(frozen=True)
class Budget:
    """What one training may cost.

    Args:
        minutes: wall-clock minutes, all sittings together.
        steps: an additional limit in steps; with it alone (huge `minutes`) a run is repeatable to the bit.
        peak: highest learning rate (AdamW).
        decay: weight decay (AdamW, decoupled).
        save_every: seconds between two checkpoints.
    """

    minutes: float
    steps: int | None = None
    peak: float = 2e-3
    decay: float = 1e-2
    save_every: float = 60.0

    def progress(self, step: int, seconds: float) -> float:
        """Share of the budget used so far, 0 to 1."""
        by_time = seconds / max(self.minutes * 60.0, 1e-9)
        by_steps = step / self.steps if self.steps else 0.0
        return min(1.0, max(by_time, by_steps))

    def rate(self, progress: float) -> float:
        """Learning rate at a progress of 0 to 1."""
        if progress < WARM_UP:
            return self.peak * (progress + 1e-3) / WARM_UP
        return self.peak * 0.5 * (1.0 + math.cos(math.pi * (progress - WARM_UP) / (1.0 - WARM_UP)))


def add_shared(parser: argparse.ArgumentParser, *, leaves: str, minutes: float, held: int, batch: int | None = None) -> None:
    """The arguments that the small networks share: what their folder has in it in the end, and their usual numbers."""
    parser.add_argument("--out", type=Path, required=True, help=f"folder of this training: checkpoint, {leaves}; run again to go on")
    parser.add_argument("--minutes", type=float, default=minutes, help="time to train, all sittings together (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="stop after so many steps, if that is earlier")
    if batch is not None:
        parser.add_argument("--batch", type=int, default=batch, help="pictures a batch (default: %(default)s)")
    parser.add_argument("--persons", type=int, help="use only so many persons of the folder; fewer are seen more often")
    parser.add_argument("--held", type=int, default=held, help="persons kept back for the measurement (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn by chance (default: %(default)s)")


@dataclass
class Sitting:
    """Where a training stands: steps done and seconds used, over all sittings."""

    step: int = 0
    seconds: float = 0.0


class Muon:
    """Muon for kernels and matrices (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon), AdamW for all else.

    PyTorch's own Muon takes matrices only; here it gets each kernel (out, in, h, w) as a matrix (out, in h w). Updates have AdamW's size
    (Liu et al. 2025, https://arxiv.org/abs/2502.16982), so learning rates mean the same. It was measured to need about half of AdamW's
    steps in the first hundreds, for a fifth more time a step.
    """

    def __init__(self, module: nn.Module, budget: Budget) -> None:
        wanted = [p for p in module.parameters() if p.requires_grad]
        self.kernels = [p for p in wanted if p.ndim > 1 and 16 <= p.shape[0] <= 4096 and p.numel() // p.shape[0] >= 16]
        theirs = {id(p) for p in self.kernels}
        self.matrices = [nn.Parameter(p.detach().reshape(p.shape[0], -1).clone()) for p in self.kernels]
        rest = [p for p in wanted if id(p) not in theirs]
        self.parts: list[Any] = []
        if self.matrices:
            form = "match_rms_adamw"
            self.parts.append(torch.optim.Muon(self.matrices, lr=budget.peak, weight_decay=budget.decay, ns_steps=4, adjust_lr_fn=form))
        if rest:
            self.parts.append(torch.optim.AdamW(rest, lr=budget.peak, betas=(0.9, 0.99), weight_decay=0.0))

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Both optimisers' groups."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)
        for kernel in self.kernels:
            kernel.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step of both."""
        for matrix, kernel in zip(self.matrices, self.kernels, strict=True):
            matrix.copy_(kernel.reshape(matrix.shape))
            matrix.grad = None if kernel.grad is None else kernel.grad.reshape(matrix.shape)
        for part in self.parts:
            part.step()
        for matrix, kernel in zip(self.matrices, self.kernels, strict=True):
            kernel.copy_(matrix.view(kernel.shape))

    def state_dict(self) -> dict[str, Any]:
        """State of both."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        for part, kept in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(kept)


def optimiser(module: nn.Module, budget: Budget) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels but neither biases nor normalisations (they have one dimension)."""
    wanted = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in wanted if p.ndim > 1], "weight_decay": budget.decay},
        {"params": [p for p in wanted if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=budget.peak, betas=(0.9, 0.99), fused=True)


def learn(module: nn.Module, loss_of: Callable[[int, float], Tensor], budget: Budget, folder: Path) -> Sitting:
    """Train until the budget is used; continue `folder`/checkpoint.pt if it is there.

    Args:
        module: everything trainable; its weights are changed in place.
        loss_of: (step, progress 0..1) -> scalar loss. To be repeatable it draws its random numbers from the step.
        budget: limits and learning rate.
        folder: gets `checkpoint.pt` and `loss.jsonl` (one {"step", "seconds", "loss"} a line).
    """
    folder.mkdir(parents=True, exist_ok=True)
    adam = optimiser(module, budget)
    sitting = _resume(module, adam, folder)
    saved = shown = time.monotonic()
    began = saved - sitting.seconds
    mean = math.nan
    while (progress := budget.progress(sitting.step, time.monotonic() - began)) < 1.0:
        for group in adam.param_groups:
            group["lr"] = budget.rate(progress)
        loss = loss_of(sitting.step, progress)
        adam.zero_grad(set_to_none=True)
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
        adam.step()  # pyright: ignore[reportUnknownMemberType]
        mean = loss.item() if math.isnan(mean) else 0.95 * mean + 0.05 * loss.item()
        now = time.monotonic()
        sitting.step, sitting.seconds = sitting.step + 1, now - began
        if now - shown > 15.0:
            shown = now
            _tell(sitting, mean, budget, folder)
        if now - saved > budget.save_every:
            saved = now
            _save(module, adam, sitting, folder)
    _tell(sitting, mean, budget, folder)
    _save(module, adam, sitting, folder)
    return sitting


def _tell(sitting: Sitting, loss: float, budget: Budget, folder: Path) -> None:
    progress = budget.progress(sitting.step, sitting.seconds)
    left = sitting.seconds * (1.0 - progress) / max(progress, 1e-6)
    print(f"step {sitting.step}, loss {loss:.4f}, {100 * progress:.0f} %, {left:.0f} s left", file=sys.stderr, flush=True)
    with (folder / "loss.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": sitting.step, "seconds": round(sitting.seconds, 1), "loss": loss}) + "\n")


def _save(module: nn.Module, adam: torch.optim.Optimizer, sitting: Sitting, folder: Path) -> None:
    # Written beside and moved: a run killed while it writes leaves the former checkpoint whole.
    beside = folder / "checkpoint.part"
    torch.save({"module": module.state_dict(), "adam": adam.state_dict(), "step": sitting.step, "seconds": sitting.seconds}, beside)
    os.replace(beside, folder / "checkpoint.pt")


def _resume(module: nn.Module, adam: torch.optim.Optimizer, folder: Path) -> Sitting:
    path = folder / "checkpoint.pt"
    if not path.exists():
        return Sitting()
    state = torch.load(path, weights_only=True)
    module.load_state_dict(state["module"])
    adam.load_state_dict(state["adam"])
    return Sitting(int(state["step"]), float(state["seconds"]))
