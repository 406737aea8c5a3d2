"""LoRAs and textual inversions as a recipe keeps them: by their names in the model's folder, and the sha256 of their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from protocol.errors import BadPicture
from protocol.jobs import Lora

from .files import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from .models.bundle import Model


@dataclass(frozen=True, slots=True)
class Adornment:
    """One LoRA of a picture."""

    name: str
    weight: float
    sha256: str

    @classmethod
    def of(cls, model: Model, name: str, weight: float) -> Self:
        """The LoRA called `name` of `model`, as its file is now; UnknownModel if there is none."""
        return cls(name, weight, _sha256_of_lora(model, name))

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """From a recipe's JSON; KeyError, TypeError or ValueError if it is none."""
        return cls(str(values["name"]), float(values["weight"]), str(values["sha256"]))

    def lora(self) -> Lora:
        """As a job asks for it."""
        return Lora(self.name, self.weight)

    def found(self, model: Model) -> Lora:
        """As a job asks for it, if the file is still the same; BadPicture otherwise."""
        if _sha256_of_lora(model, self.name) != self.sha256:
            raise _changed("LoRA", self.name, model)
        return self.lora()


@dataclass(frozen=True, slots=True)
class Word:
    """A textual inversion that the prompt or the negative prompt of a picture names."""

    name: str
    sha256: str

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """From a recipe's JSON; KeyError or TypeError if it is none."""
        return cls(str(values["name"]), str(values["sha256"]))

    def check(self, model: Model) -> None:
        """BadPicture if its file has gone or changed."""
        from .models.shelf import embeddings

        path = embeddings(model).get(self.name)
        if path is None:
            raise BadPicture(
                f"The picture was made with the textual inversion {self.name!r}, which {model.id} no longer has, so the same picture "
                f"cannot be made. Put its file back into {model.folder / 'embeddings'}."
            )
        if _sha256(path) != self.sha256:
            raise _changed("textual inversion", self.name, model)


def words_of(model: Model, *texts: str) -> tuple[Word, ...]:
    """The textual inversions of `model` that `texts` name, as their files are now."""
    from .models.shelf import embeddings
    from .pipelines.wording import named

    known = embeddings(model)
    return tuple(Word(name, _sha256(known[name])) for name in named(texts, known))


def _changed(what: str, name: str, model: Model) -> BadPicture:
    return BadPicture(
        f"The {what} {name!r} of {model.id} has changed since the picture was made with it, so the same picture cannot be made. "
        "Put the old file back."
    )


def _sha256_of_lora(model: Model, name: str) -> str:
    from .models.shelf import lora_file

    return _sha256(lora_file(model, name))


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise BadPicture(f"{path} cannot be read: {error.strerror or error}. Look at its rights.") from error
