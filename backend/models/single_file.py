"""From one file to the modules of a base: diffusers' own converters rename the tensors, and every one of them must find its place.

`diffusers.loaders.single_file_utils` has the names of CompVis' and Stability's code; its loading leaves out what it does not know and keeps
random numbers where something is missing, so loading is done here, strictly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from protocol.errors import ModelError

from .adapters import Untyped
from .checkpoint import TEXT, UNET, VAES, open_checkpoint
from .family import Family
from .header import read_header
from .pickles import as_safetensors
from .strangers import is_vae, stranger
from .tensors import first_line

State = dict[str, Tensor]
OLD_TEXT, NEW_TEXT = "cond_stage_model.transformer.", "cond_stage_model.transformer.text_model."
"""Checkpoints of 2022 lack one word in the names of the text encoder."""
NEEDLESS = ("position_ids", "logit_scale", "text_projection")
"""Endings of names that published files have and modules lack: positions are counted, the others belong to CLIP's other half."""
_OLD_ATTENTION = ((".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0."))
"""What diffusers called the parts of attention before 0.18."""
_ODD_VAES = ("fp16-fix", "fp16fix", "fixfp16", "fp16_fix")


def load_unet(checkpoint: Path, config: Path, dtype: torch.dtype) -> Untyped:
    """The UNet2DConditionModel of a checkpoint, for the configuration in the folder `config`; nine channels in where the file has nine."""
    from diffusers.loaders import single_file_utils
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    facts = open_checkpoint(checkpoint)
    state = _tensors(facts.path, (UNET,))
    words = _config(config) | ({"in_channels": 9} if facts.inpaints else {})
    convert: Untyped = getattr(single_file_utils, "convert_ldm_unet_checkpoint")
    converted = _converted(checkpoint, "UNet", lambda: convert(dict(state), words))
    if len(converted) != len(state):
        raise ModelError(f"{checkpoint.name} does not fit: its UNet has {len(state)} tensors, of which {len(converted)} are known. {_CURE}")
    return _filled(checkpoint, "UNet", UNet2DConditionModel, words, converted, dtype)


def load_vae(file: Path, config: Path, dtype: torch.dtype, inside: bool) -> Untyped:
    """The AutoencoderKL of a checkpoint (`inside`) or of a VAE file of its own, in the old names or diffusers' own."""
    from diffusers.loaders import single_file_utils
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    if not file.is_file():
        raise ModelError(f"The VAE {file} is not there. Put it back, or correct `vae` in model.toml.")
    path = as_safetensors(file)
    state = _vae_tensors(path, file, inside)
    words = _config(config)
    if any(mark in file.stem.lower() for mark in _ODD_VAES):
        words["force_upcast"] = False  # these were mended so that half precision does not overflow
    if _is_named_by_diffusers(state):
        for old, new in _OLD_ATTENTION:
            state = {key.replace(old, new): value for key, value in state.items()}
        return _filled(file, "VAE", AutoencoderKL, words, state, dtype)
    convert: Untyped = getattr(single_file_utils, "convert_ldm_vae_checkpoint")
    converted = _converted(file, "VAE", lambda: convert(state, words))
    if len(converted) != len(state):
        raise ModelError(f"{file.name} does not fit: its VAE has {len(state)} tensors, of which {len(converted)} are known. {_CURE}")
    return _filled(file, "VAE", AutoencoderKL, words, converted, dtype)


def load_text_encoder(checkpoint: Path, config: Path, dtype: torch.dtype, family: Family, second: bool) -> Untyped:
    """CLIPTextModel of a checkpoint, or SDXL's second one, CLIPTextModelWithProjection."""
    import transformers
    from diffusers.loaders import single_file_utils

    facts = open_checkpoint(checkpoint)
    prefix = TEXT[family][int(second)]
    state = _tensors(facts.path, (prefix,))
    if not state:
        raise ModelError(f"{checkpoint.name} has no text encoder. Choose the full version of it.")
    kind: Untyped = transformers.CLIPTextModelWithProjection if second else transformers.CLIPTextModel
    words = kind.config_class(**_config(config))
    if second:
        with _on_no_device():
            shape: Untyped = kind(words)
        convert: Untyped = getattr(single_file_utils, "convert_open_clip_checkpoint")
        converted = _converted(checkpoint, "text encoder", lambda: convert(shape, state, prefix=f"{prefix}model."))
    else:
        if not any(".text_model." in key for key in state):
            state = {key.replace(OLD_TEXT, NEW_TEXT): value for key, value in state.items()}
        plain: Untyped = getattr(single_file_utils, "convert_ldm_clip_checkpoint")
        # transformers has taken one level out of CLIPTextModel's names.
        converted = {key.removeprefix("text_model."): value for key, value in plain(state).items()}
    return _filled(checkpoint, "text encoder", kind, words, converted, dtype)


