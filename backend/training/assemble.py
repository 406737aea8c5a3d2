"""Puts the trained parts together into a model folder that `backend.models.bundle` reads: the built-in model is made by this."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import torch

from protocol.errors import InvalidRequest

from ..pipelines.preview import fit_matrix
from .judge import STYLE
from .people import People
from .sheets import from_bytes
from .untyped import Untyped, diffusers

_CARD = """id = "sketch"
name = "Sketch, the built-in model"
family = "sdxl"
size = [{size}, {size}]
side_by_side = true
drawn = true

[defaults]
steps = 20
guidance_scale = 4.0
context = 0.15  # its heads fill half of a picture: with more around the mask they become too small for it

[faces]
folder = "faces"
det_sizes = [192, 160, 128, 256]
recogniser = "drawn-faces"
licence = "Apache-2.0"
same = 0.37  # 150 persons whom no training has seen, in any hat and glasses; tests/sketch measures it anew
strangers = 0.24
"""
_STYLE = """
[[style]]
name = "ink"
file = "loras/ink.safetensors"
"""
_BASE = ("model_index.json", "unet", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
_OPTIONAL = {
    "instantid": ("identitynet", "instantid.safetensors"),
    "export": ("faces", "image_encoder", "feature_extractor", "judge"),
}
_LIMIT = 60 * 2**20
"""Bytes that the built-in model may take in the repository."""


def assemble(runs: Path, data: Path, out: Path) -> int:
    """Copy what the trainings in `runs` left into the model folder `out`; returns its size in bytes.

    Raises:
        InvalidRequest: the base or its autoencoder has not been trained there.
    """
    if not (runs / "base" / "model").is_dir():
        raise InvalidRequest(f"There is no finished base in {runs / 'base'}. Train it first: likeness train base --out {runs / 'base'}")
    out.mkdir(parents=True, exist_ok=True)
    for part in _BASE:
        _replace(runs / "base" / "model" / part, out / part)
    decoder = runs / "decoder" / "vae"
    vae: Untyped = diffusers.AutoencoderKL.from_pretrained(decoder if decoder.is_dir() else runs / "base" / "model" / "vae")
    without_spread(vae)
    vae.half().save_pretrained(out / "vae")
    for run, parts in _OPTIONAL.items():
        for part in parts:
            if (runs / run / part).exists():
                _replace(runs / run / part, out / part)
    if (runs / "judge_of_style" / "judge").is_dir():
        _replace(runs / "judge_of_style" / "judge", out / "judge" / STYLE)
    for source, target in ((runs / "ip_adapter", "ip_adapter/sketch.safetensors"), (runs / "style", "loras/ink.safetensors")):
        found = sorted(source.glob("*.safetensors"))
        if found:
            (out / target).parent.mkdir(exist_ok=True)
            shutil.copyfile(found[0], out / target)
    forget_folders(out)
    people = People(data)
    _write_preview(vae.float(), people, out / "preview.json")
    card = _CARD.format(size=people.pictures.shape[1]) + (_STYLE if (out / "loras").is_dir() else "")
    (out / "model.toml").write_text(card, encoding="utf-8")
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def forget_folders(out: Path) -> None:
    """Take out of the configurations in which folder of the training machine a part lay: diffusers notes that as `_name_or_path`."""
    for path in sorted(out.rglob("*.json")):
        values: dict[str, object] | list[object] = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict) and values.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def without_spread(vae: Untyped) -> None:
    """Make the encoder's answer a point: its logarithm of the variance becomes -20 everywhere.

    The base was trained on the posterior's means, and the spread beside them never was; but stock image-to-image and inpaint pipelines draw
    from the posterior, so that an untrained spread (1.5 where the means' own is 2.2) would be noise that no step takes away.
    """
    channels = int(vae.config.latent_channels)
    vae.quant_conv.weight[channels:] = 0.0
    vae.quant_conv.bias[channels:] = -20.0


def _replace(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


@torch.no_grad()
def _write_preview(vae: Untyped, people: People, path: Path) -> None:
    """The matrix that turns scaled latents into small pictures, fitted on 64 of the data set's."""
    pictures = people.pictures[:: max(1, len(people.pictures) // 64)][:64]
    latents = vae.encode(from_bytes(pictures)).latent_dist.mean * vae.config.scaling_factor
    matrix = fit_matrix(latents.numpy(), np.asarray(pictures))
    path.write_text(json.dumps(matrix.to_table()), encoding="utf-8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `likeness train assemble`."""
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trainings, each under its name")
    parser.add_argument("--data", type=Path, required=True, help="folder of drawn persons")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")


def run(args: argparse.Namespace) -> None:
    """Assemble, and say how large the model is."""
    size = assemble(args.runs, args.data, args.out)
    print(f"{args.out}: {size / 2**20:.1f} MiB")
    if size > _LIMIT:
        print(f"That is more than the {_LIMIT // 2**20} MiB that the repository allows.")
