"""From the form and what was read off the canvas to jobs for the backend. Pure but for `scaled`, and done in the worker thread.

The backend crops again at the model's resolution, feathers inwards and changes no byte outside the mask, so all this decides is how much
of the canvas to send, what is repainted, and where the result goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from . import pixels
from .form import Form, GuideRow, Mode, Pose, PromptRow
from .host import CanvasProblem, DocumentCard
from .protocol.desk.loras import asked
from .protocol.geometry import Bounds, Extent, Point
from .protocol.jobs import Canvas, Character, Guide, GuideKind, ImagePrompt, Lends, PictureJob, Sampling, Subject
from .protocol.limits import MESSAGE_BYTES, PIXELS, SIDE
from .protocol.planes import Plane

Scale = Callable[[Plane, Extent, "int | None"], Plane]

CONTEXT = 1.0
"""Shown around what is selected, in lengths of its longer side: twice what the backend uses, so that its crop never meets our border."""
LEAST_CONTEXT = 768
"""… at least so many pixels, so that a small head is seen at the model's resolution in its surroundings."""
COMFORTABLE = 4096 * 4096
"""Pixels that are sent without need; a selection may ask for more."""
NEW_PIXELS = 3328 * 3328
"""A picture from nothing is asked for with so many pixels at most, and enlarged by the host: 16 of them fit one message."""
NEW_SIDE = 8192
REFERENCE_SIDE = 1024
"""Image prompts are read by encoders of 224 to 336 pixels a side."""
OUTCOME_BYTES = MESSAGE_BYTES * 3 // 4
"""What the pictures of one job may weigh together; more pictures become more jobs."""


@dataclass(frozen=True)
class Area:
    """`target`: where the result goes. `bounds`: what of the canvas is sent, around it. Both in canvas pixels, within the canvas."""

    target: Bounds
    bounds: Bounds
    whole: bool
    """Nothing is selected."""


@dataclass(frozen=True)
class Seen:
    """What was read off the canvas when Generate was pressed. All planes have the size of `area.bounds`, but for the image prompts."""

    document: str
    area: Area
    picture: Plane | None
    """BGRA8; None for a new picture."""
    selection: Plane | None
    layers: Mapping[str, Plane] = field(default_factory=dict)
    """BGRA8 pixels of the layers that are regions or guides, by key."""
    references: Mapping[str, Plane] = field(default_factory=dict)
    """BGRA8 pixels of the layers that are image prompts, each in the box that it fills."""
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """The jobs, of which all results go to `target`; `mask` (A8, its size) is the opacity of their layers, None: everywhere 255.

    It is 255 wherever the backend may have changed a pixel, so what it feathered stays as it is, and 0 elsewhere. Only an expanded picture
    has an edge between: the backend would mix the white that it sees in transparent pixels into a feather.
    """

    jobs: tuple[PictureJob, ...]
    target: Bounds
    bounds: Bounds
    mask: Plane | None


def area_of(mode: Mode, card: DocumentCard) -> Area:
    """What to read for this mode. Raises `CanvasProblem` when it is too large."""
    canvas = Bounds(0, 0, card.width, card.height)
    target = card.selection or canvas
    bounds = target if mode is Mode.NEW or card.selection is None else _with_context(target, canvas)
    if mode is not Mode.NEW:
        check_size(bounds)
    return Area(target, bounds, card.selection is None)


def check_size(bounds: Bounds) -> None:
    """Raise `CanvasProblem` for more pixels than can be worked on."""
    if bounds.width * bounds.height > PIXELS or max(bounds.width, bounds.height) > SIDE:
        raise CanvasProblem(
            f"{bounds.width} x {bounds.height} pixels are too many to work on at once: the most are {PIXELS // 1024**2} megapixels, and "
            f"{SIDE} a side. Select a part of it."
        )


