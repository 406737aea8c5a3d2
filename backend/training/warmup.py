"""A head start for InstantID's image adapter: its tokens first learn to say what words about the person would have said.

The keys and values of a new adapter are copies of the base's own, so tokens that look like the text encoder's states for "brown skin, oval
face, curly hair" draw such a person at once. Learning that by regression takes minutes, with neither UNet nor noise; from there the papers'
training goes on to what no words say. From random tokens, the small world's adapter had not begun to tell people apart in the same time.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from .parts import Base
from .people import People
from .typed import tensor

_BATCH = 256
_PEAK = 1.5e-3


def traits(people: People) -> list[str]:
    """What the descriptions say of the persons beyond the captions, one for every picture."""
    pairs = zip(people.descriptions, people.captions, strict=True)
    return [description.removeprefix(caption).lstrip(", ") for description, caption in pairs]


@torch.no_grad()
def states_of(base: Base, texts: list[str], tokens: int) -> Tensor:
    """The text encoder's states (len(texts), tokens, width) behind the start token."""
    parts = [base.parts.encode(base.ids(texts[i : i + 256]))[0][:, 1 : tokens + 1] for i in range(0, len(texts), 256)]
    return torch.cat(parts)


def warm_up(projection: nn.Module, people: People, base: Base, embeddings: NDArray[np.float32], tokens: int, minutes: float) -> float:
    """Teach `projection` (embedding -> tokens) the states of the persons' traits; returns the share of their variance that it explains."""
    said = traits(people)
    persons = np.asarray(people.persons)
    first = np.flatnonzero(np.r_[True, persons[1:] != persons[:-1]])
    wanted = states_of(base, [said[i] for i in first], tokens)
    of_person = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(persons)]))
    with torch.no_grad():  # the last normalisation's scale: text states are far from unit variance, and a scale is slow to learn
        projection.get_submodule("norm_out").load_state_dict({"weight": wanted.std((0, 1)), "bias": wanted.mean((0, 1))})
    held = len(first) // 20
    spread = (wanted - wanted.mean(0)).square().mean()
    rows = np.flatnonzero(of_person < len(first) - held)
    adam = torch.optim.AdamW(projection.parameters(), lr=_PEAK, weight_decay=0.01)
    draw, begin = np.random.default_rng(0), time.monotonic()
    projection.train()
    while (done := (time.monotonic() - begin) / (60 * minutes)) < 1:
        for group in adam.param_groups:
            group["lr"] = _PEAK * min(1.0, 20 * done + 0.01) * (1 - done)
        batch = draw.choice(rows, min(_BATCH, len(rows)))
        with torch.autocast("cpu", torch.bfloat16):
            made = projection(tensor(embeddings[batch])[:, None])
        loss = functional.mse_loss(made.float(), wanted[of_person[batch]]) / spread
        adam.zero_grad(set_to_none=True)
        loss.backward()  # pyright: ignore[reportUnknownMemberType]  # torch types it and what follows in part
        adam.step()  # pyright: ignore[reportUnknownMemberType]
    kept = np.flatnonzero(of_person >= len(first) - held)
    return _explained(projection, tensor(embeddings[kept]), wanted[of_person[kept]])


@torch.no_grad()
def _explained(projection: nn.Module, embeddings: Tensor, wanted: Tensor) -> float:
    made = torch.cat([projection(part[:, None]) for part in torch.split(embeddings, _BATCH)])
    return 1 - float((made - wanted).square().mean() / (wanted - wanted.mean(0)).square().mean())
