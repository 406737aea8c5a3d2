"""The built-in face detector: a small one-shot network in the shape of SCRFD, with five keypoints, readable by insightface.

SCRFD (Guo et al. 2021, https://arxiv.org/abs/2105.04714) predicts, at strides 8, 16 and 32 and for two anchors a cell, a score, the
distances to the box's four sides and five keypoint offsets, all in units of the stride from the cell's upper left corner (insightface,
model_zoo/scrfd.py). Here an anchor learns the faces of about its own size whose middle is near, as in FCOS (Tian et al. 2019).
"""

import argparse
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from .budget import Budget, add_shared, learn
from .composites import Canvas, compose
from .people import People
from .typed import channels_last, seed_torch, tensor, write_onnx

F32 = NDArray[np.float32]
STRIDES = (8, 16, 32)
SIZES = ((24.0, 38.0), (56.0, 78.0), (108.0, 150.0))
"""Face height that each stride's two anchors are for, in pixels."""
REACH = 1.45
"""An anchor learns faces up to this factor smaller or larger than its own."""
TRAINING_SIDES = (128, 160, 192, 256, 320)
TRAINING_SHARES = (0.3, 0.2, 0.2, 0.2, 0.1)


def _unit(before: int, after: int, stride: int = 1, kernel: int = 3, padding: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, kernel, stride, padding, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True))


class Detector(nn.Module):
    """Pictures (N, 3, H, W), RGB in (x - 127.5) / 128, H and W multiples of 32, to raw predictions per stride.

    Three stages, summed top down (a feature pyramid, Lin et al. 2017), and one head for all strides: sizes relative to the stride repeat.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (32, 48, 80, 96), neck: int = 48) -> None:
        super().__init__()
        stem, small, middle, wide = widths
        self.stem = _unit(3, stem, 4, 6, 1)
        pairs = ((stem, small), (small, middle), (middle, wide))
        self.stages = nn.ModuleList(nn.Sequential(_unit(a, b, 2), _unit(b, b)) for a, b in pairs)
        self.sides = nn.ModuleList(nn.Conv2d(width, neck, 1) for width in (small, middle, wide))
        self.head = nn.Sequential(_unit(neck, neck), _unit(neck, neck))
        self.score, self.box, self.points = (nn.Conv2d(neck, 2 * count, 3, 1, 1) for count in (1, 4, 10))
        nn.init.constant_(cast(Tensor, self.score.bias), -3.5)  # faces are rare: without this the first steps only learn silence

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Logits [(N, K, 1)], distances [(N, K, 4)] and offsets [(N, K, 10)] for strides 8, 16, 32.

        K = H / stride * W / stride * 2, rows before columns before anchors.
        """
        levels: list[Tensor] = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        merged = [side(level) for side, level in zip(self.sides, levels, strict=True)]
        merged[1] = merged[1] + functional.interpolate(merged[2], scale_factor=2.0, mode="nearest")
        merged[0] = merged[0] + functional.interpolate(merged[1], scale_factor=2.0, mode="nearest")
        heads = [self.head(level) for level in merged]
        scores = [_rows(self.score(h), 1) for h in heads]
        boxes = [_rows(self.box(h), 4) for h in heads]
        return scores, boxes, [_rows(self.points(h), 10) for h in heads]


def _rows(maps: Tensor, count: int) -> Tensor:
    return maps.permute(0, 2, 3, 1).reshape(maps.shape[0], -1, count)


class Exported(nn.Module):
    """The network as SCRFD's files have it: one picture, nine outputs without a batch axis, scores after the sigmoid."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Scores, boxes and keypoints, each for strides 8, 16, 32: (K, 1), (K, 4), (K, 10)."""
        scores, boxes, points = self.detector(x)
        flat = [torch.sigmoid(s).reshape(-1, 1) for s in scores]
        return (*flat, *(b.reshape(-1, 4) for b in boxes), *(p.reshape(-1, 10) for p in points))


@dataclass(frozen=True)
class Targets:
    """What the K anchors of all strides of one canvas should say; label 1 face, 0 none, -1 not asked."""

    label: F32
    box: F32
    points: F32
    size: F32


def anchors(side: int) -> tuple[F32, F32, F32]:
    """All anchors of a square canvas: centres (K, 2), strides (K,), face sizes (K,), in the order of the network's outputs."""
    centres: list[F32] = []
    strides: list[F32] = []
    sizes: list[F32] = []
    for stride, own in zip(STRIDES, SIZES, strict=True):
        cells = side // stride
        rows, columns = np.indices((cells, cells), np.float32)
        grid = np.stack([columns, rows], -1).reshape(-1, 2) * np.float32(stride)
        centres.append(np.repeat(grid, 2, 0))
        strides.append(np.full(2 * cells * cells, stride, np.float32))
        sizes.append(np.tile(np.array(own, np.float32), cells * cells))
    return np.concatenate(centres), np.concatenate(strides), np.concatenate(sizes)


