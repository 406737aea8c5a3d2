"""A base: the built-in model's, trained from nothing in SDXL's own classes with its text encoders, or a real one, fine-tuned on photos.

Latent diffusion with an epsilon loss (Ho et al. 2020; Rombach et al. 2022, https://arxiv.org/abs/2112.10752) and SDXL's conditioning
(Podell et al. 2023, https://arxiv.org/abs/2307.01952): the two text encoders' penultimate states side by side for cross attention, the
second one's pooled state and six numbers about size and crop beside the time. A tenth of the texts are replaced by the empty prompt for
classifier-free guidance. Latents are computed once and kept. Of a real base (--model) only the UNet is trained.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from protocol.errors import InvalidRequest

from . import loop
from .inherit import begin_with
from .parts import Base, Noiser, Parts, cache_latents, cache_tokens, load_parts, load_schedule
from .people import People
from .photos import data_of
from .sampling import Prompting, sample
from .sheets import to_bytes, write_sheet
from .tokens import write_tokenizer
from .typed import seed_torch
from .untyped import Untyped, diffusers, transformers
from .world import vocabulary

WIDTH = 96
DESCRIBED = 0.65
"""Share of the captions that also describe the person: what is said of persons is harder to learn than hats and backgrounds."""
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


def new_unet(channels: tuple[int, ...] = (64, 128, 192), side: int = 32) -> Untyped:
    """An untrained UNet of SDXL's form for latents of `side`; cross attention everywhere but at the highest resolution."""
    deeper = len(channels) - 1
    return diffusers.UNet2DConditionModel(
        sample_size=side,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=channels,
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * deeper),
        up_block_types=(*("CrossAttnUpBlock2D",) * deeper, "UpBlock2D"),
        attention_head_dim=4,
        transformer_layers_per_block=1,
        cross_attention_dim=2 * WIDTH,
        use_linear_projection=True,
        norm_num_groups=16,
        addition_embed_type="text_time",
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=WIDTH + 6 * 32,
    ).to(memory_format=torch.channels_last)


def text_config(tokenizer: Untyped) -> Untyped:
    """Both text encoders' form: two layers of width 96."""
    return transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=WIDTH,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


class BaseTask:
    """Trains of UNet and text encoders what requires gradients, on cached latents and token ids.

    `origin` is the diffusers folder that is being fine-tuned, if it is not a base from nothing.
    """

    def __init__(
        self, base: Base, prompts: Sequence[str] = SHEET_PROMPTS, *, batch: int, offset: float = 0.05, origin: Path | None = None
    ) -> None:
        self.base, self.batch, self.prompts, self.origin = base, batch, list(prompts), origin
        self.noiser = Noiser(base, offset)
        self.trained = base.parts.to(loop.device()).train()
        loop.use_fast_attention(base.parts.unet)
        self.unet = base.parts.unet

    def compile(self) -> None:
        """Compile the UNet for training (a C++ compiler is needed on a CPU); a fifth faster there, a minute or two later in starting."""
        self.unet = torch.compile(self.base.parts.unet)  # pyright: ignore[reportUnknownMemberType]  # torch types it in part

    def loss(self, step: int, draw: torch.Generator) -> Tensor:
        """Weighted mean squared error of the predicted noise."""
        rows = self.noiser.rows(len(self.base.latents), self.batch, draw)
        batch = self.noiser.batch(rows, torch.rand(self.batch, generator=draw) < 0.1, draw, DESCRIBED)
        return batch.error(self.unet(batch.noisy, batch.t, batch.states, added_cond_kwargs=batch.added, return_dict=False)[0])

    def sheet(self, path: Path) -> None:
        """Two pictures of each prompt, 16 Euler steps, guidance 3."""
        self.trained.eval()
        pictures = to_bytes(sample(self.base, Prompting(self.prompts * 2), steps=16))
        n = len(self.prompts)
        write_sheet(path, [list(pictures[:n]), list(pictures[n:])])
        self.trained.train()

    def export(self, folder: Path) -> None:
        """Write `folder`/model, a stock diffusers folder in half precision."""
        model = folder / "model"
        if self.origin is not None:
            shutil.copytree(self.origin, model, dirs_exist_ok=True, ignore=shutil.ignore_patterns("unet"))
            self.trained.unet.save_pretrained(model / "unet")
            diffusers.UNet2DConditionModel.from_pretrained(model / "unet", dtype=torch.float16).save_pretrained(model / "unet")
            return
        self._pipeline().save_pretrained(model)
        diffusers.DiffusionPipeline.from_pretrained(model, dtype=torch.float16).save_pretrained(model)

    def _pipeline(self) -> Untyped:
        parts, tokenizer = self.trained, self.base.tokenizer
        scheduler = diffusers.EulerDiscreteScheduler(**SCHEDULE, timestep_spacing="trailing")
        return diffusers.StableDiffusionXLPipeline(
            self.base.vae, parts.text, parts.text_2, tokenizer, tokenizer, parts.unet, scheduler,
            force_zeros_for_empty_prompt=False, add_watermarker=False,
        )  # fmt: skip


