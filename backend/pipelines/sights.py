"""Who is meant by a job, as the recogniser reads it that the adapter was trained with. A mismatch is refused, never painted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InvalidRequest, ModelError
from protocol.jobs import Character, Embedding, ImagePrompt, Photos

from .. import images
from ..faces import Identity, identity_of
from ..keypoints import aligned_crop
from ..models.bundle import AdapterEntry, Model
from ..models.recognisers import Recogniser
from .placement import Finder

Pixels = NDArray[np.uint8]
FACE_CROP = 224
"""Side of the aligned face that FaceID-Plus sees (`insightface.utils.face_align.norm_crop` in IP-Adapter's examples)."""


class Faces(Finder, Protocol):
    """What the engine asks of a `backend.faces.FaceAnalyser`."""

    def identify(self, pictures: Sequence[Pixels], face: int | None = None) -> Identity:
        """Who the photos (H, W, 3) show."""
        ...

    def similarity(self, rgb: Pixels, identity: Identity) -> float | None:
        """How alike the face in a picture (H, W, 3) is (cosine), or None without a face."""
        ...


@dataclass(frozen=True, slots=True)
class Sight:
    """One recogniser at work. `characters` gives a saved person as this one reads them, `photo` the first photo of one, if any is kept."""

    faces: Faces | None
    characters: Callable[[str], Identity] | None = None
    photo: Callable[[str], Pixels | None] | None = None


class Sights:
    """The recognisers of a model: the main one, and `others` by what model.toml says of them, opened when an adapter first asks."""

    def __init__(self, model: Model, main: Sight, others: Callable[[Recogniser], Sight] | None) -> None:
        self._model, self._main, self._others = model, main, others
        self._opened: dict[str, Sight] = {}
        self._digests: dict[str, str] = {}

    def identity(self, who: Photos | Character | Embedding, entry: AdapterEntry | None = None) -> Identity:
        """A person as InstantID (None) or a FaceID adapter needs them; an error of the tree when nobody can say."""
        recogniser = self._recogniser(entry)
        sight = self._sight(recogniser)
        match who:
            case Character():
                if sight.characters is None:
                    raise InvalidRequest(f"There are no saved people here, so {who.name!r} is unknown. Give photos instead.")
                found = sight.characters(who.name)
            case Embedding():
                found = identity_of(who)
            case Photos():
                found = self._faces(sight).identify([images.to_rgb(photo) for photo in who.pictures], who.face)
        if found.recogniser and recogniser is not None and self._differs(found.recogniser, recogniser):
            raise ModelError(
                f"This person was read by another recogniser than {recogniser.name}, which {_name(entry)} was trained with. What two "
                "recognisers read of a face has nothing in common: read the person from photos, or from a character that has them."
            )
        return found

    def face_prompt(self, prompt: ImagePrompt, entry: AdapterEntry, needs_picture: bool) -> tuple[Identity, Pixels | None]:
        """Who a FaceID adapter is to draw, and the aligned face (224, 224, 3) for those that look at it."""
        sight = self._sight(self._recogniser(entry))
        who = prompt.who
        reference = None if prompt.reference is None else images.to_rgb(prompt.reference)
        if who is None:
            if reference is None:
                raise InvalidRequest("An image prompt has neither a picture nor a person. Give one of them.")
            identity = self._faces(sight).identify([reference])
            return identity, aligned_crop(reference, identity.keypoints, FACE_CROP) if needs_picture else None
        identity = self.identity(who, entry)
        if not needs_picture:
            return identity, None
        if reference is not None:
            shown = self._faces(sight).identify([reference])
            return identity, aligned_crop(reference, shown.keypoints, FACE_CROP)
        photo = _photo_of(who, sight)
        if photo is None:
            raise InvalidRequest(
                f"The adapter {entry.name!r} looks at the face too, and of this person no photo is kept. Give a picture beside the person, "
                "or choose an adapter that reads the embedding alone (FaceID)."
            )
        return identity, aligned_crop(photo, identity.keypoints, FACE_CROP)

    # Inside ----------------------------------------------------------------------------------------------------------------------------
    def _recogniser(self, entry: AdapterEntry | None) -> Recogniser | None:
        return self._model.recogniser(entry) if self._model.recognisers else None

    def _sight(self, recogniser: Recogniser | None) -> Sight:
        if recogniser is None or recogniser == self._model.recognisers[0] or self._others is None:
            return self._main
        if recogniser.name not in self._opened:
            self._opened[recogniser.name] = self._others(recogniser)
        return self._opened[recogniser.name]

    def _faces(self, sight: Sight) -> Faces:
        if sight.faces is None:
            raise InvalidRequest(f"The model {self._model.id!r} has no face recogniser, so it takes no photos of people.")
        return sight.faces

    def _differs(self, sha256: str, recogniser: Recogniser) -> bool:
        if recogniser.name not in self._digests:
            self._digests[recogniser.name] = recogniser.digest()
        known = self._digests[recogniser.name]
        return bool(known) and known != sha256


def picture_of(prompt: ImagePrompt, entry: AdapterEntry) -> Pixels:
    """The picture (H, W, 3) of a prompt for an adapter that reads pictures; InvalidRequest for a person alone."""
    if prompt.reference is None or prompt.who is not None:
        raise InvalidRequest(
            f"The adapter {entry.name!r} looks at a picture, not at who somebody is. Give a picture alone, or choose a FaceID adapter for "
            "a person."
        )
    return images.to_rgb(prompt.reference)


def _photo_of(who: Photos | Character | Embedding, sight: Sight) -> Pixels | None:
    match who:
        case Photos():
            return images.to_rgb(who.pictures[0])
        case Character():
            return None if sight.photo is None else sight.photo(who.name)
        case Embedding():
            return None


def _name(entry: AdapterEntry | None) -> str:
    return "InstantID's adapter" if entry is None else f"the adapter {entry.name!r}"
