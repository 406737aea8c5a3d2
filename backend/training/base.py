"""The built-in model's base: a small text-to-image model in SDXL's own classes, its text encoders trained along from nothing.

Latent diffusion with an epsilon loss (Ho et al. 2020; Rombach et al. 2022, https://arxiv.org/abs/2112.10752) and SDXL's conditioning (Podell et al.
2023, https://arxiv.org/abs/2307.01952): the two text encoders' penultimate states side by side for cross attention, the second one's pooled
state and six numbers about size and crop beside the time. A tenth of the texts are replaced by the empty prompt for classifier-free guidance.
The latents of the finished autoencoder are computed once and kept.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from . import loop
from .people import People
from .sheets import from_bytes, write_sheet
from .tokens import encode, vary, write_tokenizer
from .world import vocabulary

WIDTH = 96
VARIANTS = 4
SCHEDULE = {"num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SHEET_PROMPTS = (
    "portrait of a smiling person, red sweater, blue background",
    "portrait of a sad person, green jacket, glasses, at the sea",
    "portrait of a laughing person, white shirt, yellow straw hat, in the hills",
    "portrait of a surprised person, purple sweater, at night",
    "portrait of a neutral person, black jacket, red cap, sunglasses, green background",
    "portrait of a smiling person, blue shirt, black top hat, glasses, in a room",
    "portrait of a smiling person, orange shirt, grey background, dark skin, oval face, brown eyes, black curly hair",
    "portrait of a neutral person, blue sweater, red background, light skin, narrow face, green eyes, ginger long hair, freckles",
)


def new_unet(channels: tuple[int, ...] = (64, 128, 192), side: int = 32) -> UNet2DConditionModel:
    """An untrained UNet of SDXL's form for latents of `side`; cross attention everywhere but at the highest resolution."""
    deeper = len(channels) - 1
    return UNet2DConditionModel(
        sample_size=side, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=channels,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * deeper), up_block_types=(*("CrossAttnUpBlock2D",) * deeper, "UpBlock2D"),
        attention_head_dim=4, transformer_layers_per_block=1, cross_attention_dim=2 * WIDTH, use_linear_projection=True, norm_num_groups=16,
        addition_embed_type="text_time", addition_time_embed_dim=32, projection_class_embeddings_input_dim=WIDTH + 6 * 32,
    ).to(memory_format=torch.channels_last)  # fmt: skip


def text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    """Both text encoders' form: two layers of width 96."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=2, num_attention_heads=4, projection_dim=WIDTH,
        max_position_embeddings=77, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip


class Parts(nn.Module):
    """UNet and text encoders: what the base's training changes."""

    def __init__(self, unet: UNet2DConditionModel, text: CLIPTextModel, text_2: CLIPTextModelWithProjection) -> None:
        super().__init__()
        self.unet, self.text, self.text_2 = unet, text, text_2

    def encode(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids (N, 77) to states (N, 77, 192) and the pooled state (N, 96), as SDXL's pipeline does it."""
        first = self.text(ids, output_hidden_states=True)
        second = self.text_2(ids, output_hidden_states=True)
        return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1), second.text_embeds


def time_ids(n: int, size: int, device: torch.device) -> Tensor:
    """SDXL's micro-conditioning of uncropped square pictures: original size, crop corner, target size; (n, 6)."""
    return torch.tensor([[size, size, 0, 0, size, size]], dtype=torch.float32, device=device).repeat(n, 1)


def cache_latents(pictures: NDArray[np.uint8], vae: AutoencoderKL, path: Path) -> NDArray[np.float16]:
    """Scaled latents (N, 4, h, w) of all pictures, computed once into `path` and read from there ever after."""
    if not path.exists():
        beside = path.with_suffix(".part")
        n, size = pictures.shape[:2]
        side = size // 2 ** (len(vae.config.block_out_channels) - 1)
        device = loop.device()
        vae = vae.to(device).eval()
        out = open_memmap(beside, "w+", np.float16, (n, vae.config.latent_channels, side, side))
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            for begin in tqdm(range(0, n, 64), desc="latents", mininterval=5.0):
                real = from_bytes(pictures[begin : begin + 64]).to(device)
                out[begin : begin + 64] = (vae.encode(real).latent_dist.mean.float() * vae.config.scaling_factor).cpu().numpy()
        out.flush()
        beside.replace(path)
    return np.load(path, mmap_mode="r")


def cache_tokens(people: People, tokenizer: CLIPTokenizer, path: Path, n: int, variants: int = VARIANTS) -> NDArray[np.int16]:
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
    snr = alphas_cumprod / (1 - alphas_cumprod)
    return snr.clamp(max=gamma) / snr