def new_base(people: People, vae_folder: Path, channels: tuple[int, ...], cache: Path, limit: int | None = None) -> Base:
    """An untrained base for a finished autoencoder; tokenizer, latents and token ids are kept in `cache`."""
    vae = diffusers.AutoencoderKL.from_pretrained(vae_folder).to(memory_format=torch.channels_last).requires_grad_(False)
    tokenizer = write_tokenizer(cache / "tokenizer", vocabulary())
    config, size = text_config(tokenizer), int(people.pictures.shape[1])
    unet = new_unet(channels, size // 2 ** (len(vae.config.block_out_channels) - 1))
    parts = Parts(unet, transformers.CLIPTextModel(config), transformers.CLIPTextModelWithProjection(config))
    latents = cache_latents(people.pictures[:limit], vae, cache / "latents.npy")
    tokens = cache_tokens(people, tokenizer, cache / "tokens.npy", len(latents))
    return Base(parts, vae, tokenizer, diffusers.DDPMScheduler(**SCHEDULE), latents, tokens, size)


def load_base(model: Path, people: People, cache: Path, limit: int | None = None) -> Base:
    """A base from a diffusers folder, or from a training of the built-in one, frozen, for a data set; caches lie in `cache`.

    Raises:
        InvalidRequest: the folder holds no base.
    """
    folder = model / "model" if (model / "model" / "unet").is_dir() else model
    parts, vae, tokenizer = load_parts(folder)
    parts.eval().requires_grad_(False)
    loop.use_fast_attention(parts.unet)
    cache.mkdir(parents=True, exist_ok=True)
    latents = cache_latents(people.pictures[:limit], vae, cache / "latents.npy")
    tokens = cache_tokens(people, tokenizer, cache / "tokens.npy", len(latents))
    return Base(parts, vae, tokenizer, load_schedule(folder), latents, tokens, int(people.pictures.shape[1]))


def cache_of(model: Path, drawn: bool, out: Path) -> Path:
    """Where latents and token ids lie: beside the built-in base, which was trained on them, else in the folder of this training."""
    return model if drawn and (model / "latents.npy").is_file() else out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m backend.training base`."""
    parser.add_argument("--data", type=Path, required=True, help="folder of drawn persons, or of captioned photos")
    parser.add_argument("--vae", type=Path, help="folder of the finished autoencoder, for a base from nothing")
    parser.add_argument("--model", type=Path, help="diffusers folder of a base to be fine-tuned")
    parser.add_argument(
        "--begin-with", type=Path, metavar="FOLDER", help="with --vae: begin with this base's weights; it may know fewer words"
    )
    parser.add_argument("--compile", action="store_true", help="compile the UNet: slower to start, faster from then on")
    parser.add_argument("--size", type=int, default=1024, help="side in pixels that photos are cut to (default: %(default)s)")
    parser.add_argument("--channels", type=int, nargs="+", default=[64, 128, 192], help="width of each level (default: %(default)s)")
    parser.add_argument("--limit", type=int, metavar="N", help="use only the first N pictures")
    loop.add_budget(parser, minutes=45, peak=1e-3, batch=16)


def run(args: argparse.Namespace) -> None:
    """Train the base; leaves `out`/model and `out`/sheet.png. Latents and token ids are kept in `out`."""
    seed_torch(args.seed)
    if (args.vae is None) == (args.model is None):
        raise InvalidRequest(
            "A base is trained either from nothing (--vae, its finished autoencoder) or from another base (--model, a diffusers folder). "
            "Give one of the two."
        )
    people = data_of(args.data, args.out, args.size)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.model is None:
        base = new_base(people, args.vae, tuple(args.channels), args.out, args.limit)
        if args.begin_with is not None:
            print(f"{begin_with(base.parts, base.tokenizer, args.begin_with)} words are new", flush=True)
        task = BaseTask(base, batch=args.batch)
    else:
        base = load_base(args.model, people, args.out, args.limit)
        base.parts.unet.requires_grad_(True)
        task = BaseTask(base, people.captions[:8], batch=args.batch, offset=0.0, origin=args.model)
    if args.compile:
        task.compile()
    sitting = loop.train(task, loop.settings_from(args))
    print(f"{sitting.step} steps, wrote {args.out / 'model'}")
