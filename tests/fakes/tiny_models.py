"""`tiny_model(folder)`: a model folder in the layout of the built-in one, with random weights and a few hundred thousand parameters.

Pictures are 64 x 64, the VAE's factor is 4 (16 x 16 latents), the text is 32 wide. It has InstantID, four IP-Adapters (base, plus, faceid
and faceid-plus), ControlNets for skeleton and depth, and previews; faces come from `FakeFaces`, which finds one in every picture that is
not black.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import official_layouts as layouts
import torch
import transformers
from clip_tokenizer import write_tokenizer
from safetensors.torch import save_file

from backend.faces import Face, Identity, mean_embedding
from protocol.errors import NoFace
from protocol.geometry import Extent

CHANNELS = (32, 64)
TEXT_WIDTHS = {"sdxl": (16, 16), "sd15": (32,)}
WIDTH = 32


def tiny_model(folder: Path | str, family: str = "sdxl", seed: int = 0) -> Path:
    """Write the model and return its folder. The same seed gives the same weights; the caller's random state is left alone."""
    folder = Path(folder)
    (folder / "ip_adapter").mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = _unet(family)
        unet.save_pretrained(folder / "unet")
        _vae().save_pretrained(folder / "vae")
        _text_encoders(folder, family)
        _image_encoder(folder)
        for name in ("controlnets/skeleton", "controlnets/depth", *(("identitynet",) if family == "sdxl" else ())):
            _control_net(family).save_pretrained(folder / name)
        _adapters(folder, unet, family)
        colours = torch.randn(3, 4)
    _scheduler().save_pretrained(folder / "scheduler")
    (folder / "preview.json").write_text(json.dumps({"factors": colours.T.tolist(), "bias": [0.5, 0.5, 0.5]}), encoding="utf-8")
    (folder / "model.toml").write_text(_card(family), encoding="utf-8")
    return folder


def _card(family: str) -> str:
    return (
        f'id = "tiny-{family}"\nfamily = "{family}"\nsize = [64, 64]\nsizes = [[48, 80], [80, 48]]\n\n'
        '[defaults]\nsteps = 2\nguidance_scale = 3.0\nnegative = "blurry"\n'
    )


def _unet(family: str) -> Any:
    extra: dict[str, Any] = {}
    if family == "sdxl":
        extra = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 64}
        extra |= {"transformer_layers_per_block": [1, 2], "use_linear_projection": True}
    return diffusers.UNet2DConditionModel(
        sample_size=16, block_out_channels=CHANNELS, layers_per_block=1, cross_attention_dim=WIDTH, norm_num_groups=8, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **extra,
    )  # fmt: skip


def _control_net(family: str) -> Any:
    net = diffusers.ControlNetModel.from_unet(_unet(family), conditioning_embedding_out_channels=(8, 16, 32))
    for parameter in net.parameters():  # from_unet starts the outputs at zero, where a test would see nothing
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return net


def _vae() -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4, norm_num_groups=8, layers_per_block=1, sample_size=64,
    )  # fmt: skip


def _text_encoders(folder: Path, family: str) -> None:
    kinds = (transformers.CLIPTextModel, transformers.CLIPTextModelWithProjection)
    for number, (kind, width) in enumerate(zip(kinds, TEXT_WIDTHS[family], strict=False)):
        ending = "" if number == 0 else "_2"
        config = transformers.CLIPTextConfig(
            vocab_size=514, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=77, projection_dim=16, bos_token_id=512, eos_token_id=513, pad_token_id=513,
        )  # fmt: skip
        kind(config).save_pretrained(folder / f"text_encoder{ending}")
        write_tokenizer(folder / f"tokenizer{ending}", pad="!" if number else "<|endoftext|>")


def _image_encoder(folder: Path) -> None:
    config = transformers.CLIPVisionConfig(
        hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8, projection_dim=20
    )
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder / "image_encoder")


def _scheduler() -> Any:
    return diffusers.EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    )


def _adapters(folder: Path, unet: Any, family: str) -> None:
    plain, with_lora = layouts.attention(unet), layouts.attention(unet, rank=4)
    write_adapter(folder / "ip_adapter" / "base.safetensors", layouts.base(20, WIDTH), plain)
    write_adapter(folder / "ip_adapter" / "plus.safetensors", layouts.resampler(64, 1, 24, WIDTH), plain)
    write_adapter(folder / "ip_adapter" / "faceid.safetensors", layouts.faceid(WIDTH), with_lora)
    write_adapter(folder / "ip_adapter" / "faceid-plusv2.safetensors", layouts.faceid_plus(WIDTH, 1, 24), with_lora)
    if family == "sdxl":
        write_adapter(folder / "instantid.safetensors", layouts.resampler(64, 1, 512, WIDTH), plain)


def write_adapter(path: Path, projection: layouts.Shapes, attention: layouts.Shapes) -> None:
    """An adapter file with random numbers, in the flat official layout, or as official pickle when the name ends in `.bin`."""
    halves = {"image_proj": {key: _random(key, shape) for key, shape in projection.items()}}
    halves["ip_adapter"] = {key: _random(key, shape) for key, shape in attention.items()}
    if path.suffix == ".bin":
        torch.save(halves, path)
    else:
        save_file({f"{half}.{key}": value for half, state in halves.items() for key, value in state.items()}, path)


def _random(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    numbers = torch.randn(shape)
    if len(shape) == 1:
        return 1 + 0.1 * numbers if key.endswith("weight") else 0.1 * numbers
    return numbers * float(np.prod(shape[1:])) ** -0.5


class FakeFaces:
    """Stands in for `backend.faces.FaceAnalyser`: one face in every picture, who it is depends on the mean colour; none in a black
    picture."""

    def analyse(self, rgb: np.ndarray) -> list[Face]:
        if not rgb.any():
            return []
        height, width = rgb.shape[:2]
        seed = int(rgb.reshape(-1, 3).mean(0).round().astype(int) @ [1, 256, 65536])
        keypoints = np.array([[0.35, 0.4], [0.65, 0.4], [0.5, 0.55], [0.4, 0.7], [0.6, 0.7]], np.float32) * [width, height]
        embedding = np.random.default_rng(seed).standard_normal(512).astype(np.float32)
        box = np.array([0.2 * width, 0.15 * height, 0.8 * width, 0.85 * height], np.float32)
        return [Face(box, keypoints.astype(np.float32), embedding, 0.9)]

    def identify(self, pictures: Sequence[np.ndarray], face: int | None = None) -> Identity:
        faces = [(self.analyse(picture) or [None])[0] for picture in pictures]
        if None in faces:
            raise NoFace("No face was found in the photo. Choose one that shows the face larger.")
        embeddings = np.stack([found.embedding for found in faces if found])
        height, width = pictures[0].shape[:2]
        return Identity(mean_embedding(embeddings), embeddings, faces[0].keypoints, Extent(width, height))

    def similarity(self, rgb: np.ndarray, identity: Identity) -> float | None:
        faces = self.analyse(rgb)
        if not faces:
            return None
        one, other = faces[0].embedding, identity.embedding
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
