"""What live reads off the canvas, and the job that is made of it: small, in pieces that each take a moment. Without Qt and Krita.

A canvas is read piece by piece over several ticks, each piece is made small in the worker thread, and the job is asked for as if the canvas
were that small. So nothing waits, however large the picture is; and a brush that moves meanwhile is seen where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from . import asking, pixels
from .asking import Area, Scale, Seen
from .form import Form, Mode, Quality
from .host import CanvasProblem, DocumentCard, Glimpse, Host
from .protocol.desk.live import small
from .protocol.geometry import Bounds, Extent, Point
from .protocol.jobs import PictureJob
from .protocol.planes import Plane

CONTEXT = 0.5
"""Shown around what is selected, in lengths of its longer side: as much as the backend looks at. More of it is less of the selection."""
LEAST_CONTEXT = 32
"""… at least so many pixels of the canvas."""

Source = tuple[str, str]
"""What is read: the canvas, a layer as large as what is sent of the canvas, or a whole layer as an image prompt; and the layer's key."""
CANVAS: Source = ("canvas", "")


@dataclass(frozen=True)
class Piece:
    """Some rows of a source: where they are on the canvas, and the size that they have in the small picture."""

    source: Source
    place: Bounds
    size: Extent


@dataclass(frozen=True)
class Reading:
    """What is to be read for one job. `area` is in canvas pixels, `size` what is sent of it."""

    form: Form
    document: str
    title: str
    area: Area
    size: Extent
    pieces: tuple[Piece, ...]
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Follows:
    """What a live picture belongs to. `target`: its place in canvas pixels; `box`: what of the picture goes there."""

    document: str
    form: Form
    target: Bounds
    box: Bounds
    opacity: Plane | None
    """A8, of the size of `box`; None: opaque everywhere."""


def looks_at_canvas(form: Form, card: DocumentCard) -> bool:
    """Whether what is painted counts at all: a new picture, or a fill of everything, begins from nothing."""
    return form.mode in (Mode.REFINE, Mode.EXPAND) or (form.mode is Mode.FILL and card.selection is not None)


def essence(form: Form) -> Form:
    """The form without what a live picture has nothing to do with: two that are equal ask for the same."""
    return replace(form, folded=(), count=1, live=False, live_preview=True, seed_locked=False, quality=Quality.NORMAL, guidance_scale=None)


def seen_of(form: Form, card: DocumentCard, stamp: Hashable) -> Hashable:
    """Differs when the next live picture would be another one. `stamp` is the host's."""
    layers = form.image_prompts or form.guides or any(row.region for row in form.persons)
    follows = stamp if looks_at_canvas(form, card) or layers else None
    return (essence(form), card.key, card.width, card.height, card.selection, follows)


def reading_of(form: Form, card: DocumentCard, host: Host, names: Mapping[str, str]) -> Reading:
    """What is to be read for this form. Raises `CanvasProblem` when a layer is gone, or there is too much."""
    area, most = _area(form, card), host.at_once()
    size = small(area.bounds.extent)
    pieces: list[Piece] = []
    if form.mode is not Mode.NEW or any(row.region == "selection" for row in form.persons):
        pieces += _pieces(CANVAS, area.bounds, size, most)
    regions = [row.region for row in form.persons if row.region not in (None, "selection")]
    for key in dict.fromkeys((*regions, *(row.layer for row in form.guides))):
        if key:
            pieces += _pieces(("layer", key), area.bounds, size, most)
    for key in dict.fromkeys(row.layer for row in form.image_prompts):
        box = host.layer_box(key)
        pieces += _pieces(("reference", key), box, small(box.extent), most)
    return Reading(form, card.key, card.name, area, size, tuple(pieces), names)


def made_small(piece: Piece, glimpse: Glimpse, scaled: Scale) -> tuple[Plane, Plane | None]:
    """One piece at its size; in the worker thread."""
    return scaled(glimpse.picture, piece.size, None), None if glimpse.mask is None else scaled(glimpse.mask, piece.size, None)


