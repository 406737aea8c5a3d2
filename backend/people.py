"""The saved people, for scripts and commands: made, blended, compared, carried in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from protocol.errors import InvalidRequest, Lost
from protocol.jobs import About, AnalyseFaces, BlendCharacters, Character, Embed, Embedding, MakeCharacter, Share
from protocol.messages import CharacterPhotos, Characters, Done, Models
from protocol.results import CharacterCard, Embedded, Faces, FoundFace

from .pictures import AnyPicture, picture_plane
from .session import Session

if TYPE_CHECKING:
    from .character_files import CharacterFile
    from .comparing import Comparison

Who: TypeAlias = str | Character | Mapping[str, float] | Sequence[AnyPicture]
"""A saved person, what lies between several, or photos."""


class PeopleSession(Session):
    """A connection to the backend that knows its people."""

    def character(
        self, name: str, photos: Sequence[AnyPicture] | None = None, *, face: int | None = None, overwrite: bool = False
    ) -> Character:
        """A saved person; with photos, made from them first. The same photos again are the same person, so a script can be run twice.

        A photo may be a region of a larger picture, `Part(canvas, (left, top, right, bottom))`; only the region is sent and kept. `face`
        chooses one where photos show several, 0 is the largest. Raises `InvalidRequest` where nobody has this name and no photos are given,
        `NameTaken` where other photos have it and `overwrite` is not said, `FaceError` with the photo's number, `BadPicture`.
        """
        if photos is not None:
            self.outcome(MakeCharacter(name, tuple(picture_plane(photo) for photo in photos), face, overwrite))
        elif not any(card.name == name for card in self.characters()):
            raise InvalidRequest(f"There is no character called {name!r} yet. Give its photos.")
        return Character(name)

    def blend(
        self,
        name: str,
        shares: Mapping[str, float],
        *,
        photos: Sequence[AnyPicture] = (),
        overwrite: bool = False,
        model: str | None = None,
    ) -> Character:
        """A person between others: `{"anna": 0.5, "ben": 0.5}`; each of `photos` is one more of weight 1. Only the proportions count.

        Raises `InvalidRequest` where no weight is above 0, `UnknownModel` for a name that is not saved, `NameTaken`, `FaceError`.
        """
        planes = tuple(picture_plane(photo) for photo in photos)
        self.outcome(BlendCharacters(name, _shares(shares), overwrite, model, planes))
        return Character(name)

    def average(
        self, name: str, people: Sequence[str], *, photos: Sequence[AnyPicture] = (), overwrite: bool = False, model: str | None = None
    ) -> Character:
        """The mean of several people and photos, each counting the same."""
        return self.blend(name, dict.fromkeys(people, 1.0), photos=photos, overwrite=overwrite, model=model)

    def characters(self) -> list[CharacterCard]:
        """The saved people."""
        found: list[CharacterCard] = []
        more = True
        while more:
            number = self._client.ask_characters(found[-1].name if found else None)
            page = self._answer(number, Characters)
            found += page.characters
            more = page.more
        return found

    def rename(self, name: str, to: str) -> None:
        """Give a person another name. Raises `UnknownModel` where there is no such person, `NameTaken`."""
        self._answer(self._client.rename_character(name, to), Done)

    def delete(self, name: str) -> None:
        """Forget a person, with the photos. Raises `UnknownModel` where there is no such person."""
        self._answer(self._client.delete_character(name), Done)

    def export_character(
        self, name: str, path: str | Path, *, photos: bool = False, consent: str | None = None, licence: str | None = None
    ) -> CharacterFile:
        """Write a person into one file, to carry to another machine: what the recognisers read, and the photos if they are to travel.

        `consent` and `licence` are notes for whoever is given it; without them those that are kept with the person go along. Raises
        `UnknownModel` where there is no such person, `InvalidRequest` where the file cannot be written.
        """
        from .character_files import write_character

        kept = self._kept(name, photos)
        if not kept.readings and kept.photos:  # saved by an older version: have it read now
            self.outcome(Embed(shares=(Share(name),)))
            kept = self._kept(name, photos)
        about = About(kept.about.consent if consent is None else consent, kept.about.licence if licence is None else licence)
        return write_character(Path(path), kept, photos, about)

    def import_character(
        self, path: str | Path, name: str | None = None, *, overwrite: bool = False, model: str | None = None
    ) -> Character:
        """Save the person of an exported file, under the file's name or another. What the file says of consent and licence is kept.

        `model` reads the file's photos when none of the installed recognisers has read them. Raises `BadPicture` for a file that is none
        or is damaged, `NameTaken`, `ModelError` where nothing in it can be used here.
        """
        from .character_files import read_character

        found, pictures = read_character(Path(path))
        self.outcome(found.job(pictures, name or "", overwrite, model))
        return Character(name or found.name)

    def _kept(self, name: str, photos: bool) -> CharacterPhotos:
        return self._answer(self._client.export_character(name, photos), CharacterPhotos)

    def embedding(self, who: Who, *, model: str | None = None, adapter: str | None = None) -> Embedding:
        """What a model reads of a saved person, of what lies between several (`{"anna": 0.5, "ben": 0.5}`), or of photos.

        Nothing is saved. `adapter` names the image adapter whose recogniser reads; None is InstantID's. A job takes it as a person.
        """
        match who:
            case str() | Character():
                shares = {who if isinstance(who, str) else who.name: 1.0}
                job = Embed(model=model, shares=_shares(shares), adapter=adapter)
            case Mapping():
                job = Embed(model=model, shares=_shares(who), adapter=adapter)
            case _:
                job = Embed(tuple(picture_plane(photo) for photo in who), model=model, adapter=adapter)
        outcome = self.outcome(job)
        if not isinstance(outcome, Embedded):
            raise Lost
        return outcome.who

    def compare(self, one: Who, other: Who, *, model: str | None = None) -> Comparison:
        """How alike two people are to a model's recogniser, as a cosine, and what that means by the model's own figures."""
        from .comparing import compared

        read = self.embedding(one, model=model), self.embedding(other, model=model)
        models = self._answer(self._client.ask_models(), Models).models
        return compared(*read, next((found for found in models if model is None or model.partition(":")[0] == found.id), None))

    def faces(self, picture: AnyPicture, character: str | None = None) -> tuple[FoundFace, ...]:
        """The faces of a picture, largest first, in its pixels, and how alike each is to `character` (cosine, -1 to 1)."""
        outcome = self.outcome(AnalyseFaces(picture_plane(picture), character))
        return outcome.faces if isinstance(outcome, Faces) else ()


def _shares(shares: Mapping[str, float]) -> tuple[Share, ...]:
    """Only the proportions count, and the wire's weights end at 2."""
    scale = max(1.0, max(shares.values(), default=1.0) / 2)
    return tuple(Share(who, float(weight) / scale) for who, weight in shares.items())
