"""Faces in photos: where they are and who they are (ArcFace embeddings).

SCRFD (Guo et al., arXiv:2105.04714) finds faces and five keypoints, ArcFace (Deng et al., arXiv:1801.07698) turns an aligned face into 512
numbers; `backend.face_pack` loads them. insightface and onnxruntime are imported when an analyser is made, not before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from protocol.errors import BadPicture, FaceError, FaceTooSmall, InvalidRequest, ModelError, NoFace, NoSuchFace
from protocol.geometry import Extent, Point
from protocol.jobs import Embedding

from .face_pack import load_pack
from .keypoints import aligned_crop, draw_keypoints, fit_keypoints
from .models.recognisers import Recogniser, onnx_sha256

__all__ = [
    "DET_SIZES", "Face", "FaceAnalyser", "Identity", "aligned_crop", "best_similarity", "cosine", "draw_keypoints", "fit_keypoints",
    "mean_embedding",
]  # fmt: skip

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

DET_SIZES = (640, 512, 384, 256, 192)
"""Sides of the detector's square input, in the order tried. 640 is InstantID's; smaller ones find faces that fill the picture."""

_PHOTOGRAPH = 0.4
"""Below this `smoothness` a picture is taken for a photograph."""

_SEEN_KEYPOINTS = 3
"""So many of a face's five keypoints lie within the photo; what has fewer was seen in the border, as in a photo one pixel high."""

_MARGIN_FILL = 0.5
"""With a border, the photo fills this part of the detector's input: a face cropped at the forehead and the chin then looks like others."""

_STRIDE = 32
"""SCRFD's coarsest feature map: the sides of its input are multiples of this."""


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in a photo, in that photo's pixels.

    `box` (4,) float32: left, top, right, bottom, may stick out of the photo. `keypoints` (5, 2) float32. `embedding` (512,) float32: the
    recogniser's raw output, not normalised (that is what InstantID was trained on). `score`: the detector's, 0 to 1.
    """

    box: Floats
    keypoints: Floats
    embedding: Floats
    score: float

    @property
    def area(self) -> float:
        """Square pixels of the box."""
        return _area(self.box)


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """Who somebody is, from one or more photos.

    `embedding` (512,) float32: the mean of the raw embeddings, rescaled to their mean norm. `embeddings` (photos, 512) float32.
    `keypoints` (5, 2) float32 and `extent`: the face in the first photo, and that photo's size.
    """

    embedding: Floats
    embeddings: Floats
    keypoints: Floats
    extent: Extent
    recogniser: str = ""
    """sha256 of the recogniser's file; empty when it is not known."""
    photo_keypoints: Floats | None = None
    """(photos, 5, 2), each in its photo's pixels."""
    photo_extents: tuple[Extent, ...] = ()

    @property
    def places(self) -> tuple[Floats, tuple[Extent, ...]]:
        """Keypoints (photos, 5, 2) and sizes of all photos; those of the first for all where only it is known."""
        count = len(self.embeddings)
        if self.photo_keypoints is None or len(self.photo_extents) != count:
            return np.repeat(self.keypoints[None], count, axis=0), (self.extent,) * count
        return self.photo_keypoints, self.photo_extents


def identity_of_faces(faces: Sequence[Face], pictures: Sequence[Pixels], recogniser: str = "") -> Identity:
    """One person from the face of each photo (height, width, 3)."""
    embeddings = np.stack([one.embedding for one in faces])
    keypoints = np.stack([one.keypoints for one in faces])
    extents = tuple(Extent(picture.shape[1], picture.shape[0]) for picture in pictures)
    return Identity(mean_embedding(embeddings), embeddings, keypoints[0], extents[0], recogniser, keypoints, extents)


def identity_of(given: Embedding) -> Identity:
    """The person that the wire's numbers mean; InvalidRequest when they are none."""
    numbers = np.frombuffer(bytes.fromhex(given.numbers), dtype="<f4").astype(np.float32)
    if not np.isfinite(numbers).all() or not numbers.any():
        raise InvalidRequest("The face embedding holds no usable numbers. Read it anew from a photo.")
    keypoints = np.array([(point.x, point.y) for point in given.keypoints], dtype=np.float32)
    return Identity(numbers, numbers[None], keypoints, given.extent, given.recogniser)


def embedding_of(identity: Identity) -> Embedding:
    """A person for the wire: the mean embedding, exactly."""
    points = tuple(Point(float(x), float(y)) for x, y in identity.keypoints)
    return Embedding(np.asarray(identity.embedding, dtype="<f4").tobytes().hex(), points, identity.extent, identity.recogniser)


@dataclass(frozen=True, slots=True, eq=False)
class _Detection:
    """A face before it is recognised."""

    box: Floats
    keypoints: Floats
    score: float


