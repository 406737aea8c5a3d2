"""Few-step models: how LCM, Lightning, Turbo and Hyper want to be sampled, and how they are told. Pure words and numbers, no torch.

A distilled model gives mush with the settings of its base: it was trained for a handful of steps, without guidance, at its own timesteps.
It is the same for whole checkpoints and for LoRAs. Sources: the model cards of latent-consistency/lcm-lora-sdxl, ByteDance/SDXL-Lightning,
stabilityai/sdxl-turbo, ByteDance/Hyper-SD and h1t/TCD-SDXL-LoRA.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Distillation(Enum):
    """By which method a model was made to need few steps."""

    LCM = "lcm"
    """Latent consistency (Luo et al., arXiv:2310.04378)."""
    LIGHTNING = "lightning"
    """Progressive adversarial distillation (Lin et al., arXiv:2402.13929)."""
    TURBO = "turbo"
    """Adversarial diffusion distillation (Sauer et al., arXiv:2311.17042)."""
    HYPER = "hyper"
    """Hyper-SD (Ren et al., arXiv:2404.13686)."""
    TCD = "tcd"
    """Trajectory consistency (Zheng et al., arXiv:2402.19159)."""


@dataclass(frozen=True, slots=True)
class Regimen:
    """How to sample: `scheduler` by its short name in `backend.pipelines.schedulers`, `changes` to the base's scheduler config.

    A `guidance_scale` of 1 is no guidance: one pass of the UNet for each step instead of two.
    """

    steps: int
    guidance_scale: float
    scheduler: str
    changes: Mapping[str, str | bool | int]


@dataclass(frozen=True, slots=True)
class Told:
    """What a name or the metadata tell: the method, and the number of steps if they say it. `clean` is Lightning's one-step version, which
    predicts the picture instead of the noise; `guided` Hyper's versions that keep guidance (`-CFG-`)."""

    method: Distillation
    steps: int | None = None
    clean: bool = False
    guided: bool = False


USUAL_STEPS = {Distillation.LCM: 6, Distillation.LIGHTNING: 4, Distillation.TURBO: 4, Distillation.HYPER: 8, Distillation.TCD: 4}
"""Where nothing says for how many steps a model was made."""
MOST_STEPS = 16
"""What a name says beyond this is no count of distilled steps (`50step`)."""
_STEPS = re.compile(r"(\d+)[ _-]*steps?(?![a-z])", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_WORDS = {
    "lcm": Distillation.LCM, "lightning": Distillation.LIGHTNING, "turbo": Distillation.TURBO, "hyper": Distillation.HYPER,
    "hypersd": Distillation.HYPER, "hypersdxl": Distillation.HYPER, "sdxllightning": Distillation.LIGHTNING,
    "sdxlturbo": Distillation.TURBO, "xllightning": Distillation.LIGHTNING, "xlturbo": Distillation.TURBO, "lcmxl": Distillation.LCM,
    "sdxllcm": Distillation.LCM, "tcd": Distillation.TCD,
}  # fmt: skip


def regimen(told: Told, steps: int | None = None) -> Regimen:
    """How to sample what `told` says, in `steps` if the user wants so many, else in as many as it was made for.

    >>> regimen(Told(Distillation.LIGHTNING, 4)).scheduler
    'euler'
    """
    count = steps or told.steps or USUAL_STEPS[told.method]
    trailing: dict[str, str | bool | int] = {"timestep_spacing": "trailing"}
    match told.method:
        case Distillation.LCM:
            # Guidance is in the weights; the cards of the LoRAs allow 1 to 2, and 1 takes half the time.
            return Regimen(count, 1.0, "lcm", {"timestep_spacing": "leading"})
        case Distillation.LIGHTNING:
            return Regimen(count, 1.0, "euler", trailing | ({"prediction_type": "sample"} if told.clean else {}))
        case Distillation.TURBO:
            return Regimen(count, 1.0, "euler-a", trailing)
        case Distillation.HYPER:
            # One step comes from the consistency half of the method, which TCD's scheduler is for; more steps are DDIM's, without noise.
            return Regimen(count, 5.0 if told.guided else 1.0, "tcd" if count == 1 else "ddim", trailing)
        case Distillation.TCD:
            return Regimen(count, 1.0, "tcd", {})


def told_by_name(name: str) -> Told | None:
    """What a file's name or a title says (`sdxl_lightning_4step`, `dreamshaperXL_v21TurboDPMSDE`), or None. Words only count as a whole:
    `hyperrealism` is no Hyper."""
    found = [_WORDS[word] for word in map(str.lower, _WORD.findall(name)) if word in _WORDS]
    if not found:
        return None
    counts = [int(count) for count in _STEPS.findall(name) if 1 <= int(count) <= MOST_STEPS]
    steps = counts[0] if counts else None
    clean = found[0] is Distillation.LIGHTNING and steps == 1 and re.search(r"(?<![a-z0-9])x0(?![a-z0-9])", name.lower()) is not None
    guided = found[0] is Distillation.HYPER and re.search(r"(?<![a-z0-9])cfg(?![a-z0-9])", name.lower()) is not None
    return Told(found[0], steps, clean, guided)


def told_by_metadata(metadata: Mapping[str, str]) -> Told | None:
    """What a safetensors header says of itself: the title and merge recipe of modelspec and kohya's `ss_` entries, or None."""
    for key in ("modelspec.title", "modelspec.usage_hint", "modelspec.merged_from", "ss_output_name", "ss_sd_model_name"):
        if told := told_by_name(metadata.get(key, "")):
            return told
    return None
