"""The modules of a model's base, wherever they are: in folders of its own, in one checkpoint, or the VAE in a file of its own."""

from __future__ import annotations

import json
from typing import Any, cast

import torch

from protocol.errors import ModelError

from .adapters import Untyped
from .bundle import Model, part_folder
from .loading import load_part
from .single_file import load_text_encoder, load_unet, load_vae
from .tokenizers import END, stock_tokenizer

FIRST = "!"
"""What SDXL's second tokenizer pads with: the token 0."""


def load_base_part(model: Model, name: str, kind: Untyped, dtype: torch.dtype) -> Untyped:
    """`unet`, `vae`, `text_encoder` or `text_encoder_2` (of class `kind`), in evaluation mode; ModelError with a sentence.

    A file that model.toml names as the VAE goes first, then the model's own folder with weights, then the checkpoint.
    """
    base, own = model.base, model.folder / name
    config = part_folder(model.folder, name, base, model.family)
    if name == "vae" and base.vae is not None:
        return load_part(kind, base.vae, dtype) if base.vae.is_dir() else load_vae(base.vae, config, dtype, inside=False)
    if base.checkpoint is None or any(own.glob("*.safetensors")) or any(own.glob("*.bin")):
        return load_part(kind, own, dtype)
    match name:
        case "unet":
            return load_unet(base.checkpoint, config, dtype)
        case "vae":
            return load_vae(base.checkpoint, config, dtype, inside=True)
        case _:
            return load_text_encoder(base.checkpoint, config, dtype, model.family, second=name == "text_encoder_2")


def load_tokenizer(model: Model, name: str) -> Untyped:
    """CLIPTokenizer from the folder `name`; beside a checkpoint, where there is none, CLIP's own."""
    from transformers import CLIPTokenizer

    folder = model.folder / name
    if not folder.is_dir():
        if model.base.checkpoint is not None:
            return stock_tokenizer(FIRST if name == "tokenizer_2" else END)
        raise ModelError(f"The folder {name!r} of the model in {model.folder} is missing. Install the model again.")
    load: Untyped = getattr(CLIPTokenizer, "from_pretrained")
    return load(str(folder), local_files_only=True)


def load_scheduler(model: Model) -> Untyped:
    """The scheduler of the base, with what its training wants: v-prediction, pure noise at the end, the timesteps of few steps."""
    import diffusers

    folder = part_folder(model.folder, "scheduler", model.base, model.family)
    try:
        config = cast("dict[str, Any]", json.loads((folder / "scheduler_config.json").read_text(encoding="utf-8")))
        kind = getattr(diffusers, config["_class_name"])
    except (OSError, KeyError, AttributeError, json.JSONDecodeError) as error:
        raise ModelError(f"The scheduler in {folder} is missing or unknown ({error}). Install the model again.") from error
    return kind.from_config(config | model.base.scheduler_changes())
