"""What the automatic second pass for small faces gains, measured on persons of the drawn world that the model was never trained on.

Each is put into a scene: a wall four times the model's size, with somebody else standing small before it. The figure is repainted as the
person, without the pass and with it, with the same seed; the likeness is the cosine of the recognised face to the one reference photo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from protocol.geometry import Extent, Point
from protocol.jobs import Canvas, FacePass, Guide, GuideKind, PictureJob, Sampling
from protocol.planes import Layout, Plane

from ..contact import Cell
from ..contact import Row as Strip
from ..faces import FaceAnalyser, Identity
from ..images import to_plane
from ..training.world import caption
from .measures import Mean, gain, mean
from .people import Sitter, sitter, stranger_in
from .tested import Painter, subject

Pixels = NDArray[np.uint8]

SCENE = 2
"""Sides of the scene, in sides of the model's picture."""
FIGURE = 0.75
"""Side of the figure, in the same unit."""
CHANGED = 0.6
"""Strength of the repainting: the built-in model was trained on portraits, and from noise alone it draws no small heads."""
FIRST = 200
"""Number of the first person: the settings were chosen on earlier ones."""
STRANGERS = 1_000
"""From this number on, strangers stand in the scenes; other measures have others."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """`picture` (S, S, 3), the figure's `mask` (S, S), and its five `keypoints` (5, 2)."""

    picture: Pixels
    mask: Pixels
    keypoints: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The likenesses without and with the pass, person by person (0 where no face was found), and rows of pictures to look at."""

    without: tuple[float, ...]
    with_pass: tuple[float, ...]
    unchanged: int
    """Pictures of which every byte outside the mask stayed as it was."""
    strips: tuple[Strip, ...]

    @property
    def better(self) -> Mean:
        """By how much the pass is better, pair by pair."""
        return gain(self.with_pass, self.without)


def measure_small_faces(
    painter: Painter, faces: FaceAnalyser, side: int, people: int, done: Callable[[str], None], again: FacePass | None = None
) -> Measured:
    """Paint `people` persons twice each; `done` hears of each one."""
    without: list[float] = []
    with_pass: list[float] = []
    unchanged = 0
    strips: list[Strip] = []
    for number in range(people):
        who = sitter(FIRST + number, side)
        scene = scene_for(who, FIRST + number, side)
        job = _job(who, scene)
        identity = faces.identify([who.reference.picture])
        plain = painter.run(job, None)[0].pixels
        finer = painter.run(replace(job, face_pass=again or FacePass()), None)[0].pixels
        without.append(_likeness(faces, plain, scene, identity))
        with_pass.append(_likeness(faces, finer, scene, identity))
        unchanged += bool(np.array_equal(finer[scene.mask == 0], scene.picture[scene.mask == 0]))
        strips.append(_strip(who, scene, (plain, finer), (without[-1], with_pass[-1])))
        done(f"person {number + 1} of {people}: {without[-1]:.2f} without, {with_pass[-1]:.2f} with")
    return Measured(tuple(without), tuple(with_pass), unchanged, tuple(strips))


def report(measured: Measured) -> list[str]:
    """The figures in words."""
    count = len(measured.without)
    return [
        f"persons                        {count}",
        f"likeness without the pass      {mean(measured.without)}",
        f"likeness with the pass         {mean(measured.with_pass)}",
        f"gain, person by person         {measured.better}",
        f"better with it                 {sum(b > a for a, b in zip(measured.without, measured.with_pass, strict=True))} of {count}",
        f"nothing changed outside        {measured.unchanged} of {count}",
    ]


def scene_for(who: Sitter, number: int, side: int) -> Scene:
    """A plain wall, and before it somebody else in the shot that the prompt says, small."""
    other = stranger_in(who.wanted, STRANGERS + number, side)
    extent, figure = SCENE * side, round(FIGURE * side)
    picture = np.empty((extent, extent, 3), np.uint8)
    picture[:] = other.picture[0, 0]
    x, y = (extent - figure) // 2, extent - figure - side // 8
    place = (slice(y, y + figure), slice(x, x + figure))
    picture[place] = np.asarray(Image.fromarray(other.picture).resize((figure, figure), Image.Resampling.LANCZOS))
    mask = np.zeros((extent, extent), np.uint8)
    mask[place] = 255
    return Scene(picture, mask, (other.keypoints * FIGURE + np.array([x, y])).astype(np.float32))


def _job(who: Sitter, scene: Scene) -> PictureJob:
    height, width = scene.mask.shape
    points = tuple(Point(float(x), float(y)) for x, y in scene.keypoints)
    return PictureJob(
        prompt=caption(who.wanted),
        canvas=Canvas(to_plane(scene.picture), Plane(Layout.A8, Extent(width, height), scene.mask.tobytes()), strength=CHANGED),
        subjects=(subject(who.reference.picture),),
        guides=(Guide(GuideKind.KEYPOINTS, keypoints=points),),
        sampling=Sampling(seed=who.seed),
        preview_every=0,
    )


def _likeness(faces: FaceAnalyser, picture: Pixels, scene: Scene, identity: Identity) -> float:
    """Of the face in the figure, seen as large as a portrait: so small a face is not read well by anybody."""
    return faces.similarity(_figure(picture, scene), identity) or 0.0


def _figure(picture: Pixels, scene: Scene) -> Pixels:
    rows, columns = np.flatnonzero(scene.mask.any(1)), np.flatnonzero(scene.mask.any(0))
    figure = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = round(figure.shape[0] / FIGURE)
    return np.asarray(Image.fromarray(figure).resize((side, side), Image.Resampling.LANCZOS))


def _strip(who: Sitter, scene: Scene, painted: tuple[Pixels, Pixels], likeness: tuple[float, float]) -> Strip:
    cells = [Cell(who.reference.picture, f"person {who.seed}"), Cell(scene.picture, "scene")]
    cells += [Cell(painted[0], "without"), Cell(painted[1], "with the pass")]
    cells += [Cell(_figure(one, scene), f"{value:.2f}") for one, value in zip(painted, likeness, strict=True)]
    return Strip("A small figure repainted as the person", tuple(cells))