_CURE = "Reduced or changed architectures (SSD-1B, Vega, tiny ones) are not known; choose another checkpoint, or download it again."


def _tensors(path: Path, beginnings: tuple[str, ...]) -> State:
    """Those tensors of a safetensors file whose names begin so; the rest is not read."""
    import safetensors

    opened: Untyped = getattr(safetensors, "safe_open")  # it publishes no types
    with opened(path, "pt", "cpu") as file:
        return {key: file.get_tensor(key) for key in file.keys() if key.startswith(beginnings)}  # noqa: SIM118  # no mapping


def _vae_tensors(path: Path, file: Path, inside: bool) -> State:
    header = read_header(path, file.name)
    prefix = next((one for one in VAES if header.has(one)), None)
    if prefix is None and inside:
        raise ModelError(f"{file.name} has no VAE. Give one with `vae` in model.toml, or `likeness models add FILE --vae VAE`.")
    if not is_vae(header):
        raise ModelError(f"{file.name} is no VAE: it {stranger(header)}")
    state = {key.removeprefix(prefix or ""): value for key, value in _tensors(path, (prefix or "",)).items()}
    return {key: value for key, value in state.items() if key.startswith(("encoder.", "decoder.", "quant_conv.", "post_quant_conv."))}


def _is_named_by_diffusers(state: State) -> bool:
    return any(key.startswith(("encoder.down_blocks.", "decoder.up_blocks.")) for key in state)


def _config(folder: Path) -> dict[str, Any]:
    try:
        table = cast("dict[str, Any]", json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ModelError(f"The configuration in {folder} is missing or damaged ({error}). Install the model again.") from error
    return {key: value for key, value in table.items() if not key.startswith("_")}


def _converted(file: Path, what: str, convert: Callable[[], Untyped]) -> State:
    try:
        return cast("State", convert())
    except (KeyError, ValueError, IndexError, AttributeError, TypeError, RuntimeError) as error:
        raise ModelError(f"The {what} in {file.name} does not fit ({first_line(error)}) {_CURE}") from error


def _on_no_device() -> Untyped:
    """Modules made within take no memory for their parameters; what is computed in them (positions) is real."""
    import accelerate  # pyright: ignore[reportMissingTypeStubs]  # it has none

    empty: Untyped = getattr(accelerate, "init_empty_weights")
    return empty(include_buffers=False)


def _filled(file: Path, what: str, kind: Untyped, config: Untyped, state: Mapping[str, Tensor], dtype: torch.dtype) -> Untyped:
    """A module of `kind` with exactly these tensors, in `dtype`, in evaluation mode and without gradients."""
    with _on_no_device():
        module: Untyped = kind.from_config(config) if isinstance(config, dict) else kind(config)
    wanted: Mapping[str, Tensor] = module.state_dict()
    missing = [key for key in wanted if key not in state]
    extra = [key for key in state if key not in wanted and not key.endswith(NEEDLESS)]
    odd = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    if missing or extra or odd:
        raise ModelError(f"The {what} in {file.name} does not fit: {_difference(missing, extra, odd, state, wanted)}. {_CURE}")
    # Copied: the file is mapped, and must be free to be replaced while its weights are in use.
    module.load_state_dict({key: state[key].to(dtype, copy=True).contiguous() for key in wanted}, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def _difference(missing: list[str], extra: list[str], odd: list[str], state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    if odd:
        one = odd[0]
        return f"{one} has the shape {tuple(state[one].shape)}, and should have {tuple(wanted[one].shape)}"
    if missing:
        return f"{len(missing)} of {len(wanted)} tensors are missing, such as {missing[0]}"
    return f"it has {len(extra)} tensors too many, such as {extra[0]}"
