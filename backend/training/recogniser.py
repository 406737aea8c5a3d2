"""The built-in face recogniser: a small residual network trained with ArcFace, exported in the shape of insightface's ArcFace files.

ArcFace (Deng et al. 2019, https://arxiv.org/abs/1801.07698) classifies crops by person with logits s * cos(angle + margin) for the right
person and s * cos(angle) for all others; what is left of it after training is the embedding before the classifier, which separates
persons who were never in the training set. The margin grows from 0, because a network that knows nothing yet cannot satisfy it.

A picture of one person among thousands says little at first. So, beside ArcFace, a linear layer reads from the embedding what
`world.Person` says of the person (nose length, eye colour, ...): dozens of numbers a picture instead of one, and far fewer steps.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from protocol.errors import InvalidRequest

from .budget import Budget, add_shared, learn
from .crops import CROP, Picture, cover, crop, roughen
from .people import People
from .typed import channels_last, seed_torch, tensor, write_onnx
from .world import person

EMBEDDING = 512
SCALE = 24.0
MARGIN = 0.3
TRAITS = 10.0
"""Weight of the read traits against ArcFace, at the start; 30 % of it at the end."""


class Residual(nn.Module):
    """Two 3 x 3 convolutions around which the input is led past; (N, C, H, W) -> the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.path(x)


