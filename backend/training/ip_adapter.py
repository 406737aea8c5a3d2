"""IP-Adapter on a frozen base (Ye et al. 2023, https://arxiv.org/abs/2308.06721): a picture as prompt, beside the text.

The image encoder's embedding becomes four tokens through one linear layer and a normalisation; every cross attention gets own keys and
values for them. A dropped image is the embedding zero, as in the official training.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from protocol.errors import InvalidRequest

from . import loop
from .adapters import Floats, Shown, attach, draw_drops, read_embeddings
from .base import cache_of, load_base
from .export import official_adapter, write_adapter
from .parts import Base, Noiser
from .people import People
from .photos import data_of
from .sampling import Prompting, sample
from .sheets import to_bytes, write_sheet
from .typed import seed_torch, tensor
from .untyped import Untyped, projections, transformers

TOKENS = 4
SHEET_TEXTS: tuple[str, ...] = (
    "",
    "",
    "portrait of a smiling person, red sweater, blue background",
    "portrait of a person, black top hat",
    "portrait of a person, sunglasses, at night",
)


class Trained(nn.Module):
    """The projection and the keys and values."""

    def __init__(self, projection: Untyped, processors: nn.ModuleList) -> None:
        super().__init__()
        self.projection, self.processors = projection, processors


class IpAdapterTask:
    """Trains an image prompt on a data set with image embeddings."""

    def __init__(self, people: People, base: Base, embeddings: Floats, *, batch: int, held: int = 16, offset: float = 0.05) -> None:
        self.device, self.people, self.base, self.batch, self.embeddings = loop.device(), people, base, batch, embeddings
        self.shown, self.noiser = Shown(people, len(base.latents), held), Noiser(base, offset)
        projection = projections.ImageProjection(embeddings.shape[1], base.width, TOKENS)
        self.trained = Trained(projection, attach(base.parts.unet, TOKENS)).to(self.device)

    def loss(self, step: int, draw: torch.Generator) -> Tensor:
        """Mean squared error of the noise predicted from text and image."""
        rows = self.noiser.rows(self.shown.train_rows, self.batch, draw)
        drops = draw_drops(self.batch, draw)
        images = (tensor(self.embeddings[rows]) * (~drops.image)[:, None]).to(self.device)
        batch = self.noiser.batch(rows, drops.text, draw, described=0.15)
        states = (batch.states, [self.trained.projection(images)])
        return batch.error(self.base.parts.unet(batch.noisy, batch.t, states, added_cond_kwargs=batch.added, return_dict=False)[0])

    def sheet(self, path: Path) -> None:
        """Kept-back pictures (left) as prompts, twice without text, then with."""
        self.trained.eval()
        rows = self.shown.held[:6]
        images = tensor(self.embeddings[np.repeat(rows, len(SHEET_TEXTS))]).to(self.device)
        prompting = Prompting(
            list(SHEET_TEXTS) * len(rows), self.trained.projection(images), self.trained.projection(torch.zeros_like(images))
        )
        made = to_bytes(sample(self.base, prompting))
        n = len(SHEET_TEXTS)
        write_sheet(path, [[np.asarray(self.people.pictures[r]), *made[i * n : (i + 1) * n]] for i, r in enumerate(rows)])
        self.trained.train()

    def export(self, folder: Path) -> None:
        """Write `folder`/ip_adapter.safetensors and .bin."""
        write_adapter(official_adapter(self.base.parts.unet, self.trained.projection), folder / "ip_adapter")


@torch.no_grad()
def embed_photos(people: People, encoder: Path, path: Path) -> None:
    """Write a data set's image embeddings (N, d), made with the CLIP image encoder in a folder and the processor in or beside it."""
    model = transformers.CLIPVisionModelWithProjection.from_pretrained(encoder).to(loop.device()).eval()
    beside = next((f for f in (encoder, encoder.parent / "feature_extractor") if (f / "preprocessor_config.json").is_file()), None)
    processor = transformers.CLIPImageProcessorPil() if beside is None else transformers.CLIPImageProcessorPil.from_pretrained(beside)
    parts: list[Floats] = []
    for begin in range(0, len(people.pictures), 16):
        pixels = processor(images=list(people.pictures[begin : begin + 16]), return_tensors="pt").pixel_values
        parts.append(model(pixels.to(loop.device())).image_embeds.float().cpu().numpy())
    np.save(path, np.concatenate(parts))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m backend.training ip-adapter`."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder of drawn persons with image_embeds.npy (see 'clip --embed'), or captioned photos",
    )
    parser.add_argument(
        "--base", type=Path, required=True, help="folder of the finished base's training, or a diffusers folder (SDXL, SD 1.5)"
    )
    parser.add_argument("--encoder", type=Path, help="folder of the CLIP image encoder, for photos")
    parser.add_argument("--size", type=int, default=512, help="side in pixels that photos are cut to (default: %(default)s)")
    loop.add_budget(parser, minutes=12, peak=6e-4, batch=16)


def run(args: argparse.Namespace) -> None:
    """Train; leaves `out`/ip_adapter.safetensors, `out`/ip_adapter.bin and `out`/sheet.png."""
    seed_torch(args.seed)
    drawn = (args.data / "pictures.npy").is_file()
    if not drawn and args.encoder is None and not (args.out / "data" / "image_embeds.npy").is_file():
        raise InvalidRequest(
            "An IP-Adapter learns what an image encoder sees on the photos. Give the folder of a CLIP image encoder with --encoder."
        )
    people = data_of(args.data, args.out, args.size)
    path = people.folder / "image_embeds.npy"
    if args.encoder is not None and not path.is_file():
        embed_photos(people, args.encoder, path)
    embeddings = read_embeddings(path, len(people.pictures))
    base = load_base(args.base, people, cache_of(args.base, drawn, args.out))
    task = IpAdapterTask(people, base, embeddings, batch=args.batch, offset=0.05 if drawn else 0.0)
    sitting = loop.train(task, loop.settings_from(args))
    print(f"{sitting.step} steps, wrote {args.out / 'ip_adapter.safetensors'}")
