"""Data sets of captioned photos: any folder of pictures with their captions becomes the same arrays that the drawn people come in.

Captions lie beside each picture (face.jpg, face.txt) or in one metadata.jsonl with {"file_name", "text"} a line (the layout of Hugging
Face's image folders). Pictures in one sub-folder show one person; those at the top are each a person of their own. Photos are scaled to the
shorter side and cut to a square: about the largest face where faces are asked for, else about the middle.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from protocol.errors import FaceError, InvalidRequest

from ..images import open_picture
from .people import People

if TYPE_CHECKING:
    from ..faces import FaceAnalyser

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Photo:
    """One captioned photo; photos with the same person's name lie beside each other."""

    path: Path
    caption: str
    person: str


@dataclass(frozen=True)
class Shape:
    """A photo cut to a square, and its largest face there, if faces were asked for."""

    picture: NDArray[np.uint8]
    keypoints: NDArray[np.float32]
    box: NDArray[np.float32]
    embedding: NDArray[np.float32]


def find_photos(folder: Path) -> list[Photo]:
    """All captioned photos below a folder, sorted by person.

    Raises:
        InvalidRequest: there is no captioned photo.
    """
    photos = [*_listed(folder), *_beside(folder)]
    if not photos:
        raise InvalidRequest(
            f"The folder {folder} has no captioned photos. Put a text file with the caption "
            "beside each picture (face.jpg, face.txt), or a metadata.jsonl with file_name and text."
        )
    return sorted(photos, key=lambda photo: (photo.person, photo.path))


def _person(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder) if path.parent == folder else path.parent.relative_to(folder))


def _listed(folder: Path) -> Iterator[Photo]:
    listing = folder / "metadata.jsonl"
    if not listing.is_file():
        return
    for number, line in enumerate(_text(listing).splitlines(), 1):
        try:
            entry = json.loads(line)
            path, caption = folder / str(entry["file_name"]), str(entry["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidRequest(
                f'Line {number} of {listing} cannot be read. Every line must be like {{"file_name": "face.jpg", "text": "a caption"}}.'
            ) from error
        yield Photo(path, caption, _person(path, folder))


def _beside(folder: Path) -> Iterator[Photo]:
    for path in folder.rglob("*"):
        text = path.with_suffix(".txt")
        if path.suffix.lower() in PICTURES and text.is_file():
            yield Photo(path, " ".join(_text(text).split()), _person(path, folder))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except ValueError as error:
        raise InvalidRequest(f"{path} is not text in UTF-8, so its words cannot be read. Save it once more as UTF-8.") from error


def build_photos(folder: Path, out: Path, size: int, analyser: "FaceAnalyser | None" = None) -> People:
    """Write the photos of `folder` as a data set into `out`; with an analyser those with a face, and keypoints, boxes, embeddings too.

    Raises:
        InvalidRequest: nothing usable is in the folder.
        BadPicture: a file is no picture.
    """
    photos = find_photos(folder)
    with tqdm(photos, desc="photos") as bar:  # closed also where a photo cannot be read: the sentence then has a line of its own
        done = [(photo, shape) for photo in bar if (shape := _shape(photo, size, analyser)) is not None]
    if not done:
        raise InvalidRequest(
            f"On none of the photos in {folder} a face was found, so there is nothing to learn from. "
            "Use photos that show a face large enough."
        )
    out.mkdir(parents=True, exist_ok=True)
    names = {name: i for i, name in enumerate(dict.fromkeys(photo.person for photo, _ in done))}
    np.save(out / "persons.npy", np.array([names[photo.person] for photo, _ in done], np.int64))
    if analyser is not None:
        np.save(out / "keypoints.npy", np.stack([shape.keypoints for _, shape in done]))
        np.save(out / "boxes.npy", np.stack([shape.box for _, shape in done]))
        np.save(out / "embeddings.npy", np.stack([shape.embedding for _, shape in done]))
    for name in ("captions.txt", "descriptions.txt"):
        (out / name).write_text("".join(f"{photo.caption}\n" for photo, _ in done), encoding="utf-8")
    np.save(out / "pictures.npy", np.stack([shape.picture for _, shape in done]))
    return People(out)


def _shape(photo: Photo, size: int, analyser: "FaceAnalyser | None") -> Shape | None:
    rgb = open_picture(photo.path)
    nothing = Shape(rgb, np.zeros((5, 2), np.float32), np.zeros(4, np.float32), np.zeros(512, np.float32))
    if analyser is not None:
        try:
            faces = analyser.analyse(rgb)
        except FaceError:
            return None
        if not faces:
            return None
        nothing = Shape(rgb, faces[0].keypoints, faces[0].box, faces[0].embedding)
    return cut(nothing, size)


def cut(shape: Shape, size: int) -> Shape:
    """Scale to the shorter side and cut to size x size, about the face's box if there is one; keypoints and box move along."""
    height, width = shape.picture.shape[:2]
    scale = size / min(height, width)
    wide, tall = max(size, round(width * scale)), max(size, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = np.asarray(cv2.resize(shape.picture, (wide, tall), interpolation=method), np.uint8)
    middle = (shape.box[:2] + shape.box[2:]) / 2 * scale if shape.box.any() else np.array([wide, tall]) / 2
    left, top = (int(np.clip(round(float(m) - size / 2), 0, side - size)) for m, side in zip(middle, (wide, tall), strict=True))
    shift, stretch = np.array([left, top], np.float32), np.array([wide / width, tall / height], np.float32)
    box = (shape.box.reshape(2, 2) * stretch - shift).reshape(4)
    return Shape(scaled[top : top + size, left : left + size], shape.keypoints * stretch - shift, box, shape.embedding)


def data_of(data: Path, out: Path, size: int, faces: Path | None = None) -> People:
    """The data set in `data`, or made of the photos there into `out`/data; with the face models in `faces`, photos get faces.

    Raises:
        InvalidRequest: neither is there, or the photos were cut to another size when this training began.
    """
    if (data / "pictures.npy").is_file():
        return People(data)
    made = out / "data"
    if not (made / "pictures.npy").is_file():
        analyser = None
        if faces is not None:
            from ..faces import FaceAnalyser

            analyser = FaceAnalyser(faces.resolve())
        build_photos(data, made, size, analyser)
    people = People(made)
    if (side := people.pictures.shape[1]) != size:
        raise InvalidRequest(f"{made} holds the photos cut to {side} pixels. Go on with --size {side}, or begin anew with another --out.")
    return people