def assign(canvas: Canvas) -> Targets:
    """Give every anchor its face: of about its size (within REACH), its middle within one stride; the surroundings are not asked."""
    centres, strides, sizes = anchors(canvas.picture.shape[0])
    count = len(centres)
    label, box, points = np.zeros(count, np.float32), np.zeros((count, 4), np.float32), np.zeros((count, 10), np.float32)
    size = np.ones(count, np.float32)
    for own, five, ignored in zip(canvas.boxes, canvas.keypoints, canvas.ignored, strict=True):
        middle, height = (own[:2] + own[2:]) / 2, float(own[3] - own[1])
        away = np.abs(centres - middle).max(1) / strides
        ratio = np.maximum(sizes / height, height / sizes)
        near = (away < 1.8) & (ratio < REACH * 1.4)
        label[near & (label == 0)] = -1
        if ignored:
            label[(np.abs(centres - middle) < (own[2:] - own[:2]) / 2).all(1) & (label == 0)] = -1
            continue
        mine = (away < 1.0) & (ratio < REACH)
        label[mine] = 1
        box[mine] = np.concatenate([centres[mine] - own[:2], own[2:] - centres[mine]], 1) / strides[mine, None]
        points[mine] = ((five[None] - centres[mine, None]) / strides[mine, None, None]).reshape(-1, 10)
        size[mine] = height / strides[mine]
    return Targets(label, box, points, size)


