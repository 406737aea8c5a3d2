"""Both sides ready to draw the same pictures, and what listens to them: latents, calls, floating point operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from protocol.errors import ServiceError
from protocol.geometry import Extent, Point
from protocol.jobs import Guide, GuideKind, Photos, PictureJob, Sampling, Subject, Window

from .. import images
from ..faces import Face, Identity, draw_keypoints, embedding_of
from ..models.adapters import Untyped
from ..pipelines.engine import Watch
from ..worker.loaded import RememberingFaces
from .plain import Asked, Plain
from .shapes import Shapes, random_engine
from .timing import timer_for

Pixels = NDArray[np.uint8]
GUIDANCE, NEGATIVE, WEIGHT = 5.0, "blurry", 0.8
_FACE = np.array([[0.35, 0.4], [0.65, 0.4], [0.5, 0.55], [0.4, 0.7], [0.6, 0.7]], np.float32)
"""Five points of a face, in parts of the picture."""
ALMOST = 1e-4
"""How far latents may lie apart, in standard deviations, where kernels of another kind round otherwise (half precision on a GPU)."""


class FaceStandIn:
    """Reads faces with a net of IResNet100's size (12 GMAC for 112 x 112, as insightface's recogniser) and random weights; counts its
    calls.

    Who is seen depends on the photo's mean colour. Nobody is looked for in a finished picture.
    """

    def __init__(self, width: int = 64) -> None:
        self.calls = 0
        self.net = _recogniser(width)

    def analyse(self, rgb: Pixels) -> list[Face]:
        """No faces: keypoints come with the job."""
        return []

    def similarity(self, rgb: Pixels, identity: Identity) -> float | None:
        """Not measured."""
        return None

    def identify(self, pictures: Sequence[Pixels], face: int | None = None) -> Identity:
        """Somebody."""
        self.calls += 1
        with torch.no_grad():
            self.net(torch.as_tensor(np.resize(pictures[0], (1, 3, 112, 112)).astype(np.float32)))
        seed = int(sum(int(picture.astype(np.int64).sum()) for picture in pictures) % 2**32)
        return somebody(seed, pictures[0].shape[0])


class Rig:
    """An engine and the plain pipeline over the same random weights. `face_width` is the width of the stand-in's first stage."""

    def __init__(self, shapes: Shapes, folder: Path, device: str, dtype: torch.dtype, face_width: int = 64) -> None:
        self.shapes = shapes
        self.timer = timer_for(device)
        self.stand_in = FaceStandIn(face_width)
        known: Any = RememberingFaces
        self.engine = random_engine(shapes, folder, known(self.stand_in), device, dtype)
        self.plain = Plain(self.engine.parts)
        self._points = (_FACE * shapes.side).astype(np.float32)
        self._drawing = draw_keypoints(self._points, Extent(shapes.side, shapes.side))

    @property
    def cuda(self) -> bool:
        """Whether a GPU computes."""
        return self.engine.parts.device.type == "cuda"

    def asked(self, number: int, steps: int) -> Asked:
        """Picture `number`, for the plain side: another person, prompt and seed than every other number."""
        embedding = somebody(number, self.shapes.side).embedding
        return Asked(prompt(number), NEGATIVE, embedding, self._drawing, number, steps, GUIDANCE, WEIGHT)

    def job(
        self, number: int, steps: int, *, end: float = 1.0, previews: int = 0, photo: int | None = None, seed: int | None = None
    ) -> PictureJob:
        """The same for the engine. `photo` gives the person by the photo of that number; `seed` asks for another picture of the same."""
        if photo is None:
            who = embedding_of(somebody(number, self.shapes.side))
        else:
            who = Photos((images.to_plane(np.random.default_rng(photo).integers(0, 256, (112, 112, 3), dtype=np.uint8)),))
        points = tuple(Point(float(x), float(y)) for x, y in self._points)
        return PictureJob(
            prompt=prompt(number),
            negative=NEGATIVE,
            subjects=(Subject(who, adapter=WEIGHT, identity_net=WEIGHT, identity_net_window=Window(0.0, end)),),
            guides=(Guide(GuideKind.KEYPOINTS, keypoints=points),),
            sampling=Sampling(steps=steps, guidance_scale=GUIDANCE, seed=number if seed is None else seed),
            preview_every=previews,
        )

    def draw(self, job: PictureJob, watch: Watch | None = None) -> Pixels:
        """A picture of the engine's, (H, W, 3)."""
        return self.engine.run(job, watch)[0].pixels

    @contextmanager
    def latents(self) -> Generator[list[Tensor]]:
        """What the VAE is given to decode within the block, (1, C, h, w) picture by picture. Both sides share it."""
        seen: list[Tensor] = []
        vae = self.engine.parts.base["vae"]

        def note(_: object, given: tuple[Tensor]) -> None:
            seen.append(given[0].detach().clone())

        handle = vae.post_quant_conv.register_forward_pre_hook(note)
        try:
            yield seen
        finally:
            handle.remove()


