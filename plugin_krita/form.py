"""What the artist has set in the docker: one value, kept over sessions, with every bound in one place. Without Qt and without Krita."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from typing import Any

from .protocol.desk.loras import LoraRow as LoraRow
from .protocol.desk.loras import bounded, rows_from
from .protocol.geometry import Point


class Mode(Enum):
    """What Generate does."""

    FILL = "fill"
    """Paint what is selected anew (inpaint)."""
    REFINE = "refine"
    """Change what is selected, or the whole canvas, by the change strength (image-to-image)."""
    EXPAND = "expand"
    """Paint the transparent part of the selection or canvas, and a little over its border (outpaint)."""
    NEW = "new"
    """Paint a new picture into the selection's box, or the size of the canvas, from nothing."""


class Pose(Enum):
    """Where the first person's face goes."""

    CANVAS = "canvas"
    """Where the canvas has a face under the selection, else framed as in the photo: the backend decides."""
    PHOTO = "photo"
    """As in the person's photo, fitted into what is selected."""
    HAND = "hand"
    """On the five points of `Form.points`."""


class Quality(Enum):
    """How many steps, as a share of the model's own number."""

    DRAFT = "draft"
    NORMAL = "normal"
    FINE = "fine"

    @property
    def share(self) -> float:
        """Steps, as a share of the model's default."""
        return {"draft": 0.5, "normal": 1.0, "fine": 1.7}[self.value]


@dataclass(frozen=True)
class PersonRow:
    """One character in the picture. `region`: a layer's key (its opaque part), "selection" as it is when Generate is pressed, or None."""

    name: str
    likeness: float = 0.8
    """Scale of the image adapter, 0 … 1.5."""
    structure: float = 0.8
    """IdentityNet's conditioning scale, 0 … 1.5."""
    region: str | None = None


@dataclass(frozen=True)
class PromptRow:
    """A layer as an image prompt. `lends` is one of the protocol's `Lends` values."""

    layer: str
    lends: str = "style"
    weight: float = 0.6


@dataclass(frozen=True)
class GuideRow:
    """A layer as a guide. `kind` is one of the protocol's `GuideKind` values but keypoints."""

    layer: str
    kind: str = "depth"
    weight: float = 0.5


@dataclass(frozen=True)
class Form:
    """Everything that can be set. Layer keys belong to one document and are left out of what is kept over sessions."""

    mode: Mode = Mode.FILL
    prompt: str = ""
    negative: str = ""
    persons: tuple[PersonRow, ...] = ()
    change: float = 0.6
    """How much REFINE changes, 0.05 … 1."""
    seed: int = 0
    seed_locked: bool = False
    """Unlocked, every Generate takes a new random seed."""
    count: int = 2
    """1 … 16."""
    model: str | None = None
    quality: Quality = Quality.NORMAL
    guidance_scale: float | None = None
    feather: int | None = None
    """Canvas pixels; None: automatic."""
    grow: int | None = None
    pose: Pose = Pose.CANVAS
    points: tuple[Point, ...] = ()
    """Five, in canvas pixels, for Pose.HAND: the viewer's left and right eye, nose, left and right corner of the mouth."""
    image_prompts: tuple[PromptRow, ...] = ()
    guides: tuple[GuideRow, ...] = ()
    loras: tuple[LoraRow, ...] = ()
    live_preview: bool = True
    folded: tuple[str, ...] = field(default=("advanced", "guides", "loras"))
    """Parts of the docker that are folded away."""
    live: bool = False
    """Small quick pictures follow what is painted."""

    def changed(self, **values: object) -> Form:
        """With some values set, each brought within its bounds."""
        form: Form = replace(self, **values)  # type: ignore[arg-type]
        return replace(
            form,
            change=min(1.0, max(0.05, form.change)),
            count=min(16, max(1, form.count)),
            seed=min(2**31 - 1, max(0, form.seed)),
            prompt=form.prompt[:4000],
            negative=form.negative[:4000],
            persons=tuple(replace(row, likeness=_scale(row.likeness), structure=_scale(row.structure)) for row in form.persons[:8]),
            image_prompts=form.image_prompts[:8],
            guides=form.guides[:7],
            loras=bounded(form.loras),
        )

    def kept(self) -> dict[str, Any]:
        """What is kept over sessions, as JSON has it."""
        persons = tuple(replace(row, region=None) for row in self.persons)
        values = asdict(replace(self, image_prompts=(), guides=(), points=(), persons=persons))
        return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}


def form_from(kept: object) -> Form:
    """A form from what `kept` gave; whatever does not fit (an older version, a damaged file) has its default."""
    form = Form()
    if not isinstance(kept, dict):
        return form
    for item in fields(Form):
        if item.name in kept:
            try:
                form = form.changed(**{item.name: _read(item.name, kept[item.name])})
            except (TypeError, ValueError, KeyError, AttributeError):
                continue
    return form


def _read(name: str, value: Any) -> object:  # what JSON holds
    default = getattr(Form(), name)
    match name:
        case "persons":
            return tuple(PersonRow(str(row["name"]), float(row["likeness"]), float(row["structure"])) for row in value)
        case "loras":
            return rows_from(value)
        case "image_prompts" | "guides" | "points":
            return ()
        case "folded":
            return tuple(str(part) for part in value)
        case "model":
            return None if value is None else str(value)
        case "guidance_scale":
            return None if value is None else min(30.0, max(0.0, float(value)))
        case "feather" | "grow":
            return None if value is None else int(value)
    return type(default)(value)


def _scale(value: float) -> float:
    return min(1.5, max(0.0, value))