class BaseTask:
    """Trains UNet and text encoders on cached latents and token ids."""

    def __init__(self, people: People, vae: AutoencoderKL, tokenizer: CLIPTokenizer, parts: Parts, cache: Path, *, batch: int, limit: int | None = None) -> None:
        self.device, self.batch, self.offset = loop.device(), batch, 0.05
        self.size = people.pictures.shape[1]
        self.latents = cache_latents(people.pictures[:limit], vae, cache / "latents.npy")
        self.tokens = cache_tokens(people, tokenizer, cache / "tokens.npy", len(self.latents))
        self.empty = torch.from_numpy(encode(tokenizer, [""]).astype(np.int64))
        self.vae, self.tokenizer = vae, tokenizer
        self.trained = parts.to(self.device).train()
        self.noise = DDPMScheduler(**SCHEDULE)
        self.weight = min_snr_weight(self.noise.alphas_cumprod)
        loop.use_fast_attention(parts.unet)

    def loss(self, step: int, draw: torch.Generator) -> Tensor:
        """Mean squared error of the predicted noise; the noise has SDXL's small common offset, or dark and bright pictures stay grey."""
        rows = torch.randint(len(self.latents), (self.batch,), generator=draw).sort().values.numpy()
        variant = torch.randint(self.tokens.shape[1], (self.batch,), generator=draw).numpy()
        ids = torch.from_numpy(self.tokens[rows, variant].astype(np.int64))
        ids = torch.where(torch.rand(self.batch, 1, generator=draw) < 0.1, self.empty, ids).to(self.device)
        clean = torch.from_numpy(self.latents[rows].astype(np.float32))
        noise = torch.randn(clean.shape, generator=draw) + self.offset * torch.randn(*clean.shape[:2], 1, 1, generator=draw)
        t = torch.randint(1000, (self.batch,), generator=draw)
        noisy = self.noise.add_noise(clean, noise, t).to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            states, pooled = self.trained.encode(ids)
            added = {"text_embeds": pooled, "time_ids": time_ids(self.batch, self.size, self.device)}
            guess = self.trained.unet(noisy, t.to(self.device), states, added_cond_kwargs=added, return_dict=False)[0]
        error = (guess.float() - noise.to(self.device)).square().mean((1, 2, 3))
        return (error * self.weight[t].to(self.device)).mean()

    def pipeline(self) -> StableDiffusionXLPipeline:
        """The stock pipeline over the present weights."""
        return StableDiffusionXLPipeline(
            self.vae, self.trained.text, self.trained.text_2, self.tokenizer, self.tokenizer, self.trained.unet,
            EulerDiscreteScheduler(**SCHEDULE, timestep_spacing="trailing"), force_zeros_for_empty_prompt=False, add_watermarker=False,
        )  # fmt: skip

    def sheet(self, path: Path) -> None:
        """Two pictures of each sheet prompt, 16 Euler steps, guidance 3."""
        self.trained.eval()
        pipe = self.pipeline()
        pipe.set_progress_bar_config(disable=True)
        with torch.autocast(self.device.type, torch.bfloat16):
            made = pipe(list(SHEET_PROMPTS) * 2, height=self.size, width=self.size, num_inference_steps=16, guidance_scale=3.0,
                        generator=torch.Generator().manual_seed(0), output_type="np").images  # fmt: skip
        pictures = (made * 255).round().astype(np.uint8)
        write_sheet(path, [list(pictures[:8]), list(pictures[8:])])
        self.trained.train()

    def export(self, folder: Path) -> None:
        """Write `folder`/model, a stock diffusers SDXL folder in half precision."""
        pipe = self.pipeline()
        pipe.save_pretrained(folder / "model")
        half = StableDiffusionXLPipeline.from_pretrained(folder / "model", torch_dtype=torch.float16)
        half.save_pretrained(folder / "model")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m backend.training base`."""
    parser.add_argument("--data", type=Path, required=True, help="folder of drawn persons")
    parser.add_argument("--vae", type=Path, required=True, help="folder of the finished autoencoder")
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 128, 192], help="width of each level (default: %(default)s)")
    parser.add_argument("--limit", type=int, metavar="N", help="use only the first N pictures")
    loop.add_budget(parser, minutes=45, peak=1e-3, batch=32)


def run(args: argparse.Namespace) -> None:
    """Train the base; leaves `out`/model and `out`/sheet.png. Latents and token ids are kept in `out`."""
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    people = People(args.data)
    vae = AutoencoderKL.from_pretrained(args.vae).to(memory_format=torch.channels_last).requires_grad_(False)
    tokenizer = write_tokenizer(args.out / "tokenizer", vocabulary())
    config = text_config(tokenizer)
    unet = new_unet(tuple(args.channels), people.pictures.shape[1] // 2 ** (len(vae.config.block_out_channels) - 1))
    parts = Parts(unet, CLIPTextModel(config), CLIPTextModelWithProjection(config))
    sitting = loop.train(BaseTask(people, vae, tokenizer, parts, args.out, batch=args.batch, limit=args.limit), loop.settings_from(args))
    print(f"{sitting.step} steps, wrote {args.out / 'model'}")
