"""From a job to a plan: numbers checked, defaults filled in, sizes and places decided. Pure: no torch, no models, no faces."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InvalidRequest, UnknownModel
from protocol.geometry import Extent
from protocol.jobs import CANVAS_GUIDES, STEADY, Canvas, Guide, GuideKind, PictureJob, Schedule, Window
from protocol.planes import Plane

from .. import images
from ..models.base import MOST_SKIPPED
from ..models.bundle import Model
from ..models.shelf import check as check_loras
from ..models.shelf import few_steps
from .choices import Mode
from .frames import Frame, frame_for_picture
from .paste import plan_crop, repainted
from .quick import shortened, smaller
from .schedulers import DEFAULT, find
from .sizes import INSTANTID_AVOIDS, buckets, nearest_size, snap
from .tags import untagged
from .wording import passages

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

HIGHEST_WEIGHT = 2.0
LONGEST_SIDE = 8192
"""Of a picture that is drawn as a whole; with a mask, only the part around it is."""
MOST_STEPS = 1000
MOST_BESIDE = 4
"""People side by side at the model's own height; more share this width."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A job, decided. `frame` is the part of the picture that is drawn and the size at which it is drawn."""

    job: PictureJob
    mode: Mode
    extent: Extent
    """The size of the result."""
    frame: Frame
    negative: str
    steps: int
    guidance_scale: float
    scheduler: str
    strength: float
    canvas: Pixels | None
    mask: Pixels | None
    """What is repainted, at the size of the result."""
    repainted: Pixels | None
    """The mask that the model gets, at the drawn size."""
    clip_skip: int = 1

    @property
    def guided(self) -> bool:
        """Whether there is an unconditional half (classifier-free guidance)."""
        return self.guidance_scale > 1

    @property
    def seeds(self) -> tuple[int, ...]:
        """One seed for each picture."""
        return tuple(self.job.sampling.seed + number for number in range(self.job.count))


def plan(job: PictureJob, model: Model) -> Plan:
    """What `model` is to do for `job`; raises InvalidRequest with a sentence for what cannot be meant."""
    _check(job, model)
    job = shortened(untagged(job), model)
    check_loras(model, job.loras)
    mode, canvas, mask = _canvas(job.canvas)
    extent = _extent(job, model)
    sizes = smaller(_sizes(job, model), model, job.sampling.shortcuts)
    frame = frame_for_picture(extent, sizes) if mask is None else plan_crop(mask, sizes, context=model.defaults.context)
    sampling, defaults = job.sampling, model.defaults
    few = few_steps(model, job.loras, sampling.steps)
    steps = sampling.steps or (few.steps if few else defaults.steps)
    guidance = few.guidance_scale if few else defaults.guidance_scale
    decided = Plan(
        job=job,
        mode=mode,
        extent=extent,
        frame=frame,
        negative=defaults.negative if job.negative is None else job.negative,
        steps=steps,
        guidance_scale=guidance if sampling.guidance_scale is None else sampling.guidance_scale,
        scheduler=_scheduler(sampling.scheduler or (few.scheduler if few else defaults.scheduler)),
        # diffusers runs int(steps * strength) steps and fails at none
        strength=max(job.canvas.strength, 1 / steps) if job.canvas else 1.0,
        canvas=canvas,
        mask=mask,
        repainted=None if mask is None else repainted(mask, frame, model.factor, job.canvas.grow if job.canvas else None),
        clip_skip=defaults.clip_skip if sampling.clip_skip is None else sampling.clip_skip,
    )
    _check_base(decided, model)
    if not decided.guided and any(prompt.negative is not None for prompt in job.image_prompts):
        raise InvalidRequest(
            f"A negative picture acts by guidance, and a guidance scale of {decided.guidance_scale:g} has none. Choose one above 1, or "
            "leave the negative picture out."
        )
    return decided


def _check_base(decided: Plan, model: Model) -> None:
    """What the base itself cannot do."""
    if model.base.inpaints and decided.mode is not Mode.INPAINT:
        raise InvalidRequest(
            f"The model {model.id!r} is made for inpainting, and only repaints what a mask shows. Give a picture with a mask, or choose "
            "another model."
        )
    if not 1 <= decided.clip_skip <= MOST_SKIPPED:
        raise InvalidRequest(f"A clip skip of {decided.clip_skip} is out of range. Choose 1 to {MOST_SKIPPED}; 1 and 2 are usual.")


def keypoint_guides(job: PictureJob) -> tuple[Guide, ...]:
    """The guides that place faces: the first belongs to the first subject, and so on."""
    return tuple(guide for guide in job.guides if guide.kind is GuideKind.KEYPOINTS)


