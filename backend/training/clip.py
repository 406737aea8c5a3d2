"""The built-in image encoder: a small CLIP vision tower, trained against captions that also say what the person looks like.

CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020): of all pictures and captions of a batch, each picture must find its own
caption and each caption its picture, by cosine. Only the picture's side is kept (IP-Adapter needs nothing else), so the text tower is
a bag of words and word pairs: it learns in seconds, and pairs are enough to tell "red cap, blue shirt" from "blue cap, red shirt".

CLIP saw hundreds of millions of pictures. To learn from some ten thousand, linear layers also read from the picture's embedding which terms
its caption has and what `world.Person` says of the person; a real CLIP, too, knows more of a face than words say.
"""

import argparse
import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

from protocol.errors import InvalidRequest

from .budget import Budget, add_shared, learn
from .crops import roughen
from .people import People
from .recogniser import traits_of
from .typed import seed_torch, tensor

SIDE = 128
PROJECTION = 128
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Colour statistics of OpenAI's CLIP, which every CLIP image processor uses."""


def vision_config() -> CLIPVisionConfig:
    """64 patches of 16 pixels, four layers of width 192: 2 million parameters.

    Attention is the plain one: on a CPU, in bfloat16 and with 65 tokens, its gradient takes half as long as the fused one's.
    """
    kind: Any = CLIPVisionConfig  # its types do not know the last argument
    return kind(
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=6,
        image_size=SIDE,
        patch_size=16,
        projection_dim=PROJECTION,
        attn_implementation="eager",
    )


def processor() -> CLIPImageProcessorPil:
    """The image processor to this encoder; the PIL one, by name, so that an installed torchvision changes no embedding."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        image_mean=list(MEAN),
        image_std=list(DEVIATION),
        do_convert_rgb=True,
    )


def terms(caption: str) -> list[str]:
    """The words of a caption and its pairs of neighbouring words; commas separate."""
    out: list[str] = []
    for phrase in caption.lower().split(","):
        words = re.findall(r"[\w-]+", phrase)
        out += words + [f"{a} {b}" for a, b in itertools.pairwise(words)]
    return out


class BagOfTerms(nn.Module):
    """The throw-away text tower: bags of terms (indices, offsets) to embeddings (N, PROJECTION)."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(vocabulary, 256, mode="sum")
        self.norm = nn.LayerNorm(256)
        self.out = nn.Sequential(nn.Linear(256, 256), nn.GELU(), nn.Linear(256, PROJECTION))

    def forward(self, indices: Tensor, offsets: Tensor) -> Tensor:
        """All terms one after another (terms,), and where each caption's begin (n,) -> (n, PROJECTION)."""
        return self.out(self.norm(self.bag(indices, offsets)))


