"""How a picture was made, as it is kept inside the PNG: enough to make the same bytes once more.

People are kept as what the model reads of them, the face embedding and five keypoints, so the photos are not needed again. Other pictures
(an image prompt, a canvas, a mask) are not kept, because a PNG that one shares must not show what was painted over: they are
named by their place, seen from the PNG's folder, and their sha256, and refused when they have changed.
"""

from __future__ import annotations

import base64
from dataclasses import MISSING, Field, astuple, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from protocol.errors import BadPicture
from protocol.geometry import Extent, Point
from protocol.jobs import Canvas, FacePass, Guide, GuideKind, ImagePrompt, Lends, PictureJob, Sampling, SecondPass, Shortcut, Subject

from .adornment import Adornment, Word, words_of
from .kept_file import File as File
from .lending import LATER
from .lending import Lent as Lent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from protocol.planes import Plane

    from .faces import Identity
    from .workbench import Bench

FORMAT = 1
ADAPTER, IDENTITY_NET = 0.8, 0.8
"""InstantID's published strengths."""
EMBEDDING = 512
REGION_EDGE = 0.06
"""Width of a box's soft edge, in shorter sides of the picture: a hard one shows as a seam between two people."""

Points = tuple[tuple[float, float], ...]
Region = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Somebody:
    """A person as the model knows them. `embedding`: base64 of 512 little-endian float32; `keypoints` in pixels of a photo of `extent`;
    `region`: left, top, right and bottom of their part of the picture, in 0..1, None where the backend is to choose it.
    """

    embedding: str
    keypoints: tuple[tuple[float, float], ...]
    extent: tuple[int, int]
    adapter: float
    identity_net: float
    region: Region | None = field(default=None, metadata=LATER)
    recogniser: str = field(default="", metadata=LATER)
    """sha256 of the recogniser that read them."""

    @classmethod
    def of(cls, identity: Identity, adapter: float, identity_net: float, region: Region | None = None) -> Self:
        """An identity, the strengths it is given and its part of the picture."""
        points = tuple((float(x), float(y)) for x, y in identity.keypoints)
        extent = (identity.extent.width, identity.extent.height)
        numbers = base64.b64encode(identity.embedding.astype("<f4").tobytes()).decode("ascii")
        return cls(numbers, points, extent, adapter, identity_net, region, identity.recogniser)

    def identity(self) -> Identity:
        """The identity again, exactly."""
        import numpy as np

        from .faces import Identity

        embedding = np.frombuffer(base64.b64decode(self.embedding, validate=True), dtype="<f4").astype(np.float32)
        keypoints = np.array(self.keypoints, dtype=np.float32)
        if embedding.shape != (EMBEDDING,) or keypoints.shape != (5, 2) or not np.isfinite(embedding).all():
            raise ValueError("a person is 512 numbers and five points")
        return Identity(embedding, embedding[None], keypoints, Extent(*self.extent), self.recogniser)

    def subject(self, bench: Bench, extent: Extent) -> Subject:
        """The person in a picture of `extent`, made known to the bench."""
        region = None if self.region is None else region_plane(self.region, extent)
        return Subject(bench.person(self.identity()), adapter=self.adapter, identity_net=self.identity_net, region=region)


