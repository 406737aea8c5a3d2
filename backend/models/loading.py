"""From files to modules: diffusers folders, and adapter files in the official layouts. A file is exactly right or refused with a sentence.

Layouts: tencent-ailab/IP-Adapter `ip_adapter/ip_adapter.py` and `ip_adapter_faceid.py`, InstantID/InstantID `ip_adapter/resampler.py`. A
`.bin` holds
`{"image_proj": {...}, "ip_adapter": {...}}`, a `.safetensors` the same flat with prefixes. diffusers knows how to rename the projections'
keys (`loaders/unet.py`); it is asked with strict loading, because without it a resampler of another depth loads silently wrong.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from protocol.errors import ModelError

from .adapters import AdapterKind, Factors, ImageAdapter, LoraPair, Untyped

State = dict[str, Tensor]
PREFIXES = {"image_proj": "image_proj", "image_proj_model": "image_proj", "ip_adapter": "ip_adapter", "adapter_modules": "ip_adapter"}
"""Names of the two halves; the second of each pair is what the training scripts of IP-Adapter write."""


def load_part(kind: Untyped, folder: Path, dtype: torch.dtype) -> Untyped:
    """One diffusers or transformers class from its folder, in evaluation mode and without gradients; ModelError if it cannot be read."""
    if not folder.is_dir():
        raise ModelError(f"The folder {folder.name!r} of the model in {folder.parent} is missing. Install the model again.")
    try:
        part = kind.from_pretrained(str(folder), local_files_only=True, **{_dtype_argument(kind): dtype})
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(f"{folder} cannot be loaded as {kind.__name__}: {_first_line(error)} Install the model again.") from error
    part.eval()
    part.requires_grad_(False)
    return part


def load_adapter(path: Path, unet: Untyped, kind: AdapterKind | None = None) -> ImageAdapter:
    """Read the adapter file at `path` for `unet` (diffusers UNet2DConditionModel; its dtype and device are taken).

    `kind` is needed where a layout has two meanings: without it a resampler over 512 features is read as InstantID, one over an image
    encoder as Plus, and a FaceID-Plus file is version 2 if its name says `plusv2`. Raises ModelError for a file that is damaged or made for
    another base.
    """
    halves = read_halves(path)
    kind = _checked_kind(path, kind, halves["image_proj"])
    with torch.no_grad():
        projection = _projection(path, kind, halves["image_proj"])
    projection.to(device=unet.device, dtype=unet.dtype).eval().requires_grad_(False)
    _check_width(path, unet, halves["image_proj"])
    names = list(unet.attn_processors)
    layers = {index: _layer(path, unet, names, index, halves["ip_adapter"]) for index in _cross_indices(names)}
    lora = _loras(path, unet, names, halves["ip_adapter"])
    _refuse_leftovers(path, halves["ip_adapter"], layers, lora)
    return ImageAdapter(path.stem, kind, projection, layers, lora)


def read_halves(path: Path) -> dict[str, State]:
    """The two halves of an adapter file, `image_proj` and `ip_adapter`, whatever its container; pickles are read as tensors only, never as
    code."""
    state = _read(path)
    halves: dict[str, State] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in state.items():
        prefix, _, rest = key.partition(".")
        if prefix not in PREFIXES or not rest:
            raise ModelError(f"{path.name} is no IP-Adapter or InstantID file: it holds {key!r}. Choose a file in the official layout.")
        halves[PREFIXES[prefix]][rest] = value
    if not halves["image_proj"] or not halves["ip_adapter"]:
        raise ModelError(f"{path.name} is no IP-Adapter or InstantID file: image_proj or ip_adapter is missing. Download it again.")
    return halves


def read_lora(path: Path) -> State:
    """The tensors of a LoRA for a UNet, as diffusers' `save_lora_weights` writes them; ModelError for one that changes more than that."""
    state = _read(path)
    if not state or not all(key.startswith("unet.") for key in state):
        raise ModelError(f"{path.name} is no LoRA for a UNet alone, as diffusers writes it. Export it with save_lora_weights.")
    return state


def sniff(path: Path, projection: Mapping[str, Tensor]) -> AdapterKind:
    """The kind that the keys of `projection` tell; see `load_adapter` for what they cannot tell."""
    if "proj.weight" in projection:
        return AdapterKind.BASE
    if "proj.3.weight" in projection:
        return AdapterKind.FULL
    if "perceiver_resampler.proj_in.weight" in projection:
        return AdapterKind.FACE_ID_PLUS_V2 if "plusv2" in path.stem.lower().replace("-", "").replace("_", "") else AdapterKind.FACE_ID_PLUS
    if "proj.0.weight" in projection and "norm.weight" in projection:
        return AdapterKind.FACE_ID
    if "latents" in projection and "proj_in.weight" in projection:
        return AdapterKind.INSTANT_ID if projection["proj_in.weight"].shape[1] == FACE_FEATURES else AdapterKind.PLUS
    known = "IP-Adapter base, Plus, Full, FaceID and InstantID"
    raise ModelError(f"{path.name} holds an image projection of an unknown layout. Known are {known}.")


FACE_FEATURES = 512
"""Length of an ArcFace embedding, in antelopev2 as in buffalo_l."""


