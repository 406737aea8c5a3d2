"""What a single-file checkpoint is, told from the names and shapes in its header before anything is loaded: a base of SD 1.5 or SDXL, or
something else, which is refused by name.

Layouts: CompVis' and Stability's own code (`model.diffusion_model.`, `first_stage_model.`, `cond_stage_model.` or `conditioner.`), which
kohya's trainer, A1111 and ComfyUI write too. Notes: modelspec (Stability-AI/ModelSpec), kohya's `ss_…`; the keys `v_pred` and `ztsnr` are
ComfyUI's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from protocol.errors import ModelError
from protocol.geometry import Extent

from .distilled import Told, told_by_metadata, told_by_name
from .family import Family
from .header import Header, read_header
from .pickles import as_safetensors
from .strangers import stranger

UNET, VAES = "model.diffusion_model.", ("first_stage_model.", "vae.")
TEXT = {Family.SD15: ("cond_stage_model.transformer.",), Family.SDXL: ("conditioner.embedders.0.", "conditioner.embedders.1.")}
CONV_IN = f"{UNET}input_blocks.0.0.weight"
SIZES = {Family.SD15: Extent(512, 512), Family.SDXL: Extent(1024, 1024)}
TURBO_EXTENT = Extent(512, 512)
"""Of Stability's own SDXL-Turbo; the community's have SDXL's size."""


class Prediction(Enum):
    """What a UNet says of the noisy picture (Salimans and Ho, arXiv:2202.00512)."""

    NOISE = "epsilon"
    VELOCITY = "v"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the file at `path` is. `zero_snr`: trained down to pure noise (Lin et al., arXiv:2305.08891).

    `inpaints`: a UNet with nine channels in, which sees mask and masked picture and can do nothing else. `clip_skip` counts as artists do.
    `has_vae` and `has_text` say what is in the file beside the UNet.
    """

    path: Path
    family: Family
    title: str
    prediction: Prediction
    zero_snr: bool
    inpaints: bool
    extent: Extent
    told: Told | None
    clip_skip: int | None
    has_vae: bool
    has_text: bool
    licence: str


def open_checkpoint(path: Path, cache: Path | None = None) -> Checkpoint:
    """What the file at `path` is, pickles by their safetensors copy (`backend.models.pickles`), which `Checkpoint.path` then is.

    Raises ModelError with what it is instead when it is no base of SD 1.5 or SDXL.
    """
    if not path.is_file():
        raise ModelError(f"The checkpoint {path} is not there. Put it back, or correct `checkpoint` in model.toml.")
    copy = as_safetensors(path, cache)
    return recognised(read_header(copy, path.name), copy, path.name)


def recognised(header: Header, path: Path, name: str) -> Checkpoint:
    """As `open_checkpoint`, of a header that was read; `name` is what the user calls the file."""
    if CONV_IN not in header.shapes:
        raise ModelError(f"{name} {stranger(header)}")
    family = _family(header, name)
    notes, stem = header.notes, Path(name).stem
    told = told_by_name(stem) or told_by_metadata(notes)
    velocity = "v_pred" in header.shapes or _says(notes.get("modelspec.prediction_type"), "v", "v_prediction", "v-prediction")
    return Checkpoint(
        path=path,
        family=family,
        title=notes.get("modelspec.title", "").strip()[:60] or stem,
        prediction=Prediction.VELOCITY if velocity or _says(notes.get("ss_v_parameterization"), "true") else Prediction.NOISE,
        zero_snr="ztsnr" in header.shapes or _says(notes.get("ss_zero_terminal_snr"), "true"),
        inpaints=header.shapes[CONV_IN][1] == 9,
        extent=_extent(notes.get("modelspec.resolution", ""), family, stem),
        told=told,
        clip_skip=_clip_skip(notes),
        has_vae=header.has(*VAES),
        has_text=all(header.has(beginning) for beginning in TEXT[family]),
        licence=notes.get("modelspec.license", "").strip()[:200],
    )


def _family(header: Header, name: str) -> Family:
    """The family, or a ModelError that names another one whose files look alike."""
    width = next((shape[1] for key, shape in header.shapes.items() if key.endswith("attn2.to_k.weight") and len(shape) == 2), 0)
    labelled = f"{UNET}label_emb.0.0.weight" in header.shapes
    channels = header.shapes[CONV_IN][1]
    if "edm_mean" in header.shapes or header.has("edm_vpred."):
        raise ModelError(f"{name} is a model of the EDM kind (Playground 2.5, CosXL), which counts noise in another way. {_OURS}")
    if labelled and (header.has("conditioner.embedders.0.model.") or width == 1280):
        raise ModelError(f"{name} is SDXL's refiner, which only finishes pictures of the base. Choose an SDXL base; no refiner is needed.")
    if header.has("cond_stage_model.model.") or (width == 1024 and not labelled):
        raise ModelError(
            f"{name} is Stable Diffusion 2, whose text encoder and widths no IP-Adapter and no InstantID was made for. {_OURS}"
        )
    if header.has(f"{UNET}input_blocks.1.1.time_stack", f"{UNET}time_mix", f"{UNET}input_blocks.1.0.time_stack"):
        raise ModelError(f"{name} is Stable Video Diffusion, which makes films. {_OURS}")
    if channels not in (4, 9):
        what = "InstructPix2Pix, which edits by instruction" if channels == 8 else f"a UNet with {channels} channels in"
        raise ModelError(f"{name} is {what}; known are those with 4, and with 9 for inpainting. {_OURS}")
    return Family.SDXL if labelled else Family.SD15


_OURS = "Choose a checkpoint of SD 1.5 or SDXL."


def _extent(resolution: str, family: Family, stem: str) -> Extent:
    """The size that the model draws best: modelspec's `1024x1024`, else the family's."""
    found = re.fullmatch(r"(\d{3,4})x(\d{3,4})", resolution.strip())
    if found and all(int(side) % 64 == 0 and 256 <= int(side) <= 2048 for side in found.groups()):
        return Extent(int(found[1]), int(found[2]))
    return TURBO_EXTENT if stem.lower().startswith("sd_xl_turbo") else SIZES[family]


def _clip_skip(notes: Mapping[str, str]) -> int | None:
    """Which of the text encoder's last layers is read, counted from 1."""
    for key in ("modelspec.encoder_layer", "ss_clip_skip"):
        value = notes.get(key, "")
        if value.isdecimal() and 1 <= int(value) <= 12:
            return int(value)
    return None


def _says(value: str | None, *words: str) -> bool:
    return value is not None and value.strip().lower() in words
