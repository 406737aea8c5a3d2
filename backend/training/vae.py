"""The built-in model's autoencoder: pictures to latents of a quarter of the side and back, in diffusers' AutoencoderKL.

Instead of a Kullback-Leibler term, whose only use here would be smooth latents, a little noise is added to the latents and their size is
held down. The loss sees edges: an absolute error on the picture and one on its gradients, weighted where the picture has gradients itself,
because eyes and mouths are few pixels and would otherwise be the last thing learned.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from . import loop
from .people import People
from .sheets import from_bytes, to_bytes, write_sheet
from .typed import seed_torch
from .untyped import Untyped, diffusers

NOISE = 0.1
TIE = 0.5
"""Weight of the term that makes the last latent channel the red-green difference. Without it that channel was seen to end as a copy of two
others, and a direction of colour was lost: the four channels must carry three colours and the edges."""


def new_vae(channels: tuple[int, ...] = (32, 64, 96), size: int = 128) -> Untyped:
    """An untrained autoencoder with 4 latent channels; every entry of `channels` after the first halves the side."""
    n = len(channels)
    return diffusers.AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=channels, layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * n, up_block_types=("UpDecoderBlock2D",) * n,
        mid_block_add_attention=False, sample_size=size, force_upcast=False,
    ).to(memory_format=torch.channels_last)  # fmt: skip


def gradients(x: Tensor) -> Tensor:
    """Differences to the right and the lower neighbour of pictures (N, C, H, W): (2, N, C, H-1, W-1)."""
    here = x[..., :-1, :-1]
    return torch.stack([x[..., 1:, :-1] - here, x[..., :-1, 1:] - here])


def reconstruction_loss(made: Tensor, real: Tensor) -> Tensor:
    """Absolute error of pictures (N, 3, H, W), of their gradients (up to ninefold at edges), and of colours averaged over 4 x 4 pixels.

    Edges are mostly edges in brightness: without the last term a whole direction of colour was left out (hair and clothes turned grey).
    """
    want, got = gradients(real), gradients(made)
    weight = 1 + 8 * want.abs().sum(0).mean(1, keepdim=True).clamp(max=1)
    colour = functional.avg_pool2d(made - real, 4)
    tint = colour - colour.mean(1, keepdim=True)
    return functional.l1_loss(made, real) + 4 * colour.abs().mean() + 12 * tint.abs().mean() + (weight * (want - got).abs().sum(0)).mean()


def batches(pictures: Tensor, n: int = 16) -> list[Tensor]:
    """Pictures (N, 3, H, W) in parts of at most n."""
    return [pictures[i : i + n] for i in range(0, len(pictures), n)]


def _drawn(pictures: NDArray[np.uint8], n: int, draw: torch.Generator) -> NDArray[np.uint8]:
    return pictures[np.sort(torch.randint(len(pictures), (n,), generator=draw).numpy())]


class VaeTask:
    """Trains an autoencoder on a data set's pictures."""

    def __init__(
        self, people: People, batch: int, vae: Untyped | None = None, limit: int | None = None, beside: People | None = None
    ) -> None:
        self.device = loop.device()
        self.pictures, self.batch = people.pictures[:limit], batch
        self.beside = self.pictures[:0] if beside is None else beside.pictures
        self.trained = (vae or new_vae(size=people.pictures.shape[1])).to(self.device).train()

    def loss(self, step: int, draw: torch.Generator) -> Tensor:
        """Reconstruction of one batch through slightly noisy latents."""
        others = self.batch // 2 if len(self.beside) else 0
        shown = [_drawn(self.pictures, self.batch - others, draw), *([_drawn(self.beside, others, draw)] if others else [])]
        real = from_bytes(np.concatenate(shown)).to(self.device)
        mean = self.trained.encode(real).latent_dist.mean
        noise = torch.randn(mean.shape, generator=draw).to(mean.device)
        made = self.trained.decode(mean + NOISE * noise).sample
        tie = functional.l1_loss(mean[:, 3].float(), 4 * functional.avg_pool2d(real[:, 0] - real[:, 1], real.shape[-1] // mean.shape[-1]))
        return reconstruction_loss(made.float(), real) + TIE * tie + 1e-3 * mean.float().square().mean()

    def decoder_only(self) -> None:
        """Keep the encoder: latents, and every part trained on them, stay valid while the decoder still gets better."""
        self.trained.encoder.requires_grad_(False)
        if self.trained.quant_conv is not None:
            self.trained.quant_conv.requires_grad_(False)

    def _some(self, n: int) -> NDArray[np.uint8]:
        return self.pictures[np.linspace(0, len(self.pictures) - 1, n).astype(int)]

    def sheet(self, path: Path) -> None:
        """Eight pictures over their reconstructions; prints the mean absolute error (0 … 1) of 64."""
        real = from_bytes(self._some(64)).to(self.device)
        made = torch.cat([self.trained.decode(self.trained.encode(part).latent_dist.mean).sample for part in batches(real)])
        error = float((made.clamp(-1, 1) - real).abs().mean()) / 2
        print(f"\nmean absolute error {error:.4f}", flush=True)
        rows = [list(to_bytes(real[i : i + 8])) for i in (0, 8)], [list(to_bytes(made[i : i + 8])) for i in (0, 8)]
        write_sheet(path, [rows[0][0], rows[1][0], rows[0][1], rows[1][1]])

    def export(self, folder: Path) -> None:
        """Write `folder`/vae, its scaling factor such that latents have standard deviation 1."""
        real = from_bytes(self._some(256)).to(self.device)
        latents = torch.cat([self.trained.encode(part).latent_dist.mean for part in batches(real)])
        if any(p.requires_grad for p in self.trained.encoder.parameters()):
            self.trained.register_to_config(scaling_factor=1.0 / float(latents.std()))
        self.trained.save_pretrained(folder / "vae")
        spread: dict[str, float | list[float]] = {"std": float(latents.std())}
        spread |= {"channels": [float(v) for v in latents.std((0, 2, 3))], "means": [float(v) for v in latents.mean((0, 2, 3))]}
        (folder / "latents.json").write_text(json.dumps(spread))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m backend.training vae`."""
    parser.add_argument("--data", type=Path, required=True, help="folder of drawn persons")
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 96], help="width of each level (default: %(default)s)")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="use only the first N pictures (a data set still being drawn has its first ones already)"
    )
    parser.add_argument("--decoder-of", type=Path, metavar="VAE", help="go on from this finished autoencoder and train its decoder only")
    parser.add_argument(
        "--beside", type=Path, metavar="FOLDER", help="half of every batch from this data set: persons drawn in another style"
    )
    loop.add_budget(parser, minutes=25, peak=3e-3, batch=8)


def run(args: argparse.Namespace) -> None:
    """Train the autoencoder; leaves `out`/vae and `out`/sheet.png."""
    seed_torch(args.seed)
    people = People(args.data)
    vae = (
        diffusers.AutoencoderKL.from_pretrained(args.decoder_of)
        if args.decoder_of
        else new_vae(tuple(args.channels), people.pictures.shape[1])
    )
    task = VaeTask(people, args.batch, vae.to(memory_format=torch.channels_last), args.limit, People(args.beside) if args.beside else None)
    if args.decoder_of:
        task.decoder_only()
    sitting = loop.train(task, loop.settings_from(args, average=0.995))
    print(f"{sitting.step} steps, wrote {args.out / 'vae'}")
