"""Paints the evaluation's pictures through the engine, as every other caller does, and looks at them with the face analyser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocol.errors import ModelError
from protocol.geometry import Point
from protocol.jobs import Canvas, Guide, GuideKind, ImagePrompt, Photos, PictureJob, Sampling, Shortcut, Subject
from protocol.planes import Plane

from ..faces import Face, FaceAnalyser, Identity, best_similarity
from ..images import to_plane
from ..progress import Watch
from ..workbench import Made

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One picture and the largest face found in it."""

    picture: Pixels
    face: Face | None

    def likeness(self, identity: Identity) -> float:
        """Cosine to an identity; a picture without a face is like nobody."""
        return 0.0 if self.face is None else best_similarity([self.face], identity) or 0.0

    @property
    def embedding(self) -> Floats | None:
        """(512,), or None without a face."""
        return None if self.face is None else self.face.embedding


class Painter(Protocol):
    """Who paints: an engine, or a backend that has one."""

    def run(self, job: PictureJob, watch: Watch | None) -> Sequence[Made]:
        """Do a job."""
        ...


class ModelUnderTest:
    """One model, its faces, and a watch that hears of every step."""

    def __init__(self, engine: Painter, faces: FaceAnalyser, side: int, watch: Watch | None = None) -> None:
        self.side = side
        self.faces = faces
        self._engine = engine
        self._watch = watch
        self.painted = 0

    def paint(
        self,
        prompt: str,
        seed: int,
        *,
        subject: Subject | None = None,
        image_prompt: ImagePrompt | None = None,
        keypoints: Floats | None = None,
        canvas: Canvas | None = None,
        shortcuts: tuple[Shortcut, ...] = (),
    ) -> Shown:
        """One picture. `keypoints` (5, 2) in its pixels place the subject's face; without, it stands as in the photo."""
        points = () if keypoints is None else tuple(Point(float(x), float(y)) for x, y in keypoints)
        job = PictureJob(
            prompt=prompt,
            canvas=canvas,
            subjects=(subject,) if subject else (),
            image_prompts=(image_prompt,) if image_prompt else (),
            guides=(Guide(GuideKind.KEYPOINTS, keypoints=points),) if points else (),
            sampling=Sampling(seed=seed, shortcuts=shortcuts),
            preview_every=0,
        )
        picture = self._engine.run(job, self._watch)[0].pixels
        self.painted += 1
        return self.look(picture)

    def look(self, picture: Pixels) -> Shown:
        """The picture (H, W, 3) with its largest face."""
        found = self.faces.analyse(picture)
        return Shown(picture, found[0] if found else None)

    def identity(self, *photos: Pixels) -> Identity:
        """One identity from photos that each show a face."""
        return self.faces.identify(list(photos))


def subject(*photos: Pixels, adapter: float = 0.8, identity_net: float = 0.8) -> Subject:
    """The person on some photos (H, W, 3), at InstantID's strengths unless said otherwise."""
    return Subject(Photos(planes(*photos)), adapter=adapter, identity_net=identity_net)


def planes(*photos: Pixels) -> tuple[Plane, ...]:
    """Pictures (H, W, 3) as planes."""
    return tuple(to_plane(photo) for photo in photos)


def checked(found: Face | None, what: str) -> Face:
    """The face; ModelError when a drawing that must show one seems not to, since no figure would mean anything then."""
    if found is None:
        raise ModelError(f"The model's face detector finds no face in {what}, so likeness cannot be measured. Train the face models again.")
    return found
