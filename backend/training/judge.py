"""The attribute judge: tells hat, glasses, background and expression of a picture, so that `likeness evaluate` can count what appeared.

It is a network of its own, trained on drawn pictures only (made worse on purpose, since generated pictures are softer), and no part of
the model that it judges.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]  # typed in part
from torch import Tensor, nn
from torch.nn import functional

from protocol.errors import ModelError

from .budget import Budget, add_shared, learn
from .crops import Picture, roughen
from .people import People
from .recogniser import Residual, unit
from .typed import channels_last, seed_torch, tensor

SIDE = 128
FACE = (48, 112, 24, 104)
"""Rows and columns of the finer look."""
STYLE, SOFT = "style", "soft"
"""The one question of a judge of drawing styles, and the name of the world's own style."""
Heads = dict[str, list[str]]


def _look(widths: tuple[int, int, int], *, kernel: int, stride: int, cells: tuple[int, int], features: int) -> nn.Sequential:
    """A small residual network to features (N, features); coarse places are kept (`cells`): a hat is above, a mouth below."""
    small, middle, wide = widths
    return nn.Sequential(
        *unit(3, small, kernel, stride, 1),
        Residual(small),
        *unit(small, middle, 3, 2, 1),
        Residual(middle),
        *unit(middle, wide, 3, 2, 1),
        Residual(wide),
        nn.AdaptiveAvgPool2d(cells),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(wide * cells[0] * cells[1], features),
        nn.PReLU(features),
    )


