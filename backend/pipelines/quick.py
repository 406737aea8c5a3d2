"""Shortcuts: quicker ways that change the picture. Each is only taken when a job names it. Pure: what they stand for; `halves` does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from protocol.geometry import Extent
from protocol.jobs import PictureJob, Shortcut, Window
from protocol.weights import Lora

from ..models.bundle import Model
from ..models.shelf import few_steps, loras, told_of

GUIDED = Window(0.1, 0.7)
"""Where guidance acts with `GUIDANCE_INTERVAL`. Kynkäänniemi et al. (arXiv:2404.07724) found that it harms at high noise levels, is
needed at middle ones and does little at low ones."""
FEW = 0.4
"""Share of a model's own steps that DPM++ 2M (Lu et al., arXiv:2211.01095) needs of a second-order solver's accuracy."""
FEWEST = 6
FEW_SCHEDULER = "dpm++2m-trailing"
SMALL = 5 / 8
"""Of each side with `Shortcut.SMALL`: two fifths of the pixels, and SDXL still draws at 640 what it draws at 1024."""
ALWAYS = Window()


@dataclass(frozen=True, slots=True)
class Shortening:
    """What shortcuts change while a picture is drawn."""

    guided: Window = ALWAYS
    conditional_identity: bool = False

    @classmethod
    def of(cls, shortcuts: Sequence[Shortcut]) -> Shortening:
        """By a job's shortcuts; those that change what is asked for are `shortened`'s."""
        guided = GUIDED if Shortcut.GUIDANCE_INTERVAL in shortcuts else ALWAYS
        return cls(guided, Shortcut.CONDITIONAL_IDENTITY in shortcuts)


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


def smaller(sizes: Sequence[Extent], grid: int, shortcuts: Sequence[Shortcut]) -> tuple[Extent, ...]:
    """The sizes to draw at: with `Shortcut.SMALL` five eighths of them a side, on the model's grid."""
    if Shortcut.SMALL not in shortcuts:
        return tuple(sizes)
    return tuple(dict.fromkeys(Extent(_on_grid(size.width * SMALL, grid), _on_grid(size.height * SMALL, grid)) for size in sizes))


def _on_grid(side: float, grid: int) -> int:
    return max(grid, round(side / grid) * grid)
