"""LoRA files as they are found: kohya's, diffusers' and PEFT's, LyCORIS'. From keys to what each layer is given, and nothing guessed.

A key is a layer's name and a role (`….lora_down.weight`, `….alpha`); a role that is not known here is refused by name, because a file of
which a part is left out draws something else than its maker saw.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from torch import Tensor

from protocol.errors import ModelError

from .tensors import GIB, read_tensors

LORA_BYTES = 6 * GIB
"""A LoRA of rank 256 for all of SDXL has 3.5 GiB in single precision."""
_ROLES = (
    (r"\.lora_down\.weight|\.lora\.down\.weight|_lora\.down\.weight|\.lora_linear_layer\.down\.weight|\.lora_A(?:\.\w+)?\.weight", "down"),
    (r"\.lora_up\.weight|\.lora\.up\.weight|_lora\.up\.weight|\.lora_linear_layer\.up\.weight|\.lora_B(?:\.\w+)?\.weight", "up"),
    (r"\.lora_mid\.weight", "mid"),
    (r"\.alpha", "alpha"),
    (r"\.dora_scale|\.lora_magnitude_vector(?:\.\w+)?", "magnitude"),
    (r"\.(hada_w1_a|hada_w1_b|hada_w2_a|hada_w2_b|hada_t1|hada_t2)", ""),
    (r"\.(lokr_w1|lokr_w1_a|lokr_w1_b|lokr_w2|lokr_w2_a|lokr_w2_b|lokr_t2)", ""),
    (r"\.diff|\.w_norm", "diff"),
    (r"\.diff_b|\.b_norm", "diff_b"),
)
_KEY = [(re.compile(rf"(?P<stem>.+?)(?:{pattern})"), role) for pattern, role in _ROLES]
_UNREADABLE = (
    (".oft_", "OFT, which turns weights instead of adding to them"),
    (".on_input", "(IA)³, which scales activations instead of adding to weights"),
    (".a1.weight", "GLoRA"),
    (".scalar", "LyCORIS with a learned scale; bake it in with LyCORIS' own tool"),
    ("bundle_emb.", "one with embeddings in it; save those as files of their own, into embeddings/"),
    ("double_blocks", "Flux, another family of models"),
    ("single_blocks", "Flux, another family of models"),
    ("single_transformer_blocks", "Flux, another family of models"),
    ("joint_blocks", "Stable Diffusion 3, another family of models"),
    ("transformer.", "Flux or Stable Diffusion 3, other families of models"),
    ("lora_te3_", "Flux or Stable Diffusion 3, other families of models"),
    ("to_k_ip", "an IP-Adapter, which goes into ip_adapter/"),
    ("image_proj", "an IP-Adapter, which goes into ip_adapter/"),
    ("emb_params", "a textual inversion, which goes into embeddings/"),
    ("string_to_param", "a textual inversion, which goes into embeddings/"),
    ("model.diffusion_model.", "a whole checkpoint"),
    ("first_stage_model.", "a whole checkpoint"),
)
"""What keys of other kinds hold, and what such a file is."""


@dataclass(frozen=True, slots=True, eq=False)
class LoraFile:
    """A LoRA, read: `layers` maps the name of a layer, as the file has it, to its tensors by role. `notes` are the file's own metadata."""

    name: str
    layers: Mapping[str, Mapping[str, Tensor]]
    notes: Mapping[str, str] = field(default_factory=dict[str, str])


def read_lora_file(path: Path) -> LoraFile:
    """Read `path`; ModelError for what is damaged, no LoRA, or one of a kind that cannot be added to weights."""
    state, notes = read_tensors(path, "LoRA", LORA_BYTES)
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        stem, role = _split(path, key)
        if role in layers.setdefault(stem, {}):
            raise ModelError(f"{path.name} holds {role} of {stem} twice. Save each LoRA in a file of its own.")
        # PEFT's magnitude is one number per output, in whatever shape; LyCORIS says by the shape which side it is for.
        layers[stem][role] = tensor.flatten() if "lora_magnitude_vector" in key else tensor
    if not layers:
        raise ModelError(f"{path.name} is empty. Download it again.")
    return LoraFile(path.stem, _with_alphas(layers, notes, path), notes)


def _split(path: Path, key: str) -> tuple[str, str]:
    for mark, what in _UNREADABLE:
        if mark in key and not (mark == "model.diffusion_model." and ".lora" in key):
            raise ModelError(f"{path.name} holds {key!r}, so it is {_article(what)}. Choose another LoRA.")
    for pattern, role in _KEY:
        if found := pattern.fullmatch(key):
            return found["stem"], role or next(part for part in found.groups()[1:] if part)
    raise ModelError(f"{path.name} is no LoRA that can be read: nothing is known of {key!r}. Choose one by kohya, diffusers or LyCORIS.")


def _article(what: str) -> str:
    return what if what.startswith(("a ", "an ", "one ")) else f"for or of {what}"


def _with_alphas(layers: dict[str, dict[str, Tensor]], notes: Mapping[str, str], path: Path) -> dict[str, dict[str, Tensor]]:
    """The layers, with the alphas that PEFT writes into metadata or an `adapter_config.json` beside the file instead of the tensors."""
    config = _peft_config(notes, path)
    if not config:
        return layers
    import torch

    for stem, roles in layers.items():
        if "down" not in roles or "alpha" in roles:
            continue
        short = stem.removeprefix("base_model.model.")
        prefix = next((part for part in ("unet", "text_encoder_2", "text_encoder") if short.startswith(f"{part}.")), "unet")
        own = config.get(prefix, config)
        alpha = _pattern(own.get("alpha_pattern"), short, own.get("lora_alpha"))
        if isinstance(alpha, (int, float)):
            rank = roles["down"].shape[0]
            roles["alpha"] = torch.tensor(float(alpha) * (rank**0.5 if own.get("use_rslora") else 1.0))
    return layers


def _peft_config(notes: Mapping[str, str], path: Path) -> dict[str, dict[str, object]]:
    """By part; diffusers writes `{"unet.r": 4, "text_encoder.lora_alpha": 8, …}`, PEFT one plain table."""
    text = notes.get("lora_adapter_metadata", "")
    beside = path.with_name("adapter_config.json")
    try:
        if not text and path.stem == "adapter_model" and beside.is_file():
            text = beside.read_text(encoding="utf-8")
        table = cast("dict[str, object]", json.loads(text)) if text else {}
    except (OSError, ValueError) as error:
        raise ModelError(f"What {path.name} says of itself cannot be read ({error}). Download it again.") from error
    found: dict[str, dict[str, object]] = {}
    for key, value in table.items():
        part, dot, name = key.partition(".")
        owner, word = (part, name) if dot and part in {"unet", "text_encoder", "text_encoder_2"} else ("unet", key)
        found.setdefault(owner, {})[word] = value
    return found


def _pattern(patterns: object, layer: str, usual: object) -> object:
    """PEFT's `alpha_pattern`: the alpha of the layers whose name ends with a pattern."""
    if isinstance(patterns, Mapping):
        for pattern, value in cast("Mapping[str, object]", patterns).items():
            if re.fullmatch(rf"(?:.*\.)?(?:{pattern})", layer):
                return value
    return usual
