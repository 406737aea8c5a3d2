"""The loop that every diffusion part is trained with: a budget, averaged weights, checkpoints, and sheets one can look at.

Randomness comes from (seed, step) alone, so a run that was stopped and resumed takes the same steps as one that was not. The weights that
are shown and exported are exponential averages over the steps (Polyak averaging, as in Ho et al. 2020, https://arxiv.org/abs/2006.11239).
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from tqdm import tqdm

from .budget import Budget, Sitting, optimiser

CHECKPOINT = "checkpoint.pt"


class Task(Protocol):
    """What is trained: modules, a loss for one step, a sheet to look at, files at the end."""

    trained: nn.Module
    """Everything whose weights change."""

    def loss(self, step: int, draw: torch.Generator) -> Tensor:
        """The loss of one step, a float32 scalar; random numbers from `draw` (on the CPU) only."""
        ...

    def sheet(self, path: Path) -> None:
        """Write a picture that shows how good the present weights are."""
        ...

    def export(self, folder: Path) -> None:
        """Write the present weights in their official layout."""
        ...


@dataclass(frozen=True)
class Settings:
    """How a task is trained: where, for how long, how often it is saved and shown."""

    out: Path
    budget: Budget
    seed: int = 0
    average: float = 0.999
    sheet_every: float = 300.0
    clip: float = 1.0


class Average:
    """Exponential average of a module's trained weights, warmed up as (1 + s) / (10 + s) after s steps."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.source = [p for p in module.parameters() if p.requires_grad]
        self.shadow = [p.detach().clone() for p in self.source]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.source], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the module holds the averages; afterwards its own weights again, bit-equal."""
        kept = [p.data for p in self.source]
        try:
            for parameter, average in zip(self.source, self.shadow, strict=True):
                parameter.data = average
            yield
        finally:
            for parameter, own in zip(self.source, kept, strict=True):
                parameter.data = own


def train(task: Task, settings: Settings) -> Sitting:
    """Train until the budget is used, from the checkpoint in `settings.out` if there is one; then write sheet and files.

    `out` gets checkpoint.pt, loss.jsonl (one {"step", "seconds", "loss"} a line), sheet.png and whatever the task exports.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    adam = optimiser(task.trained, settings.budget)
    average = Average(task.trained, settings.average)
    sitting = _resume(task, adam, average, settings.out)
    _run(task, adam, average, sitting, settings)
    _save(task, adam, average, sitting, settings.out)
    with average.applied(), torch.no_grad():
        task.trained.eval()
        task.export(settings.out)
        task.sheet(settings.out / "sheet.png")
    return sitting


def _run(task: Task, adam: torch.optim.Optimizer, average: Average, sitting: Sitting, settings: Settings) -> None:
    budget, parameters = settings.budget, average.source
    begun = time.monotonic() - sitting.seconds
    shown = told = time.monotonic()
    mean, first = 0.0, sitting.step
    bar = tqdm(total=1000, bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}", mininterval=5.0)
    while (progress := budget.progress(sitting.step, time.monotonic() - begun)) < 1.0:
        for group in adam.param_groups:
            group["lr"] = budget.rate(progress)
        loss = task.loss(sitting.step, torch.Generator().manual_seed(settings.seed * 1_000_003 + sitting.step))
        adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
        adam.step()
        average.update(sitting.step)
        mean += (loss.item() - mean) / min(100, sitting.step - first + 1)
        now = time.monotonic()
        sitting.step, sitting.seconds = sitting.step + 1, now - begun
        bar.update(int(1000 * progress) - bar.n)
        if now - told > 10.0:
            told = now
            bar.set_postfix_str(f"step {sitting.step}, loss {mean:.4f}")
            _note(sitting, mean, settings.out)
        if now - shown > settings.sheet_every:
            _save(task, adam, average, sitting, settings.out)
            with average.applied(), torch.no_grad():
                task.sheet(settings.out / "sheet.png")
            shown = time.monotonic()
    _note(sitting, mean, settings.out)
    bar.close()


def _note(sitting: Sitting, loss: float, folder: Path) -> None:
    with (folder / "loss.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": sitting.step, "seconds": round(sitting.seconds, 1), "loss": round(loss, 5)}) + "\n")


def _save(task: Task, adam: torch.optim.Optimizer, average: Average, sitting: Sitting, folder: Path) -> None:
    # Written beside and moved: a run killed while it writes leaves the former checkpoint whole.
    beside = folder / "checkpoint.part"
    weights = [p.detach() for p in average.source]
    state = {"weights": weights, "average": average.shadow, "adam": adam.state_dict(), "step": sitting.step, "seconds": sitting.seconds}
    torch.save(state, beside)
    os.replace(beside, folder / CHECKPOINT)


@torch.no_grad()
def _resume(task: Task, adam: torch.optim.Optimizer, average: Average, folder: Path) -> Sitting:
    path = folder / CHECKPOINT
    if not path.exists():
        return Sitting()
    state = torch.load(path, weights_only=True, map_location="cpu")
    for parameter, weights in zip(average.source, state["weights"], strict=True):
        parameter.copy_(weights)
    for shadow, weights in zip(average.shadow, state["average"], strict=True):
        shadow.copy_(weights)
    adam.load_state_dict(state["adam"])
    return Sitting(int(state["step"]), float(state["seconds"]))


def device() -> torch.device:
    """The GPU when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_fast_attention(module: UNet2DConditionModel | ControlNetModel) -> None:
    """On a CPU, plain matrix products: PyTorch's fused attention takes nearly twice as long there, backwards, for sequences this short (measured)."""
    if device().type == "cpu":
        module.set_attn_processor(AttnProcessor())


def add_budget(parser: argparse.ArgumentParser, *, minutes: float, peak: float, batch: int) -> None:
    """The arguments that all parts share."""
    parser.add_argument("--out", type=Path, required=True, help="folder of this training; run again with the same folder to go on")
    parser.add_argument("--minutes", type=float, default=minutes, help="time to train, all sittings together (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="stop after so many steps, if that is earlier")
    parser.add_argument("--batch", type=int, default=batch, help="pictures a step (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=peak, help="highest learning rate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet-every", type=float, default=300.0, help="seconds between two checkpoints with a sheet (default: %(default)s)")


def settings_from(args: argparse.Namespace, *, average: float = 0.999) -> Settings:
    """The shared arguments as settings."""
    return Settings(args.out, Budget(args.minutes, args.steps, peak=args.rate), seed=args.seed, average=average, sheet_every=args.sheet_every)