@dataclass(frozen=True, slots=True)
class FacePrompt:
    """A person as an image prompt of a FaceID adapter: `who` as the adapter's own recogniser reads them; `adapter` None is the first."""

    who: Somebody
    weight: float
    adapter: str | None = None

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Self:
        """From a recipe's JSON; KeyError, TypeError or ValueError if it is none."""
        adapter = values.get("adapter")
        found = cls(Somebody(**_with_pairs(values["who"])), float(values["weight"]), None if adapter is None else str(adapter))
        found.who.identity()
        return found

    def prompt(self, bench: Bench) -> ImagePrompt:
        """The image prompt, its person made known to the bench."""
        return ImagePrompt(who=bench.person(self.who.identity()), weight=self.weight, lends=Lends.FACE, adapter=self.adapter)


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
    places: tuple[Points, ...] = field(default=(), metadata=LATER)
    """The faces of several people, five keypoints each, in the order of the people."""
    shortcuts: tuple[str, ...] = field(default=(), metadata=LATER)
    """Names of `protocol.jobs.Shortcut`; the numbers above are what they made of them."""
    clip_skip: int = field(default=1, metadata=LATER)
    loras: tuple[Adornment, ...] = field(default=(), metadata=LATER)
    guidance_rescale: float | None = field(default=None, metadata=LATER)
    tiled: bool | None = field(default=None, metadata=LATER)
    second_pass: SecondPass | None = field(default=None, metadata=LATER)
    face_pass: FacePass | None = field(default=None, metadata=LATER)
    face_prompts: tuple[FacePrompt, ...] = field(default=(), metadata=LATER)
    words: tuple[Word, ...] = field(default=(), metadata=LATER)
    """The textual inversions that the prompts name."""

    def metadata(self) -> dict[str, Any]:
        """For the PNG."""
        return {"format": FORMAT, **cast("dict[str, Any]", _plain(self))}

    @classmethod
    def read(cls, metadata: Mapping[str, Any], name: str) -> Self:
        """From a PNG called `name`; BadPicture if it is not what `metadata` writes."""
        try:
            values = dict(metadata)
            if values.pop("format") != FORMAT:
                raise ValueError("another format")
            values["people"] = tuple(Somebody(**_with_pairs(one)) for one in values["people"])
            values["keypoints"] = _pairs(values["keypoints"])
            values["shortcuts"] = tuple(Shortcut(name).value for name in values.get("shortcuts", ()))
            values["places"] = tuple(_pairs(points) for points in values.get("places", ()))
            values["image_prompts"] = tuple(Lent.read(one) for one in values["image_prompts"])
            values["face_prompts"] = tuple(FacePrompt.read(one) for one in values.get("face_prompts", ()))
            values["loras"] = tuple(Adornment.read(one) for one in values.get("loras", ()))
            values["words"] = tuple(Word.read(one) for one in values.get("words", ()))
            values |= {key: File(**values[key]) for key in ("canvas", "mask") if values[key] is not None}
            passes = {"second_pass": SecondPass, "face_pass": FacePass}
            values |= {key: kind(**values[key]) for key, kind in passes.items() if values.get(key) is not None}
            for somebody in values["people"]:
                somebody.identity()
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise BadPicture(
                f"{name} was made by another version of Likeness, or its settings were changed; it cannot be made again."
            ) from error

    def job(self, bench: Bench, beside: Path) -> PictureJob:
        """The job, for a PNG in the folder `beside`. Its people are made known to the bench.

        Raises BadPicture where a file that the picture was made with has gone or changed.
        """
        for word in self.words:
            word.check(bench.model)
        return PictureJob(
            prompt=self.prompt,
            negative=self.negative,
            extent=Extent(self.width, self.height),
            canvas=self._canvas(beside),
            subjects=tuple(one.subject(bench, Extent(self.width, self.height)) for one in self.people),
            image_prompts=(*(one.prompt(beside) for one in self.image_prompts), *(one.prompt(bench) for one in self.face_prompts)),
            guides=tuple(_keypoints(points) for points in (self.places or (self.keypoints,)) if points),
            sampling=self._sampling(),
            preview_every=0,
            loras=tuple(one.found(bench.model) for one in self.loras),
            second_pass=self.second_pass,
            face_pass=self.face_pass,
        )

    def _sampling(self) -> Sampling:
        return Sampling(
            self.steps,
            self.guidance_scale,
            self.scheduler,
            self.seed,
            self.guidance_rescale,
            self.tiled,
            shortcuts=tuple(map(Shortcut, self.shortcuts)),
            clip_skip=self.clip_skip,
        )

    def _canvas(self, beside: Path) -> Canvas | None:
        from .images import open_mask, open_picture, to_plane

        if self.canvas is None:
            return None
        mask = to_plane(open_mask(self.mask.found(beside))) if self.mask else None
        return Canvas(to_plane(open_picture(self.canvas.found(beside))), mask, self.strength)


