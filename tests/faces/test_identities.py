"""One or more photos become one identity; every way in which they cannot is a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_faces import blank, paint_face

from backend.faces import FaceAnalyser, best_similarity, cosine, mean_embedding
from protocol.errors import FaceError, FaceTooSmall, InvalidRequest, NoFace, NoSuchFace
from protocol.geometry import Extent


@pytest.fixture(scope="module")
def two_people() -> np.ndarray:
    return paint_face(paint_face(blank(640, 480), 50, 40, 60, person=1), 300, 200, 100, person=2)


def portrait(person: int, side: int = 112) -> np.ndarray:
    return paint_face(blank(640, 600), 250, 220, side, person)


def test_the_largest_face_is_taken_unless_another_is_asked_for(analyser: FaceAnalyser, two_people: np.ndarray) -> None:
    second, first = portrait(1), portrait(2)
    assert analyser.similarity(first, analyser.identify([two_people])) == pytest.approx(1, abs=0.1)
    assert analyser.similarity(second, analyser.identify([two_people], face=1)) == pytest.approx(1, abs=0.1)
    assert analyser.similarity(second, analyser.identify([two_people])) < 0.5, "the two are different people"  # type: ignore[operator]


def test_one_photo_is_the_raw_embedding_itself(analyser: FaceAnalyser) -> None:
    picture = portrait(4)
    identity = analyser.identify([picture])
    assert identity.embedding.tobytes() == analyser.analyse(picture)[0].embedding.tobytes()
    assert identity.extent == Extent(640, 600)
    assert identity.keypoints.tobytes() == analyser.analyse(picture)[0].keypoints.tobytes()


def test_several_photos_are_their_mean_at_their_mean_length(analyser: FaceAnalyser) -> None:
    pictures = [portrait(4), portrait(5), portrait(6)]
    identity = analyser.identify(pictures)
    rows = np.stack([analyser.analyse(picture)[0].embedding for picture in pictures]).astype(np.float64)
    mean = rows.mean(axis=0)
    np.testing.assert_allclose(identity.embedding, mean / np.linalg.norm(mean) * np.linalg.norm(rows, axis=1).mean(), rtol=1e-5)
    assert identity.embeddings.shape == (3, 512)


def test_the_mean_of_equal_embeddings_is_that_embedding() -> None:
    row = np.random.default_rng(0).standard_normal(512).astype(np.float32)
    np.testing.assert_allclose(mean_embedding(np.stack([row] * 5)), row, rtol=1e-6)


def test_embeddings_that_cancel_each_other_are_refused() -> None:
    row = np.ones(512, dtype=np.float32)
    with pytest.raises(FaceError, match="one and the same person"):
        mean_embedding(np.stack([row, -row]))


def test_no_face_is_said_with_the_photo_and_its_size(analyser: FaceAnalyser) -> None:
    with pytest.raises(NoFace, match=r"photo 2 of 2 \(300 x 200 pixels\)"):
        analyser.identify([portrait(1), blank(300, 200)])


def test_no_face_adds_the_hint_of_the_model(pack: Path) -> None:
    drawn = FaceAnalyser(pack, det_sizes=(128,), hint="This model knows drawn people only.")
    with pytest.raises(NoFace, match=r"This model knows drawn people only\.$"):
        drawn.identify([blank(128, 128)])


def test_an_index_beyond_the_faces_says_how_many_there_are(analyser: FaceAnalyser, two_people: np.ndarray) -> None:
    with pytest.raises(NoSuchFace, match="2 faces, numbers 0 to 1"):
        analyser.identify([two_people], face=2)
    with pytest.raises(NoSuchFace, match="only one face"):
        analyser.identify([portrait(1)], face=1)
    with pytest.raises(NoSuchFace):
        analyser.identify([two_people], face=-1)


def test_a_face_too_small_is_said_with_its_size(analyser: FaceAnalyser) -> None:
    photo = paint_face(blank(320, 320), 100, 100, 20, person=1)
    with pytest.raises(FaceTooSmall, match="only 20 x 20 pixels"):
        analyser.identify([photo])
    assert len(analyser.analyse(photo)) == 1, "small faces are still found, only not taken for an identity"


def test_a_person_without_photos_is_refused(analyser: FaceAnalyser) -> None:
    with pytest.raises(InvalidRequest, match="at least one photo"):
        analyser.identify([])


def test_similarity_is_none_without_a_face_and_the_best_of_several_with_them(analyser: FaceAnalyser, two_people: np.ndarray) -> None:
    identity = analyser.identify([portrait(1)])
    assert analyser.similarity(blank(100, 100), identity) is None
    assert analyser.similarity(two_people, identity) == best_similarity(analyser.analyse(two_people), identity)
    assert analyser.similarity(two_people, identity) == pytest.approx(1, abs=0.1)


def test_cosine_is_of_the_angle_alone() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.standard_normal((2, 512)).astype(np.float32)
    assert cosine(one, other) == pytest.approx(cosine(3 * one, 0.1 * other), abs=1e-6)
    assert cosine(one, one) == pytest.approx(1)
    assert cosine(one, -one) == pytest.approx(-1)
    assert cosine(one, np.zeros(512, dtype=np.float32)) == 0
