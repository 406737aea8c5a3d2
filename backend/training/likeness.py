"""A loss of likeness: the picture that a guess of the noise amounts to is decoded, its face aligned, and a recogniser asked who it is.

The mean squared error of the noise hardly sees a face: a few latents of a thousand hold eyes, brows and mouth. So, as in PuLID (Guo et al.
2024, https://arxiv.org/abs/2404.16022) and PortraitBooth (Peng et al. 2023, https://arxiv.org/abs/2312.06354), one minus the cosine of the
face in the picture to the person's is added. Noisy pictures of the training set show the person already, what begins with nothing but
noise does not: so half of the pictures asked about are drawn from noise, and the last step learns (Clark et al. 2023,
https://arxiv.org/abs/2309.17400). The recogniser of the loss must be another one than the recogniser that likeness is measured with, or the
measure would be what was trained.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from . import loop
from .crops import CROP, alignment
from .parts import Base, Batch
from .people import People
from .recogniser import embed, load
from .typed import tensor

CLEANEST_SHARE = 0.9
"""Share of the timesteps, from the clean end, where the picture guessed has a face worth asking about."""
EMBEDDINGS = "embeddings.npy"
STEPS = 5
"""Of a picture drawn in training; it is left after one, two or three of them."""


def aligned(pictures: Tensor, keypoints: NDArray[np.float32]) -> Tensor:
    """Aligned faces (n, 3, 112, 112) of pictures (n, 3, S, S) in -1 … 1 with keypoints (n, 5, 2) in pixels; -1 where a picture ends.

    What `crops.crop` does to bytes, with a gradient.
    """
    side = pictures.shape[-1]
    places = np.arange(CROP, dtype=np.float64)
    across, down = np.meshgrid(places, places)
    grids: list[NDArray[np.float32]] = []
    for points in keypoints:
        matrix = alignment(points)
        back = np.linalg.inv(matrix[:, :2])
        where = (np.stack([across, down], -1) - matrix[:, 2]) @ back.T
        grids.append(((where + 0.5) * (2.0 / side) - 1.0).astype(np.float32))
    grid = tensor(np.stack(grids)).to(pictures.device)
    return functional.grid_sample(pictures + 1.0, grid, align_corners=False) - 1.0


def clean_of(batch: Batch, guess: Tensor, alphas_cumprod: Tensor, *, velocity: bool = False) -> Tensor:
    """The clean latents that a guess of noise (or velocity) amounts to (Ho et al. 2020, equation 15)."""
    kept = alphas_cumprod.to(guess.device)[batch.t][:, None, None, None]
    noisy = batch.noisy.float()
    if velocity:
        return kept.sqrt() * noisy - (1 - kept).sqrt() * guess.float()
    return (noisy - (1 - kept).sqrt() * guess.float()) / kept.sqrt()


@torch.no_grad()
def drawn(answer: Callable[[Tensor, Tensor], Tensor], noise: Tensor, kept: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Latents after the first `steps` of STEPS deterministic steps (DDIM, Song et al. 2021) from `noise`, and their timesteps (n,).

    Args:
        answer: (latents, timesteps) -> the noise in them.
        noise: (n, c, h, w).
        kept: the schedule's cumulative products of alpha, (T,).
        steps: 1 … STEPS - 1.
    """
    times = [round(len(kept) * (STEPS - k) / STEPS) - 1 for k in range(steps + 1)]
    x, n = noise, len(noise)
    for now, then in pairwise(times):
        guess = answer(x, torch.full((n,), now, device=x.device)).float()
        clean = ((x - (1 - kept[now]).sqrt() * guess) / kept[now].sqrt()).clamp(-4, 4)
        x = kept[then].sqrt() * clean + (1 - kept[then]).sqrt() * guess
    return x.contiguous(memory_format=torch.channels_last), torch.full((n,), times[-1], device=x.device)


@dataclass(frozen=True)
class Seen:
    """Pictures (m, 3, S, S) in -1.2 … 1.2 that guesses amount to, `chosen` (m,) their places in the batch, and `counts` (m,)."""

    pictures: Tensor
    chosen: NDArray[np.int64]
    counts: Tensor


class LikenessLoss:
    """Compares the faces of guessed pictures with their persons.

    Args:
        recogniser: folder of a recogniser's training; the data set's embeddings by it are kept there, in embeddings.npy.
        people: the data set.
        base: whose latents are guessed.
    """

    def __init__(self, recogniser: Path, people: People, base: Base) -> None:
        self.people, self.base, self.device = people, base, loop.device()
        self.network = load(recogniser).requires_grad_(False).to(self.device)
        path = recogniser / EMBEDDINGS
        if not path.is_file():
            beside = path.with_suffix(".part.npy")
            np.save(beside, embed(load(recogniser), people, np.arange(len(people.pictures))).astype(np.float16))
            beside.replace(path)
        self.embeddings: NDArray[np.float16] = np.load(path, mmap_mode="r")
        self.kept = base.schedule.alphas_cumprod
        self.velocity = base.schedule.config.prediction_type == "v_prediction"

    def __call__(self, batch: Batch, guess: Tensor, rows: NDArray[np.int64], persons: list[NDArray[np.int64]], counted: Tensor) -> Tensor:
        """Mean of 1 - cosine over a batch of pictures `rows`, a float32 scalar.

        Args:
            batch: what was noised.
            guess: the UNet's answer.
            rows: which pictures of the data set.
            persons: for each of them, all pictures of its person.
            counted: bool (n,), which of them had a face to go by.
        """
        seen = self.seen(batch, guess, counted)
        return guess.sum() * 0.0 if seen is None else self.unlike(seen, rows, persons)

    def seen(self, batch: Batch, guess: Tensor, counted: Tensor) -> Seen | None:
        """The pictures that `guess` amounts to, of those that are `counted` and no mere noise; None if there are none."""
        chosen = torch.nonzero(counted.to(self.device) & (batch.t < CLEANEST_SHARE * len(self.kept))).flatten()
        if not len(chosen):
            return None
        latents = clean_of(batch, guess, self.kept, velocity=self.velocity)[chosen]
        pictures = self.base.vae.decode(latents / self.base.vae.config.scaling_factor, return_dict=False)[0].float()
        # A guess at a noisy picture changes it by sqrt((1 - kept) / kept) as much as the noise: half of that, in logarithms, is taken back.
        counts = self.kept.to(self.device)[batch.t[chosen]] ** 0.25 / len(batch.t)
        return Seen(pictures.clamp(-1.2, 1.2), chosen.cpu().numpy(), counts)

    def unlike(self, seen: Seen, rows: NDArray[np.int64], persons: list[NDArray[np.int64]]) -> Tensor:
        """1 - cosine of each picture seen, by what it counts, summed."""
        faces = aligned(seen.pictures, np.asarray(self.people.keypoints[rows[seen.chosen]]))
        goals = tensor(np.stack([self._goal(int(rows[place]), persons[int(place)]) for place in seen.chosen])).to(self.device)
        return ((1 - functional.cosine_similarity(self.network(faces), goals)) * seen.counts).sum()

    def _goal(self, row: int, person: NDArray[np.int64]) -> NDArray[np.float32]:
        """Halfway between the person's mean and the very picture: glasses that the text asks for must not make a face less alike."""
        found, own = np.asarray(self.embeddings[person], np.float32), np.asarray(self.embeddings[row], np.float32)
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).mean(0) + own / np.linalg.norm(own)