def unit(before: int, after: int, kernel: int, stride: int, padding: int, groups: int = 1) -> list[nn.Module]:
    """Convolution, batch normalisation and a learned leaky rectifier."""
    return [nn.Conv2d(before, after, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(after), nn.PReLU(after)]


class Recogniser(nn.Module):
    """Aligned crops (N, 3, 112, 112), RGB in (x - 127.5) / 127.5, to raw embeddings (N, 512).

    The strides are those of MobileFaceNet (Chen et al. 2018): down to 7 x 7, then one depthwise 7 x 7 convolution instead of pooling,
    because in an aligned crop every place means something else. The last batch normalisation gives embeddings a norm near sqrt(512).
    """

    def __init__(self, widths: tuple[int, int, int] = (32, 64, 128)) -> None:
        super().__init__()
        small, middle, wide = widths
        self.body = nn.Sequential(
            *unit(3, small, 8, 4, 2),
            Residual(small),
            *unit(small, middle, 3, 2, 1),
            Residual(middle),
            *unit(middle, wide, 3, 2, 1),
            Residual(wide),
            *unit(wide, 256, 1, 1, 0),
            nn.Conv2d(256, 256, 7, groups=256, bias=False),
            nn.BatchNorm2d(256),
            nn.Flatten(),
            nn.Linear(256, EMBEDDING, bias=False),
        )
        self.norm = nn.BatchNorm1d(EMBEDDING, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """Aligned crops (n, 3, S, S) -> raw embeddings (n, 512); normalise them for a cosine."""
        return self.norm(self.body(x).float())


class ArcFace(nn.Module):
    """The classifier of the training: one direction per person."""

    def __init__(self, persons: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(persons, EMBEDDING) * 0.01)

    def forward(self, embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
        """Mean cross-entropy of embeddings (N, 512) and persons (N,), the margin in radians."""
        cosine = functional.linear(functional.normalize(embeddings), functional.normalize(self.weight)).clamp(-1 + 1e-6, 1 - 1e-6)
        right = cosine.gather(1, labels[:, None])
        # Beyond pi - margin the cosine would rise again; there the paper's code takes a straight line instead.
        turned = torch.where(right > -np.cos(margin), torch.cos(torch.acos(right) + margin), right - np.sin(margin) * margin)
        return functional.cross_entropy(SCALE * cosine.scatter(1, labels[:, None], turned), labels, label_smoothing=0.02)


class _Student(nn.Module):
    """What the training optimises together."""

    def __init__(self, persons: int, traits: int) -> None:
        super().__init__()
        self.recogniser = Recogniser()
        self.classifier = ArcFace(persons)
        self.traits = nn.Linear(EMBEDDING, traits)


def traits_of(seeds: NDArray[np.int64]) -> NDArray[np.float32]:
    """What `world.Person` says of these persons, float32 (persons, traits): numbers, and 0 or 1 for each word; mean 0, deviation 1."""
    known = [asdict(person(int(seed))) for seed in seeds]
    columns: list[list[float]] = []
    for name, first in known[0].items():
        if isinstance(first, float):
            columns.append([row[name] for row in known])
        else:
            columns += [[float(row[name] == value) for row in known] for value in sorted({row[name] for row in known})]
    table = np.array(columns, np.float32).T
    return (table - table.mean(0)) / (table.std(0) + 1e-3)


def to_input(crops: NDArray[np.uint8]) -> Tensor:
    """Crops uint8 (N, 112, 112, 3) RGB to what the network reads, float32 (N, 3, 112, 112)."""
    values = tensor(crops).permute(0, 3, 1, 2).to(torch.float32)
    return ((values - 127.5) / 127.5).contiguous(memory_format=torch.channels_last)


def training_crop(picture: Picture, keypoints: NDArray[np.float32], rng: np.random.Generator) -> Picture:
    """An aligned crop as a detector and a generator would give it: keypoints a little off, worse picture, sometimes partly covered."""
    side = picture.shape[0]
    jitter = rng.normal(0.0, 0.007 * side * rng.random(), (5, 2)) + rng.normal(0.0, 0.004 * side, (1, 2))
    out = roughen(crop(picture, keypoints + jitter.astype(np.float32)), rng, 0.8)
    return cover(out, rng) if rng.random() < 0.15 else out


def train(people: People, folder: Path, budget: Budget, *, held: int, first: int | None, batch: int, seed: int) -> Recogniser:
    """Train on all but the last `held` persons of `people`; leaves recogniser.pt and the checkpoint in `folder`."""
    seed_torch(seed)
    rows, _ = people.split(held, first)
    names, labels = np.unique(people.persons[rows], return_inverse=True)
    traits = tensor(traits_of(names))
    student = channels_last(_Student(len(names), traits.shape[1])).train()

    def loss_of(step: int, progress: float) -> Tensor:
        rng = np.random.default_rng((seed, step))
        chosen = rng.integers(0, len(rows), batch)
        crops = [training_crop(people.pictures[rows[i]], people.keypoints[rows[i]], rng) for i in chosen]
        with torch.autocast("cpu", torch.bfloat16):
            embeddings = student.recogniser(to_input(np.stack(crops)))
        who = tensor(labels[chosen])
        margin = MARGIN * min(1.0, max(0.0, progress - 0.35) / 0.35)
        read = functional.smooth_l1_loss(student.traits(embeddings), traits[who])
        return student.classifier(embeddings, who, margin) + TRAITS * (1 - 0.7 * progress) * read

    learn(student, loss_of, budget, folder)
    recogniser = student.recogniser.eval()
    torch.save(recogniser.state_dict(), folder / "recogniser.pt")
    return recogniser


def load(folder: Path) -> Recogniser:
    """The trained network of a folder, ready to measure with."""
    recogniser = Recogniser()
    recogniser.load_state_dict(torch.load(folder / "recogniser.pt", weights_only=True))
    return recogniser.eval()


def export(recogniser: Recogniser, path: Path) -> None:
    """Write ONNX that insightface takes for an ArcFace: input (N, 3, 112, 112), output (N, 512), float32, N free.

    insightface looks at the first eight nodes for names that begin with Sub or Mul; finding none, it normalises to
    (x - 127.5) / 127.5 itself, which is what this network was trained with.
    """
    free = {"input.1": {0: "None"}, "embedding": {0: "None"}}
    write_onnx(recogniser, torch.zeros(1, 3, CROP, CROP), path, ["embedding"], free)


@torch.no_grad()
def embed(recogniser: Recogniser, people: People, rows: NDArray[np.int64], batch: int = 64) -> NDArray[np.float32]:
    """Raw embeddings (len(rows), 512) from the ground-truth keypoints."""
    parts: list[NDArray[np.float32]] = []
    for begin in range(0, len(rows), batch):
        crops = [crop(people.pictures[i], people.keypoints[i]) for i in rows[begin : begin + batch]]
        parts.append(recogniser(to_input(np.stack(crops))).numpy())
    return np.concatenate(parts)


def embed_dataset(run: Path, dataset: Path) -> Path:
    """Write `dataset`/embeddings.npy, float32 (N, 512) raw, with the recogniser trained in `run`."""
    people = People(dataset)
    embeddings = embed(load(run), people, np.arange(len(people.pictures)))
    path = dataset / "embeddings.npy"
    np.save(path, embeddings)
    return path


@dataclass(frozen=True)
class Figures:
    """Cosines on persons never trained on: means with standard deviations, and how often the nearest other picture is the same person."""

    same: float
    same_deviation: float
    strangers: float
    strangers_deviation: float
    rank_one: float
    norm: float

    def __str__(self) -> str:
        return (
            f"same person {self.same:.3f} ± {self.same_deviation:.3f}, strangers {self.strangers:.3f} ± {self.strangers_deviation:.3f}, "
            f"rank-1 {100 * self.rank_one:.1f} %, norm {self.norm:.1f}"
        )


def figures(embeddings: NDArray[np.float32], persons: NDArray[np.int64]) -> Figures:
    """Measure embeddings (N, 512) of persons (N,). Rank-1: one reference picture per person, all others look for their own."""
    norms = np.linalg.norm(embeddings, axis=1)
    unit = embeddings / norms[:, None]
    cosine = unit @ unit.T
    same = persons[:, None] == persons[None]
    off = ~np.eye(len(persons), dtype=bool)
    own, other = cosine[same & off], cosine[~same]
    _, references = np.unique(persons, return_index=True)
    queries = np.setdiff1d(np.arange(len(persons)), references)
    found = persons[references][cosine[np.ix_(queries, references)].argmax(1)]
    rank_one = float((found == persons[queries]).mean())
    return Figures(float(own.mean()), float(own.std()), float(other.mean()), float(other.std()), rank_one, float(norms.mean()))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m backend.training recogniser`."""
    parser.add_argument("--data", type=Path, help="folder of drawn persons to train on")
    add_shared(parser, leaves="weights, rec.onnx", minutes=10.0, held=100, batch=64)
    parser.add_argument("--embed", type=Path, metavar="DATASET", help="only write DATASET/embeddings.npy with the finished network")


def run(args: argparse.Namespace) -> None:
    """Train, export and measure; or only embed a data set."""
    if args.embed is not None:
        if not (args.out / "recogniser.pt").is_file():
            raise InvalidRequest(f"There is no finished recogniser in {args.out}. Train it first, with the same --out.")
        print(f"wrote {embed_dataset(args.out, args.embed)}")
        return
    people = People(args.data)
    budget = Budget(args.minutes, args.steps, peak=2e-3, decay=5e-2)
    recogniser = train(people, args.out, budget, held=args.held, first=args.persons, batch=args.batch, seed=args.seed)
    export(recogniser, args.out / "rec.onnx")
    _, rows = people.split(args.held, args.persons)
    print(figures(embed(recogniser, people, rows), people.persons[rows]))
