"""Jobs about saved people: made from photos, blended, brought in from a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from protocol.errors import LikenessError, ModelError
from protocol.jobs import BlendCharacters, ImportCharacter, MakeCharacter
from protocol.planes import Plane
from protocol.results import MadeCharacter

from .. import images
from ..characters import CharacterStore, Record
from ..faces import Identity
from ..readings import identity_of_reading, reading_of
from .casting import alike_of, made_from_photos, thumbnail
from .people import Eye, People


class Register:
    """Saves people in `store`. `installed()` names the recognisers of all installed models, sha256 -> name."""

    def __init__(self, store: CharacterStore, people: People, installed: Callable[[], Mapping[str, str]]) -> None:
        self._store, self._people, self._installed = store, people, installed

    def make(self, job: MakeCharacter, eye: Eye) -> MadeCharacter:
        """A person from photos."""
        made_by = _mark(repr((job.name, job.face)), job.photos)
        self._store.check_name(job.name, made_by, job.replace)
        record, identity = made_from_photos(eye.faces, job, made_by)
        return MadeCharacter(self._store.save(record, (reading_of(identity, eye.name, eye.sha256),), job.replace))

    def blend(self, job: BlendCharacters, eyes: Sequence[Eye]) -> MadeCharacter:
        """A person between others, for the recognisers of the model, and for those that have read all of the others."""
        made_by = _mark(repr((job.name, job.shares)), job.photos)
        self._store.check_name(job.name, made_by, job.replace)
        found = {eyes[0].sha256: (eyes[0].name, self._people.between(job.shares, eyes[0], job.photos))}
        for eye in eyes[1:]:
            if (identity := self._tried(job, eye)) is not None:
                found[eye.sha256] = (eye.name, identity)
        if not job.photos:
            for sha256, identity in self._people.shared_readings(job.shares).items():
                found.setdefault(sha256, (self._people.name_of(sha256, job.shares), identity))
        record = Record(job.name, made_by, self._picture(job, eyes[0]), found[eyes[0].sha256][1].extent)
        readings = [reading_of(identity, name, sha256) for sha256, (name, identity) in found.items()]
        return MadeCharacter(self._store.save(record, readings, job.replace))

    def bring(self, job: ImportCharacter, eye: Callable[[], Eye]) -> MadeCharacter:
        """A person of a character file; its photos are read by `eye` when no recogniser that is installed has read them.

        Raises `ModelError` for a file without photos that only other recognisers have read.
        """
        digests = "".join(reading.sha256 for reading in job.readings)
        made_by = _mark(repr((job.name, digests)), [*(reading.numbers for reading in job.readings), *job.photos])
        self._store.check_name(job.name, made_by, job.replace)
        readings = list(job.readings)
        identities = [identity_of_reading(reading) for reading in readings]  # raises for numbers that are none
        installed = self._installed()
        if not any(reading.sha256 in installed for reading in readings):
            if not job.photos:
                raise ModelError(_missing(job, installed))
            identity, reader = self._read(job, identities, eye())
            readings.insert(0, reading_of(identity, reader.name, reader.sha256))
            identities.insert(0, identity)
        shown = next((one for one, reading in zip(identities, readings, strict=True) if reading.sha256 in installed), identities[0])
        scores = job.scores if len(job.scores) == len(shown.embeddings) else ()
        record = Record(
            name=job.name,
            made_by=made_by,
            thumbnail=job.thumbnail,
            extent=shown.extent,
            photos=job.photos,
            scores=scores,
            alike=alike_of(shown) if scores else (),
            about=job.about,
        )
        return MadeCharacter(self._store.save(record, readings, job.replace))

    def _read(self, job: ImportCharacter, known: Sequence[Identity], eye: Eye) -> tuple[Identity, Eye]:
        photos = [images.to_rgb(photo) for photo in job.photos]
        places = list(known[0].places[0]) if known and len(known[0].embeddings) == len(photos) else []
        return eye.faces.identify(photos, None, places), eye

    def _tried(self, job: BlendCharacters, eye: Eye) -> Identity | None:
        """A further recogniser's blend, or None where it cannot read all of the people."""
        try:
            return self._people.between(job.shares, eye, job.photos)
        except LikenessError:
            return None

    def _picture(self, job: BlendCharacters, eye: Eye) -> Plane:
        """The strongest one's thumbnail."""
        strongest = max(job.shares, key=lambda share: share.weight)
        if job.photos and strongest.weight < 1.0:
            photo = images.to_rgb(job.photos[0])
            return thumbnail(photo, eye.faces.analyse(photo)[0].box)
        return self._store.kept(strongest.character)[0].thumbnail


def _missing(job: ImportCharacter, installed: Mapping[str, str]) -> str:
    by = " and ".join(reading.recogniser for reading in job.readings)
    here = ", ".join(sorted(set(installed.values()))) or "none"
    return (
        f"{job.name} was read by {by} and comes without photos, and no installed model has that recogniser (installed: {here}). Install a "
        "model with it (`likeness models list`), or have the file exported once more with its photos."
    )


def _mark(said: str, planes: Sequence[Plane]) -> str:
    """The same job, run again, has the same mark and may save under the same name again."""
    return hashlib.blake2b(said.encode() + b"".join(map(_digest, planes)), digest_size=16).hexdigest()


def _digest(plane: Plane) -> bytes:
    return hashlib.blake2b(plane.data, digest_size=16).digest()
