"""The gain of the second pass over small faces is measured by the face in the figure, and by what changed around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.evaluation.people import sitter
from backend.evaluation.small_faces import FIRST, measure_small_faces, report
from backend.faces import FaceAnalyser
from backend.images import to_mask, to_rgb
from backend.models.bundle import Model
from protocol.jobs import PictureJob

SIDE, PEOPLE = 128, 3


@dataclass(frozen=True)
class Made:
    pixels: np.ndarray


class Painter:
    """Without the pass it leaves the stranger of the scene where it is; with the pass it draws the person, as the world's pencil does."""

    def __init__(self, *, helps: bool = True, spills: bool = False) -> None:
        self.sitters = {one.seed: one for one in (sitter(FIRST + number, SIDE) for number in range(PEOPLE))}
        self.helps, self.spills = helps, spills

    def run(self, job: PictureJob, watch: object) -> list[Made]:
        assert job.canvas is not None
        assert job.canvas.mask is not None
        picture = to_rgb(job.canvas.picture).copy()
        if job.face_pass is None:
            return [Made(picture)]
        if self.helps:
            rows, columns = np.nonzero(to_mask(job.canvas.mask))
            place = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
            side = rows.max() + 1 - rows.min()
            drawn = Image.fromarray(self.sitters[job.sampling.seed].again.picture)
            picture[place] = np.asarray(drawn.resize((side, side), Image.Resampling.LANCZOS))
        if self.spills:
            picture[0, 0] += 1
        return [Made(picture)]


@pytest.fixture(scope="module")
def faces() -> FaceAnalyser:
    model = Model.open(Path(__file__).parents[2] / "backend" / "sketch")
    assert model.faces is not None
    return FaceAnalyser(model.faces, det_sizes=model.det_sizes)


def measured(faces: FaceAnalyser, painter: Painter):
    heard: list[str] = []
    found = measure_small_faces(painter, faces, SIDE, PEOPLE, heard.append)
    assert len(heard) == PEOPLE
    return found


def test_a_pass_that_draws_the_person_is_seen_to_gain(faces: FaceAnalyser) -> None:
    found = measured(faces, Painter())
    assert found.better.value > 0.25
    assert found.unchanged == PEOPLE
    assert f"better with it                 {PEOPLE} of {PEOPLE}" in report(found)


def test_a_pass_that_does_nothing_gains_nothing(faces: FaceAnalyser) -> None:
    found = measured(faces, Painter(helps=False))
    assert found.better.value == 0
    assert f"better with it                 0 of {PEOPLE}" in report(found)


def test_a_pixel_that_changed_outside_the_figure_is_seen(faces: FaceAnalyser) -> None:
    assert measured(faces, Painter(spills=True)).unchanged == 0
