"""What the trainings on a frozen base share: the base, image prompts attached to it, condition dropping, and a small sampler for sheets.

Both IP-Adapter (Ye et al. 2023, https://arxiv.org/abs/2308.06721) and InstantID (Wang et al. 2024, https://arxiv.org/abs/2401.07519) leave the base
as it is and learn a projection of an image's embedding to tokens and, for every cross attention, own keys and values for these tokens,
which begin as copies of the base's. Attention runs in diffusers' own processors, so what is trained is what will be loaded.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDPMScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import IPAdapterAttnProcessor, IPAdapterAttnProcessor2_0
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from protocol.errors import InvalidRequest

from . import loop
from .base import SCHEDULE, Parts, time_ids
from .people import People
from .tokens import encode

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Base:
    """A finished base, frozen, and its data's cached latents and token ids."""

    parts: Parts
    vae: AutoencoderKL
    tokenizer: CLIPTokenizer
    latents: NDArray[np.float16]
    """Scaled latents (N, 4, h, w)."""
    tokens: NDArray[np.int16]
    """Token ids (N, variants, 77); even variants describe the person as well."""
    size: int

    @property
    def width(self) -> int:
        """Width of the cross attention's states."""
        return int(self.parts.unet.config.cross_attention_dim)


def load_base(run: Path, size: int = 128) -> Base:
    """Load `run`/model with the caches beside it, as `base` leaves them.

    Raises:
        InvalidRequest: the folder holds no finished base.
    """
    model = run / "model"
    if not (model / "unet").is_dir() or not (run / "latents.npy").is_file():
        raise InvalidRequest(f"The folder {run} holds no finished base. Train one into it with 'python -m backend.training base'.")
    device = loop.device()
    unet = UNet2DConditionModel.from_pretrained(model / "unet").to(memory_format=torch.channels_last)
    text, text_2 = CLIPTextModel.from_pretrained(model / "text_encoder"), CLIPTextModelWithProjection.from_pretrained(model / "text_encoder_2")
    parts = Parts(unet, text, text_2).float().to(device).eval().requires_grad_(False)
    vae = AutoencoderKL.from_pretrained(model / "vae").float().to(device).eval().requires_grad_(False)
    loop.use_fast_attention(unet)
    tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
    latents, tokens = np.load(run / "latents.npy", mmap_mode="r"), np.load(run / "tokens.npy", mmap_mode="r")
    return Base(parts, vae, tokenizer, latents, tokens, size)


def attach(unet: UNet2DConditionModel, tokens: int) -> nn.ModuleList:
    """Give every cross attention keys and values for `tokens` image tokens, copied from its own; returns what is to be trained.

    The UNet then takes `encoder_hidden_states` as (text states, [image tokens]).
    """
    kind = IPAdapterAttnProcessor if loop.device().type == "cpu" else IPAdapterAttnProcessor2_0
    processors, trained = dict(unet.attn_processors), nn.ModuleList()
    for name in processors:
        if not name.endswith("attn2.processor"):
            continue
        attention = unet.get_submodule(name.removesuffix(".processor"))
        to_k, to_v = attention.to_k.weight, attention.to_v.weight
        processor = kind(to_k.shape[0], to_k.shape[1], num_tokens=(tokens,), scale=1.0).to(to_k.device)
        with torch.no_grad():
            processor.to_k_ip[0].weight.copy_(to_k)
            processor.to_v_ip[0].weight.copy_(to_v)
        processors[name] = processor
        trained.append(processor)
    unet.set_attn_processor(processors)
    return trained


@dataclass(frozen=True)
class Drops:
    """Which of a batch lose their image, their text, and their control picture; bool (N,) each."""

    image: Tensor
    text: Tensor
    control: Tensor


def draw_drops(n: int, draw: torch.Generator, each: float = 0.05) -> Drops:
    """IP-Adapter's dropping by one uniform draw (image, text, both: 5 % each), and the control picture by another."""
    u = torch.rand(n, generator=draw)
    both = (u >= 2 * each) & (u < 3 * each)
    return Drops((u < each) | both, ((u >= each) & (u < 2 * each)) | both, torch.rand(n, generator=draw) < each)


@dataclass(frozen=True)
class Batch:
    """Noisy latents and what the base gets besides; on the device."""

    noisy: Tensor
    noise: Tensor
    t: Tensor
    states: Tensor
    added: dict[str, Tensor]


