"""The loop that every diffusion part is trained with: a budget, averaged weights, checkpoints, sheets and a loss curve one can look at.

Randomness comes from (seed, step) alone, so a run that was stopped and resumed takes the same steps as one that was not. The weights that
are shown and exported are exponential averages over the steps (Polyak averaging, as in Ho et al. 2020, https://arxiv.org/abs/2006.11239).
Devices, mixed precision and several processes are accelerate's: `accelerate launch -m backend.training …` uses every GPU of a machine.
"""

import argparse
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .budget import Budget, Muon, Sitting, optimiser
from .sheets import write_curve
from .untyped import Untyped, accelerate, processors

CHECKPOINT = "checkpoint.pt"
HISTORY = "loss.jsonl"


class Task(Protocol):
    """What is trained: modules, a loss for one step, a sheet to look at, files at the end."""

    @property
    def trained(self) -> nn.Module:
        """Everything whose weights change, where they require gradients."""
        ...

    def loss(self, step: int, draw: torch.Generator) -> Tensor:
        """The loss of one batch, a float32 scalar; random numbers from `draw` (on the CPU) only. Runs in the loop's mixed precision."""
        ...

    def sheet(self, path: Path) -> None:
        """Write a picture that shows how good the present weights are."""
        ...

    def export(self, folder: Path) -> None:
        """Write the present weights in their official layout."""
        ...


@dataclass(frozen=True)
class Settings:
    """How a task is trained: where, for how long, how often it is saved and shown.

    Args:
        out: folder of the training.
        budget: time, steps and learning rate.
        seed: of everything that is drawn.
        average: decay of the averaged weights.
        sheet_every: seconds between two checkpoints, each with a sheet.
        accumulate: batches a step.
        precision: "bf16", "fp16" (GPU only) or "no".
        clip: largest norm of the gradient.
        muon: use Muon for kernels and matrices; not with fp16's scaled gradients.
    """

    out: Path
    budget: Budget
    seed: int = 0
    average: float = 0.999
    sheet_every: float = 300.0
    accumulate: int = 1
    precision: str = "bf16"
    clip: float = 1.0
    muon: bool = False


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
        for average, parameter in zip(self.shadow, self.source, strict=True):
            average.lerp_(parameter.detach(), 1 - decay)

    @contextmanager
    def applied(self) -> Generator[None]:
        """Inside, the module holds the averages; afterwards its own weights again, bit-equal."""
        kept = [p.data for p in self.source]
        try:
            for parameter, average in zip(self.source, self.shadow, strict=True):
                parameter.data = average
            yield
        finally:
            for parameter, own in zip(self.source, kept, strict=True):
                parameter.data = own


class Run:
    """One training under way."""

    def __init__(self, task: Task, settings: Settings) -> None:
        self.task, self.settings = task, settings
        self.accelerator = accelerate.Accelerator(mixed_precision=settings.precision)
        self.adam: Any = (
            Muon(task.trained, settings.budget)
            if settings.muon
            else self.accelerator.prepare_optimizer(optimiser(task.trained, settings.budget))
        )
        if self.accelerator.num_processes > 1:  # what was trained for some minutes before differs from process to process
            for parameter in task.trained.parameters():
                accelerate.utils.broadcast(parameter.data)
        self.average = Average(task.trained, settings.average)
        self.sitting = Sitting()

    def step(self, progress: float) -> float:
        """One step at a progress of 0 … 1; returns the loss."""
        settings, total = self.settings, 0.0
        for group in self.adam.param_groups:
            group["lr"] = settings.budget.rate(progress)
        self.adam.zero_grad(set_to_none=True)
        for part in range(settings.accumulate):
            with self.accelerator.autocast():
                loss = self.task.loss(self.sitting.step, self._draw(part)) / settings.accumulate
            self.accelerator.backward(loss)
            total += float(loss.detach())
        self._share_gradients()
        self.accelerator.clip_grad_norm_(self.average.source, settings.clip)
        self.adam.step()
        self.average.update(self.sitting.step)
        return total

    def _draw(self, part: int) -> torch.Generator:
        stream = (self.settings.seed * 1_000_003 + self.sitting.step) * self.settings.accumulate + part
        return torch.Generator().manual_seed(stream * self.accelerator.num_processes + self.accelerator.process_index)

    def _share_gradients(self) -> None:
        # By hand rather than through DistributedDataParallel, which sees only modules that are called as a whole; tasks call their parts.
        if self.accelerator.num_processes > 1:
            given = [parameter.grad for parameter in self.average.source if parameter.grad is not None]
            together = self.accelerator.reduce(torch.cat([grad.flatten() for grad in given]), "mean")
            for grad, shared in zip(given, together.split([grad.numel() for grad in given]), strict=True):
                grad.copy_(shared.view_as(grad))

    def progress(self, seconds: float) -> float:
        """Share of the budget used, 0 … 1, the same in all processes."""
        share = [self.settings.budget.progress(self.sitting.step, seconds)]
        if self.accelerator.num_processes > 1:
            accelerate.utils.broadcast_object_list(share)
        return share[0]

    def save(self) -> None:
        """Write the checkpoint: beside and moved, so that a run killed while it writes leaves the former one whole."""
        if not self.accelerator.is_main_process:
            return
        beside = self.settings.out / "checkpoint.part"
        weights = [p.detach() for p in self.average.source]
        sitting = {"step": self.sitting.step, "seconds": self.sitting.seconds}
        torch.save({"weights": weights, "average": self.average.shadow, "adam": self.adam.state_dict(), **sitting}, beside)
        os.replace(beside, self.settings.out / CHECKPOINT)

    @torch.no_grad()
    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        path = self.settings.out / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, weights_only=True, map_location="cpu")
        for parameter, weights in zip(self.average.source, state["weights"], strict=True):
            parameter.copy_(weights)
        for shadow, weights in zip(self.average.shadow, state["average"], strict=True):
            shadow.copy_(weights)
        self.adam.load_state_dict(state["adam"])
        self.sitting = Sitting(int(state["step"]), float(state["seconds"]))

    def note(self, loss: float) -> None:
        """One line of history."""
        line = {"step": self.sitting.step, "seconds": round(self.sitting.seconds, 1), "loss": round(loss, 5)}
        with (self.settings.out / HISTORY).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def show(self, *, last: bool = False) -> None:
        """Checkpoint, sheet and curve; at the end the files as well."""
        self.save()
        if not self.accelerator.is_main_process:
            return
        with self.average.applied(), torch.no_grad():
            if last:
                self.task.trained.eval()
                self.task.export(self.settings.out)
            with self.accelerator.autocast():
                self.task.sheet(self.settings.out / "sheet.png")
        write_curve(self.settings.out / HISTORY, self.settings.out / "loss.png")


