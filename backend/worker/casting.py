"""How a character is made from photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from protocol.jobs import MakeCharacter
from protocol.planes import Plane

from .. import images
from ..characters import Record
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

    def similarity(self, rgb: Pixels, identity: Identity) -> float | None:
        """How alike the face in a picture (H, W, 3) is (cosine), or None without a face."""
        ...

    def identify(self, pictures: Sequence[Pixels], face: int | None = None, near: Sequence[Floats] = ()) -> Identity:
        """Who the photos (H, W, 3) show; with `near`, by the faces that lie at these keypoints (5, 2), one for each photo."""
        ...


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
        alike=alike_of(identity),
    )
    return record, identity


def alike_of(identity: Identity) -> tuple[float, ...]:
    """How alike each photo is to all of them together; nothing for a blend, which has none."""
    return tuple(_clip(cosine(one, identity.embedding)) for one in identity.embeddings)


def thumbnail(photo: Pixels, box: Floats) -> Plane:
    """The face in the `box` (4,) of a photo (H, W, 3), with a little around it, as RGB8 of `THUMBNAIL` pixels a side.

    Beyond the photo's border its edge goes on.
    """
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