def guide_points(guide: Guide) -> Floats | None:
    """The five points of a keypoint guide, (5, 2), or None when it is a drawing."""
    if not guide.keypoints:
        return None
    return np.array([(point.x, point.y) for point in guide.keypoints], np.float32)


def extent_for(model: Model, people: int) -> Extent:
    """The size of a picture of so many people of which no size is said: the model's own, for several people one that is wide enough."""
    if people < 2:
        return model.extent
    if model.side_by_side:
        return _beside(model, people)[-1]
    sizes = [model.extent, *model.extents, *(buckets(model.extent.width, model.grid) if model.bucketed else ())]
    return nearest_size(Extent(people + 1, 2), [size for size in sizes if size not in (*model.avoid, INSTANTID_AVOIDS)] or sizes)


def sized_like(plane: Plane, extent: Extent, what: str) -> Plane:
    """`plane`, if it has the size of the picture; InvalidRequest otherwise."""
    if plane.extent != extent:
        raise InvalidRequest(
            f"{what} is {plane.extent.width} x {plane.extent.height} pixels and the picture {extent.width} x {extent.height}. "
            "Both must be of one size."
        )
    return plane


def _scheduler(name: str) -> str:
    """The short name of a scheduler, however it was written; InvalidRequest for one that is not known."""
    return DEFAULT if name == DEFAULT else find(name).id


def _check(job: PictureJob, model: Model) -> None:
    if job.model not in {None, model.id}:
        raise UnknownModel(f"The model {job.model!r} is not loaded here; this is {model.id!r}.")
    if not 1 <= job.count <= 1000:
        raise InvalidRequest(f"{job.count} pictures cannot be drawn. Ask for 1 to 1000.")
    sampling = job.sampling
    if sampling.steps is not None and not 1 <= sampling.steps <= MOST_STEPS:
        usual = model.defaults.steps
        raise InvalidRequest(f"{sampling.steps} steps cannot be done. Ask for 1 to {MOST_STEPS}; {usual} is this model's default.")
    if sampling.guidance_scale is not None and not 0 <= sampling.guidance_scale <= 100:
        raise InvalidRequest(f"A guidance scale of {sampling.guidance_scale} is out of range. Choose 0 to 100; 5 is usual.")
    for text in (job.prompt, job.negative or ""):
        passages(text)  # says what is wrong with the notation
    _check_passes(job)
    if not 0 <= sampling.seed < 2**63 - job.count:
        raise InvalidRequest(f"The seed {sampling.seed} is out of range. Choose a number from 0 to 9223372036854774807.")
    for what, weight, window, schedule in _scales(job):
        if not 0 <= weight <= HIGHEST_WEIGHT:
            raise InvalidRequest(f"The weight of {what} is {weight}. Choose 0 to {HIGHEST_WEIGHT:g}.")
        if not 0 <= window.start < window.end <= 1:
            raise InvalidRequest(f"The window of {what} is {window.start} to {window.end}. Choose 0 <= start < end <= 1.")
        if any(there.at <= here.at for here, there in pairwise(schedule.marks)):
            raise InvalidRequest(f"The schedule of {what} goes back: its points must be in rising order, each at a place of its own.")
    for guide in job.guides:
        _check_guide(guide, job)
        if guide.kind is not GuideKind.KEYPOINTS and guide.weight > 0:
            model.control(guide.kind)  # says what it has instead


def _check_passes(job: PictureJob) -> None:
    if job.sampling.guidance_rescale is not None and not 0 <= job.sampling.guidance_rescale <= 1:
        raise InvalidRequest(f"A guidance rescale of {job.sampling.guidance_rescale} is out of range. Choose 0 (off) to 1; 0.7 is usual.")
    for what, again in (("second pass", job.second_pass), ("pass over faces", job.face_pass)):
        if again is not None and not 0 < again.strength <= 1:
            raise InvalidRequest(
                f"The {what} has a strength of {again.strength}. Choose more than 0 (changes little) up to 1 (changes all)."
            )
        if again is not None and again.steps is not None and not 1 <= again.steps <= MOST_STEPS:
            raise InvalidRequest(f"The {what} has {again.steps} steps. Ask for 1 to {MOST_STEPS}.")
    if job.second_pass is not None and not 1 <= job.second_pass.scale <= 4:
        raise InvalidRequest(
            f"The second pass has a scale of {job.second_pass.scale}. Choose 1 (the same size) to 4 (four times the sides)."
        )
    if job.second_pass is not None and any(guide.picture is not None for guide in keypoint_guides(job)):
        raise InvalidRequest(
            "A second pass draws the face at another size, and a drawing of keypoints has one only. Give the five points instead, or leave "
            "the second pass out."
        )


