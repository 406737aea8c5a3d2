"""LoRAs and textual inversions that lie anywhere on this computer, linked into a model's folder, where they go by their names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protocol.errors import InvalidRequest, ModelError

from ..files import link
from .bundle import Family, Model
from .header import Header, read_header
from .pickles import as_safetensors
from .shelf import NAMELESS

FAMILY_OF_WIDTH = {768: Family.SD15, 2048: Family.SDXL}
"""By how wide the text is that a LoRA's cross-attention reads."""
FAMILY_OF_WORD = {768: Family.SD15}
MOST_BYTES = 1_500_000_000
"""What is larger is taken for a checkpoint, which are pickles of many gigabytes at times; LoRAs of this size are named with `--into`."""
_LORA = (".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", ".lora.down.", "_lora.down.", ".lora_linear_layer.", ".hada_w1_a", ".lokr_w")
_WORDS = ("emb_params", "clip_l", "clip_g", "string_to_param")


@dataclass(frozen=True, slots=True)
class Extra:
    """What a file is: the folder of a model where it belongs, what to call it to people, and its family where the file tells that."""

    folder: str
    title: str
    family: Family | None


def recognised_extra(path: Path) -> Extra | None:
    """The LoRA or textual inversion that `path` is, or None for something else; a pickle is converted for it. ModelError for damage."""
    header = read_header(as_safetensors(path), path.name)
    names = list(header.shapes)
    if any(name.startswith(("image_proj", "ip_adapter.", "adapter_modules.")) for name in names):
        return None
    if any(mark in name for name in names for mark in _LORA):
        return Extra("loras", "a LoRA", family_of_lora(header))
    if any(name.startswith(_WORDS) for name in names) or (len(names) == 1 and len(next(iter(header.shapes.values()))) in {1, 2}):
        return Extra("embeddings", "a textual inversion", family_of_word(header))
    return None


def add_extra(models: Path, extra: Extra, file: Path, into: str | None) -> tuple[str, str]:
    """Link `file` into a model of the folder `models`: the model's id, and the name that the file goes by there.

    Without `into` it goes to the one model that it fits. InvalidRequest with the models that there are, or when the name is taken.
    """
    folder, model = _chosen(models, extra, into)
    name = file.parent.name if file.stem in NAMELESS else file.stem
    place = folder / extra.folder / f"{name}{file.suffix}"
    if place.exists() and not place.samefile(file):
        raise InvalidRequest(f"{model} has another {place.name} in {extra.folder}/. Rename one of the two files.")
    try:
        place.parent.mkdir(exist_ok=True)
        link(place, file.resolve())
    except OSError as error:
        raise ModelError(f"{file.name} could not be linked into {place.parent} ({error.strerror}). Copy it there.") from error
    return model, name


def _chosen(models: Path, extra: Extra, into: str | None) -> tuple[Path, str]:
    """The folder and the id of the model that the file goes to."""
    folders = {card.parent.name: card.parent for card in sorted(models.glob("*/model.toml"))}
    if into is not None:
        if into not in folders:
            known = f"There are: {', '.join(folders)}." if folders else "There is none yet."
            raise InvalidRequest(f"There is no model {into!r} in {models} to put it into. {known}")
        model = Model.open(folders[into])
        if extra.family not in {None, model.family}:
            raise InvalidRequest(
                f"It is {extra.title} for {_title(extra.family)}, and {into} is {_title(model.family)}. Choose another model."
            )
        return folders[into], model.id
    opened = {name: Model.open(folder) for name, folder in folders.items()}
    fitting = [name for name, model in opened.items() if extra.family in {None, model.family}]
    if len(fitting) != 1:
        which = f"It fits {', '.join(fitting)}: name one with --into." if fitting else f"There is no model for it in {models}."
        family = f" for {_title(extra.family)}" if extra.family else ""
        raise InvalidRequest(f"It is {extra.title}{family}. {which}")
    return folders[fitting[0]], opened[fitting[0]].id


def family_of_lora(header: Header) -> Family | None:
    """The family of a LoRA by its header; None where that does not tell."""
    for name, shape in header.shapes.items():
        if "attn2" in name and "to_k" in name and ("down" in name or "lora_A" in name) and len(shape) >= 2:
            return FAMILY_OF_WIDTH.get(shape[1])
    return None


def family_of_word(header: Header) -> Family | None:
    """The family of a textual inversion by its header; None where that does not tell."""
    if header.has("clip_l", "clip_g"):
        return Family.SDXL
    shape = next(iter(header.shapes.values()), ())
    return FAMILY_OF_WORD.get(shape[-1]) if shape else None


def _title(family: Family | None) -> str:
    return "SDXL" if family is Family.SDXL else "SD 1.5"
