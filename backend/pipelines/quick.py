"""Shortcuts: quicker ways that change the picture. Each is only taken when a job names it. Pure: what they stand for; `halves` and `reuse`
do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from protocol.geometry import Extent
from protocol.jobs import Lora, PictureJob, Sampling, Shortcut, Window

from ..models.bundle import Model
from ..models.shelf import few_steps, loras, told_of

GUIDED = Window(0.1, 0.7)
"""Where guidance acts with `GUIDANCE_INTERVAL`. Kynkäänniemi et al. (arXiv:2404.07724) found that it harms at high noise levels, is
needed at middle ones and does little at low ones."""
FEW = 0.4
"""Share of a model's own steps that DPM++ 2M (Lu et al., arXiv:2211.01095) needs of a second-order solver's accuracy."""
FEWEST = 6
FEW_SCHEDULER = "dpm++2m-trailing"
EVERY = 2
"""With `Shortcut.FEATURE_REUSE` every second step computes everything …"""
LEAST = 10
"""… of pictures of so many steps or more. Fewer are too far apart, above all those of models that were made for four."""
SMALL = 5 / 8
"""Of each side with `Shortcut.SMALL`: two fifths of the pixels. SDXL was trained on many sizes and draws at 640 what it draws at 1024;
a model of one size does not: the built-in one, made for 128 pixels, draws no faces at 80 (likeness 0.15 instead of 0.75)."""
ALWAYS = Window()


@dataclass(frozen=True, slots=True)
class Shortening:
    """What shortcuts change while a picture is drawn."""

    guided: Window = ALWAYS
    conditional_identity: bool = False
    every: int = 1
    """Of so many steps one computes everything, and the others the outermost blocks of the UNet."""

    @classmethod
    def of(cls, shortcuts: Sequence[Shortcut]) -> Shortening:
        """By a job's shortcuts; those that change what is asked for are `shortened`'s."""
        guided = GUIDED if Shortcut.GUIDANCE_INTERVAL in shortcuts else ALWAYS
        return cls(guided, Shortcut.CONDITIONAL_IDENTITY in shortcuts, EVERY if Shortcut.FEATURE_REUSE in shortcuts else 1)


FULLY = Shortening()
"""No shortcut."""


def shortened(job: PictureJob, model: Model) -> PictureJob:
    """The job with what `Shortcut.FEW_STEPS` stands for written out: the model's few-step LoRA (`models.shelf` knows how to sample with
    it), else fewer steps of another scheduler. What the job says itself is never changed."""
    sampling = job.sampling
    if Shortcut.FEW_STEPS not in sampling.shortcuts or model.defaults.guidance_scale <= 1 or few_steps(model, job.loras) is not None:
        return job  # the model, or what it wears, is for few steps already
    for name, path in loras(model).items():
        if told_of(path) is not None:
            return replace(job, loras=(*job.loras, Lora(name, 1.0)))
    steps = max(FEWEST, round(model.defaults.steps * FEW))
    return replace(job, sampling=replace(sampling, steps=sampling.steps or steps, scheduler=sampling.scheduler or FEW_SCHEDULER))


def numbers(model: Model, shortcuts: Sequence[Shortcut]) -> tuple[int, float, str]:
    """Steps, guidance scale and scheduler of a job that says nothing but its shortcuts, for a recipe that writes all numbers out."""
    job = shortened(PictureJob(sampling=Sampling(shortcuts=tuple(shortcuts))), model)
    few, defaults = few_steps(model, job.loras), model.defaults
    if few is not None:
        return few.steps, few.guidance_scale, few.scheduler
    return job.sampling.steps or defaults.steps, defaults.guidance_scale, job.sampling.scheduler or defaults.scheduler


def smaller(sizes: Sequence[Extent], model: Model, shortcuts: Sequence[Shortcut]) -> tuple[Extent, ...]:
    """The sizes to draw at: with `Shortcut.SMALL` five eighths of them a side, on the model's grid, if it was trained on many sizes."""
    if Shortcut.SMALL not in shortcuts or not model.bucketed:
        return tuple(sizes)
    grid = model.grid
    return tuple(dict.fromkeys(Extent(_on_grid(size.width * SMALL, grid), _on_grid(size.height * SMALL, grid)) for size in sizes))


def _on_grid(side: float, grid: int) -> int:
    return max(grid, round(side / grid) * grid)