def _check_guide(guide: Guide, job: PictureJob) -> None:
    if guide.kind is GuideKind.KEYPOINTS:
        if not job.subjects:
            raise InvalidRequest("Keypoints place a person's face, and the job has no person. Give a face, or use a skeleton.")
        if guide.picture is None and len(guide.keypoints) != 5:
            raise InvalidRequest(f"A face has five keypoints (eyes, nose, corners of the mouth), and {len(guide.keypoints)} were given.")
        if not all(math.isfinite(point.x) and math.isfinite(point.y) for point in guide.keypoints):
            raise InvalidRequest("A keypoint is not a number. Give x and y in pixels of the picture.")
    elif guide.picture is None and guide.kind is GuideKind.INPAINT:
        if job.canvas is None or job.canvas.mask is None:
            raise InvalidRequest("A guide for inpainting needs a picture that is black where it is to be filled, or a canvas with a mask.")
    elif guide.picture is None and (guide.kind not in CANVAS_GUIDES or job.canvas is None):
        other = ", or a canvas to be made of" if guide.kind in CANVAS_GUIDES else ""
        raise InvalidRequest(f"A guide of kind {guide.kind.value} needs a picture{other}.")


def _scales(job: PictureJob) -> Iterator[tuple[str, float, Window, Schedule]]:
    """Everything that acts with a weight and in a window, by the words that a user knows it by."""
    for number, subject in enumerate(job.subjects, 1):
        yield f"person {number} (image adapter)", subject.adapter, subject.adapter_window, subject.adapter_schedule
        yield f"person {number} (IdentityNet)", subject.identity_net, subject.identity_net_window, subject.identity_net_schedule
    for number, prompt in enumerate(job.image_prompts, 1):
        yield f"image prompt {number}", prompt.weight, prompt.window, prompt.schedule
    for number, guide in enumerate(job.guides, 1):
        yield f"guide {number}", guide.weight, guide.window, STEADY


def _canvas(canvas: Canvas | None) -> tuple[Mode, Pixels | None, Pixels | None]:
    if canvas is None:
        return Mode.TEXT, None, None
    if not 0 < canvas.strength <= 1:
        raise InvalidRequest(f"A strength of {canvas.strength} is out of range. Choose more than 0 (changes little) up to 1 (changes all).")
    picture = images.to_rgb(canvas.picture)
    if canvas.mask is None:
        return Mode.IMAGE, picture, None
    mask = images.to_mask(sized_like(canvas.mask, canvas.picture.extent, "The mask"))
    return Mode.INPAINT, picture, mask


def _sizes(job: PictureJob, model: Model) -> tuple[Extent, ...]:
    """The sizes to draw at; with a person, without those that InstantID spoils, with several, wider ones where the model has them."""
    own, grid = model.extent, model.grid
    # Beside the buckets stands a slightly smaller square, for when the square itself is avoided.
    sizes = (*model.extents, *buckets(own.width, grid), Extent(own.width - grid, own.height - grid)) if model.bucketed else model.extents
    sizes = (*sizes, *_beside(model, len(job.subjects)))
    avoided = {*model.avoid, INSTANTID_AVOIDS} if job.subjects else set[Extent]()
    return tuple(dict.fromkeys(size for size in sizes if size not in avoided)) or model.extents


def _beside(model: Model, people: int) -> tuple[Extent, ...]:
    """The sizes for people side by side, in steps of half the model's own width; none for a model that does not draw them."""
    if not model.side_by_side:
        return ()
    own, most = model.extent, min(people, MOST_BESIDE)
    return tuple(snap(Extent(own.width * halves // 2, own.height), model.grid) for halves in range(3, 2 * most + 1))


def _extent(job: PictureJob, model: Model) -> Extent:
    # Regions, points and guides are in pixels of a picture whose size their sender knew without being told: the model's own.
    measured = job.guides or any(part.region is not None for part in (*job.subjects, *job.image_prompts))
    extent = job.extent or (job.canvas.picture.extent if job.canvas else extent_for(model, 0 if measured else len(job.subjects)))
    if job.canvas and extent != job.canvas.picture.extent:
        raise InvalidRequest("The picture asked for and the canvas differ in size. Leave the size out, or resize the canvas first.")
    if not (extent.width >= 1 and extent.height >= 1):
        raise InvalidRequest(f"A picture of {extent.width} x {extent.height} pixels has none. Ask for at least 1 x 1.")
    scale = job.second_pass.scale if job.second_pass else 1.0
    if (job.canvas is None or job.canvas.mask is None) and max(extent.width, extent.height) * scale > LONGEST_SIDE:
        size = f"{round(extent.width * scale)} x {round(extent.height * scale)}"
        raise InvalidRequest(f"{size} pixels are too many for one picture. Use {LONGEST_SIDE} a side at most, or a mask.")
    return extent