class FaceAnalyser:
    """Finds and recognises faces with the detector and the recogniser in one folder, or with another `recogniser` beside the detector.

    `folder` is absolute and holds ONNX files as insightface's packs do (antelopev2, buffalo_l), or just `det.onnx` and `rec.onnx`; nothing
    is ever downloaded. `det_sizes` are tried in turn until a face is found, then once more with a border around the photo. `providers` are
    onnxruntime's; the CPU takes milliseconds and leaves the GPU's memory to the picture. `smallest_face` is the shorter side in pixels that
    a face must have to say who it is. `hint` is a sentence added when no face is found (what this model can see, which one sees more).
    `drawn` says that the pack knows drawn people only: photographs are then refused, because what it sees in them means nothing.

    Raises `ModelError` if the folder is no usable pack, or onnxruntime lacks a provider.
    """

    def __init__(
        self,
        folder: Path,
        *,
        det_sizes: Sequence[int] = DET_SIZES,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        det_threshold: float = 0.5,
        smallest_face: float = 24.0,
        hint: str = "",
        drawn: bool = False,
        recogniser: Recogniser | None = None,
    ) -> None:
        self._drawn = drawn
        self._smallest_face = smallest_face
        self._hint = hint
        pack = load_pack(folder, providers, det_threshold, recogniser)
        fixed = pack.detector.static_input_size
        self._det_sizes = (int(fixed[0]),) if fixed else _checked_sizes(det_sizes)
        self._detector, self._recogniser = pack.detector, pack.embedder
        self._sha256 = recogniser.sha256 if recogniser is not None else ""

    @property
    def sha256(self) -> str:
        """Of the recogniser's ONNX file: embeddings are comparable only with those of the same."""
        if not self._sha256:
            self._sha256 = onnx_sha256(Path(self._recogniser.model_file))
        return self._sha256

    def analyse(self, rgb: Pixels) -> list[Face]:
        """All faces in a photo (height, width, 3), largest first; an empty list if there are none, after every retry."""
        return [self._recognise(rgb, found) for found in self._detect(rgb)]

    def identify(self, pictures: Sequence[Pixels], face: int | None = None, near: Sequence[Floats] = ()) -> Identity:
        """One person from one or more photos (height, width, 3): the largest face of each, or the one with index `face`, largest first.

        With `near`, keypoints (5, 2) for each photo, it is the face that lies there: as another recogniser's detector found it.
        Raises `NoFace`, `FaceTooSmall` and `NoSuchFace`, each naming the photo; `FaceError` for a photograph given to a pack of drawn
        people; `InvalidRequest` without photos.
        """
        if not pictures:
            raise InvalidRequest("A person needs at least one photo, and none was given. Add a photo that shows the face.")
        places = [*near, *[None] * (len(pictures) - len(near))]
        names = [_name(index, len(pictures)) for index in range(len(pictures))]
        found = [self._choose(*each, face) for each in zip(pictures, names, places, strict=True)]
        return identity_of_faces(found, pictures, self.sha256)

    def similarity(self, rgb: Pixels, identity: Identity) -> float | None:
        """Cosine of the most similar face in a picture (height, width, 3) to an identity, -1 to 1; None if the picture shows no face."""
        return best_similarity(self.analyse(rgb), identity)

    def _detect(self, rgb: Pixels) -> list[_Detection]:
        """Faces, largest first, from the first detector size that finds any."""
        _check_picture(rgb)
        for fill in (1.0, _MARGIN_FILL):
            for size in self._det_sizes:
                if found := self._detect_at(rgb, size, fill):
                    return sorted(found, key=lambda one: _area(one.box), reverse=True)
        return []

    def _detect_at(self, rgb: Pixels, size: int, fill: float) -> list[_Detection]:
        canvas, scale, offset = _on_canvas(rgb, size, fill)
        boxes, keypoints = self._detector.detect(np.ascontiguousarray(canvas[..., ::-1]), input_size=(size, size))
        found = [
            _Detection(
                box=((box[:4].reshape(2, 2) - offset) / scale).astype(np.float32).ravel(),
                keypoints=((points - offset) / scale).astype(np.float32),
                score=float(box[4]),
            )
            for box, points in zip(boxes, keypoints, strict=True)
        ]
        return [one for one in found if _within(one.keypoints, rgb) >= _SEEN_KEYPOINTS]

    def _recognise(self, rgb: Pixels, found: _Detection) -> Face:
        crop = aligned_crop(rgb, found.keypoints, int(self._recogniser.input_size[0]))
        embedding = self._recogniser.get_feat(np.ascontiguousarray(crop[..., ::-1]))
        return Face(found.box, found.keypoints, np.asarray(embedding, dtype=np.float32).ravel(), found.score)

    def _choose(self, rgb: Pixels, photo: str, near: Floats | None, index: int | None) -> Face:
        faces = self._detect(rgb)
        if self._drawn and smoothness(rgb) < _PHOTOGRAPH:
            raise FaceError(f"{photo[0].upper()}{photo[1:]} looks like a photograph, so who is on it cannot be told. {self._hint}".rstrip())
        if not faces:
            raise NoFace(_no_face_sentence(photo, rgb, self._hint))
        if index is not None and not 0 <= index < len(faces):
            count = "only one face, number 0" if len(faces) == 1 else f"{len(faces)} faces, numbers 0 to {len(faces) - 1}, largest first"
            raise NoSuchFace(f"Face number {index} was asked for, but {photo} shows {count}. Choose one of these, or none for the largest.")
        chosen = faces[index or 0] if near is None else min(faces, key=lambda one: float(np.abs(one.keypoints - near).sum()))
        left, top, right, bottom = (float(value) for value in chosen.box)
        if min(right - left, bottom - top) < self._smallest_face:
            raise FaceTooSmall(
                f"The face in {photo} is only {max(right - left, 0):.0f} x {max(bottom - top, 0):.0f} pixels, too few to tell who it is. "
                f"Use a photo whose face is at least {math.ceil(self._smallest_face)} pixels wide and high, better several times that."
            )
        return self._recognise(rgb, chosen)


