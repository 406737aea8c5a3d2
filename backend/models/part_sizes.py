"""How large the parts of a model are, read from the headers of its files: nothing is loaded, no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from protocol.errors import LikenessError

from .bundle import Family, Model, instant_id_file
from .header import Shape, read_header
from .memory_plan import Part, Role, Work

_BLOCK = re.compile(r".*transformer_blocks\.\d+\.")
_LDM = {
    "unet": ("model.diffusion_model.",),
    "vae": ("first_stage_model.",),
    "text_encoder": ("cond_stage_model.", "conditioner.embedders.0."),
    "text_encoder_2": ("conditioner.embedders.1.",),
}
"""Where the parts of a checkpoint in one file begin."""
_WIDTHS = {Family.SD15: 320, Family.SDXL: 320}
STEP_NUMBERS = {Family.SD15: 26.1 + 5.1, Family.SDXL: 15.9 + 5.1}
DECODE_NUMBERS = 6.1
"""Numbers that live at once, for each place and channel of the first block: in a step of the UNet or a ControlNet (per latent and half of
the batch) with what a ControlNet adds, and while the VAE decodes (per pixel; encoding is less, 5.0). Counted operation by operation on
tensors without contents, with the real configurations of SD 1.5 and SDXL from 512 to 1216 pixels a side
(`tests/models/test_memory_plan.py`); attention in one kernel, which keeps no scores, so that all of it grows with the number of pixels.
SDXL's first block has no attention."""
VAE_WIDTH = 128
MB = 1000**2
SDXL_INSTANTID = (
    Part("unet", Role.UNET, 5135 * MB, 4357 * MB, 70 * MB),
    Part("vae", Role.VAE, 167 * MB),
    Part("text_encoder", Role.TEXT, 246 * MB),
    Part("text_encoder_2", Role.TEXT, 1390 * MB),
    Part("identitynet", Role.NET, 2502 * MB, 2160 * MB, 70 * MB),
    Part("image_encoder", Role.PICTURE, 1264 * MB),
    Part("adapters", Role.ADAPTER, 1700 * MB),
    Part("faces", Role.FACES, 360 * MB),
)
"""The published SDXL 1.0, InstantID, IP-Adapter Plus and antelopev2 in half precision, for who asks before having them."""
SDXL_WORK = Work(42 * MB, 441 * MB, 1638 * MB)
"""1024 x 1024 with guidance, decoded in half precision, too (`half_vae`). A preview decoder works between two steps, and takes less than a
step."""
SDXL_CAPTURED, SDXL_REPLACED = 873 * MB, 5135 * MB
"""What captured nets hold for such a picture, and what LoRAs replace at most; `captured_bytes` has the formula."""
RESIDUAL_NUMBERS = 5.1
"""What a ControlNet adds, for each place and channel of the first block."""
KEY_TOKENS = 77 + 16 + 16
"""Of the text, a face and a picture: keys and values of which are copied into each graph's buffers."""
_CROSS = re.compile(r".*attn2\.to_k\.weight")
READING_SHARE = 0.03
"""Of an encoder's own weights, while it reads: bigG took 8 of 1,389 MB at 77 tokens, ViT-H 31 of 1,264 at 257 patches, all hidden states
kept."""


def parts_of(model: Model, element: int, stored: int | None = None, guides: Iterable[Path] = ()) -> tuple[Part, ...]:
    """The parts that a picture of a person takes, in a precision of `element` bytes for each number: the base, InstantID if the model has
    it, its first IP-Adapter with the image encoder, the ControlNets in the folders `guides`, and the face models. `stored` is for the UNet
    and ControlNets, if kept otherwise."""
    kept = stored or element
    found = [_base_part(model, "unet", Role.UNET, kept), _base_part(model, "vae", Role.VAE, element)]
    texts = ("text_encoder", "text_encoder_2") if model.family is Family.SDXL else ("text_encoder",)
    found += [_base_part(model, name, Role.TEXT, element) for name in texts]
    adapters = [instant_id_file(model.folder)] if model.instant_id else []
    if model.instant_id:
        found.append(_part("identitynet", Role.NET, _shapes(_files(model.folder / "identitynet")), kept))
    found += [_part(f"controlnets/{folder.name}", Role.NET, _shapes(_files(folder)), kept) for folder in guides]
    if model.adapters:
        adapters.append(model.adapters[0].file)
        found.append(_part("image_encoder", Role.PICTURE, _shapes(_files(model.folder / model.adapters[0].encoder)), element))
    found.append(Part("adapters", Role.ADAPTER, sum(_adapter_bytes(file, element) for file in adapters if file is not None)))
    found.append(_part("preview_decoder", Role.ADAPTER, _shapes(_files(model.folder / "preview_decoder")), element))
    if model.faces is not None:
        found.append(Part("faces", Role.FACES, sum(file.stat().st_size for file in model.faces.glob("*.onnx"))))
    return tuple(part for part in found if part.weights)