def base_recipe(
    bench: Bench,
    prompt: str,
    negative: str | None,
    seed: int,
    extent: Extent,
    loras: tuple[Adornment, ...] = (),
    clip_skip: int | None = None,
    **parts: object,
) -> Recipe:
    """A recipe with the model's own defaults written out, or those of a few-step LoRA; `parts` are further fields of `Recipe`."""
    from .models.shelf import few_steps
    from .pipelines.tags import tagged

    prompt, tags = tagged(prompt)
    loras = (*loras, *(Adornment.of(bench.model, tag.name, tag.weight) for tag in tags))
    defaults = bench.model.defaults
    negative = defaults.negative if negative is None else negative
    usual = few_steps(bench.model, [one.lora() for one in loras]) or defaults
    return Recipe(
        model=bench.model.id,
        prompt=prompt,
        negative=negative,
        seed=seed,
        steps=usual.steps,
        guidance_scale=usual.guidance_scale,
        scheduler=usual.scheduler,
        width=extent.width,
        height=extent.height,
        loras=loras,
        clip_skip=clip_skip or defaults.clip_skip,
        words=words_of(bench.model, prompt, negative),
        **parts,  # pyright: ignore[reportArgumentType]  # the callers' keywords are Recipe's own
    )


def quickened(recipe: Recipe, bench: Bench, shortcuts: Sequence[Shortcut]) -> Recipe:
    """The recipe with shortcuts, and the steps, guidance and scheduler that they stand for."""
    from .models.shelf import few_steps
    from .pipelines.quick import numbers

    if not shortcuts:
        return recipe
    few = few_steps(bench.model, [one.lora() for one in recipe.loras])
    steps, guidance_scale, scheduler = astuple(few) if few else numbers(bench.model, shortcuts)
    names = tuple(shortcut.value for shortcut in shortcuts)
    return replace(recipe, steps=steps, guidance_scale=guidance_scale, scheduler=scheduler, shortcuts=names)


def somebody(bench: Bench, photos: Sequence[Path], region: Region | None = None) -> Somebody:
    """The person on the photos, at the published strengths."""
    from .images import open_picture

    pictures = [open_picture(path) for path in photos]
    return Somebody.of(bench.identify(pictures), ADAPTER, IDENTITY_NET, region)


def saved(bench: Bench, name: str, region: Region | None = None) -> Somebody:
    """A person who is saved in the backend, at the published strengths."""
    return Somebody.of(bench.saved(name), ADAPTER, IDENTITY_NET, region)


def region_plane(region: Region, extent: Extent) -> Plane:
    """A box (left, top, right, bottom, in 0..1) of a picture of `extent` as a mask; its edges are soft, but for those of the picture."""
    import numpy as np

    from .images import to_plane

    soft = max(1.0, REGION_EDGE * min(extent.width, extent.height))
    left, top, right, bottom = region
    across = _ramp(left, right, extent.width, soft)
    down = _ramp(top, bottom, extent.height, soft)
    return to_plane(np.rint(255 * down[:, None] * across[None]).astype(np.uint8))


def _ramp(begin: float, end: float, length: int, soft: float) -> NDArray[np.float64]:
    """0..1 for each pixel of a line: 1 between `begin` and `end`, half of it at the edge, over `soft` pixels; no edge at the line's own."""
    import numpy as np

    middles = np.arange(length) + 0.5
    rise = np.ones(length) if begin <= 0 else (middles - begin * length) / soft + 0.5
    fall = np.ones(length) if end >= 1 else (end * length - middles) / soft + 0.5
    return np.clip(np.minimum(rise, fall), 0, 1)


def _keypoints(points: Points) -> Guide:
    return Guide(GuideKind.KEYPOINTS, keypoints=tuple(Point(x, y) for x, y in points))


def _pairs(values: Iterable[Iterable[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in values)


def _with_pairs(values: Mapping[str, Any]) -> dict[str, Any]:
    width, height = values["extent"]
    known = {**values, "keypoints": _pairs(values["keypoints"]), "extent": (int(width), int(height))}
    if known.get("region") is not None:
        left, top, right, bottom = values["region"]
        known["region"] = (float(left), float(top), float(right), float(bottom))
    return known


def _plain(value: object) -> object:
    """A dataclass as JSON holds it, without the fields that came later (`LATER`) where they say nothing."""
    if is_dataclass(value) and not isinstance(value, type):
        shown = [one for one in fields(value) if not (one.metadata.get("later") and _unsaid(one, getattr(value, one.name)))]
        return {one.name: _plain(getattr(value, one.name)) for one in shown}
    return tuple(_plain(one) for one in cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


def _unsaid(one: Field[Any], value: object) -> bool:
    return one.default is not MISSING and value == one.default