def ask(form: Form, seen: Seen, scaled: Scale, pose: tuple[Point, ...] = (), steps: int | None = None) -> Asked:
    """The jobs for what the form says. `pose`: five points in canvas pixels where the first person's face goes, or none.

    Raises `CanvasProblem` with a sentence for what cannot be meant: an empty selection, a region that lies elsewhere.
    """
    area = seen.area
    canvas, mask = _canvas(form, seen)
    extent = None if canvas else _new_extent(area.target.extent)
    size = extent or area.bounds.extent
    job = PictureJob(
        prompt=form.prompt,
        negative=form.negative or None,
        extent=extent,
        model=form.model,
        canvas=canvas,
        subjects=tuple(_subjects(form, seen, size, scaled)),
        image_prompts=tuple(_image_prompt(row, seen, scaled) for row in form.image_prompts),
        guides=(*_pose_guide(form, area.bounds, size, pose), *(_guide(row, seen, size, scaled) for row in form.guides)),
        sampling=Sampling(steps, form.guidance_scale, None, form.seed),
        count=form.count,
        preview_every=2 if form.live_preview else 4,
        loras=asked(form.loras),
    )
    jobs, target = tuple(_split(job, size)), area.target
    if mask is None:
        return Asked(jobs, target, area.bounds, None)
    if form.mode is not Mode.EXPAND:
        return Asked(jobs, target, area.bounds, pixels.shown_where(pixels.crop(mask, inside(target, area.bounds))))
    box = pixels.mask_box(mask) or inside(target, area.bounds)
    target = Bounds(area.bounds.x + box.x, area.bounds.y + box.y, box.width, box.height)
    return Asked(jobs, target, area.bounds, pixels.crop(mask, box))


def inside(box: Bounds, outer: Bounds) -> Bounds:
    """`box` as seen from the corner of `outer`."""
    return Bounds(box.x - outer.x, box.y - outer.y, box.width, box.height)


def fitted(points: tuple[Point, ...], box: Bounds) -> tuple[Point, ...]:
    """Five points of a face, moved and scaled alike so that the head around them fills `box`; the backend's proportions of a head."""
    eyes = Point((points[0].x + points[1].x) / 2, (points[0].y + points[1].y) / 2)
    mouth = Point((points[3].x + points[4].x) / 2, (points[3].y + points[4].y) / 2)
    unit = max(_distance(eyes, mouth), _distance(points[0], points[1]), 1e-3)
    scale = min(box.width / (2.6 * unit), box.height / (3.2 * unit))
    x, y = (eyes.x + mouth.x) / 2, (eyes.y + mouth.y) / 2 - 0.3 * unit
    middle = Point(box.x + box.width / 2, box.y + box.height / 2)
    return tuple(Point(middle.x + (point.x - x) * scale, middle.y + (point.y - y) * scale) for point in points)


