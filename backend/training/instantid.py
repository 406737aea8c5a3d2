"""InstantID on a frozen base: IdentityNet and the image adapter, trained together (Wang et al. 2024, https://arxiv.org/abs/2401.07519).

The image adapter turns a raw face embedding (512) into 16 tokens for own keys and values in every cross attention. IdentityNet is a
ControlNet that begins as the UNet's encoder, sees five drawn keypoints, and attends to the 16 tokens instead of the text. The reference
is another picture of the same person half of the time, and sometimes the mean of several: the identity must not carry the pose.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from protocol.errors import InvalidRequest
from protocol.geometry import Extent

from ..keypoints import draw_keypoints
from . import loop
from .adapters import STRENGTH, Drops, Floats, Shown, attach, draw_drops, face_areas, mean_embedding, read_embeddings
from .asked import AskedLoss
from .base import cache_of, load_base
from .crops import crop
from .export import official_adapter, read_adapter, write_adapter
from .likeness import LikenessLoss, drawn
from .parts import Base, Batch, Noiser
from .people import People
from .photos import data_of
from .sampling import Prompting, sample
from .sheets import to_bytes, write_sheet
from .taught import teach
from .typed import seed_torch, tensor
from .untyped import Untyped, diffusers, projections
from .warmup import warm_up

TOKENS = 16
FACE_COUNTS = 2.5
"""How much more an error in the face counts than one elsewhere: the identity is there, the rest follows the text."""
LIKENESS_COUNTS = 0.03
"""How much the loss of likeness counts beside the error of the noise: about twice as much gradient as that."""
ASKED_COUNTS = 0.15
"""How much the loss of what was asked for counts beside the loss of likeness, for pictures drawn from noise: as much gradient as that."""
SHEET_TEXTS: tuple[str, ...] = (
    "portrait of a smiling person, red sweater, blue background",
    "portrait of a neutral person, blue shirt, glasses, grey background",
    "portrait of a laughing person, white shirt, yellow straw hat, in the hills",
    "portrait of a sad person, green jacket, black top hat, at night",
    "",
    "portrait of a surprised person, purple sweater, red cap, at the sea",
    "portrait of a neutral person, black jacket, sunglasses, green background",
)


class Trained(nn.Module):
    """The projection, the keys and values, and IdentityNet."""

    def __init__(self, projection: Untyped, processors: nn.ModuleList, identitynet: Untyped) -> None:
        super().__init__()
        self.projection, self.processors, self.identitynet = projection, processors, identitynet


def new_resampler(width: int) -> Untyped:
    """InstantID's resampler for a cross attention of `width`: dimension 1280 and 20 heads for real bases, 256 and 4 for small ones."""
    dimension = 1280 if width >= 1024 else 256
    return projections.IPAdapterPlusImageProjection(
        embed_dims=512, output_dims=width, hidden_dims=dimension, depth=4, dim_head=64, heads=dimension // 64, num_queries=TOKENS
    )


def new_identitynet(base: Base) -> Untyped:
    """A ControlNet that begins as the base's encoder; its picture shrinks by the autoencoder's factor."""
    levels = len(base.vae.config.block_out_channels)
    shrink = (16, 32, 96, 256) if levels == 4 else (16, 32, 64, 128)[:levels]
    net = diffusers.ControlNetModel.from_unet(base.parts.unet, conditioning_embedding_out_channels=shrink)
    return net.to(loop.device(), memory_format=torch.channels_last).requires_grad_(True).train()


def keypoint_pictures(keypoints: Floats, size: int) -> Tensor:
    """Keypoints (n, 5, 2) in pixels, drawn as IdentityNet reads them: (n, 3, size, size) in 0 … 1."""
    drawn = np.stack([draw_keypoints(points, Extent(size, size)) for points in keypoints])
    return tensor(drawn).permute(0, 3, 1, 2).float() / 255