def asked(
    reading: Reading, parts: Mapping[Source, Sequence[tuple[Plane, Plane | None]]], scaled: Scale, pose: tuple[Point, ...]
) -> tuple[PictureJob, Follows, Hashable]:
    """The job, what its picture belongs to, and a digest of all that went in; in the worker thread. `pose` is in canvas pixels.

    Raises `CanvasProblem` with a sentence for what cannot be meant.
    """
    bounds, size = reading.area.bounds, reading.size
    x, y = size.width / bounds.width, size.height / bounds.height
    target = _shrunk(asking.inside(reading.area.target, bounds), x, y, size)
    planes = {source: _joined([picture for picture, _ in made]) for source, made in parts.items()}
    masks = [mask for _, mask in parts.get(CANVAS, ()) if mask is not None]
    canvas = planes.get(CANVAS) if reading.form.mode is not Mode.NEW else None
    seen = Seen(
        reading.document,
        Area(target, Bounds(0, 0, size.width, size.height), reading.area.whole),
        canvas,
        _joined(masks) if masks and len(masks) == len(parts[CANVAS]) else None,
        {key: plane for (kind, key), plane in planes.items() if kind == "layer"},
        {key: plane for (kind, key), plane in planes.items() if kind == "reference"},
        reading.names,
    )
    form = _small_form(reading.form, x, y)
    points = tuple(Point((point.x - bounds.x) * x, (point.y - bounds.y) * y) for point in pose)
    made = asking.ask(form, seen, scaled, points)
    follows = Follows(reading.document, reading.form, _grown(made.target, x, y, bounds, reading.area), made.target, made.mask)
    # A new picture shows the target alone.
    follows = follows if canvas else replace(follows, box=Bounds(0, 0, target.width, target.height))
    return made.jobs[0], follows, (essence(reading.form), pose, _digest((*planes.values(), *masks)))


def _area(form: Form, card: DocumentCard) -> Area:
    canvas = Bounds(0, 0, card.width, card.height)
    target = card.selection or canvas
    if form.mode is Mode.NEW or card.selection is None:
        bounds = target
    else:
        bounds = asking.around(target, max(int(CONTEXT * max(target.width, target.height)), LEAST_CONTEXT), canvas)
    asking.check_size(bounds)
    return Area(target, bounds, card.selection is None)


def _pieces(source: Source, bounds: Bounds, size: Extent, most: int) -> Iterator[Piece]:
    """Whole rows of the small picture, so many that at most `most` pixels of the canvas are in them, and at least one."""
    rows = max(1, most * size.height // max(1, bounds.width * bounds.height))
    for first in range(0, size.height, rows):
        last = min(size.height, first + rows)
        top, bottom = first * bounds.height // size.height, last * bounds.height // size.height
        yield Piece(source, Bounds(bounds.x, bounds.y + top, bounds.width, bottom - top), Extent(size.width, last - first))


def _joined(planes: Sequence[Plane]) -> Plane:
    """Pieces of one width, below each other."""
    first = planes[0]
    if len(planes) == 1:
        return first
    height = sum(plane.extent.height for plane in planes)
    return Plane(first.layout, Extent(first.extent.width, height), b"".join(bytes(plane.data) for plane in planes))


def _shrunk(box: Bounds, x: float, y: float, size: Extent) -> Bounds:
    left, top = min(size.width - 1, round(box.x * x)), min(size.height - 1, round(box.y * y))
    right, bottom = min(size.width, round(box.right * x)), min(size.height, round(box.bottom * y))
    return Bounds(left, top, max(1, right - left), max(1, bottom - top))


def _grown(box: Bounds, x: float, y: float, bounds: Bounds, area: Area) -> Bounds:
    """A box of the small picture in canvas pixels, within what is painted."""
    target = area.target
    left, top = max(target.x, bounds.x + round(box.x / x)), max(target.y, bounds.y + round(box.y / y))
    right, bottom = min(target.right, bounds.x + round(box.right / x)), min(target.bottom, bounds.y + round(box.bottom / y))
    if right <= left or bottom <= top:
        raise CanvasProblem("What is to be painted is too thin for a live picture. Select more.")
    return Bounds(left, top, right - left, bottom - top)


def _small_form(form: Form, x: float, y: float) -> Form:
    """The form with its lengths in pixels of the small picture. Feather and grow are lengths in both directions: the mean counts."""
    scale = (x + y) / 2
    feather = None if form.feather is None else round(form.feather * scale)
    grow = None if form.grow is None else round(form.grow * scale)
    return replace(form, feather=feather, grow=grow, count=1, guidance_scale=None)


def _digest(planes: Sequence[Plane]) -> bytes:
    read = hashlib.blake2b(digest_size=16)
    for plane in planes:
        read.update(plane.data)
    return read.digest()


def layer_of(picture: Plane, follows: Follows, scaled: Scale) -> Plane:
    """A live picture as the pixels of a layer, of the size of its place; in the worker thread."""
    plane = scaled(pixels.crop(picture, follows.box), follows.target.extent, 255)
    return plane if follows.opacity is None else pixels.with_opacity(plane, scaled(follows.opacity, follows.target.extent, None))
