"""How a character is made: from photos, or as a blend of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from protocol.errors import InvalidRequest
from protocol.jobs import MakeCharacter
from protocol.planes import Plane

from .. import images
from ..characters import Numbers, Record
from ..faces import Face, Identity, cosine

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
THUMBNAIL = 96
"""Side of a thumbnail in pixels: sharp in a picker on a dense screen, and a page of them is below a megabyte."""
_AROUND = 1.6
"""How much of the surroundings a thumbnail shows, as a factor of the face's box."""


class Analyser(Protocol):
    """What is asked of a face analyser."""

    def analyse(self, rgb: Pixels) -> list[Face]:
        """Faces of a picture (H, W, 3), largest first."""
        ...

    def identify(self, pictures: Sequence[Pixels], face: int | None = None) -> Identity:
        """Who the photos show."""
        ...


def numbers_of(identity: Identity) -> Numbers:
    """An identity as the store keeps it."""
    parts = (identity.embedding, identity.embeddings, identity.keypoints)
    return Numbers(*(np.ascontiguousarray(part, dtype=np.float32).tobytes() for part in parts))


def made_from_photos(faces: Analyser, job: MakeCharacter, made_by: str) -> tuple[Record, Identity]:
    """The character that the photos show; raises `FaceError` with the photo's number."""
    photos = [images.to_rgb(photo) for photo in job.photos]
    identity = faces.identify(photos, job.face)
    chosen = [_same(faces.analyse(photo), embedding) for photo, embedding in zip(photos, identity.embeddings, strict=True)]
    record = Record(
        name=job.name,
        made_by=made_by,
        thumbnail=thumbnail(photos[0], chosen[0].box),
        extent=identity.extent,
        photos=job.photos,
        scores=tuple(min(1.0, max(0.0, float(face.score))) for face in chosen),
        alike=tuple(_clip(cosine(one, identity.embedding)) for one in identity.embeddings),
    )
    return record, identity


def blended(name: str, made_by: str, parts: Sequence[tuple[Identity, float]], picture: Plane) -> tuple[Record, Identity]:
    """The weighted mean of several people, rescaled to their weighted mean norm; keypoints and thumbnail are the strongest one's."""
    weights = np.array([weight for _, weight in parts], dtype=np.float32)
    if not weights.sum() > 0:
        raise InvalidRequest("A blend needs at least one character with a weight above 0.")
    weights = weights / weights.sum()
    embeddings = np.stack([identity.embedding for identity, _ in parts])
    direction = (weights[:, None] * embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).sum(axis=0)
    norm = float((weights * np.linalg.norm(embeddings, axis=1)).sum())
    length = float(np.linalg.norm(direction))
    if length < 1e-6:
        raise InvalidRequest("These people are each other's opposites, so nothing is left in their middle. Change the weights.")
    embedding = (direction * (norm / length)).astype(np.float32)
    strongest = parts[int(weights.argmax())][0]
    identity = Identity(embedding, embedding[None], strongest.keypoints, strongest.extent)
    return Record(name, made_by, picture, strongest.extent), identity


def thumbnail(photo: Pixels, box: Floats) -> Plane:
    """The face with a little around it, as RGB8 of `THUMBNAIL` pixels a side; beyond the photo's border its edge goes on."""
    left, top, right, bottom = (float(value) for value in box)
    half = max(right - left, bottom - top, 2.0) * _AROUND / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    height, width = photo.shape[:2]
    half = min(half, max(height, width) / 2)
    columns = np.clip(np.linspace(x - half, x + half, 2 * THUMBNAIL), 0, width - 1).round().astype(int)
    rows = np.clip(np.linspace(y - half, y + half, 2 * THUMBNAIL), 0, height - 1).round().astype(int)
    small = Image.fromarray(photo[rows][:, columns]).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return images.to_plane(np.asarray(small))


def _same(found: Sequence[Face], embedding: Floats) -> Face:
    """Which of a photo's faces became this embedding."""
    return max(found, key=lambda face: cosine(face.embedding, embedding))


def _clip(value: float) -> float:
    return min(1.0, max(-1.0, float(value)))
