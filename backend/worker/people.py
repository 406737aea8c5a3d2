"""The saved people as each recogniser reads them: one reading is kept per recogniser, and made from the photos when it is first needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.errors import ModelError
from protocol.geometry import Extent
from protocol.jobs import Reading, Share
from protocol.planes import Plane

from .. import images
from ..characters import CharacterStore, Numbers
from ..faces import Identity, cosine, identity_of_faces
from ..readings import blend_of, identity_of_reading, reading_of
from .casting import Analyser

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
NOT_KNOWN = "0" * 64
"""The sha256 of a recogniser whose file is not known."""
_SAME_NUMBERS = 0.99
"""Two readings of one face by one recogniser are more alike than this; those of two recognisers never are."""


@dataclass(frozen=True, slots=True)
class Eye:
    """One recogniser at work: `name` for people, `sha256` of its file."""

    name: str
    sha256: str
    faces: Analyser


class People:
    """The characters in `store`, read by whichever recogniser asks."""

    def __init__(self, store: CharacterStore) -> None:
        self._store = store

    def identity(self, name: str, eye: Eye) -> Identity:
        """A character as `eye` reads it: what it has read before, else its photos, and the reading is kept.

        Raises `UnknownModel` without such a character, `FaceError` when its photos show `eye` no face, and `ModelError` for a character
        without photos that only other recognisers have read. One of an older version without photos counts as read by whoever asks.
        """
        record, readings = self._store.kept(name)
        for reading in readings:
            if reading.sha256 == eye.sha256:
                return identity_of_reading(reading)
        stamp, old = self._store.stamp(name), self._store.old_numbers(name)
        if record.photos:
            found = self._read(record.photos, readings, old, eye)
            self._store.add_reading(stamp, reading_of(found, eye.name, eye.sha256))
            return found
        if old is not None and not readings:
            return _identity_of_numbers(*old)
        by = ", ".join(reading.recogniser for reading in readings) or "nobody"
        raise ModelError(
            f"{name} was read by {by} and not by {eye.name}, and has no photos from which that could be made up for. Choose a model with "
            f"{by}, or make the character from photos."
        )

    def photo(self, name: str) -> Pixels | None:
        """The first photo of a character, (H, W, 3), or None."""
        photos = self._store.kept(name)[0].photos
        return images.to_rgb(photos[0]) if photos else None

    def between(self, shares: Sequence[Share], eye: Eye, photos: Sequence[Plane] = ()) -> Identity:
        """One character as it is, or what lies between several and further photos, each of weight 1."""
        weighty = [share for share in shares if share.weight > 0]
        if len(weighty) == 1 and not photos:
            return self.identity(weighty[0].character, eye)
        parts = [(self.identity(share.character, eye), share.weight) for share in shares]
        return blend_of([*parts, *((eye.faces.identify([images.to_rgb(photo)]), 1.0) for photo in photos)])

    def shared_readings(self, shares: Sequence[Share]) -> dict[str, Identity]:
        """What lies between several characters for every recogniser that has read all of them: sha256 -> identity, named by `reading`."""
        kept = [{reading.sha256: reading for reading in self._store.kept(share.character)[1]} for share in shares]
        common = set(kept[0]).intersection(*kept[1:])
        return {
            sha256: blend_of([(identity_of_reading(one[sha256]), share.weight) for one, share in zip(kept, shares, strict=True)])
            for sha256 in sorted(common)
        }

    def name_of(self, sha256: str, shares: Sequence[Share]) -> str:
        """What a recogniser is called in the characters' readings."""
        readings = [reading for share in shares for reading in self._store.kept(share.character)[1]]
        return next((reading.recogniser for reading in readings if reading.sha256 == sha256), sha256[:12])

    def _read(self, photos: Sequence[Plane], readings: Sequence[Reading], old: tuple[Numbers, Extent] | None, eye: Eye) -> Identity:
        pictures = [images.to_rgb(photo) for photo in photos]
        if readings:  # the same faces that another recogniser was shown
            return eye.faces.identify(pictures, None, list(identity_of_reading(readings[0]).places[0]))
        if old is None:
            return eye.faces.identify(pictures)
        known = _identity_of_numbers(*old)
        return _as_before(pictures, known, eye) or eye.faces.identify(pictures, None, [known.keypoints])


def _as_before(pictures: Sequence[Pixels], known: Identity, eye: Eye) -> Identity | None:
    """What an older version read, if it was this recogniser: bit for bit its numbers, with each photo's keypoints beside them."""
    found = [eye.faces.analyse(picture) for picture in pictures]
    if len(found) != len(known.embeddings) or not all(found):
        return None
    best = [max(faces, key=lambda face: cosine(face.embedding, own)) for faces, own in zip(found, known.embeddings, strict=True)]
    if any(cosine(face.embedding, own) < _SAME_NUMBERS for face, own in zip(best, known.embeddings, strict=True)):
        return None
    seen = identity_of_faces(best, pictures, eye.sha256)
    return Identity(known.embedding, known.embeddings, known.keypoints, known.extent, eye.sha256, seen.photo_keypoints, seen.photo_extents)


def _identity_of_numbers(numbers: Numbers, extent: Extent) -> Identity:
    embedding, embeddings, keypoints = (
        np.frombuffer(data, dtype=np.float32).copy() for data in (numbers.embedding, numbers.embeddings, numbers.keypoints)
    )
    return Identity(embedding, embeddings.reshape(-1, len(embedding)), keypoints.reshape(5, 2), extent)
