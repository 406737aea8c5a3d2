"""IP-Adapter on a frozen base (Ye et al. 2023, https://arxiv.org/abs/2308.06721): a picture as prompt, beside the text.

The image encoder's embedding becomes four tokens through one linear layer and a normalisation; every cross attention gets own keys and
values for them. A dropped image is the embedding zero, as in the official training.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers.models.embeddings import ImageProjection
from torch import Tensor, nn
from torch.nn import functional

from . import loop
from .adapters import Base, Floats, Noiser, Prompting, Shown, attach, draw_drops, load_base, sample
from .export import official_adapter, write_adapter
from .instantid import read_embeddings
from .people import People
from .sheets import to_bytes, write_sheet

TOKENS = 4
SHEET_TEXTS = ("", "", "portrait of a smiling person, red sweater, blue background", "portrait of a person, black top hat", "portrait of a person, sunglasses, at night")


class Trained(nn.Module):
    """The projection and the keys and values."""

    def __init__(self, projection: ImageProjection, processors: nn.ModuleList) -> None:
        super().__init__()
        self.projection, self.processors = projection, processors


class IpAdapterTask:
    """Trains an image prompt on a data set with image embeddings."""

    def __init__(self, people: People, base: Base, embeddings: Floats, *, batch: int, held: int = 16) -> None:
        self.device, self.people, self.base, self.batch, self.held = loop.device(), people, base, batch, held
        self.embeddings, self.shown, self.noiser = embeddings, Shown(people, len(base.latents), held), Noiser(base)
        projection = ImageProjection(embeddings.shape[1], base.width, TOKENS)
        self.trained = Trained(projection, attach(base.parts.unet, TOKENS)).to(self.device)

    def loss(self, step: int, draw: torch.Generator) -> Tensor:
        """Mean squared error of the noise predicted from text and image."""
        rows = torch.randint(self.shown.train_rows, (self.batch,), generator=draw).sort().values.numpy()
        drops = draw_drops(self.batch, draw)
        images = (torch.from_numpy(self.embeddings[rows]) * (~drops.image)[:, None]).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            batch = self.noiser.batch(rows, drops.text, draw)
            states = (batch.states, [self.trained.projection(images)])
            guess = self.base.parts.unet(batch.noisy, batch.t, states, added_cond_kwargs=batch.added, return_dict=False)[0]
        return functional.mse_loss(guess.float(), batch.noise)

    def sheet(self, path: Path) -> None:
        """Kept-back pictures (left) as prompts, twice without text, then with."""
        self.trained.eval()
        rows = self.shown.begins[len(self.shown.begins) - self.held :][:6]
        images = torch.from_numpy(self.embeddings[np.repeat(rows, len(SHEET_TEXTS))]).to(self.device)
        prompting = Prompting(list(SHEET_TEXTS) * len(rows), self.trained.projection(images), self.trained.projection(torch.zeros_like(images)))
        made = to_bytes(sample(self.base, prompting))
        n = len(SHEET_TEXTS)
        write_sheet(path, [[np.asarray(self.people.pictures[r]), *made[i * n : (i + 1) * n]] for i, r in enumerate(rows)])
        self.trained.train()

    def export(self, folder: Path) -> None:
        """Write `folder`/ip_adapter.safetensors and .bin."""
        write_adapter(official_adapter(self.base.parts.unet, self.trained.projection), folder / "ip_adapter")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m backend.training ip_adapter`."""
    parser.add_argument("--data", type=Path, required=True, help="folder of drawn persons with image_embeds.npy (from 'clip --embed')")
    parser.add_argument("--base", type=Path, required=True, help="folder of the finished base's training")
    loop.add_budget(parser, minutes=12, peak=6e-4, batch=16)


def run(args: argparse.Namespace) -> None:
    """Train; leaves `out`/ip_adapter.safetensors, `out`/ip_adapter.bin and `out`/sheet.png."""
    torch.manual_seed(args.seed)
    people = People(args.data)
    embeddings = read_embeddings(args.data / "image_embeds.npy", len(people.pictures))
    task = IpAdapterTask(people, load_base(args.base, people.pictures.shape[1]), embeddings, batch=args.batch)
    sitting = loop.train(task, loop.settings_from(args))
    print(f"{sitting.step} steps, wrote {args.out / 'ip_adapter.safetensors'}")
