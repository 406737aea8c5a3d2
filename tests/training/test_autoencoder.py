"""The autoencoder's decoder gets better by itself; what was trained on the encoder's latents stays valid."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from backend.training.people import People
from backend.training.sheets import from_bytes
from backend.training.vae import VaeTask, new_vae


def drawn_in(colour: tuple[int, int, int], people: People, folder: Path) -> People:
    """The same persons on pictures of one colour with dark lines."""
    pictures = np.tile(np.array(colour, np.uint8), (*people.pictures.shape[:3], 1))
    pictures[:, ::8] = 0
    folder.mkdir()
    np.save(folder / "pictures.npy", pictures)
    return dataclasses.replace(people, folder=folder)


def after_training(people: People, beside: People | None, shown: Tensor) -> tuple[float, dict[str, Tensor]]:
    """The decoder's mean absolute error on pictures, after some steps; and the encoder."""
    torch.manual_seed(0)
    task = VaeTask(people, 4, new_vae((8, 16), 64), beside=beside)
    task.decoder_only()
    climber = torch.optim.Adam([p for p in task.trained.parameters() if p.requires_grad], lr=1e-2)
    draw = torch.Generator().manual_seed(0)
    for step in range(25):
        climber.zero_grad()
        task.loss(step, draw).backward()
        climber.step()
    with torch.no_grad():
        made = task.trained.decode(task.trained.encode(shown).latent_dist.mean).sample
    return float((made - shown).abs().mean()), task.trained.encoder.state_dict()


def test_a_decoder_that_is_shown_another_style_draws_it_better_and_the_encoder_stays_bit_equal(people: People, tmp_path: Path) -> None:
    ink = drawn_in((250, 40, 200), people, tmp_path / "ink")
    shown = from_bytes(np.array(ink.pictures[:4]))
    alone, _ = after_training(people, None, shown)
    both, encoder = after_training(people, ink, shown)
    assert both < 0.8 * alone
    torch.manual_seed(0)
    untrained = new_vae((8, 16), 64).encoder.state_dict()
    assert all(torch.equal(value, untrained[name]) for name, value in encoder.items())