class Noiser:
    """Makes batches for the frozen base."""

    def __init__(self, base: Base, offset: float = 0.05) -> None:
        self.base, self.offset, self.device = base, offset, loop.device()
        self.schedule = DDPMScheduler(**SCHEDULE)
        self.empty = torch.from_numpy(encode(base.tokenizer, [""]).astype(np.int64))

    def batch(self, rows: NDArray[np.int64], no_text: Tensor, draw: torch.Generator, described: float = 0.15) -> Batch:
        """Latents of `rows` at random times with captions; `described` of them with words about the person."""
        n = len(rows)
        half = self.base.tokens.shape[1] // 2
        variant = 2 * torch.randint(half, (n,), generator=draw) + (torch.rand(n, generator=draw) >= described)
        ids = torch.from_numpy(self.base.tokens[rows, variant.numpy()].astype(np.int64))
        ids = torch.where(no_text[:, None], self.empty, ids).to(self.device)
        clean = torch.from_numpy(self.base.latents[rows].astype(np.float32))
        noise = torch.randn(clean.shape, generator=draw) + self.offset * torch.randn(*clean.shape[:2], 1, 1, generator=draw)
        t = torch.randint(1000, (n,), generator=draw)
        noisy = self.schedule.add_noise(clean, noise, t).to(self.device, memory_format=torch.channels_last)
        with torch.no_grad():
            states, pooled = self.base.parts.encode(ids)
        added = {"text_embeds": pooled, "time_ids": time_ids(n, self.base.size, self.device)}
        return Batch(noisy, noise.to(self.device), t.to(self.device), states, added)


@dataclass(frozen=True)
class Prompting:
    """Conditions of some pictures to be made: texts, and perhaps image tokens (for them and for the unconditional half) and control pictures."""

    texts: list[str]
    tokens: Tensor | None = None
    """(n, k, width)."""
    nothing: Tensor | None = None
    """(n, k, width): tokens of no image."""
    identitynet: ControlNetModel | None = None
    controls: Tensor | None = None
    """(n, 3, size, size) in 0 … 1."""


@torch.no_grad()
def sample(base: Base, prompting: Prompting, *, steps: int = 14, guidance: float = 3.0, seed: int = 0) -> Tensor:
    """Pictures (n, 3, size, size) in -1 … 1: Euler steps with classifier-free guidance, as the stock pipeline makes them."""
    device, n = loop.device(), len(prompting.texts)
    ids = torch.from_numpy(encode(base.tokenizer, [""] * n + prompting.texts).astype(np.int64)).to(device)
    states, pooled = base.parts.encode(ids)
    added = {"text_embeds": pooled, "time_ids": time_ids(2 * n, base.size, device)}
    tokens = None if prompting.tokens is None or prompting.nothing is None else torch.cat([prompting.nothing, prompting.tokens])
    euler = EulerDiscreteScheduler(**SCHEDULE, timestep_spacing="trailing")
    euler.set_timesteps(steps, device=device)
    shape = (n, *base.latents.shape[1:])
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device) * euler.init_noise_sigma
    for t in euler.timesteps:
        twice = euler.scale_model_input(torch.cat([x, x]), t).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            down, middle = _residuals(prompting, twice, t, tokens, added)
            guess = base.parts.unet(
                twice, t, states if tokens is None else (states, [tokens]), added_cond_kwargs=added, return_dict=False,
                down_block_additional_residuals=down, mid_block_additional_residual=middle,
            )[0].float()  # fmt: skip
        without, with_ = guess.chunk(2)
        x = euler.step(without + guidance * (with_ - without), t, x, return_dict=False)[0]
    return torch.cat([base.vae.decode(part / base.vae.config.scaling_factor).sample for part in x.split(16)])


def _residuals(prompting: Prompting, x: Tensor, t: Tensor, tokens: Tensor | None, added: dict[str, Tensor]) -> tuple[list[Tensor] | None, Tensor | None]:
    if prompting.identitynet is None or prompting.controls is None:
        return None, None
    controls = torch.cat([prompting.controls] * 2)
    return prompting.identitynet(x, t, tokens, controls, added_cond_kwargs=added, return_dict=False)


class Shown:
    """Who is who among the `first` pictures of a data set, the last `held` persons kept back for sheets."""

    def __init__(self, people: People, first: int, held: int) -> None:
        persons = np.asarray(people.persons)[:first]
        self.begins = np.flatnonzero(np.r_[True, persons[1:] != persons[:-1]])
        self.ends = np.r_[self.begins[1:], len(persons)]
        self.place = np.repeat(np.arange(len(self.begins)), self.ends - self.begins)
        if len(self.begins) <= held:
            raise InvalidRequest(f"The folder {people.folder} has {len(self.begins)} persons, too few to keep {held} of them back for the sheet. Give it more persons.")
        self.train_rows = int(self.begins[len(self.begins) - held])
        """Pictures before this one are trained on."""

    def others(self, row: int) -> NDArray[np.int64]:
        """All other pictures of the person in picture `row`."""
        who = self.place[row]
        rows = np.arange(self.begins[who], self.ends[who])
        return rows[rows != row] if len(rows) > 1 else rows


def mean_embedding(embeddings: Floats) -> Floats:
    """Mean of raw embeddings (n, d), rescaled to their mean norm."""
    mean = embeddings.mean(0)
    return mean * (np.linalg.norm(embeddings, axis=1).mean() / max(float(np.linalg.norm(mean)), 1e-9))
