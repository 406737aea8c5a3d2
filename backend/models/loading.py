"""From files to modules: diffusers folders, and adapter files in the official layouts. A file is exactly right or refused with a sentence.

Layouts: tencent-ailab/IP-Adapter `ip_adapter/ip_adapter.py` and `ip_adapter_faceid.py`, InstantID/InstantID `ip_adapter/resampler.py`. A
`.bin` holds
`{"image_proj": {...}, "ip_adapter": {...}}`, a `.safetensors` the same flat with prefixes. diffusers knows how to rename the projections'
keys (`loaders/unet.py`); it is asked with strict loading, because without it a resampler of another depth loads silently wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from protocol.errors import ModelError

from .adapter_keys import official_halves
from .adapter_kinds import kind_of
from .adapters import AdapterKind, Factors, ImageAdapter, LoraPair, Untyped
from .tensors import GIB, first_line, read_tensors

State = dict[str, Tensor]
ADAPTER_BYTES = 8 * GIB
"""InstantID's adapter has 1.6 GiB; one with its optimiser's state would still be below."""


@dataclass(frozen=True)
class _Place:
    """Where an adapter's tensors go."""

    device: torch.device
    dtype: torch.dtype


def load_part(kind: Untyped, folder: Path, dtype: torch.dtype, **config: Untyped) -> Untyped:
    """One diffusers or transformers class from its folder, in evaluation mode and without gradients; ModelError if it cannot be read.
    `config` goes before what its config.json says."""
    if not folder.is_dir():
        raise ModelError(f"The folder {folder.name!r} of the model in {folder.parent} is missing. Install the model again.")
    try:
        part = kind.from_pretrained(str(folder), local_files_only=True, **{_dtype_argument(kind): dtype}, **config)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"{folder} cannot be loaded as {kind.__name__}: {first_line(error)} Install the model again.") from error
    part.eval()
    part.requires_grad_(False)
    return part


def load_adapter(path: Path, unet: Untyped, kind: AdapterKind | None = None) -> ImageAdapter:
    """Read the adapter file at `path` for `unet` (diffusers UNet2DConditionModel; its dtype and device are taken).

    `kind` is what model.toml says, and decides where a layout has two meanings (`adapter_kinds`). Raises ModelError for a file that is
    damaged, made for another base, or for another model altogether.
    """
    names = list(unet.attn_processors)
    halves = read_halves(path, names)
    kind = kind_of(path, halves["image_proj"], kind)
    _check_width(path, unet, halves["image_proj"])
    with torch.no_grad():
        projection = _projection(path, kind, halves["image_proj"])
    place = _Place(unet.device, unet.dtype)  # asked once: each answer walks through every module, which for SDXL's takes 5 ms
    projection.to(device=place.device, dtype=place.dtype).eval().requires_grad_(False)
    layers = {index: _layer(path, unet, place, names, index, halves["ip_adapter"]) for index in _cross_indices(names)}
    lora = _loras(path, unet, place, names, halves["ip_adapter"])
    _refuse_leftovers(path, halves["ip_adapter"], layers, lora)
    return ImageAdapter(path.stem, kind, projection, layers, lora)


def read_halves(path: Path, processors: Sequence[str] = ()) -> dict[str, State]:
    """The two halves of an adapter file, `image_proj` and `ip_adapter`, by their official names, whatever its container and its writer."""
    return official_halves(path, read_tensors(path, "adapter", ADAPTER_BYTES)[0], processors)


def read_lora(path: Path) -> State:
    """The tensors of a LoRA for a UNet, as diffusers' `save_lora_weights` writes them; ModelError for one that changes more than that."""
    state, _ = read_tensors(path, "LoRA", ADAPTER_BYTES)
    if not state or not all(key.startswith("unet.") for key in state):
        raise ModelError(f"{path.name} is no LoRA for a UNet alone, as diffusers writes it. Export it with save_lora_weights.")
    return state


