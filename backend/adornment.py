"""A LoRA as a recipe keeps it: its name in the model's folder, its weight, and the sha256 of its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from protocol.errors import BadPicture
from protocol.jobs import Lora

if TYPE_CHECKING:
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
        return cls(name, weight, _sha256(model, name))

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """From a recipe's JSON; KeyError, TypeError or ValueError if it is none."""
        return cls(str(values["name"]), float(values["weight"]), str(values["sha256"]))

    def lora(self) -> Lora:
        """As a job asks for it."""
        return Lora(self.name, self.weight)

    def found(self, model: Model) -> Lora:
        """As a job asks for it, if the file is still the same; BadPicture otherwise."""
        if _sha256(model, self.name) != self.sha256:
            raise BadPicture(
                f"The LoRA {self.name!r} of {model.id} has changed since the picture was made with it, so the same picture cannot be made. "
                "Put the old file back."
            )
        return self.lora()


def _sha256(model: Model, name: str) -> str:
    from .models.shelf import lora_file
    from .models.store_fetch import sha256_of

    path = lora_file(model, name)
    try:
        return sha256_of(path)
    except OSError as error:
        raise BadPicture(f"{path} cannot be read: {error.strerror or error}. Look at its rights.") from error