class Pair(nn.Module):
    """Both towers and the temperature, as the training needs them."""

    def __init__(self, vocabulary: list[str], traits: int) -> None:
        super().__init__()
        self.index = {term: place for place, term in enumerate(vocabulary)}
        self.vision: Any = CLIPVisionModelWithProjection(vision_config())
        self.text = BagOfTerms(len(vocabulary))
        self.said = nn.Linear(PROJECTION, len(vocabulary))
        self.traits = nn.Linear(PROJECTION, traits)
        nn.init.constant_(self.said.bias, -2.5)
        self.log_scale = nn.Parameter(torch.tensor(float(np.log(1 / 0.07))))

    def bags(self, lines: list[str]) -> list[list[int]]:
        """Places of the captions' terms in the vocabulary; terms never seen in training are left out."""
        return [[self.index[term] for term in terms(line) if term in self.index] for line in lines]

    def captions(self, bags: list[list[int]]) -> Tensor:
        """Normalised embeddings (N, PROJECTION)."""
        offsets = np.cumsum([0] + [len(bag) for bag in bags[:-1]])
        return functional.normalize(self.text(torch.tensor([place for bag in bags for place in bag]), tensor(offsets)))

    def pictures(self, pixels: Tensor) -> Tensor:
        """Embeddings (N, PROJECTION), not normalised, of processed pictures (N, 3, SIDE, SIDE)."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.training):
            embeddings = self.vision(pixel_values=pixels).image_embeds
        return embeddings.float()

    def loss(self, pixels: Tensor, lines: list[str], traits: Tensor) -> Tensor:
        """CLIP's loss both ways, plus the reading of terms and of traits (N, traits)."""
        bags = self.bags(lines)
        seen = self.pictures(pixels)
        scale = self.log_scale.clamp(max=4.6052).exp()  # at most 100, as in the paper
        logits = scale * functional.normalize(seen) @ self.captions(bags).T
        own = torch.arange(len(lines))
        contrast = (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
        truth = torch.zeros(len(lines), len(self.index))
        for row, bag in enumerate(bags):
            truth[row, bag] = 1.0
        words = functional.binary_cross_entropy_with_logits(self.said(seen), truth, reduction="none").sum(1).mean()
        return contrast + 0.1 * words + 3.0 * functional.smooth_l1_loss(self.traits(seen), traits)


def to_input(pictures: NDArray[np.uint8]) -> Tensor:
    """What `processor` makes of pictures of its own size, without PIL: uint8 (N, 128, 128, 3) to float32 (N, 3, 128, 128)."""
    values = tensor(pictures).permute(0, 3, 1, 2).to(torch.float32) / 255.0
    mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
    return (values - mean) / deviation


def vocabulary_of(lines: list[str]) -> list[str]:
    """All terms that occur at least five times, sorted."""
    counts = Counter(term for line in lines for term in terms(line))
    return sorted(term for term, count in counts.items() if count >= 5)


def train(people: People, folder: Path, budget: Budget, *, held: int, first: int | None, batch: int, seed: int) -> Pair:
    """Train on all but the last `held` persons; leaves image_encoder/, feature_extractor/ and the checkpoint in `folder`."""
    seed_torch(seed)
    rows, _ = people.split(held, first)
    names, who = np.unique(people.persons[rows], return_inverse=True)
    traits = tensor(traits_of(names))
    pair = Pair(vocabulary_of([people.descriptions[int(i)] for i in rows]), traits.shape[1]).train()

    def loss_of(step: int, progress: float) -> Tensor:
        rng = np.random.default_rng((seed, step))
        chosen = rng.integers(0, len(rows), batch)
        pixels = to_input(np.stack([roughen(people.pictures[rows[i]], rng, 0.3) for i in chosen]))
        return pair.loss(pixels, [people.descriptions[int(rows[i])] for i in chosen], traits[who[chosen]])

    learn(pair, loss_of, budget, folder)
    # Saved in half precision like the rest of the built-in model; what is measured and embedded afterwards is what was saved.
    pair.vision.half().save_pretrained(folder / "image_encoder")
    pair.vision.float()
    preparing: Any = processor()
    preparing.save_pretrained(folder / "feature_extractor")
    return pair.eval()


def load(folder: Path) -> CLIPVisionModelWithProjection:
    """The saved image encoder of a folder in float32, ready to embed with."""
    kind: Any = CLIPVisionModelWithProjection
    return kind.from_pretrained(folder / "image_encoder", dtype=torch.float32).eval()


@torch.no_grad()
def embed_dataset(run: Path, dataset: Path, batch: int = 128) -> Path:
    """Write `dataset`/image_embeds.npy, float32 (N, PROJECTION) as the encoder gives them, not normalised."""
    pictures, encoder = People(dataset).pictures, load(run)
    parts: list[NDArray[np.float32]] = []
    for begin in range(0, len(pictures), batch):
        pixels = to_input(np.array(pictures[begin : begin + batch]))
        parts.append(encoder(pixel_values=pixels).image_embeds.numpy())
    path = dataset / "image_embeds.npy"
    np.save(path, np.concatenate(parts).astype(np.float32))
    return path


@torch.no_grad()
def figures(pair: Pair, people: People, rows: NDArray[np.int64], among: int = 256) -> float:
    """How often a picture finds its own caption among `among`, mean over whole groups of `rows`; groups are mixed, not neighbours."""
    mixed = np.random.default_rng(5).permutation(rows)
    among = min(among, len(mixed))
    right: list[float] = []
    for begin in range(0, len(mixed) - among + 1, among):
        group = mixed[begin : begin + among]
        said = pair.captions(pair.bags([people.descriptions[int(i)] for i in group]))
        cosine = functional.normalize(pair.pictures(to_input(people.pictures[group]))) @ said.T
        right.append(float((cosine.argmax(1) == torch.arange(among)).float().mean()))
    return float(np.mean(right))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m backend.training clip`."""
    parser.add_argument("--data", type=Path, help="folder of described pictures to train on")
    add_shared(parser, leaves="image_encoder, feature_extractor", minutes=8.0, held=200, batch=128)
    parser.add_argument("--embed", type=Path, metavar="DATASET", help="only write DATASET/image_embeds.npy with the finished encoder")


def run(args: argparse.Namespace) -> None:
    """Train, export and measure; or only embed a data set."""
    if args.embed is not None:
        if not (args.out / "image_encoder/config.json").is_file():
            raise InvalidRequest(f"There is no finished image encoder in {args.out}. Train it first, with the same --out.")
        print(f"wrote {embed_dataset(args.out, args.embed)}")
        return
    people = People(args.data)
    budget = Budget(args.minutes, args.steps, peak=1e-3, decay=5e-2)
    pair = train(people, args.out, budget, held=args.held, first=args.persons, batch=args.batch, seed=args.seed)
    _, rows = people.split(args.held, args.persons)
    print(f"own caption found among 256: {100 * figures(pair, people, rows):.1f} %")