class JudgeNet(nn.Module):
    """Pictures (N, 3, 128, 128) in [-1, 1] to logits per head, {name: (N, values)}.

    Two looks: a coarse one at the whole (hat, background) and a fine one at `FACE`, where portraits have eyes and mouth, because a sad
    mouth differs from a neutral one by a pixel or two.
    """

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.whole = _look((24, 48, 72), kernel=6, stride=4, cells=(4, 4), features=128)
        self.face = _look((24, 48, 64), kernel=3, stride=2, cells=(4, 5), features=96)
        self.heads = nn.ModuleDict({name: nn.Linear(128 + 96, len(values)) for name, values in heads.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Pictures (n, 3, S, S) -> logits (n, values) for each head."""
        top, bottom, left, right = FACE
        features = torch.cat([self.whole(x), self.face(x[..., top:bottom, left:right])], 1)
        return {name: head(features) for name, head in self.heads.items()}


@dataclass(frozen=True)
class Judge:
    """A trained judge. `heads` names what it tells and which values it knows."""

    heads: Heads
    net: JudgeNet

    @classmethod
    def load(cls, folder: Path) -> "Judge":
        """Read `folder`/judge.json and model.safetensors.

        Raises:
            ModelError: one of the two files is missing.
        """
        for name in ("judge.json", "model.safetensors"):
            if not (folder / name).is_file():
                raise ModelError(
                    f"The attribute judge in {folder} has no {name}, so pictures cannot be judged. "
                    "Train one with 'python -m backend.training judge'."
                )
        heads: Heads = json.loads((folder / "judge.json").read_text(encoding="utf-8"))["heads"]
        net = JudgeNet(heads)
        stored = load_file(folder / "model.safetensors")
        net.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in stored.items()})
        return cls(heads, net.eval())

    def save(self, folder: Path) -> None:
        """Write judge.json and model.safetensors (float16) into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: (value.half() if value.is_floating_point() else value).contiguous() for name, value in self.net.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        (folder / "judge.json").write_text(json.dumps({"size": SIDE, "heads": self.heads}, indent=1) + "\n", encoding="utf-8")

    def judge(self, picture: Picture) -> dict[str, str]:
        """What a picture uint8 (H, W, 3) RGB shows, in the words of `world.attributes`.

        Returns:
            hat ("red cap" or "none"), glasses, background, expression.
        """
        return self.judge_all([picture])[0]

    @torch.no_grad()
    def judge_all(self, pictures: list[Picture]) -> list[dict[str, str]]:
        """The same for several pictures at once."""
        pixels = np.stack([_sized(picture) for picture in pictures])
        logits = {name: values.numpy() for name, values in self.net(to_input(pixels)).items()}
        return [joined({name: self._value(name, logits, i) for name in self.heads}) for i in range(len(pictures))]

    def _value(self, name: str, logits: dict[str, NDArray[np.float32]], row: int) -> str:
        scores = logits[name][row]
        known = self.heads[name]
        if name == "hat_colour" and "none" in known:  # "none" is the other head's to say
            scores = np.where(np.array(known) == "none", -np.inf, scores)
        return known[int(scores.argmax())]


def parted(attributes: dict[str, str]) -> dict[str, str]:
    """Hat "red cap" as colour and kind, so that 25 hats need 4 + 6 values and not all combinations."""
    hat = attributes["hat"]
    colour, kind = ("none", "none") if hat == "none" else tuple(hat.split(" ", 1))
    return {**attributes, "hat": kind, "hat_colour": colour}


def joined(attributes: dict[str, str]) -> dict[str, str]:
    """The opposite of `parted`."""
    rest = {name: value for name, value in attributes.items() if name != "hat_colour"}
    return rest if rest.get("hat", "none") == "none" else {**rest, "hat": f"{attributes['hat_colour']} {rest['hat']}"}


def _sized(picture: Picture) -> Picture:
    if picture.shape[:2] == (SIDE, SIDE):
        return picture
    return np.asarray(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def to_input(pictures: NDArray[np.uint8]) -> Tensor:
    """Pictures uint8 (N, H, W, 3) to float32 (N, 3, H, W) in [-1, 1]."""
    values = tensor(pictures).permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1.0
    return values.contiguous(memory_format=torch.channels_last)


def train(people: People, folder: Path, budget: Budget, *, held: int, first: int | None, batch: int, seed: int) -> Judge:
    """Train on all but the last `held` persons; leaves the judge and the checkpoint in `folder`."""
    seed_torch(seed)
    rows, _ = people.split(held, first)
    known = [parted(people.attributes[int(i)]) for i in rows]
    heads: Heads = {name: sorted({row[name] for row in known}) for name in known[0]}
    labels = {name: np.array([values.index(row[name]) for row in known]) for name, values in heads.items()}
    judge = Judge(heads, channels_last(JudgeNet(heads)).train())

    def loss_of(step: int, progress: float) -> Tensor:
        rng = np.random.default_rng((seed, step))
        chosen = rng.integers(0, len(rows), batch)
        with torch.autocast("cpu", torch.bfloat16):
            logits = judge.net(to_input(np.stack([roughen(people.pictures[rows[i]], rng, 0.7) for i in chosen])))
        losses = {name: functional.cross_entropy(logits[name].float(), tensor(labels[name][chosen])) for name in heads}
        return sum(losses.values(), losses["expression"])  # the hardest one counts twice

    learn(judge.net, loss_of, budget, folder)
    judge.net.eval()
    judge.save(folder / "judge")
    return Judge.load(folder / "judge")


def train_style(soft: People, drawn: tuple[str, People], folder: Path, budget: Budget, *, held: int, batch: int, seed: int) -> Judge:
    """A judge with one question, "style": is a picture drawn as those of `soft`, or in the named style?

    Both folders should hold the same persons in the same shots (`data` with the same seed), so that nothing but the style tells them apart.
    Trained on all but the last `held` persons; leaves the judge and the checkpoint in `folder`.
    """
    seed_torch(seed)
    name, styled = drawn
    sides = ((styled, styled.split(held)[0]), (soft, soft.split(held)[0]))
    heads: Heads = {STYLE: [name, SOFT]}
    judge = Judge(heads, channels_last(JudgeNet(heads)).train())
    answers = torch.arange(2).repeat_interleave(batch // 2)

    def loss_of(step: int, progress: float) -> Tensor:
        rng = np.random.default_rng((seed, step))
        pictures = [roughen(people.pictures[i], rng) for people, rows in sides for i in rng.choice(rows, batch // 2)]
        with torch.autocast("cpu", torch.bfloat16):
            logits = judge.net(to_input(np.stack(pictures)))
        return functional.cross_entropy(logits[STYLE].float(), answers)

    learn(judge.net, loss_of, budget, folder)
    judge.net.eval()
    judge.save(folder / "judge")
    return Judge.load(folder / "judge")


def style_figures(judge: Judge, soft: People, drawn: tuple[str, People], held: int, *, rough: bool) -> dict[str, float]:
    """Share of right answers on the last `held` persons of both folders, as drawn or made worse."""
    told: dict[str, float] = {}
    for name, people in ((SOFT, soft), drawn):
        rng = np.random.default_rng(11)
        pictures = [roughen(people.pictures[i], rng) if rough else people.pictures[i] for i in people.split(held)[1]]
        told[name] = float(np.mean([answer[STYLE] == name for answer in judge.judge_all(pictures)]))
    return told


def figures(judge: Judge, people: People, rows: NDArray[np.int64], *, rough: bool, batch: int = 128) -> dict[str, float]:
    """Share of right answers per attribute on the pictures in `rows`, as drawn or made worse."""
    right: dict[str, list[bool]] = {}
    for begin in range(0, len(rows), batch):
        part = rows[begin : begin + batch]
        rng = np.random.default_rng((11, begin))
        answers = judge.judge_all([roughen(people.pictures[i], rng, 0.7) if rough else people.pictures[i] for i in part])
        for i, answer in zip(part, answers, strict=True):
            for name, value in answer.items():
                right.setdefault(name, []).append(people.attributes[int(i)][name] == value)
    return {name: float(np.mean(values)) for name, values in right.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m backend.training judge`."""
    parser.add_argument("--data", type=Path, required=True, help="folder of drawn pictures with their attributes")
    add_shared(parser, leaves="judge/", minutes=5.0, held=200, batch=64)
    parser.add_argument(
        "--drawn",
        type=_named,
        metavar="STYLE=FOLDER",
        help="tell this style from that of --data instead: the same persons and shots, drawn so",
    )


def _named(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not name or not folder or name == SOFT:
        raise argparse.ArgumentTypeError(f"write the style's name and its folder, as in ink=runs/ink; got '{text}'")
    return name, Path(folder)


def run(args: argparse.Namespace) -> None:
    """Train, save and measure."""
    people, budget = People(args.data), Budget(args.minutes, args.steps)
    if args.drawn:
        drawn = (args.drawn[0], People(args.drawn[1]))
        styles = train_style(people, drawn, args.out, budget, held=args.held, batch=args.batch, seed=args.seed)
        for rough in (False, True):
            _say(rough, style_figures(styles, people, drawn, args.held, rough=rough))
        return
    judge = train(people, args.out, budget, held=args.held, first=args.persons, batch=args.batch, seed=args.seed)
    _, rows = people.split(args.held, args.persons)
    for rough in (False, True):
        _say(rough, figures(judge, people, rows, rough=rough))


def _say(rough: bool, shares: dict[str, float]) -> None:
    told = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
    print(f"{'roughened' if rough else 'as drawn'}: {told}")