def work_of(model: Model, parts: Iterable[Part], element: int, captured: bool = False, merged: bool = False) -> Work:
    """What a picture of the model's own size takes beside the weights, with guidance. `captured` where CUDA graphs hold memory of their
    own, `merged` where LoRAs are put into the UNet's weights."""
    known = tuple(parts)
    reading = READING_SHARE * max((part.weights for part in known if part.role in (Role.TEXT, Role.PICTURE)), default=0)
    pixels = model.extent.width * model.extent.height
    width = _first_width(model)
    step = STEP_NUMBERS[model.family] * 2 * (pixels / model.factor**2) * width * element
    decode = DECODE_NUMBERS * pixels * VAE_WIDTH * element
    held = captured_bytes(model, known, int(step), element) if captured else 0
    replaced = sum(part.weights for part in known if part.role is Role.UNET) if merged else 0
    return Work(int(reading), int(step), int(decode), held, replaced)


def captured_bytes(model: Model, parts: Iterable[Part], step: int, element: int) -> int:
    """What CUDA graphs hold for pictures of the model's own size: what one step needs in between, which all share; for the UNet with and
    without ControlNets and for each ControlNet keys and values; what ControlNets answer, once where they lie and once where the UNet reads.

    `step` is what a step takes. Every shape beyond these has graphs of its own, for which the plan has what is left.
    """
    nets = sum(part.role is Role.NET for part in parts)
    places = model.extent.width * model.extent.height // model.factor**2
    residuals = RESIDUAL_NUMBERS * 2 * places * _first_width(model) * element
    keys = 2 * 2 * KEY_TOKENS * sum(shape[0] for key, shape in _of_base(model, "unet").items() if _CROSS.fullmatch(key)) * element
    unets = 2 if nets else 1
    return int(step + (unets + nets) * keys + (nets + bool(nets)) * residuals)


def _adapter_bytes(file: Path, element: int) -> int:
    """Of one adapter, whose tensors are called as another's are. A pickle has no header to ask: it counts as it lies on
    the disk, in half precision or more."""
    if file.suffix == ".safetensors":
        return _part("adapter", Role.ADAPTER, _shapes([file]), element).weights
    return file.stat().st_size if file.is_file() else 0


def _first_width(model: Model) -> int:
    shapes = _of_base(model, "unet")
    first = next((shape for key, shape in shapes.items() if key.endswith(("conv_in.weight", "input_blocks.0.0.weight"))), None)
    return first[0] if first else _WIDTHS[model.family]


def _base_part(model: Model, name: str, role: Role, element: int) -> Part:
    return _part(name, role, _of_base(model, name), element)


def _of_base(model: Model, name: str) -> dict[str, Shape]:
    own = _shapes(_files(model.folder / name))
    if own or model.base.checkpoint is None:
        return own
    return {key: shape for key, shape in _shapes([model.base.checkpoint]).items() if key.startswith(_LDM[name])}


def _part(name: str, role: Role, shapes: Mapping[str, Shape], element: int) -> Part:
    blocks: dict[str, int] = {}
    total = 0
    for key, shape in shapes.items():
        size = math.prod(shape) * element
        total += size
        if role in (Role.UNET, Role.NET) and (found := _BLOCK.match(key)):
            blocks[found[0]] = blocks.get(found[0], 0) + size
    return Part(name, role, total, sum(blocks.values()), max(blocks.values(), default=0))


def _files(folder: Path) -> list[Path]:
    """The weight files of a folder: where a library wrote several versions, those of one of them."""
    files = sorted(folder.glob("*.safetensors"))
    plain = [file for file in files if not re.search(r"\.(fp16|bf16|non_ema)\b", file.name)]
    return plain or files


def _shapes(files: Iterable[Path]) -> dict[str, Shape]:
    """The tensors of some files; a file that cannot be read counts for nothing here, and is told of where it is loaded."""
    found: dict[str, Shape] = {}
    for file in files:
        try:
            found |= read_header(file).shapes
        except LikenessError:
            continue
    return found