def train(task: Task, settings: Settings) -> Sitting:
    """Train until the budget is used, from the checkpoint in `settings.out` if there is one; then write sheet and files.

    `out` gets checkpoint.pt, loss.jsonl (one {"step", "seconds", "loss"} a line), loss.png, sheet.png and whatever the task exports. A run
    that is interrupted (Ctrl-C) leaves a checkpoint behind.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    run = Run(task, settings)
    run.resume()
    try:
        _steps(run)
    except KeyboardInterrupt:
        run.save()
        raise
    run.show(last=True)
    return run.sitting


def _steps(run: Run) -> None:
    sitting, first = run.sitting, run.sitting.step
    begun = time.monotonic() - sitting.seconds
    shown = told = time.monotonic()
    mean = 0.0
    bar = tqdm(
        total=1000, bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}", mininterval=5.0, disable=not run.accelerator.is_main_process
    )
    while (progress := run.progress(time.monotonic() - begun)) < 1.0:
        loss = run.step(progress)
        mean += (loss - mean) / min(100, sitting.step - first + 1)
        now = time.monotonic()
        sitting.step, sitting.seconds = sitting.step + 1, now - begun
        bar.update(int(1000 * progress) - bar.n)
        if now - told > 10.0:
            told = now
            bar.set_postfix_str(f"step {sitting.step}, loss {mean:.4f}")
            run.note(mean)
        if now - shown > run.settings.sheet_every:
            run.show()
            shown = time.monotonic()
    if sitting.step > first:
        run.note(mean)
    bar.close()


def device() -> torch.device:
    """Where accelerate computes: the GPU when there is one."""
    # The first call decides for the whole process, and PartialState by itself does not read what `accelerate launch --cpu` asks for:
    # without this, its processes train each alone and write over each other's files.
    return accelerate.PartialState(cpu=accelerate.utils.parse_flag_from_env("ACCELERATE_USE_CPU")).device


def use_fast_attention(module: Untyped) -> None:
    """On a CPU, plain matrix products: for sequences this short PyTorch's fused attention was measured to take twice as long backwards."""
    if device().type == "cpu":
        module.set_attn_processor(processors.AttnProcessor())


def add_budget(parser: argparse.ArgumentParser, *, minutes: float, peak: float, batch: int) -> None:
    """The arguments that all parts share."""
    parser.add_argument("--out", type=Path, required=True, help="folder of this training; run again with the same folder to go on")
    parser.add_argument("--minutes", type=float, default=minutes, help="time to train, all sittings together (default: %(default)s)")
    parser.add_argument("--steps", type=int, help="stop after so many steps, if that is earlier")
    parser.add_argument("--batch", type=int, default=batch, help="pictures a batch (default: %(default)s)")
    parser.add_argument(
        "--accumulate", type=int, default=1, help="batches a step, for more pictures than memory takes (default: %(default)s)"
    )
    parser.add_argument("--precision", default="bf16", choices=("no", "bf16", "fp16"), help="mixed precision (default: %(default)s)")
    parser.add_argument("--muon", action="store_true", help="Muon instead of AdamW: fewer steps; not with --precision fp16")
    parser.add_argument("--rate", type=float, default=peak, help="highest learning rate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn by chance (default: %(default)s)")
    parser.add_argument(
        "--sheet-every", type=float, default=300.0, help="seconds between checkpoints, each with a sheet (default: %(default)s)"
    )


def settings_from(args: argparse.Namespace, *, average: float = 0.999) -> Settings:
    """The shared arguments as settings."""
    return Settings(
        args.out, Budget(args.minutes, args.steps, peak=args.rate), seed=args.seed, average=average, sheet_every=args.sheet_every,
        accumulate=max(1, args.accumulate), precision=args.precision, muon=args.muon,
    )  # fmt: skip