def smoothness(rgb: Pixels) -> float:
    """Share (0 to 1) of a picture's pixels whose brightness hardly curves, at 128 x 128.

    Drawings of the built-in world were seen above 0.7, photographs of faces below 0.3.
    """
    small = np.asarray(Image.fromarray(rgb).convert("L").resize((128, 128), Image.Resampling.BOX), dtype=np.int16)
    middle = small[1:-1, 1:-1]
    curve = small[:-2, 1:-1] + small[2:, 1:-1] + small[1:-1, :-2] + small[1:-1, 2:] - 4 * middle
    return float((np.abs(curve) <= 2).mean())


def mean_embedding(embeddings: Floats) -> Floats:
    """(photos, 512) -> (512,): the mean of raw embeddings, rescaled to their mean norm.

    The plain mean is shorter than its parts, the more so the more they differ, and a shorter embedding is a weaker identity for InstantID.
    Raises `FaceError` if the embeddings cancel each other.
    """
    if len(embeddings) == 1:
        return embeddings[0].astype(np.float32)
    mean = embeddings.astype(np.float64).mean(axis=0)
    wanted = float(np.linalg.norm(embeddings.astype(np.float64), axis=1).mean())
    length = float(np.linalg.norm(mean))
    if length <= 1e-6 * wanted or not math.isfinite(wanted):
        raise FaceError("The photos have no common face: what one shows, another takes away. Use photos of one and the same person.")
    return (mean * (wanted / length)).astype(np.float32)


def cosine(one: Floats, other: Floats) -> float:
    """Cosine of the angle between two embeddings (512,), -1 to 1; 0 if one of them is zero."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.clip(first @ second / lengths, -1.0, 1.0)) if lengths > 0 else 0.0


def best_similarity(faces: Sequence[Face], identity: Identity) -> float | None:
    """Cosine of the most similar of some faces to an identity; None without faces."""
    return max((cosine(face.embedding, identity.embedding) for face in faces), default=None)


def _checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    if not sizes or any(size < _STRIDE or size % _STRIDE for size in sizes):
        raise ModelError(f"The face detector's sizes must be multiples of {_STRIDE} pixels, and {list(sizes)} are not.")
    return tuple(sizes)


def _check_picture(rgb: Pixels) -> None:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
        raise BadPicture(f"A photo is height x width x 3 bytes, and this one is {rgb.dtype} of shape {rgb.shape}. Convert it to 8-bit RGB.")


def _on_canvas(rgb: Pixels, size: int, fill: float) -> tuple[Pixels, Floats, Floats]:
    """The photo, shrunk or enlarged to fill a part of a black square; with the scale and the offset that were used, both (2,): x, y.

    Filling all of it, the photo lies in the upper left corner as in insightface; otherwise in the middle.
    """
    import cv2

    height, width = rgb.shape[:2]
    scale = size * fill / max(height, width)
    new = (max(1, int(width * scale)), max(1, int(height * scale)))
    left, top = (0, 0) if fill == 1.0 else ((size - new[0]) // 2, (size - new[1]) // 2)
    canvas = np.zeros((size, size, 3), dtype=np.uint8)
    canvas[top : top + new[1], left : left + new[0]] = cv2.resize(rgb, new)
    return canvas, np.array([new[0] / width, new[1] / height], dtype=np.float32), np.array([left, top], dtype=np.float32)


def _within(points: Floats, rgb: Pixels) -> int:
    """How many of the points (n, 2) lie within the photo."""
    height, width = rgb.shape[:2]
    return int(((points >= 0) & (points <= (width, height))).all(axis=1).sum())


def _area(box: Floats) -> float:
    left, top, right, bottom = (float(value) for value in box)
    return max(right - left, 0.0) * max(bottom - top, 0.0)


def _name(index: int, count: int) -> str:
    return "the photo" if count == 1 else f"photo {index + 1} of {count}"


def _no_face_sentence(photo: str, rgb: Pixels, hint: str) -> str:
    height, width = rgb.shape[:2]
    said = (
        f"No face was found in {photo} ({width} x {height} pixels), also not with other detector sizes and a border around it. "
        "Use a photo that shows the face from the front, larger and with some space around the head."
    )
    return f"{said} {hint}".rstrip()