def loss_of(detector: Detector, canvases: list[Canvas]) -> Tensor:
    """Focal loss (Lin et al. 2017) on scores, distance-IoU (Zheng et al. 2020) and L1 on boxes, L1 on keypoints, in face heights."""
    targets = [assign(canvas) for canvas in canvases]
    stacked = [np.stack(parts) for parts in zip(*((t.label, t.box, t.points, t.size) for t in targets), strict=True)]
    label, box, points, size = (tensor(array) for array in stacked)
    with torch.autocast("cpu", torch.bfloat16):
        predicted = detector(to_input(np.stack([canvas.picture for canvas in canvases])))
    scores, boxes, offsets = (torch.cat(part, 1).float() for part in predicted)
    asked, face = label >= 0, label > 0
    count = max(int(face.sum()), 1)
    logits, truth = scores[..., 0][asked], label[asked]
    away = torch.where(truth > 0, 1 - torch.sigmoid(logits), torch.sigmoid(logits))
    loss = (away.square() * functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")).sum() / count
    if face.any():
        scale = size[face][:, None]
        loss = loss + (1 - _distance_iou(boxes[face], box[face])).mean() + 2 * ((boxes[face] - box[face]).abs() / scale).mean()
        loss = loss + 12 * functional.smooth_l1_loss(offsets[face] / scale, points[face] / scale, beta=0.02)
    return loss


def _distance_iou(a: Tensor, b: Tensor) -> Tensor:
    """Distance-IoU of boxes given as distances (left, top, right, bottom) from the same place, (N, 4) each."""
    shared = torch.minimum(a, b)
    inner = (shared[:, 0] + shared[:, 2]).clamp(min=0) * (shared[:, 1] + shared[:, 3]).clamp(min=0)
    area_a, area_b = ((t[:, 0] + t[:, 2]).clamp(min=0) * (t[:, 1] + t[:, 3]).clamp(min=0) for t in (a, b))
    outer = torch.maximum(a, b)
    diagonal = (outer[:, 0] + outer[:, 2]).square() + (outer[:, 1] + outer[:, 3]).square()
    apart = ((a[:, 2] - a[:, 0]) - (b[:, 2] - b[:, 0])).square() + ((a[:, 3] - a[:, 1]) - (b[:, 3] - b[:, 1])).square()
    return inner / (area_a + area_b - inner).clamp(min=1e-6) - apart / 4 / diagonal.clamp(min=1e-6)


def to_input(pictures: NDArray[np.uint8]) -> Tensor:
    """Pictures uint8 (N, H, W, 3) RGB to float32 (N, 3, H, W)."""
    values = tensor(pictures).permute(0, 3, 1, 2).to(torch.float32)
    return ((values - 127.5) / 128.0).contiguous(memory_format=torch.channels_last)


def train(people: People, folder: Path, budget: Budget, *, held: int, first: int | None, pixels: int, seed: int) -> Detector:
    """Train on composites of all but the last `held` persons, `pixels` a batch; leaves detector.pt and the checkpoint in `folder`."""
    seed_torch(seed)
    rows, _ = people.split(held, first)
    detector = channels_last(Detector()).train()

    def step_loss(step: int, progress: float) -> Tensor:
        rng = np.random.default_rng((seed, step))
        side = int(rng.choice(TRAINING_SIDES, p=TRAINING_SHARES))
        return loss_of(detector, [compose(people, rows, rng, side) for _ in range(max(2, pixels // side**2))])

    learn(detector, step_loss, budget, folder)
    torch.save(detector.state_dict(), folder / "detector.pt")
    return detector.eval()


def load(folder: Path) -> Detector:
    """The trained network of a folder, ready to measure with."""
    detector = Detector()
    detector.load_state_dict(torch.load(folder / "detector.pt", weights_only=True))
    return detector.eval()


def export(detector: Detector, path: Path) -> None:
    """Write ONNX that insightface takes for an SCRFD with keypoints: nine outputs, any height and width that are multiples of 32."""
    names = [f"{what}_{stride}" for what in ("score", "bbox", "kps") for stride in STRIDES]
    axes: dict[str, dict[int, str]] = {"input.1": {2: "height", 3: "width"}}
    axes |= {name: {0: f"count_{name}"} for name in names}
    write_onnx(Exported(detector), torch.zeros(1, 3, 128, 128), path, names, axes)


@dataclass(frozen=True)
class Figures:
    """At one detector size: share of faces found, false ones a canvas, mean keypoint error as a share of the face's height."""

    side: int
    recall: float
    false: float
    error: float

    def __str__(self) -> str:
        found = f"recall {100 * self.recall:.1f} %, false {self.false:.3f} a canvas"
        return f"size {self.side}: {found}, keypoints {100 * self.error:.1f} % of the face"


class _Finder(Protocol):
    """What is used of insightface's SCRFD; pictures are BGR, boxes (F, 5) end with the score, keypoints are (F, 5, 2)."""

    def prepare(self, ctx_id: int, *, input_size: tuple[int, int], det_thresh: float) -> None: ...

    def detect(self, img: NDArray[np.uint8]) -> tuple[F32, F32]: ...


def figures(path: Path, people: People, rows: NDArray[np.int64], side: int, count: int) -> Figures:
    """Measure the ONNX file through insightface itself on `count` canvases of `side` pixels."""
    # Imported late and by name: it takes seconds, only the measurement needs it, and it has no types.
    zoo: Any = importlib.import_module("insightface.model_zoo.model_zoo")
    model: _Finder = zoo.get_model(str(path), providers=["CPUExecutionProvider"])
    model.prepare(-1, input_size=(side, side), det_thresh=0.5)
    found = asked = false = 0
    errors: list[float] = []
    for index in range(count):
        canvas = compose(people, rows, np.random.default_rng((7, side, index)), side)
        detected, points = model.detect(np.ascontiguousarray(canvas.picture[..., ::-1]))
        taken: set[int] = set()
        for box, five, ignored in zip(canvas.boxes, canvas.keypoints, canvas.ignored, strict=True):
            away = np.linalg.norm((detected[:, :2] + detected[:, 2:4]) / 2 - (box[:2] + box[2:]) / 2, axis=1) / (box[3] - box[1])
            best = int(away.argmin()) if len(away) else -1
            hit = best >= 0 and bool(away[best] < 0.4)
            if hit:
                taken.add(best)
            if not ignored:
                asked, found = asked + 1, found + hit
                errors += [float(np.linalg.norm(points[best] - five, axis=1).mean() / (box[3] - box[1]))] if hit else []
        false += len(detected) - len(taken)
    return Figures(side, found / max(asked, 1), false / count, float(np.mean(errors)) if errors else float("nan"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `python -m backend.training detector`."""
    parser.add_argument("--data", type=Path, help="folder of drawn persons to make canvases from")
    add_shared(parser, leaves="weights, det.onnx", minutes=6.0, held=100)
    parser.add_argument("--pixels", type=int, default=16 * 160 * 160, help="pixels of a batch (default: %(default)s)")
    parser.add_argument("--count", type=int, default=150, help="canvases of each size to measure on (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Train, export and measure."""
    people = People(args.data)
    detector = train(
        people,
        args.out,
        Budget(args.minutes, args.steps, peak=3e-3),
        held=args.held,
        first=args.persons,
        pixels=args.pixels,
        seed=args.seed,
    )
    export(detector, args.out / "det.onnx")
    _, rows = people.split(args.held, args.persons)
    for side in (128, 160, 256, 320):
        print(figures(args.out / "det.onnx", people, rows, side, args.count))
