"""What a recogniser reads of a person, in its two forms: an `Identity` of arrays, and a `Reading` of bytes for wire, store and file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocol.errors import BadPicture, InvalidRequest
from protocol.geometry import Extent, Point
from protocol.jobs import Reading
from protocol.limits import EMBEDDING_BYTES
from protocol.planes import Layout, Plane

from .faces import Identity

Floats = NDArray[np.float32]
NUMBERS = EMBEDDING_BYTES // 4


def reading_of(identity: Identity, recogniser: str, sha256: str) -> Reading:
    """An identity as bytes, bit for bit; `recogniser` is the name that people know."""
    keypoints, extents = identity.places
    rows = np.concatenate([identity.embedding[None], identity.embeddings]).astype("<f4")
    numbers = Plane(Layout.A8, Extent(EMBEDDING_BYTES, len(rows)), rows.tobytes())
    points = tuple(Point(float(x), float(y)) for x, y in keypoints.reshape(-1, 2))
    return Reading(recogniser[:80], sha256, numbers, points, extents)


def identity_of_reading(reading: Reading) -> Identity:
    """The identity again; raises `BadPicture` for numbers that are none."""
    rows = np.frombuffer(bytes(reading.numbers.data), dtype="<f4").reshape(-1, NUMBERS).astype(np.float32)
    keypoints = np.array([(point.x, point.y) for point in reading.keypoints], dtype=np.float32).reshape(-1, 5, 2)
    if not np.isfinite(rows).all() or not rows.any(axis=1).all() or len(rows) != 1 + len(keypoints):
        raise BadPicture(f"What {reading.recogniser} read of the person holds no usable numbers. Make the character anew.")
    return Identity(rows[0], rows[1:], keypoints[0], reading.extents[0], reading.sha256, keypoints, reading.extents)


def blend_of(parts: Sequence[tuple[Identity, float]]) -> Identity:
    """The weighted mean of several people: of their directions, at the weighted mean of their lengths; placed as the strongest one.

    Directions are averaged and brought to length again, which stays on the sphere and works for any number of people; for two it runs along
    the same great circle as spherical interpolation, equal in the middle and less than 5 degrees beside it elsewhere, even for strangers.
    The plain mean of raw embeddings would be up to a third shorter in the middle, and a shorter embedding is a weaker likeness.

    Raises `InvalidRequest` without any weight, for people whose directions cancel each other, and for readings of two recognisers.
    """
    weights = np.array([weight for _, weight in parts], dtype=np.float32)
    if not weights.sum() > 0:
        raise InvalidRequest("A blend needs at least one character with a weight above 0.")
    if len({identity.recogniser for identity, _ in parts if identity.recogniser}) > 1:
        raise InvalidRequest("These people were read by different recognisers, whose numbers cannot be mixed. Read them by one first.")
    weights = weights / weights.sum()
    embeddings = np.stack([identity.embedding for identity, _ in parts])
    direction = (weights[:, None] * embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).sum(axis=0)
    norm = float((weights * np.linalg.norm(embeddings, axis=1)).sum())
    length = float(np.linalg.norm(direction))
    if length < 1e-6:
        raise InvalidRequest("These people are each other's opposites, so nothing is left in their middle. Change the weights.")
    embedding = (direction * (norm / length)).astype(np.float32)
    strongest = parts[int(weights.argmax())][0]
    recogniser = next((identity.recogniser for identity, _ in parts if identity.recogniser), "")
    return Identity(embedding, embedding[None], strongest.keypoints, strongest.extent, recogniser)
