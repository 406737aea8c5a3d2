"""How a picture was made, as it is kept inside the PNG: enough to make the same bytes once more.

People are kept as what the model reads of them, the face embedding and five keypoints, so the photos are not needed again. Other pictures
(an image prompt, a canvas, a mask) are not kept, because a PNG that one shares must not show what was painted over: they are
named by their place, seen from the PNG's folder, and their sha256, and refused when they have changed.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from protocol.errors import BadPicture
from protocol.geometry import Extent, Point
from protocol.jobs import Canvas, Guide, GuideKind, ImagePrompt, PictureJob, Sampling, Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .faces import Identity
    from .workbench import Bench

FORMAT = 1
ADAPTER, IDENTITY_NET = 0.8, 0.8
"""InstantID's published strengths."""
EMBEDDING = 512


@dataclass(frozen=True, slots=True)
class File:
    """A picture file: its place as seen from the PNG's folder, and what was in it."""

    path: str
    sha256: str

    @classmethod
    def of(cls, path: Path, beside: Path) -> Self:
        """The file at `path`, for a PNG in the folder `beside`; BadPicture if it cannot be read."""
        try:
            place = os.path.relpath(path.resolve(), beside.resolve())
        except ValueError:  # another drive, on Windows
            place = str(path.resolve())
        return cls(Path(place).as_posix(), _sha256(path))

    def found(self, beside: Path) -> Path:
        """Where it is now; BadPicture if it has gone or changed."""
        path = beside / self.path
        if _sha256(path) != self.sha256:
            raise BadPicture(
                f"{path} has changed since the picture was made from it, so the same picture cannot be made. Put the old file back."
            )
        return path


@dataclass(frozen=True, slots=True)
class Somebody:
    """A person as the model knows them. `embedding`: base64 of 512 little-endian float32; `keypoints` in pixels of a photo of `extent`."""

    embedding: str
    keypoints: tuple[tuple[float, float], ...]
    extent: tuple[int, int]
    adapter: float
    identity_net: float

    @classmethod
    def of(cls, identity: Identity, adapter: float, identity_net: float) -> Self:
        """An identity and the strengths it is given."""
        points = tuple((float(x), float(y)) for x, y in identity.keypoints)
        extent = (identity.extent.width, identity.extent.height)
        return cls(base64.b64encode(identity.embedding.astype("<f4").tobytes()).decode("ascii"), points, extent, adapter, identity_net)

    def identity(self) -> Identity:
        """The identity again, exactly."""
        import numpy as np

        from .faces import Identity

        embedding = np.frombuffer(base64.b64decode(self.embedding, validate=True), dtype="<f4").astype(np.float32)
        keypoints = np.array(self.keypoints, dtype=np.float32)
        if embedding.shape != (EMBEDDING,) or keypoints.shape != (5, 2) or not np.isfinite(embedding).all():
            raise ValueError("a person is 512 numbers and five points")
        return Identity(embedding, embedding[None], keypoints, Extent(*self.extent))


@dataclass(frozen=True, slots=True)
class Lent:
    """An image prompt."""

    file: File
    weight: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """One picture. All numbers are those that were used, also where the command left them to the model."""

    model: str
    prompt: str
    negative: str
    seed: int
    steps: int
    guidance_scale: float
    scheduler: str
    width: int
    height: int
    people: tuple[Somebody, ...] = ()
    keypoints: tuple[tuple[float, float], ...] = ()
    image_prompts: tuple[Lent, ...] = ()
    canvas: File | None = None
    mask: File | None = None
    strength: float = 1.0

    def metadata(self) -> dict[str, Any]:
        """For the PNG."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def read(cls, metadata: Mapping[str, Any], name: str) -> Self:
        """From a PNG called `name`; BadPicture if it is not what `metadata` writes."""
        try:
            values = dict(metadata)
            if values.pop("format") != FORMAT:
                raise ValueError("another format")
            values["people"] = tuple(Somebody(**_with_pairs(one)) for one in values["people"])
            values["keypoints"] = _pairs(values["keypoints"])
            values["image_prompts"] = tuple(Lent(File(**one["file"]), float(one["weight"])) for one in values["image_prompts"])
            values |= {key: File(**values[key]) for key in ("canvas", "mask") if values[key] is not None}
            for somebody in values["people"]:
                somebody.identity()
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise BadPicture(
                f"{name} was made by another version of Likeness, or its settings were changed; it cannot be made again."
            ) from error

    def job(self, bench: Bench, beside: Path) -> PictureJob:
        """The job, for a PNG in the folder `beside`. Its people are made known to the bench."""
        return PictureJob(
            prompt=self.prompt,
            negative=self.negative,
            extent=Extent(self.width, self.height),
            canvas=self._canvas(beside),
            subjects=tuple(
                Subject(bench.person(one.identity()), adapter=one.adapter, identity_net=one.identity_net) for one in self.people
            ),
            image_prompts=tuple(_lent(one, beside) for one in self.image_prompts),
            guides=(Guide(GuideKind.KEYPOINTS, keypoints=tuple(Point(x, y) for x, y in self.keypoints)),) if self.keypoints else (),
            sampling=Sampling(self.steps, self.guidance_scale, self.scheduler, self.seed),
            preview_every=0,
        )

    def _canvas(self, beside: Path) -> Canvas | None:
        from .images import open_mask, open_picture, to_plane

        if self.canvas is None:
            return None
        mask = to_plane(open_mask(self.mask.found(beside))) if self.mask else None
        return Canvas(to_plane(open_picture(self.canvas.found(beside))), mask, self.strength)


def base_recipe(bench: Bench, prompt: str, negative: str | None, seed: int, extent: Extent, **parts: object) -> Recipe:
    """A recipe with the model's own defaults written out; `parts` are further fields of `Recipe`."""
    defaults = bench.model.defaults
    return Recipe(
        model=bench.model.id,
        prompt=prompt,
        negative=defaults.negative if negative is None else negative,
        seed=seed,
        steps=defaults.steps,
        guidance_scale=defaults.guidance_scale,
        scheduler=defaults.scheduler,
        width=extent.width,
        height=extent.height,
        **parts,  # pyright: ignore[reportArgumentType]  # the callers' keywords are Recipe's own
    )


def somebody(bench: Bench, photos: Sequence[Path]) -> Somebody:
    """The person on the photos, at the published strengths."""
    from .images import open_picture

    pictures = [open_picture(path) for path in photos]
    return Somebody.of(bench.identify(pictures), ADAPTER, IDENTITY_NET)


def _lent(lent: Lent, beside: Path) -> ImagePrompt:
    from .images import open_picture, to_plane

    return ImagePrompt(to_plane(open_picture(lent.file.found(beside))), weight=lent.weight)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadPicture(f"{path} cannot be read: {error.strerror or error}. Choose another file.") from error


def _pairs(values: Iterable[Iterable[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in values)


def _with_pairs(values: Mapping[str, Any]) -> dict[str, Any]:
    width, height = values["extent"]
    return {**values, "keypoints": _pairs(values["keypoints"]), "extent": (int(width), int(height))}
