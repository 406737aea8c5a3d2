"""The parts of a base, built-in or real, and what of a data set is computed once for it: latents and token ids."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from protocol.errors import InvalidRequest

from . import loop
from .people import People
from .sheets import from_bytes
from .tokens import encode, vary
from .typed import tensor
from .untyped import Untyped, diffusers, transformers

VARIANTS = 4


class Parts(nn.Module):
    """UNet and text encoders: two in SDXL, one in SD 1.5. `pad_2` is the second tokenizer's padding, where it differs from the first's."""

    def __init__(self, unet: Untyped, text: Untyped, text_2: Untyped | None, pad_2: int | None = None) -> None:
        super().__init__()
        self.unet, self.text, self.text_2, self.pad_2 = unet, text, text_2, pad_2

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Token ids (N, 77) to states (N, 77, width) and, in SDXL, the pooled state (N, p); as the pipelines do it."""
        first = self.text(ids, output_hidden_states=True)
        if self.text_2 is None:
            return first.last_hidden_state, None
        second = self.text_2(self._repadded(ids), output_hidden_states=True)
        return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1), second.text_embeds

    def _repadded(self, ids: Tensor) -> Tensor:
        if self.pad_2 is None:
            return ids
        end = self.text.config.eos_token_id if self.text.config.eos_token_id != 2 else int(ids.max())
        behind = (ids == end).cumsum(1) - (ids == end).int() > 0
        return ids.masked_fill(behind, self.pad_2)

    def added(self, pooled: Tensor | None, n: int, size: int, device: torch.device) -> dict[str, Tensor] | None:
        """SDXL's conditions beside the time; None where there are none."""
        return None if pooled is None else {"text_embeds": pooled, "time_ids": time_ids(n, size, device)}


def time_ids(n: int, size: int, device: torch.device) -> Tensor:
    """SDXL's micro-conditioning of uncropped square pictures: original size, crop corner, target size; (n, 6)."""
    return torch.tensor([[size, size, 0, 0, size, size]], dtype=torch.float32, device=device).repeat(n, 1)


def load_parts(model: Path) -> tuple[Parts, diffusers.AutoencoderKL, transformers.CLIPTokenizer]:
    """UNet and text encoders, autoencoder and tokenizer of a diffusers folder (SDXL or SD 1.5), in float32 on the device.

    Raises:
        InvalidRequest: it is no such folder.
    """
    needed = ("unet/config.json", "vae/config.json", "text_encoder", "tokenizer")
    if missing := [name for name in needed if not (model / name).exists()]:
        raise InvalidRequest(
            f"{model} is no diffusers folder of a Stable Diffusion model: it has no {missing[0]}. Give the folder with model_index.json."
        )
    where = loop.device()
    tokenizer = transformers.CLIPTokenizer.from_pretrained(model / "tokenizer")
    text_2, pad_2 = None, None
    if (model / "text_encoder_2").is_dir():
        text_2 = transformers.CLIPTextModelWithProjection.from_pretrained(model / "text_encoder_2")
        other = transformers.CLIPTokenizer.from_pretrained(model / "tokenizer_2").pad_token_id
        pad_2 = other if other != tokenizer.pad_token_id else None
    unet = diffusers.UNet2DConditionModel.from_pretrained(model / "unet").to(memory_format=torch.channels_last)
    parts = Parts(unet, transformers.CLIPTextModel.from_pretrained(model / "text_encoder"), text_2, pad_2).float().to(where)
    vae = diffusers.AutoencoderKL.from_pretrained(model / "vae").float().to(where).eval().requires_grad_(False)
    return parts, vae, tokenizer


def load_schedule(model: Path) -> Untyped:
    """The noise schedule of a diffusers folder, for training."""
    return diffusers.DDPMScheduler.from_config(diffusers.DDPMScheduler.load_config(model / "scheduler"), timestep_spacing="leading")


def cache_latents(pictures: NDArray[np.uint8], vae: Untyped, path: Path) -> NDArray[np.float16]:
    """Scaled latents (N, 4, h, w) of all pictures, computed once into `path` and read from there ever after."""
    if not path.exists():
        beside = path.with_suffix(".part")
        n, size = pictures.shape[:2]
        side, batch = size // 2 ** (len(vae.config.block_out_channels) - 1), max(1, 64 * 128 * 128 // size**2)
        where = loop.device()
        vae = vae.to(where).eval()
        out = open_memmap(beside, "w+", np.float16, (n, vae.config.latent_channels, side, side))
        with torch.no_grad(), torch.autocast(where.type, torch.bfloat16, enabled=not vae.config.force_upcast):
            for begin in tqdm(range(0, n, batch), desc="latents", mininterval=5.0):
                real = from_bytes(pictures[begin : begin + batch]).to(where)
                out[begin : begin + batch] = (vae.encode(real).latent_dist.mean.float() * vae.config.scaling_factor).cpu().numpy()
        out.flush()
        beside.replace(path)
    return np.load(path, mmap_mode="r")