def head_place(area: Area) -> Bounds:
    """Where a head goes that is to be as in its photo: what is selected, else the upper middle of the canvas, half of its shorter side."""
    if not area.whole:
        return area.target
    side = min(area.target.width, area.target.height) // 2
    return Bounds(area.target.x + (area.target.width - side) // 2, int(area.target.height * 0.45) - side // 2, side, side)


def _with_context(target: Bounds, canvas: Bounds) -> Bounds:
    margin = max(int(CONTEXT * max(target.width, target.height)), LEAST_CONTEXT)
    while margin > 128 and (target.width + 2 * margin) * (target.height + 2 * margin) > COMFORTABLE:
        margin = margin * 3 // 4
    return around(target, margin, canvas)


def around(box: Bounds, margin: int, canvas: Bounds) -> Bounds:
    """A box and so many pixels around it, within the canvas."""
    left, top = max(canvas.x, box.x - margin), max(canvas.y, box.y - margin)
    return Bounds(left, top, min(canvas.right, box.right + margin) - left, min(canvas.bottom, box.bottom + margin) - top)


def _new_extent(extent: Extent) -> Extent:
    scale = min(1.0, (NEW_PIXELS / extent.area) ** 0.5, NEW_SIDE / max(extent.width, extent.height))
    return extent if scale == 1 else Extent(max(1, int(extent.width * scale)), max(1, int(extent.height * scale)))


def _canvas(form: Form, seen: Seen) -> tuple[Canvas | None, Plane | None]:
    """The canvas to start from, and the mask (of the size of the capture) of what is repainted; None: all of it."""
    if form.mode is Mode.NEW or seen.picture is None:
        return None, None
    selection, extent = seen.selection, seen.area.bounds.extent
    if selection is not None and pixels.is_empty(selection):
        raise CanvasProblem("Nothing is selected there any more, so there is nothing to paint. Select an area first.")
    if form.mode is Mode.EXPAND:
        mask = _transparent(seen.picture, selection, seen.area, form)
        return Canvas(seen.picture, pixels.shown_where(mask), 1.0, 0, 0), mask
    strength = form.change if form.mode is Mode.REFINE else 1.0
    if selection is None and form.mode is Mode.REFINE:
        return Canvas(seen.picture, None, strength), None
    sent = selection or pixels.filled(extent, 255)
    return Canvas(seen.picture, sent, strength, _within(form.feather, 0), _within(form.grow, -1024)), selection


def _transparent(picture: Plane, selection: Plane | None, area: Area, form: Form) -> Plane:
    """The opacity of an expanded picture: 255 on what is transparent, and fading out over the border of what is there."""
    mask = pixels.transparent_of(pixels.opacity(picture))
    chosen = None if selection is None else pixels.shown_where(selection)
    mask = mask if chosen is None else pixels.both(chosen, mask)
    if pixels.is_empty(mask):
        where = "the canvas" if area.whole else "what is selected"
        raise CanvasProblem(
            f"Nothing in {where} is transparent, so there is nothing to expand into. Enlarge the canvas (Image > Resize Canvas), hide the "
            "background there, or use Fill."
        )
    border = form.feather if form.feather is not None else max(4, min(32, min(area.target.width, area.target.height) // 32))
    mask = pixels.faded(mask, min(256, max(0, border + (form.grow or 0))))
    return mask if chosen is None else pixels.both(chosen, mask)


def _within(value: int | None, least: int) -> int | None:
    return None if value is None else min(1024, max(least, value))


def _subjects(form: Form, seen: Seen, size: Extent, scaled: Scale) -> list[Subject]:
    found: list[Subject] = []
    for number, row in enumerate(form.persons, 1):
        region = None
        if row.region == "selection":
            region = seen.selection
        elif row.region is not None:
            layer = seen.layers.get(row.region)
            if layer is None:
                raise CanvasProblem(f"The layer that is person {number}'s region is gone. Choose another for {row.name}, or none.")
            region = pixels.opacity(layer)
        if region is not None:
            if pixels.is_empty(region):
                name = seen.names.get(row.region or "", "the selection")
                raise CanvasProblem(
                    f"The region of {row.name} ({name}) is empty where the picture is painted. Paint it there, or choose none."
                )
            region = region if region.extent == size else scaled(region, size, None)
        found.append(Subject(Character(row.name), row.likeness, row.structure, region=region))
    return found


def _image_prompt(row: PromptRow, seen: Seen, scaled: Scale) -> ImagePrompt:
    plane = seen.references.get(row.layer)
    if plane is None:
        raise CanvasProblem("The layer of an image prompt is gone or empty. Choose another one, or remove the prompt.")
    longest = max(plane.extent.width, plane.extent.height)
    scale = min(1.0, REFERENCE_SIDE / longest)
    small = Extent(max(1, round(plane.extent.width * scale)), max(1, round(plane.extent.height * scale)))
    return ImagePrompt(scaled(plane, small, 255), min(2.0, max(0.0, row.weight)), Lends(row.lends))


def _guide(row: GuideRow, seen: Seen, size: Extent, scaled: Scale) -> Guide:
    plane = seen.layers.get(row.layer)
    if plane is None:
        raise CanvasProblem(f"The layer of the {row.kind} guide is gone. Choose another one, or remove the guide.")
    kind = GuideKind(row.kind)
    if kind is GuideKind.NORMALS:
        drawn = scaled(plane, size, 128)
    elif kind in (GuideKind.LINES, GuideKind.EDGES, GuideKind.SOFT_EDGES) and _is_dark_on_light(plane, scaled):
        drawn = pixels.negative(scaled(plane, size, 255))
    else:
        drawn = scaled(plane, size, 0)
    return Guide(kind, drawn, weight=min(2.0, max(0.0, row.weight)))


def _is_dark_on_light(plane: Plane, scaled: Scale) -> bool:
    """Whether lines are drawn dark on white or on nothing, as artists do; ControlNets want them light on black.

    Of an opaque picture most is ground, of a layer with transparent parts what is there are the lines.
    """
    small = Extent(64, 64)
    on_black, on_white = pixels.mean(scaled(plane, small, 0)), pixels.mean(scaled(plane, small, 255))
    return on_black > 127 if on_white - on_black < 1 else 255 - on_white > on_black


def _pose_guide(form: Form, bounds: Bounds, size: Extent, pose: tuple[Point, ...]) -> list[Guide]:
    if not form.persons or form.pose is Pose.CANVAS or len(pose) != 5:
        return []
    x, y = size.width / bounds.width, size.height / bounds.height
    return [Guide(GuideKind.KEYPOINTS, keypoints=tuple(Point((point.x - bounds.x) * x, (point.y - bounds.y) * y) for point in pose))]


def _split(job: PictureJob, size: Extent) -> list[PictureJob]:
    """The job as one, or as several when its pictures together would not fit a message."""
    most = max(1, OUTCOME_BYTES // (size.area * 3))
    parts: list[PictureJob] = []
    for first in range(0, job.count, most):
        sampling = replace(job.sampling, seed=job.sampling.seed + first)
        parts.append(replace(job, count=min(most, job.count - first), sampling=sampling))
    return parts


def _distance(first: Point, second: Point) -> float:
    return ((first.x - second.x) ** 2 + (first.y - second.y) ** 2) ** 0.5
