"""Faces are found where they are, largest first, and retried before it is said that there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_faces import KEYPOINTS, blank, paint_face, write_pack

from backend.faces import FaceAnalyser
from protocol.errors import BadPicture


def box_of(left: int, top: int, side: int) -> list[int]:
    return [left, top, left + side, top + side]


def test_every_face_is_found_largest_first(analyser: FaceAnalyser) -> None:
    picture = paint_face(paint_face(blank(640, 480), 50, 40, 60, person=1), 300, 200, 100, person=2)
    faces = analyser.analyse(picture)
    assert [face.box.round().tolist() for face in faces] == [box_of(300, 200, 100), box_of(50, 40, 60)]
    assert faces[0].area > faces[1].area


def test_keypoints_and_types_are_as_documented(analyser: FaceAnalyser) -> None:
    [face] = analyser.analyse(paint_face(blank(640, 640), 200, 120, 100, person=3))
    np.testing.assert_allclose(face.keypoints, KEYPOINTS * 100 + [200, 120], atol=0.5)
    assert (face.box.shape, face.keypoints.shape, face.embedding.shape) == ((4,), (5, 2), (512,))
    assert {face.box.dtype, face.keypoints.dtype, face.embedding.dtype} == {np.dtype(np.float32)}
    assert face.score == pytest.approx(0.9)
    assert np.linalg.norm(face.embedding) > 10, "raw, not normalised"


def test_a_picture_without_a_face_gives_an_empty_list(analyser: FaceAnalyser) -> None:
    assert analyser.analyse(blank(300, 200)) == []


def test_a_face_too_large_for_the_first_detector_size_is_found_with_a_smaller_one(pack: Path, analyser: FaceAnalyser) -> None:
    picture = paint_face(blank(200, 200), 50, 60, 100, person=2)
    assert [face.box.round().tolist() for face in analyser.analyse(picture)] == [box_of(50, 60, 100)]
    assert FaceAnalyser(pack, det_sizes=(640,)).analyse(picture) == [], "the retry is what finds it"


def test_a_face_that_fills_the_photo_is_found_with_a_border(analyser: FaceAnalyser) -> None:
    [face] = analyser.analyse(paint_face(blank(150, 150), 0, 0, 150, person=2))
    np.testing.assert_allclose(face.box, box_of(0, 0, 150), atol=2)


def test_the_border_moves_no_keypoint_and_keeps_the_identity(analyser: FaceAnalyser) -> None:
    [tight] = analyser.analyse(paint_face(blank(150, 140), 0, 0, 140, person=2))
    [loose] = analyser.analyse(paint_face(blank(640, 640), 260, 260, 112, person=2))
    np.testing.assert_allclose(tight.keypoints, KEYPOINTS * 140, atol=2)
    lengths = np.linalg.norm(tight.embedding) * np.linalg.norm(loose.embedding)
    assert tight.embedding @ loose.embedding / lengths > 0.8


def test_detector_sizes_can_be_those_of_a_small_model(pack: Path) -> None:
    small = FaceAnalyser(pack, det_sizes=(128, 256))
    [face] = small.analyse(paint_face(blank(128, 128), 40, 30, 50, person=5))
    np.testing.assert_allclose(face.box, box_of(40, 30, 50), atol=1)


def test_a_detector_with_a_fixed_input_is_used_at_that_size(tmp_path: Path) -> None:
    fixed = FaceAnalyser(write_pack(tmp_path, detector_side=256))
    [face] = fixed.analyse(paint_face(blank(256, 128), 20, 20, 64, person=5))
    np.testing.assert_allclose(face.box, box_of(20, 20, 64), atol=1)


@pytest.mark.parametrize(("width", "height"), [(1, 4000), (4000, 1), (1, 1), (7, 3)])
def test_odd_shapes_are_no_faces_and_no_errors(analyser: FaceAnalyser, width: int, height: int) -> None:
    assert analyser.analyse(blank(width, height)) == []


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (0, 8, 3)])
def test_what_is_no_rgb_picture_is_refused(analyser: FaceAnalyser, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadPicture, match="height x width x 3"):
        analyser.analyse(np.zeros(shape, dtype=np.uint8))


def test_a_picture_of_floats_is_refused(analyser: FaceAnalyser) -> None:
    with pytest.raises(BadPicture, match="float64"):
        analyser.analyse(np.zeros((8, 8, 3)))  # type: ignore[arg-type]


def test_the_same_picture_gives_the_same_bytes(analyser: FaceAnalyser) -> None:
    picture = paint_face(blank(640, 640), 200, 120, 100, person=3)
    first, second = analyser.analyse(picture)[0], analyser.analyse(picture)[0]
    assert first.embedding.tobytes() == second.embedding.tobytes()
    assert first.box.tobytes() == second.box.tobytes()