def cache_tokens(people: People, tokenizer: Untyped, path: Path, n: int, variants: int = VARIANTS) -> NDArray[np.uint16]:
    """Token ids (n, variants, 77) of varied captions of the first n pictures, half of them with words about the person; computed once."""
    if not path.exists():
        rng = np.random.default_rng(0)
        captions = people.captions
        texts = [vary(captions[i] if k % 2 else people.descriptions[i], rng) for i in range(n) for k in range(variants)]
        np.save(path, encode(tokenizer, texts).reshape(n, variants, -1))
    return np.load(path, mmap_mode="r")


def min_snr_weight(alphas_cumprod: Tensor, gamma: float = 5.0) -> Tensor:
    """Weight of each timestep's epsilon loss, (1000,): min(SNR, gamma) / SNR (Hang et al. 2023, https://arxiv.org/abs/2303.09556).

    A base from nothing learns shapes several times sooner when the nearly clean timesteps do not drown the others.
    """
    snr = alphas_cumprod / (1 - alphas_cumprod).clamp(min=1e-8)
    return snr.clamp(max=gamma) / snr.clamp(min=1e-8)


def target_of(schedule: Untyped, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What the UNet of this schedule learns to predict: the noise, or the velocity (Salimans & Ho 2022, https://arxiv.org/abs/2202.00512)."""
    return schedule.get_velocity(clean, noise, t) if schedule.config.prediction_type == "v_prediction" else noise


@dataclass(frozen=True)
class Base:
    """A base and one data set's cached latents and token ids for it."""

    parts: Parts
    vae: Untyped
    tokenizer: Untyped
    schedule: Untyped
    latents: NDArray[np.float16]
    """Scaled latents (N, 4, h, w)."""
    tokens: NDArray[np.uint16]
    """Token ids (N, variants, 77); even variants describe the person as well."""
    size: int
    """Side of the pictures in pixels."""

    @property
    def width(self) -> int:
        """Width of the cross attention's states."""
        return int(self.parts.unet.config.cross_attention_dim)

    def ids(self, texts: list[str]) -> Tensor:
        """Token ids (N, 77)."""
        return tensor(encode(self.tokenizer, texts).astype(np.int64))


@dataclass(frozen=True)
class Batch:
    """Noisy latents, what else the UNet is given, and what it should answer; on the device."""

    noisy: Tensor
    t: Tensor
    states: Tensor
    added: dict[str, Tensor] | None
    target: Tensor
    weight: Tensor

    def error(self, guess: Tensor, area: Tensor | None = None) -> Tensor:
        """Weighted mean squared error, a float32 scalar; `area` (N, 1, h, w) says how much each place counts, 1 on average."""
        wrong = (guess.float() - self.target).square()
        return ((wrong if area is None else wrong * area).mean((1, 2, 3)) * self.weight).mean()


class Noiser:
    """Makes training's batches.

    `offset` is the small common part of the noise that SDXL was trained with: without it, dark and bright pictures stay grey.
    """

    def __init__(self, base: Base, offset: float = 0.05) -> None:
        self.base, self.offset, self.device = base, offset, loop.device()
        self.empty, self.weight = base.ids([""]), min_snr_weight(base.schedule.alphas_cumprod)

    def rows(self, below: int, n: int, draw: torch.Generator) -> NDArray[np.int64]:
        """n pictures among the first `below`, sorted, since they are read from a file."""
        return torch.randint(below, (n,), generator=draw).sort().values.numpy()

    def batch(self, rows: NDArray[np.int64], no_text: Tensor, draw: torch.Generator, described: float = 0.5) -> Batch:
        """Latents of `rows` at random times with captions, `described` of them with words about the person, none where `no_text` (N,)."""
        n, base = len(rows), self.base
        half = base.tokens.shape[1] // 2
        variant = 2 * torch.randint(half, (n,), generator=draw) + (torch.rand(n, generator=draw) >= described)
        ids = tensor(base.tokens[rows, variant.numpy()].astype(np.int64))
        return self.noised(rows, torch.where(no_text[:, None], self.empty, ids), draw)

    def noised(self, rows: NDArray[np.int64], ids: Tensor, draw: torch.Generator) -> Batch:
        """Latents of `rows` at random times, with the texts of token ids (N, 77)."""
        n, base = len(rows), self.base
        states, pooled = base.parts.encode(ids.to(self.device))
        clean = tensor(base.latents[rows].astype(np.float32))
        noise = torch.randn(clean.shape, generator=draw) + self.offset * torch.randn(*clean.shape[:2], 1, 1, generator=draw)
        t = torch.randint(base.schedule.config.num_train_timesteps, (n,), generator=draw)
        noisy = base.schedule.add_noise(clean, noise, t).to(self.device, memory_format=torch.channels_last)
        target = target_of(base.schedule, clean, noise, t).to(self.device)
        added = base.parts.added(pooled, n, base.size, self.device)
        return Batch(noisy, t.to(self.device), states, added, target, self.weight[t].to(self.device))
