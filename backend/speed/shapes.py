"""Models to measure with: SDXL's shapes, or small ones of the same build, with random weights made on the device. Nothing is downloaded.

Weights are scaled as trained ones are (standard deviation 1/sqrt(inputs)), also where training begins at zero: with zeros behind its
blocks an IdentityNet would add nothing, and leaving it out would look exact whatever the code does.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protocol.errors import InvalidRequest

from ..models.adapters import Untyped
from ..models.bundle import Model
from ..pipelines.engine import Engine, Faces
from ..workbench import BUILT_IN

Layout = Mapping[str, tuple[int, ...]]
"""Names and shapes of a checkpoint's tensors."""
FACE_FEATURES, FACE_TOKENS, FACE_LAYERS = 512, 16, 4


@dataclass(frozen=True, slots=True)
class Shapes:
    """The sizes of everything; sides are in pixels, `text` and `text_2` are (width, layers, heads) of the two text encoders."""

    name: str
    side: int
    channels: tuple[int, ...]
    layers: tuple[int, ...]
    layers_per_block: int
    text: tuple[int, int, int]
    text_2: tuple[int, int, int]
    time_width: int
    condition: tuple[int, ...]
    vae: tuple[int, ...]
    vae_layers: int
    face: tuple[int, int]
    """Width and heads of InstantID's resampler."""
    groups: int = 32

    @property
    def context(self) -> int:
        """Width of the text that the UNet reads: both encoders' beside one another."""
        return self.text[0] + self.text_2[0]


SDXL = Shapes(
    name="sdxl",
    side=1024,
    channels=(320, 640, 1280),
    layers=(1, 2, 10),
    layers_per_block=2,
    text=(768, 12, 12),
    text_2=(1280, 32, 20),
    time_width=256,
    condition=(16, 32, 96, 256),
    vae=(128, 256, 512, 512),
    vae_layers=2,
    face=(1280, 20),
)
"""SDXL 1.0 with InstantID: 2,567, 1,251, 82 and 341 million parameters in UNet, IdentityNet, resampler and adapter."""

SMALL = Shapes(
    name="small",
    side=256,
    channels=(64, 128, 256),
    layers=(1, 1, 2),
    layers_per_block=2,
    text=(96, 2, 2),
    text_2=(160, 2, 2),
    time_width=32,
    condition=(4, 8, 16, 32),
    vae=(16, 32, 32, 32),
    vae_layers=1,
    face=(128, 2),
    groups=16,
)
"""For one thread of a processor. The control embedding is scaled with the rest: at its real size it would be half of so small a step,
and keeping it would look like a gain that no GPU shows."""

TINY = replace(SMALL, name="tiny", side=64, channels=(32, 64), layers=(1, 1), layers_per_block=1, vae=(8, 8, 16, 16), groups=8)
"""For tests."""

SHAPES = {shapes.name: shapes for shapes in (SDXL, SMALL, TINY)}


def shapes_for(name: str | None, device: str) -> Shapes:
    """Those of this name; without one, SDXL's for a GPU and small ones for a processor. Raises InvalidRequest for an unknown name."""
    name = name or ("sdxl" if device.startswith("cuda") else "small")
    if name not in SHAPES:
        raise InvalidRequest(f"There are no shapes called {name!r}; there are {', '.join(SHAPES)}.")
    return SHAPES[name]


def empty_modules(shapes: Shapes, folder: Path, device: str, dtype: torch.dtype) -> dict[str, Untyped]:
    """UNet, VAE, IdentityNet and text encoders of these shapes, whose numbers are not drawn yet; on the meta device they have none."""
    _write_folder(shapes, folder)
    return {name: _empty(kind, config, device, dtype) for name, (kind, config) in _modules(shapes, folder).items()}


def random_engine(shapes: Shapes, folder: Path, faces: Faces | None, device: str, dtype: torch.dtype, seed: int = 0) -> Engine:
    """An engine over a model of these shapes. `folder` gets what is small (settings, tokenizers, the adapter's file); modules are made on
    the device and handed to the engine's parts."""
    generator = torch.Generator(device).manual_seed(seed)
    modules = {name: _filled(module, generator) for name, module in empty_modules(shapes, folder, device, dtype).items()}
    _write_adapter(folder / "instantid.safetensors", _resampler(shapes), modules["unet"], generator)
    engine = Engine(Model.open(folder), faces, device=device, dtype=dtype)
    for name, module in modules.items():
        engine.parts.put(name, module)
    return engine


def official_halves(path: Path, device: torch.device, dtype: torch.dtype) -> dict[str, dict[str, Tensor]]:
    """An adapter's file as `load_ip_adapter` of diffusers takes it."""
    load_file: Untyped = getattr(import_module("safetensors.torch"), "load_file")

    halves: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in load_file(str(path)).items():
        half, _, rest = name.partition(".")
        halves[half][rest] = tensor.to(device, dtype)
    return halves


def _modules(shapes: Shapes, folder: Path) -> dict[str, tuple[Untyped, Untyped]]:
    """By the names of `Parts`: class and configuration."""
    import transformers
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.controlnets.controlnet import ControlNetModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    net = {**_unet(shapes), "conditioning_embedding_out_channels": shapes.condition}
    for word in ("up_block_types", "out_channels", "sample_size"):
        net.pop(word)
    return {
        "unet": (UNet2DConditionModel, _unet(shapes)),
        "vae": (AutoencoderKL, _vae(shapes)),
        "identitynet": (ControlNetModel, net),
        "text_encoder": (transformers.CLIPTextModel, _text(shapes.text, folder / "tokenizer", shapes.text_2[0])),
        "text_encoder_2": (transformers.CLIPTextModelWithProjection, _text(shapes.text_2, folder / "tokenizer_2", shapes.text_2[0])),
    }


