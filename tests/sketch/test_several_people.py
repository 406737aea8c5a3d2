"""Two persons in one picture by the built-in model, which was trained on single portraits: each is themselves and not the other."""

from pathlib import Path

import numpy as np
import pytest

import backend
from backend.faces import cosine
from backend.images import open_picture, to_plane
from backend.workbench import Workbench
from protocol.geometry import Extent
from protocol.jobs import Photos, PictureJob, Sampling, Subject
from protocol.planes import Layout, Plane

SAMPLES = Path(backend.__file__).parent / "sketch" / "samples"
EVERYWHERE = Plane(Layout.A8, Extent(256, 128), bytes([255] * 256 * 128))


def drawn(bench: Workbench, region: Plane | None) -> tuple[list[list[float]], tuple[float | None, ...]]:
    """The cosines of each face, from left to right, to each person, and the likenesses that the engine tells."""
    photos = [open_picture(SAMPLES / f"{name}.png") for name in ("ada", "bruno")]
    subjects = tuple(Subject(Photos((to_plane(photo),)), region=region) for photo in photos)
    prompt = "portrait of a smiling person, blue sweater, at the sea"
    job = PictureJob(prompt, extent=Extent(256, 128), subjects=subjects, sampling=Sampling(seed=3), preview_every=0)
    picture = bench.engine.run(job)[0]
    faces = sorted(bench.need_faces().analyse(picture.pixels), key=lambda face: float(face.keypoints[:, 0].mean()))
    people = [bench.identify([photo]).embedding for photo in photos]
    return [[cosine(face.embedding, who) for who in people] for face in faces], picture.similarities


@pytest.mark.slow
def test_two_people_of_whom_nothing_is_said_are_each_themselves(bench: Workbench) -> None:
    matrix, told = drawn(bench, None)
    (ada, as_bruno), (as_ada, bruno) = matrix
    assert min(ada, bruno) > 0.3
    assert max(as_bruno, as_ada) < 0.25
    assert told == pytest.approx((ada, bruno))


@pytest.mark.slow
def test_with_the_whole_picture_for_both_they_blend(bench: Workbench) -> None:
    """The unsafe twin: no part of the picture is anybody's own."""
    matrix, _ = drawn(bench, EVERYWHERE)
    own, other = np.diag(matrix), [row[::-1][number] for number, row in enumerate(matrix[:2])]
    assert len(matrix) != 2 or min(own) <= 0.3 or max(other) >= 0.25