def _read(path: Path) -> State:
    if not path.is_file():
        raise ModelError(f"The adapter file {path} is missing. Install the model again.")
    try:
        if path.suffix == ".safetensors":
            from safetensors import torch as safetensors

            return safetensors.load_file(path)  # pyright: ignore[reportUnknownMemberType]
        nested = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path.name} cannot be read: {_first_line(error)} Download it again.") from error
    except Exception as error:  # SafetensorError is no subclass of the above, and importing it late hides its name from the tuple
        raise ModelError(f"{path.name} is damaged: {_first_line(error)} Download it again.") from error
    return _flatten(path, nested)


def _flatten(path: Path, nested: Untyped) -> State:
    flat: State = {}
    for half, value in _items(nested):
        for key, tensor in _items(value) or [("", value)]:
            if not isinstance(tensor, Tensor):
                raise ModelError(f"{path.name} is no adapter file: it holds something that is no tensor. Download it again.")
            flat[f"{half}.{key}" if key else half] = tensor
    return flat


def _items(value: object) -> list[tuple[str, object]]:
    return [(str(key), item) for key, item in cast("dict[object, object]", value).items()] if isinstance(value, dict) else []


def _checked_kind(path: Path, kind: AdapterKind | None, projection: Mapping[str, Tensor]) -> AdapterKind:
    found = sniff(path, projection)
    same_layout = {AdapterKind.FACE_ID_PLUS, AdapterKind.FACE_ID_PLUS_V2}, {AdapterKind.PLUS, AdapterKind.INSTANT_ID}
    if kind is None or kind is found or any({kind, found} <= pair for pair in same_layout):
        return kind or found
    raise ModelError(f"{path.name} was to be an adapter of kind {kind.value}, but its layout is that of {found.value}. Correct model.toml.")


def _projection(path: Path, kind: AdapterKind, state: State) -> Untyped:
    from diffusers.loaders.unet import UNet2DConditionLoadersMixin
    from diffusers.models.embeddings import ImageProjection

    # The converter reads nothing from its object when it loads strictly, hence None in the place of a UNet.
    convert: Untyped = getattr(UNet2DConditionLoadersMixin, "_convert_ip_adapter_image_proj_to_diffusers")  # noqa: B009
    state = {key: value.float() for key, value in state.items()}
    try:
        if kind is AdapterKind.BASE:  # the converter would take any number of tokens for 4
            width, (rows, features) = state["norm.weight"].shape[0], state["proj.weight"].shape
            module: Untyped = ImageProjection(features, width, rows // width)
            module.load_state_dict({key.replace("proj", "image_embeds"): value for key, value in state.items()})
        else:
            module = convert(None, state, low_cpu_mem_usage=False)
    except (RuntimeError, KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise ModelError(f"The image projection of {path.name} does not fit its layout ({kind.value}): {_first_line(error)}") from error
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


def _layer(path: Path, unet: Untyped, names: list[str], index: int, state: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
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
        found.append(tensor.to(device=unet.device, dtype=unet.dtype))
    return found[0], found[1]


def _cure(unet: Untyped) -> str:
    family = "SDXL" if unet.config.addition_embed_type == "text_time" else "SD 1.5"
    return f"Choose an adapter for {family} of this model's size."


def _loras(path: Path, unet: Untyped, names: list[str], state: Mapping[str, Tensor]) -> dict[int, LoraPair]:
    if not any(".to_q_lora." in key for key in state):
        return {}
    parts = ("q", "k", "v", "out")
    return {index: LoraPair(*(_factors(path, unet, names, index, part, state) for part in parts)) for index in range(len(names))}


def _factors(path: Path, unet: Untyped, names: list[str], index: int, part: str, state: Mapping[str, Tensor]) -> Factors:
    attention = unet.get_submodule(names[index].removesuffix(".processor"))
    layer = attention.to_out[0] if part == "out" else getattr(attention, f"to_{part}")
    layer = getattr(layer, "base_layer", layer)  # where PEFT has wrapped it for another LoRA
    down, up = (state.get(f"{index}.to_{part}_lora.{half}.weight") for half in ("down", "up"))
    if down is None or up is None:
        raise ModelError(f"{path.name} is incomplete: its LoRA lacks to_{part} of attention layer {index}. Download it again.")
    if down.shape[1] != layer.in_features or up.shape[0] != layer.out_features or down.shape[0] != up.shape[1]:
        raise ModelError(f"The LoRA in {path.name} was made for another base model. {_cure(unet)}")
    return down.to(device=unet.device, dtype=unet.dtype), up.to(device=unet.device, dtype=unet.dtype)


def _refuse_leftovers(path: Path, state: Mapping[str, Tensor], layers: Mapping[int, object], lora: Mapping[int, object]) -> None:
    known = len(layers) * 2 + len(lora) * 8
    if len(state) != known:
        raise ModelError(f"{path.name} was made for another base model: it has {len(state)} attention tensors where {known} belong.")


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).rstrip(".:") + "."


def _dtype_argument(kind: Untyped) -> str:
    """transformers has renamed `torch_dtype`; diffusers has not."""
    return "dtype" if kind.__module__.startswith("transformers") else "torch_dtype"