def _projection(path: Path, kind: AdapterKind, state: State) -> Untyped:
    from diffusers.loaders.unet import UNet2DConditionLoadersMixin
    from diffusers.models.embeddings import ImageProjection

    # The converter reads nothing from its object when it loads strictly, hence None in the place of a UNet.
    convert: Untyped = getattr(UNet2DConditionLoadersMixin, "_convert_ip_adapter_image_proj_to_diffusers")
    state = {key: value.float() for key, value in state.items()}
    try:
        if kind is AdapterKind.BASE:  # the converter would take any number of tokens for 4
            width, (rows, features) = state["norm.weight"].shape[0], state["proj.weight"].shape
            module: Untyped = ImageProjection(features, width, rows // width)
            module.load_state_dict({key.replace("proj", "image_embeds"): value for key, value in state.items()})
        else:
            module = convert(None, state, low_cpu_mem_usage=False)
    except (RuntimeError, KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise ModelError(f"The image projection of {path.name} does not fit its layout ({kind.value}): {first_line(error)}") from error
    if kind is AdapterKind.FACE_ID_PLUS_V2:
        module.shortcut = True
    return module


def _check_width(path: Path, unet: Untyped, state: Mapping[str, Tensor]) -> None:
    """The tokens must be as wide as the text that the UNet reads; the last layer norm of every layout says how wide they are."""
    last = next((state[key] for key in ("norm.weight", "norm_out.weight", "proj.3.weight") if key in state), None)
    base = unet.config.cross_attention_dim
    if last is None or last.shape[0] != base:
        made = "unknown" if last is None else last.shape[0]
        raise ModelError(f"{path.name} was made for another base model (text width {made}, this one has {base}). {_cure(unet)}")


def _cross_indices(names: list[str]) -> list[int]:
    return [index for index, name in enumerate(names) if name.endswith("attn2.processor")]


def _layer(path: Path, unet: Untyped, place: _Place, names: list[str], index: int, state: State) -> tuple[Tensor, Tensor]:
    attention = unet.get_submodule(names[index].removesuffix(".processor"))
    wanted = (attention.inner_kv_dim, attention.cross_attention_dim)
    found: list[Tensor] = []
    for half in ("to_k_ip", "to_v_ip"):
        tensor = state.get(f"{index}.{half}.weight")
        if tensor is None:
            raise ModelError(f"{path.name} was made for another base model: it has nothing for attention layer {index}. {_cure(unet)}")
        if tuple(tensor.shape) != wanted:
            made, base = tensor.shape[-1], wanted[1]
            raise ModelError(f"{path.name} was made for another base model (text width {made}, this one has {base}). {_cure(unet)}")
        found.append(tensor.to(device=place.device, dtype=place.dtype))
    return found[0], found[1]


def _cure(unet: Untyped) -> str:
    family = "SDXL" if unet.config.addition_embed_type == "text_time" else "SD 1.5"
    return f"Choose an adapter for {family} of this model's size."


def _loras(path: Path, unet: Untyped, place: _Place, names: list[str], state: State) -> dict[int, LoraPair]:
    if not any(".to_q_lora." in key for key in state):
        return {}
    parts = ("q", "k", "v", "out")
    return {index: LoraPair(*(_factors(path, unet, place, names, index, part, state) for part in parts)) for index in range(len(names))}


def _factors(path: Path, unet: Untyped, place: _Place, names: list[str], index: int, part: str, state: State) -> Factors:
    attention = unet.get_submodule(names[index].removesuffix(".processor"))
    layer = attention.to_out[0] if part == "out" else getattr(attention, f"to_{part}")
    layer = getattr(layer, "base_layer", layer)  # where PEFT has wrapped it for another LoRA
    down, up = (state.get(f"{index}.to_{part}_lora.{half}.weight") for half in ("down", "up"))
    if down is None or up is None:
        raise ModelError(f"{path.name} is incomplete: its LoRA lacks to_{part} of attention layer {index}. Download it again.")
    if down.shape[1] != layer.in_features or up.shape[0] != layer.out_features or down.shape[0] != up.shape[1]:
        raise ModelError(f"The LoRA in {path.name} was made for another base model. {_cure(unet)}")
    return down.to(device=place.device, dtype=place.dtype), up.to(device=place.device, dtype=place.dtype)


def _refuse_leftovers(path: Path, state: Mapping[str, Tensor], layers: Mapping[int, object], lora: Mapping[int, object]) -> None:
    known = len(layers) * 2 + len(lora) * 8
    if len(state) != known:
        raise ModelError(f"{path.name} was made for another base model: it has {len(state)} attention tensors where {known} belong.")


def _dtype_argument(kind: Untyped) -> str:
    """transformers has renamed `torch_dtype`; diffusers has not."""
    return "dtype" if kind.__module__.startswith("transformers") else "torch_dtype"
