"""The second head start of InstantID's image adapter: the frozen base, told who it is, teaches the adapter, which is shown the face.

Knowledge distillation (Hinton et al. 2015, https://arxiv.org/abs/1503.02531) within one model: teacher and student are the same UNet at the
same noisy latents; the teacher reads the description of the person, the student the caption and the face tokens. The teacher's answer has
none of the noise that a picture's own noise has as a target, so a small data set tells the adapter in minutes how faces change a picture.
What no words say comes afterwards, with the papers' own loss.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from . import loop
from .adapters import STRENGTH
from .typed import tensor
from .warmup import traits

if TYPE_CHECKING:
    from .instantid import InstantIdTask

_NO_SCENE = 0.25
_NO_FACE = 0.05


class TaughtTask:
    """Trains projection, keys and values of `task` without IdentityNet."""

    def __init__(self, task: InstantIdTask) -> None:
        self.task = task
        self.trained = nn.ModuleList([task.trained.projection, task.trained.processors])
        self.traits = traits(task.people)

    def _texts(self, rows: list[int], draw: torch.Generator) -> tuple[list[str], list[str], Tensor]:
        """What the teacher and what the student reads, and which faces are left out."""
        people = self.task.people
        sceneless, faceless = (torch.rand(len(rows), generator=draw) < share for share in (_NO_SCENE, _NO_FACE))
        told, shown = list[str](), list[str]()
        for number, row in enumerate(rows):
            scene = "" if bool(sceneless[number]) else people.captions[row]
            who = "" if bool(faceless[number]) else self.traits[row]
            told.append(", ".join(part for part in (scene, who) if part))
            shown.append(scene)
        return told, shown, faceless

    def loss(self, step: int, draw: torch.Generator) -> Tensor:
        """Weighted mean squared difference of the student's answer from the teacher's."""
        task = self.task
        unet, noiser, base = task.base.parts.unet, task.noiser, task.base
        rows = noiser.rows(task.shown.train_rows, task.batch, draw)
        told, shown, faceless = self._texts([int(row) for row in rows], draw)
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=draw)))
        faces = tensor(np.stack([task.reference(int(row), rng) for row in rows])) * (~faceless)[:, None]
        tokens = task.trained.projection(faces.to(task.device)[:, None])
        with torch.no_grad():
            batch = noiser.noised(rows, base.ids(told), draw)
            states, pooled = base.parts.encode(base.ids(shown).to(task.device))
            task.use_adapter(0.0)
            answer = unet(batch.noisy, batch.t, (batch.states, [tokens]), added_cond_kwargs=batch.added, return_dict=False)[0]
            task.use_adapter(STRENGTH)
        added = base.parts.added(pooled, len(rows), base.size, task.device)
        guess = unet(batch.noisy, batch.t, (states, [tokens]), added_cond_kwargs=added, return_dict=False)[0]
        return 100 * replace(batch, target=answer.float()).error(guess)

    def sheet(self, path: Path) -> None:
        """As InstantID's, without IdentityNet."""
        self.task.sheet(path, identitynet=False)

    def export(self, folder: Path) -> None:
        """Nothing: the modules are the ones that are trained on."""


def teach(task: InstantIdTask, args: argparse.Namespace) -> None:
    """Teach the adapter for `args.taught` minutes, in `args.out`/taught."""
    settings = loop.settings_from(args)
    budget = replace(settings.budget, minutes=args.taught, steps=None)
    sitting = loop.train(TaughtTask(task), replace(settings, out=args.out / "taught", budget=budget))
    print(f"{sitting.step} steps with the base as the teacher", flush=True)