class InstantIdTask:
    """Trains image adapter and IdentityNet together on a data set with keypoints and embeddings."""

    def __init__(
        self,
        people: People,
        base: Base,
        embeddings: Floats,
        *,
        batch: int,
        held: int = 16,
        recogniser: Path | None = None,
        offset: float = 0.05,
        likeness: LikenessLoss | None = None,
        asked: AskedLoss | None = None,
    ) -> None:
        self.likeness, self.asked = likeness, asked
        self.device, self.people, self.base, self.batch = loop.device(), people, base, batch
        self.embeddings, self.recogniser, self.texts = embeddings, recogniser, list(SHEET_TEXTS)
        self.shown, self.noiser = Shown(people, len(base.latents), held), Noiser(base, offset)
        net = new_identitynet(base)
        loop.use_fast_attention(net)
        self.trained = Trained(new_resampler(base.width), attach(base.parts.unet, TOKENS), net).to(self.device)
        self.use_adapter(STRENGTH)

    def use_adapter(self, scale: float) -> None:
        """Set the image adapter's scale; 0 is the base alone."""
        for processor in self.trained.processors:
            untyped: Untyped = processor
            untyped.scale = [scale]

    def begin_from(self, folder: Path) -> None:
        """Take IdentityNet's weights from a folder that was trained on the same base."""
        self.trained.identitynet.load_state_dict(diffusers.ControlNetModel.from_pretrained(folder).state_dict())

    def begin_with(self, folder: Path) -> None:
        """Take everything from an earlier training's folder: IdentityNet and the image adapter; InvalidRequest if one is not there."""
        for needed in ("identitynet/config.json", "instantid.safetensors"):
            if not (folder / needed).is_file():
                raise InvalidRequest(f"{folder} holds no {needed}, so it is no finished InstantID training. Choose another --begin-with.")
        self.begin_from(folder / "identitynet")
        read_adapter(self.base.parts.unet, self.trained.projection, folder / "instantid.safetensors")

    def reference(self, row: int, rng: np.random.Generator) -> Floats:
        """A face embedding (512,) for picture `row`: its own, another picture's, or the mean of all others."""
        u = rng.random()
        if u < 0.4:
            return self.embeddings[row]
        others = self.shown.others(row)
        if u < 0.85:
            return self.embeddings[rng.choice(others)]
        return mean_embedding(self.embeddings[others])

    def _conditions(self, rows: NDArray[np.int64], drops: Drops, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=draw)))
        faces = tensor(np.stack([self.reference(int(row), rng) for row in rows])) * (~drops.image)[:, None]
        # A detector's keypoints are a little off; the drawing must not promise more than it can hold.
        keypoints = self.people.keypoints[rows] + rng.normal(0, 0.4, (len(rows), 5, 2)).astype(np.float32)
        controls = keypoint_pictures(keypoints, self.base.size) * (~drops.control)[:, None, None, None]
        return faces.to(self.device), controls.to(self.device, memory_format=torch.channels_last)

    def loss(self, step: int, draw: torch.Generator) -> Tensor:
        """Mean squared error of the noise predicted from text, face and keypoints, and perhaps the loss of likeness."""
        if self.likeness is None:
            return self._noise_loss(self.batch, draw)[0]
        error, unlike = self._noise_loss(self.batch - self.batch // 2, draw)
        return error + LIKENESS_COUNTS * (unlike + self._own_pictures(self.likeness, self.batch // 2, draw))

    def _noise_loss(self, n: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = self.noiser.rows(self.shown.train_rows, n, draw)
        drops = draw_drops(n, draw)
        faces, controls = self._conditions(rows, drops, draw)
        batch = self.noiser.batch(rows, drops.text, draw, described=0.15)
        guess = self._guess(batch, self.trained.projection(faces[:, None]), controls)
        area = face_areas(self.people.keypoints[rows], self.base.size, batch.noisy.shape[-1], FACE_COUNTS)
        error = batch.error(guess, area.to(self.device))
        return error, error * 0 if self.likeness is None else self.likeness(batch, guess, rows, self._shots(rows), ~drops.image)

    def _own_pictures(self, likeness: LikenessLoss, n: int, draw: torch.Generator) -> Tensor:
        rows = self.noiser.rows(self.shown.train_rows, n, draw)
        none = torch.zeros(n, dtype=torch.bool)
        faces, controls = self._conditions(rows, Drops(none, none, none), draw)
        batch, tokens = self.noiser.batch(rows, none, draw, described=0.0), self.trained.projection(faces[:, None])
        noise = torch.randn(batch.noisy.shape, generator=draw).to(self.device, memory_format=torch.channels_last)
        steps = 1 + int(torch.randint(3, (1,), generator=draw))
        kept = likeness.kept.to(self.device)
        begun = drawn(lambda x, t: self._guess(replace(batch, noisy=x, t=t), tokens, controls), noise, kept, steps)
        batch = replace(batch, noisy=begun[0], t=begun[1])
        guess = self._guess(batch, tokens, controls)
        seen = likeness.seen(batch, guess, ~none)
        if seen is None:
            return guess.sum() * 0.0
        unlike = likeness.unlike(seen, rows, self._shots(rows))
        return unlike if self.asked is None else unlike + ASKED_COUNTS * self.asked(seen, rows)

    def _shots(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [np.append(self.shown.others(int(row)), row) for row in rows]

    def _guess(self, batch: Batch, tokens: Tensor, controls: Tensor) -> Tensor:
        down, middle = self.trained.identitynet(
            batch.noisy, batch.t, tokens, controls, STRENGTH, added_cond_kwargs=batch.added, return_dict=False
        )
        return self.base.parts.unet(
            batch.noisy, batch.t, (batch.states, [tokens]), added_cond_kwargs=batch.added, return_dict=False,
            down_block_additional_residuals=down, mid_block_additional_residual=middle,
        )[0]  # fmt: skip

    def _sheet_rows(self, persons: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Reference pictures (persons,) of kept-back persons, and pictures (persons, texts) whose keypoints are followed."""
        begins = self.shown.held[:persons]
        poses = (begins[:, None] + 37 * (1 + np.arange(len(self.texts)))) % self.shown.train_rows
        return begins, poses

    def sheet(self, path: Path, *, identitynet: bool = True) -> None:
        """Kept-back persons (left) in new poses under the sheet's texts; prints the mean cosine to the reference."""
        self.trained.eval()
        references, poses = self._sheet_rows(6)
        columns = poses.shape[1]
        faces = tensor(self.embeddings[np.repeat(references, columns)]).to(self.device)
        keypoints = np.asarray(self.people.keypoints)[poses.ravel()]
        prompting = Prompting(
            self.texts * len(references),
            self.trained.projection(faces[:, None]),
            self.trained.projection(torch.zeros_like(faces)[:, None]),
            self.trained.identitynet if identitynet else None,
            keypoint_pictures(keypoints, self.base.size).to(self.device),
            STRENGTH,
        )
        made = to_bytes(sample(self.base, prompting))
        rows = [[np.asarray(self.people.pictures[r]), *made[i * columns : (i + 1) * columns]] for i, r in enumerate(references)]
        write_sheet(path, rows)
        if self.recogniser is not None:
            print(f"\nmean cosine to the reference {self._likeness(made, keypoints, faces.cpu()):.3f}", flush=True)
        self.trained.train()

    def _likeness(self, made: NDArray[np.uint8], keypoints: Floats, faces: Tensor) -> float:
        from .recogniser import load, to_input

        crops = np.stack([crop(picture, points) for picture, points in zip(made, keypoints, strict=True)])
        found = load(self.recogniser)(to_input(crops)) if self.recogniser is not None else faces
        return float(functional.cosine_similarity(found, faces).mean())

    def export(self, folder: Path) -> None:
        """Write `folder`/instantid.safetensors and .bin and `folder`/identitynet."""
        write_adapter(official_adapter(self.base.parts.unet, self.trained.projection), folder / "instantid")
        self.trained.identitynet.save_pretrained(folder / "identitynet")
        diffusers.ControlNetModel.from_pretrained(folder / "identitynet", dtype=torch.float16).save_pretrained(folder / "identitynet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m backend.training instantid`."""
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder of drawn persons with embeddings.npy (see 'recogniser --embed'), or captioned photos",
    )
    parser.add_argument(
        "--base", type=Path, required=True, help="folder of the finished base's training, or a diffusers folder of an SDXL model"
    )
    parser.add_argument("--faces", type=Path, help="folder of face models (antelopev2's), to find the faces on photos")
    parser.add_argument("--size", type=int, default=1024, help="side in pixels that photos are cut to (default: %(default)s)")
    parser.add_argument(
        "--recogniser", type=Path, help="folder of the built-in recogniser's training, to print the likeness with every sheet"
    )
    parser.add_argument(
        "--likeness", type=Path, metavar="FOLDER", help="also ask this recogniser whether the faces are alike; not the one that measures"
    )
    parser.add_argument(
        "--asked", type=Path, metavar="FOLDER", help="also ask this attribute judge whether the text was followed; needs --likeness"
    )
    parser.add_argument("--identitynet", type=Path, metavar="FOLDER", help="begin with this IdentityNet instead of the base's encoder")
    parser.add_argument("--begin-with", type=Path, metavar="FOLDER", help="begin with another InstantID training's adapter and IdentityNet")
    parser.add_argument(
        "--warm-up", type=float, default=0.0, metavar="MINUTES", help="first teach the adapter the words of the drawn persons' descriptions"
    )
    parser.add_argument(
        "--taught", type=float, default=0.0, metavar="MINUTES", help="then let the base's own answers to the descriptions teach the adapter"
    )
    loop.add_budget(parser, minutes=35, peak=6e-4, batch=16)


def run(args: argparse.Namespace) -> None:
    """Train; leaves `out`/instantid.safetensors, `out`/instantid.bin, `out`/identitynet and `out`/sheet.png."""
    seed_torch(args.seed)
    drawn = (args.data / "pictures.npy").is_file()
    if not drawn and args.faces is None:
        raise InvalidRequest(
            "InstantID learns from faces: on photos they must be found first. Give the folder of face models with --faces."
        )
    people = data_of(args.data, args.out, args.size, args.faces)
    embeddings = read_embeddings(people.folder / "embeddings.npy", len(people.pictures))
    base = load_base(args.base, people, cache_of(args.base, drawn, args.out))
    if base.parts.text_2 is None:
        raise InvalidRequest(
            f"{args.base} is a model of SD 1.5; InstantID exists for SDXL only. Give an SDXL model, or train an IP-Adapter on this one."
        )
    likeness = None if args.likeness is None else LikenessLoss(args.likeness, people, base)
    if args.asked is not None and likeness is None:
        raise InvalidRequest(
            "The judge of --asked looks at pictures that the loss of likeness has drawn. Give a recogniser with --likeness."
        )
    asked = None if args.asked is None else AskedLoss(args.asked, people)
    task = InstantIdTask(
        people,
        base,
        embeddings,
        batch=args.batch,
        recogniser=args.recogniser,
        offset=0.05 if drawn else 0.0,
        likeness=likeness,
        asked=asked,
    )
    if args.begin_with is not None:
        task.begin_with(args.begin_with)
    elif args.identitynet is not None:
        task.begin_from(args.identitynet)
    if args.warm_up and drawn and not (args.out / loop.CHECKPOINT).exists():
        explained = warm_up(task.trained.projection, people, base, embeddings, TOKENS, args.warm_up)
        print(f"the adapter's tokens explain {explained:.0%} of what words say of persons kept back", flush=True)
    if args.taught and drawn and not (args.out / loop.CHECKPOINT).exists():
        teach(task, args)
    sitting = loop.train(task, loop.settings_from(args))
    print(f"{sitting.step} steps, wrote {args.out / 'instantid.safetensors'} and {args.out / 'identitynet'}")
