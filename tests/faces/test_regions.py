"""What SPEC.md tells hosts about a person in a region of the canvas, with the built-in model's real detector and recogniser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import backend
from backend.faces import Face, FaceAnalyser, cosine
from backend.images import open_picture
from backend.pictures import Part, picture_plane
from protocol.planes import Plane

SKETCH = Path(backend.__file__).parent / "sketch"
SIDE = 128


def twice(face: Face, canvas: np.ndarray) -> tuple[int, int, int, int]:
    """A face's box, twice as large, within the canvas."""
    left, top, right, bottom = (float(edge) for edge in face.box)
    height, width = canvas.shape[:2]
    x, y, half = (left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top)
    return max(0, round(x - half)), max(0, round(y - half)), min(width, round(x + half)), min(height, round(y + half))


def pixels(plane: Plane) -> np.ndarray:
    return np.frombuffer(plane.data, np.uint8).reshape(plane.extent.height, plane.extent.width, 3)


def test_twice_the_box_of_a_face_in_the_canvas_is_a_photo_of_that_person() -> None:
    faces = FaceAnalyser(SKETCH / "faces", det_sizes=(192, 160, 128, 256), drawn=True)
    people = {name: open_picture(SKETCH / "samples" / f"{name}.png") for name in ("ada", "bruno")}
    canvas = np.full((SIDE, 3 * SIDE, 3), 128, np.uint8)
    for number, photo in enumerate(people.values()):
        canvas[:, 2 * number * SIDE :][:, :SIDE] = np.asarray(Image.fromarray(photo).resize((SIDE, SIDE)))
    alone = {name: faces.identify([photo]).embedding for name, photo in people.items()}
    found = sorted(faces.analyse(canvas), key=lambda face: float(face.box[0]))
    assert len(found) == 2
    for name, face in zip(people, found, strict=True):
        other = next(each for each in people if each != name)
        person = faces.identify([pixels(picture_plane(Part(canvas, twice(face, canvas))))]).embedding
        assert cosine(person, alone[name]) > 0.8
        assert cosine(person, alone[name]) > cosine(person, alone[other]) + 0.4
