"""Engines that need no model: one draws exactly what was asked, with the world's own pencil; others fail in one way each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backend.evaluation.people import Sitter, stranger_in
from backend.faces import Face, Identity, best_similarity, mean_embedding
from backend.images import to_mask, to_rgb
from backend.training.drawing import draw
from backend.training.world import Shot, attributes, caption, person
from protocol.errors import NoFace
from protocol.geometry import Extent
from protocol.jobs import PictureJob


class KnownFaces:
    """Face analyser and judge in one, for the pictures it was told of: who is in them, where the face is, and what else they show."""

    def __init__(self) -> None:
        self.known: dict[bytes, tuple[int, np.ndarray]] = {}
        self.shown: dict[bytes, dict[str, str]] = {}

    def tell(self, picture: np.ndarray, who: int, keypoints: np.ndarray, view: Shot | None = None, style: str = "soft") -> np.ndarray:
        self.known[np.ascontiguousarray(picture).tobytes()] = (who, keypoints)
        if view is not None:
            self.shown[np.ascontiguousarray(picture).tobytes()] = {**attributes(view), "style": style}
        return picture

    def judge(self, picture: np.ndarray) -> dict[str, str]:
        return self.shown[np.ascontiguousarray(picture).tobytes()]

    def who(self, picture: np.ndarray) -> int:
        return self.known[np.ascontiguousarray(picture).tobytes()][0]

    def analyse(self, picture: np.ndarray) -> list[Face]:
        found = self.known.get(np.ascontiguousarray(picture).tobytes())
        if found is None:
            return []
        embedding = np.random.default_rng(found[0]).standard_normal(512).astype(np.float32)
        return [Face(np.array([0, 0, 9, 9], np.float32), found[1], embedding, 0.9)]

    def identify(self, pictures: list[np.ndarray], face: int | None = None) -> Identity:
        faces = [self.analyse(picture) for picture in pictures]
        if not all(faces):
            raise NoFace("No face.")
        embeddings = np.stack([found[0].embedding for found in faces])
        return Identity(mean_embedding(embeddings), embeddings, faces[0][0].keypoints, Extent(*pictures[0].shape[1::-1]))

    def similarity(self, picture: np.ndarray, identity: Identity) -> float | None:
        return best_similarity(self.analyse(picture), identity)


@dataclass(frozen=True)
class Flaws:
    """What an engine does wrong."""

    forgets_faces: bool = False
    ignores_prompt: bool = False
    ignores_pose: bool = False
    spills_over: bool = False
    leaks_at_zero: bool = False
    loses_style: bool = False


@dataclass
class Painted:
    pixels: np.ndarray


class OracleEngine:
    """Answers jobs about the evaluation's sitters with drawings. Text only draws a stranger; an image prompt half of the time too."""

    def __init__(self, sitters: list[Sitter], faces: KnownFaces, flaws: Flaws, side: int, style: str = "soft") -> None:
        self.shots = {caption(sitter.wanted): sitter for sitter in sitters}
        self.faces, self.flaws, self.side, self.style = faces, flaws, side, style
        self.turn = 0
        for index, sitter in enumerate(sitters):
            self._tell(sitter, index)

    def run(self, job: PictureJob, watch: Any = None) -> list[Painted]:
        sitter = self.shots[job.prompt]
        view = replace(sitter.wanted, hat="none", background="grey") if self.flaws.ignores_prompt else sitter.wanted
        style = "soft" if self.flaws.loses_style else self.style
        drawing = draw(person(self._who(job, sitter)), view, self.side, style)
        points = np.array([(p.x, p.y) for p in job.guides[0].keypoints], np.float32) if job.guides else drawing.keypoints
        picture = drawing.picture.copy()
        if job.canvas is not None and job.canvas.mask is not None:
            kept = to_mask(job.canvas.mask) == 0
            picture[kept] = to_rgb(job.canvas.picture)[kept]
            picture[0, 0] += np.uint8(self.flaws.spills_over)
        self.turn += 1
        if job.subjects and self.flaws.leaks_at_zero:
            picture[5, 5] = (self.turn % 256, 1, 2)
        found = points + (40 if self.flaws.ignores_pose else 0)
        return [Painted(self.faces.tell(picture, self._who(job, sitter), found.astype(np.float32), view, style))]

    def _who(self, job: PictureJob, sitter: Sitter) -> int:
        subject = job.subjects[0] if job.subjects and job.subjects[0].adapter + job.subjects[0].identity_net > 0 else None
        lent = job.image_prompts[0].reference if job.image_prompts and sitter.seed % 2 else None
        if self.flaws.forgets_faces or (subject is None and lent is None):
            return sitter.seed + 700_000
        return self.faces.who(to_rgb(lent if subject is None else subject.who.pictures[0]))

    def _tell(self, sitter: Sitter, index: int) -> None:
        for picture in (sitter.reference.picture, sitter.again.picture, *sitter.photos, *sitter.clear):
            self.faces.tell(picture, sitter.seed, sitter.reference.keypoints)
        self.faces.tell(sitter.again.picture, sitter.seed, sitter.reference.keypoints, sitter.wanted)
        other = stranger_in(sitter.wanted, index, self.side)
        self.faces.tell(other.picture, sitter.seed + 600_000, other.keypoints)
        inked = draw(sitter.person, sitter.wanted, self.side, "ink").picture
        self.faces.tell(inked, sitter.seed, sitter.reference.keypoints, sitter.wanted, "ink")
