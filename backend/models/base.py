"""What a model's base is made of beside a diffusers folder: a checkpoint, another VAE, and how it was trained. Words only, no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.errors import InvalidRequest, ModelError

from .checkpoint import TEXT, UNET, VAES, Checkpoint, Prediction, open_checkpoint
from .distilled import Regimen, Told, regimen, told_by_name
from .family import Family
from .header import read_header
from .tokenizers import STOCK

MOST_SKIPPED = 12
"""CLIP's first text encoder has twelve layers."""
UNDISTILLED = "none"
"""What `distilled` says in model.toml when a name is misleading."""


@dataclass(frozen=True, slots=True)
class Base:
    """What model.toml and the checkpoint's header say. None and False stand for what a stock folder says itself."""

    checkpoint: Path | None = None
    vae: Path | None = None
    """A file or a diffusers folder, in place of the base's own."""
    prediction: Prediction | None = None
    zero_snr: bool = False
    told: Told | None = None
    inpaints: bool = False

    @property
    def regimen(self) -> Regimen | None:
        """How a distilled base is sampled; None for any other."""
        return None if self.told is None else regimen(self.told)

    def scheduler_changes(self) -> dict[str, Any]:
        """What the base's training means for the config of every scheduler."""
        changes: dict[str, Any] = {}
        if self.prediction is Prediction.VELOCITY:
            changes["prediction_type"] = "v_prediction"
        elif self.prediction is Prediction.NOISE:
            changes["prediction_type"] = "epsilon"
        if self.zero_snr:
            # Without the last timestep the picture would not begin at pure noise (arXiv:2305.08891, section 3.3).
            changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        return changes | dict(self.regimen.changes if self.regimen else {})


def read_base(folder: Path, table: Mapping[str, Any]) -> tuple[Base, dict[str, Any]]:
    """The base of the model in `folder`, and `table` (its model.toml) with what the checkpoint's header adds to it.

    What the table says goes before what the file says. Raises ModelError for a checkpoint that is not there, or is of another kind, and
    ValueError for a table that makes no sense.
    """
    place = folder / str(table["checkpoint"]) if "checkpoint" in table else None
    found = open_checkpoint(place) if place else None
    filled = dict(table)
    if found is not None:
        family = Family(filled.setdefault("family", found.family.value))
        if family is not found.family:
            raise ModelError(
                f"{found.title}: model.toml says {family.value}, and the checkpoint is {found.family.value}. Correct model.toml."
            )
        _fill_sizes(filled, found)
    told = _told(table, found)
    skip = {"clip_skip": found.clip_skip} if found is not None and found.clip_skip else {}
    filled["defaults"] = skip | _defaults(told) | dict(table.get("defaults", {}))
    prediction = Prediction(table["prediction"]) if "prediction" in table else found.prediction if found else None
    return Base(
        checkpoint=place,
        vae=folder / str(table["vae"]) if "vae" in table else None,
        prediction=prediction,
        zero_snr=bool(table.get("zero_snr", found.zero_snr if found else False)),
        told=told,
        inpaints=found.inpaints if found else False,
    ), filled


def weight_count(base: Base) -> int:
    """How many numbers of the checkpoint belong to UNet, VAE and text encoders; 0 without a checkpoint."""
    if base.checkpoint is None:
        return 0
    found = open_checkpoint(base.checkpoint)
    shapes = read_header(found.path, base.checkpoint.name).shapes
    return sum(math.prod(shape) for name, shape in shapes.items() if name.startswith((UNET, *VAES, *TEXT[found.family])))


def check_words(distilled: str | None, clip_skip: int | None) -> None:
    """InvalidRequest for words of the command line that model.toml could not hold."""
    try:
        _told({"distilled": distilled} if distilled is not None else {}, None)
    except ValueError as error:
        raise InvalidRequest(f"{error}.") from error
    if clip_skip is not None and not 1 <= clip_skip <= MOST_SKIPPED:
        raise InvalidRequest(f"A clip skip of {clip_skip} is out of range. Choose 1 to {MOST_SKIPPED}; 1 and 2 are usual.")


def config_folder(folder: Path, part: str, family: Family | None) -> Path:
    """Where the configuration of `part` (`unet`, `text_encoder`, …) is: in the model's folder, else with `family` among our own."""
    own = folder / part
    if family is None or any(own.glob("*config.json")):
        return own
    return STOCK / family.value / part


def _fill_sizes(table: dict[str, Any], found: Checkpoint) -> None:
    """The family's sizes, where the table says none."""
    if "size" in table:
        return
    sdxl = table["family"] == Family.SDXL.value
    table["size"] = [found.extent.width, found.extent.height]
    if sdxl:
        table.setdefault("sizes", "buckets")
    elif table["size"] == [512, 512]:
        table.setdefault("sizes", [[512, 768], [768, 512]])


def _told(table: Mapping[str, Any], found: Checkpoint | None) -> Told | None:
    words = table.get("distilled")
    if words is None:
        return found.told if found else None
    if words == UNDISTILLED:
        return None
    told = told_by_name(str(words))
    if told is None:
        raise ValueError(f'distilled = {words!r}; it is lcm, lightning, turbo, hyper or tcd, as in "lightning 4 steps", or "{UNDISTILLED}"')
    return told


def _defaults(told: Told | None) -> dict[str, Any]:
    if told is None:
        return {}
    found = regimen(told)
    return {"steps": found.steps, "guidance_scale": found.guidance_scale, "scheduler": found.scheduler}