def _unet(shapes: Shapes) -> dict[str, Any]:
    deeper = len(shapes.channels) - 1
    return {
        "sample_size": shapes.side // 8,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * deeper),
        "up_block_types": (*("CrossAttnUpBlock2D",) * deeper, "UpBlock2D"),
        "block_out_channels": shapes.channels,
        "layers_per_block": shapes.layers_per_block,
        "transformer_layers_per_block": list(shapes.layers),
        "attention_head_dim": [max(width // 64, 1) for width in shapes.channels],  # so diffusers calls the number of heads
        "cross_attention_dim": shapes.context,
        "use_linear_projection": True,
        "norm_num_groups": shapes.groups,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": shapes.time_width,
        "projection_class_embeddings_input_dim": 6 * shapes.time_width + shapes.text_2[0],
    }


def _vae(shapes: Shapes) -> dict[str, Any]:
    blocks = len(shapes.vae)
    return {
        "block_out_channels": shapes.vae,
        "down_block_types": ("DownEncoderBlock2D",) * blocks,
        "up_block_types": ("UpDecoderBlock2D",) * blocks,
        "latent_channels": 4,
        "layers_per_block": shapes.vae_layers,
        "norm_num_groups": min(shapes.groups, shapes.vae[0]),
        "sample_size": shapes.side,
        "scaling_factor": 0.13025,
        "force_upcast": False,
    }


def _text(size: tuple[int, int, int], tokenizer: Path, projection: int) -> Untyped:
    import transformers

    words = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    width, layers, heads = size
    return transformers.CLIPTextConfig(
        vocab_size=49408 if width >= 512 else len(words),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=projection,
        bos_token_id=words["<|startoftext|>"],
        eos_token_id=words["<|endoftext|>"],
        pad_token_id=words["<|endoftext|>"],
    )


def _resampler(shapes: Shapes) -> Layout:
    """InstantID's projection in the official layout (InstantID/InstantID, ip_adapter/resampler.py)."""
    dim, heads = shapes.face
    inner, width = heads * 64, shapes.context
    found: dict[str, tuple[int, ...]] = {"latents": (1, FACE_TOKENS, dim), "proj_in.weight": (dim, FACE_FEATURES), "proj_in.bias": (dim,)}
    found |= {"proj_out.weight": (width, dim), "proj_out.bias": (width,), "norm_out.weight": (width,), "norm_out.bias": (width,)}
    for number in range(FACE_LAYERS):
        name = f"layers.{number}"
        found |= {f"{name}.0.{norm}.{part}": (dim,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
        found |= {f"{name}.0.to_q.weight": (inner, dim), f"{name}.0.to_kv.weight": (inner * 2, dim)}
        found |= {f"{name}.0.to_out.weight": (dim, inner)}
        found |= {f"{name}.1.0.weight": (dim,), f"{name}.1.0.bias": (dim,)}
        found |= {f"{name}.1.1.weight": (dim * 4, dim), f"{name}.1.3.weight": (dim, dim * 4)}
    return found


def _write_folder(shapes: Shapes, folder: Path) -> None:
    """What a model folder says of itself. Tokenizers and scheduler are the built-in model's: what they say does not matter for speed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer", "tokenizer_2", "scheduler"):
        shutil.copytree(BUILT_IN / name, folder / name, dirs_exist_ok=True)
    for name, config in (("unet", _unet(shapes)), ("vae", _vae(shapes))):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "identitynet").mkdir(exist_ok=True)
    card = f'id = "random-{shapes.name}"\nfamily = "sdxl"\nsize = [{shapes.side}, {shapes.side}]\n'
    (folder / "model.toml").write_text(card, encoding="utf-8")


def _write_adapter(path: Path, projection: Layout, unet: Untyped, generator: torch.Generator) -> None:
    save_file: Untyped = getattr(import_module("safetensors.torch"), "save_file")

    layout = {f"image_proj.{name}": shape for name, shape in projection.items()}
    for index, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            layer = unet.get_submodule(name.removesuffix(".processor"))
            shape = (layer.to_k.out_features, layer.to_k.in_features)
            layout |= {f"ip_adapter.{index}.to_{part}_ip.weight": shape for part in "kv"}
    made = {name: _scaled(torch.empty(shape, device=unet.device, dtype=unet.dtype), name, generator) for name, shape in layout.items()}
    save_file({name: tensor.cpu().contiguous() for name, tensor in made.items()}, str(path))


def _empty(kind: Untyped, config: Untyped, device: str, dtype: torch.dtype) -> Untyped:
    """A module whose numbers are not drawn yet: drawing SDXL's on a processor first would take minutes. Buffers are as they must be."""
    init_empty_weights: Untyped = getattr(import_module("accelerate"), "init_empty_weights")

    with init_empty_weights(include_buffers=False):
        module = kind.from_config(config) if isinstance(config, dict) else kind(config)
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            kept = torch.nn.Parameter(torch.empty(parameter.shape, device=device, dtype=dtype), requires_grad=False)
            setattr(part, name, kept)
    return module.to(device).eval()


def _filled(module: Untyped, generator: torch.Generator) -> Untyped:
    for name, parameter in module.named_parameters():
        _scaled(parameter.data, name, generator)
    return module


def _scaled(tensor: Tensor, name: str, generator: torch.Generator) -> Tensor:
    """Random numbers in place: norms near 1, biases near 0, all else by the number of inputs."""
    if tensor.ndim >= 2:
        return tensor.normal_(0.0, tensor[0].numel() ** -0.5, generator=generator)
    return tensor.normal_(1.0 if name.endswith("weight") else 0.0, 0.1, generator=generator)
