"""A loss of what the text asked for: a judge of attributes looks at the picture that a guess of the noise amounts to.

A face that is pulled towards a person is pulled towards that person's usual face, too: without this, the expression that the text asks for
loses against the likeness. As with the loss of likeness (`likeness.py`), a network that is kept as it is says how right the picture is, and
the last step of the drawing learns (Clark et al. 2023, https://arxiv.org/abs/2309.17400). The judge of the loss must be another one than
the judge that counts in `likeness evaluate`.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from . import loop
from .judge import SIDE, Judge, parted
from .likeness import Seen
from .people import People
from .typed import tensor

EXPRESSION_COUNTS = 3.0
"""How much the expression counts beside each other attribute: it is the one that loses."""


class AskedLoss:
    """Compares what the judge sees with what the captions say.

    Args:
        judge: folder with a trained judge (judge.json, model.safetensors).
        people: the data set, whose attributes are what its captions say.
    """

    def __init__(self, judge: Path, people: People) -> None:
        self.judge, self.people, self.device = Judge.load(judge), people, loop.device()
        self.judge.net.requires_grad_(False).to(self.device)

    def __call__(self, seen: Seen, rows: NDArray[np.int64]) -> Tensor:
        """Cross-entropy of the judge's answers on each picture seen, mean over attributes, by what the picture counts, summed.

        Args:
            seen: the pictures of this batch.
            rows: which pictures of the data set the batch's captions belong to.
        """
        said = [parted(self.people.attributes[int(row)]) for row in rows[seen.chosen]]
        wrong, all_count = torch.zeros_like(seen.counts), 0.0
        pictures = seen.pictures
        if pictures.shape[-1] != SIDE:
            pictures = functional.interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True)
        for name, logits in self.judge.net(pictures).items():
            values, count = self.judge.heads[name], EXPRESSION_COUNTS if name == "expression" else 1.0
            known = np.array([values.index(row[name]) for row in said])
            wrong = wrong + count * functional.cross_entropy(logits.float(), tensor(known).to(self.device), reduction="none")
            all_count += count
        return (wrong / all_count * seen.counts).sum()
