"""An image prompt as a recipe keeps it: the file, and in words and numbers what is lent of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from protocol.jobs import BlockWeight, Course, Crop, ImagePrompt, Lends, Mark, Schedule

from .kept_file import File

LATER = {"later": True}
"""Of fields that came after format 1: left out of a recipe where they say nothing, so that older pictures keep their bytes."""


@dataclass(frozen=True, slots=True)
class Lent:
    """An image prompt. `marks` are pairs of place and factor of its schedule, `blocks` pairs of a block's name and its factor."""

    file: File
    weight: float
    lends: str = field(default=Lends.ALL.value, metadata=LATER)
    crop: str = field(default=Crop.SQUASH.value, metadata=LATER)
    adapter: str | None = field(default=None, metadata=LATER)
    course: str = field(default=Course.CONSTANT.value, metadata=LATER)
    marks: tuple[tuple[float, float], ...] = field(default=(), metadata=LATER)
    blocks: tuple[tuple[str, float], ...] = field(default=(), metadata=LATER)
    other_blocks: float = field(default=1.0, metadata=LATER)
    negative: File | None = field(default=None, metadata=LATER)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """From a recipe's JSON; KeyError, TypeError or ValueError if it is none."""
        known = dict(values)
        known["file"], known["weight"] = File(**values["file"]), float(values["weight"])
        if known.get("negative") is not None:
            known["negative"] = File(**values["negative"])
        known["marks"] = tuple((float(at), float(factor)) for at, factor in values.get("marks", ()))
        known["blocks"] = tuple((str(name), float(factor)) for name, factor in values.get("blocks", ()))
        lent = cls(**known)
        lent._words()
        return lent

    def prompt(self, beside: Path) -> ImagePrompt:
        """The image prompt, for a PNG in the folder `beside`; BadPicture if a file has gone or changed."""
        from .images import open_picture, to_plane

        lends, crop, course = self._words()
        return ImagePrompt(
            to_plane(open_picture(self.file.found(beside))),
            weight=self.weight,
            lends=lends,
            adapter=self.adapter,
            crop=crop,
            schedule=Schedule(course, tuple(Mark(at, factor) for at, factor in self.marks)),
            blocks=tuple(BlockWeight(name, factor) for name, factor in self.blocks),
            other_blocks=self.other_blocks,
            negative=None if self.negative is None else to_plane(open_picture(self.negative.found(beside))),
        )

    def _words(self) -> tuple[Lends, Crop, Course]:
        return Lends(self.lends), Crop(self.crop), Course(self.course)