class Calls:
    """Counts how often modules are called, by the names they are given here."""

    def __init__(self, **modules: Untyped) -> None:
        self._modules = modules
        self.count: Counter[str] = Counter()
        self._handles: list[Any] = []

    def __enter__(self) -> Calls:
        for name, module in self._modules.items():
            self._handles.append(module.register_forward_pre_hook(self._counter(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _counter(self, name: str) -> Callable[..., None]:
        def counted(*_: object) -> None:
            self.count[name] += 1

        return counted


class Equality:
    """Collects how far apart two sides were, and refuses what is too far: a figure for another picture means nothing."""

    def __init__(self, seen: list[Tensor], bound: float) -> None:
        self._seen, self._bound = seen, bound
        self.worst = 0.0

    def check(self, one: Pixels, other: Pixels) -> None:
        """Compare the pictures of a pair, and the last two latents.

        Raises:
            ServiceError: they are further apart than the bound.
        """
        first, second = self._seen[-2], self._seen[-1]
        apart = float((first - second).abs().max() / second.std())
        self._seen.clear()
        self.worst = max(self.worst, apart)
        if apart > self._bound or (self._bound == 0 and not np.array_equal(one, other)):
            raise ServiceError(
                f"The two sides drew different pictures (latents {apart:.1e} standard deviations apart, at most {self._bound:.0e}). "
                "Their times cannot be compared."
            )

    @property
    def sentence(self) -> str:
        """How equal they were."""
        return "outputs equal bit for bit" if self.worst == 0 else f"outputs within {self.worst:.1e} standard deviations"


def flops(work: Callable[[], object]) -> int:
    """Floating point operations of `work`, two for each multiplication with addition; what a processor's fused attention does included."""
    from torch.utils.flop_counter import FlopCounterMode

    attention: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={attention: _attention_flops}) as counter:
        work()
    return int(counter.get_total_flops())


def somebody(number: int, side: int) -> Identity:
    """A person made of random numbers."""
    embedding = np.random.default_rng(number).standard_normal(512).astype(np.float32)
    return Identity(embedding, embedding[None], (_FACE * side).astype(np.float32), Extent(side, side))


def prompt(number: int) -> str:
    """A text that no other number has."""
    return f"portrait of person {number} with a red scarf, at the sea"


def _attention_flops(query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: object, **__: object) -> int:
    batch, heads, length, width = query
    return 2 * batch * heads * length * key[2] * (width + value[3])


def _recogniser(width: int) -> nn.Module:
    """IResNet100's convolutions (Deng et al. 2019, arXiv:1801.07698): 3, 13, 30 and 3 blocks of two, each stage half as wide and high."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1)]
    last = width
    for stage, blocks in enumerate((3, 13, 30, 3)):
        now = width * 2**stage
        for block in range(blocks):
            layers += [nn.Conv2d(last, now, 3, padding=1), nn.PReLU(now), nn.Conv2d(now, now, 3, 1 if block else 2, padding=1)]
            last = now
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(last * 49, 512)).eval().requires_grad_(False)
