"""What no single field can say: parts of a job that must fit each other. Raises `InvalidRequest` with the sentence for the user."""

from __future__ import annotations

from itertools import pairwise

from .errors import InvalidRequest, TooLarge
from .geometry import Extent
from .jobs import (
    CANVAS_GUIDES,
    BlendCharacters,
    Canvas,
    Embed,
    Guide,
    GuideKind,
    ImagePrompt,
    ImportCharacter,
    Job,
    Lends,
    PictureJob,
    Schedule,
    Share,
    Window,
)
from .limits import EMBEDDING_BYTES, MESSAGE_BYTES, PIXELS
from .planes import Layout, Plane


def check_job(job: Job) -> None:
    """Raise `InvalidRequest` unless the parts of `job` fit each other. Bounds of single fields are the codec's part."""
    match job:
        case PictureJob():
            _check_picture_job(job)
        case BlendCharacters():
            _check_shares(job.shares)
        case Embed():
            if bool(job.photos) == bool(job.shares):
                raise InvalidRequest("To read who somebody is takes photos or saved characters: one of the two.")
            if job.shares:
                _check_shares(job.shares)
        case ImportCharacter():
            _check_import(job)
        case _:
            pass


def _check_picture_job(job: PictureJob) -> None:
    if job.canvas is not None:
        _check_canvas(job.canvas, job.extent)
    extent = job.extent or (job.canvas.picture.extent if job.canvas else None)
    _check_results(extent, job.count)
    for number, subject in enumerate(job.subjects, 1):
        _check_window(f"subject {number}'s adapter", subject.adapter_window)
        _check_window(f"subject {number}'s IdentityNet", subject.identity_net_window)
        _check_schedule(f"subject {number}'s adapter", subject.adapter_schedule)
        _check_schedule(f"subject {number}'s IdentityNet", subject.identity_net_schedule)
        _check_mask(f"the region of subject {number}", subject.region, extent)
    for number, prompt in enumerate(job.image_prompts, 1):
        _check_image_prompt(number, prompt, extent)
    for number, guide in enumerate(job.guides, 1):
        _check_guide(number, guide, job.canvas)


def _check_image_prompt(number: int, prompt: ImagePrompt, extent: Extent | None) -> None:
    _check_window(f"image prompt {number}", prompt.window)
    _check_schedule(f"image prompt {number}", prompt.schedule)
    _check_mask(f"the region of image prompt {number}", prompt.region, extent)
    if prompt.reference is None and prompt.who is None:
        raise InvalidRequest(f"Image prompt {number} has neither a picture nor a person. Give one of them.")
    if prompt.reference is not None and prompt.reference.layout is Layout.A8:
        raise InvalidRequest(f"Image prompt {number} is a mask. Choose a picture with colours.")
    if prompt.negative is not None and prompt.negative.layout is Layout.A8:
        raise InvalidRequest(f"The negative picture of image prompt {number} is a mask. Choose a picture with colours.")
    names = [one.block for one in prompt.blocks]
    if len(set(names)) < len(names):
        raise InvalidRequest(f"Image prompt {number} names a block twice. Give each block one weight.")
    if prompt.lends in (Lends.STYLE, Lends.COMPOSITION, Lends.STYLE_AND_COMPOSITION) and (prompt.blocks or prompt.other_blocks != 1):
        raise InvalidRequest(
            f"Image prompt {number} lends its {prompt.lends.value.replace('-', ' ')}, which chooses the blocks, and names blocks as "
            "well. Leave one of the two out."
        )


def _check_schedule(what: str, schedule: Schedule) -> None:
    places = [mark.at for mark in schedule.marks]
    if any(there <= here for here, there in pairwise(places)):
        raise InvalidRequest(f"The schedule of {what} goes back: its points must be in rising order, each at a place of its own.")


def _check_shares(shares: tuple[Share, ...]) -> None:
    if not any(share.weight > 0 for share in shares):
        raise InvalidRequest("A blend needs at least one character with a weight above 0.")


def _check_import(job: ImportCharacter) -> None:
    if not job.readings and not job.photos:
        raise InvalidRequest("The file holds neither photos of the person nor what a recogniser read of them. Export it again.")
    if job.thumbnail.layout is Layout.A8:
        raise InvalidRequest("The thumbnail is a mask. Send it with its colours.")
    if len({reading.sha256 for reading in job.readings}) < len(job.readings):
        raise InvalidRequest("The file holds two readings of one recogniser. Export it again.")
    for reading in job.readings:
        rows = len(reading.extents)
        wanted = Extent(EMBEDDING_BYTES, 1 + rows)
        if reading.numbers.layout is not Layout.A8 or reading.numbers.extent != wanted or len(reading.keypoints) != 5 * rows:
            raise InvalidRequest(
                f"What {reading.recogniser} read of the person does not fit together: a row of 512 numbers for the person and one for each "
                "photo, and five points and a size for each. Export the file again."
            )


def _check_results(extent: Extent | None, count: int) -> None:
    """What cannot be sent back need not be drawn: results are RGB8, all of a job in one message."""
    if extent is None:
        return
    size = f"{extent.width} x {extent.height}"
    if extent.area > PIXELS:
        raise TooLarge(f"A picture of {size} has {extent.area} pixels; {PIXELS} are allowed. {TooLarge.cure}")
    one = extent.area * Layout.RGB8.channels
    if count * one > MESSAGE_BYTES:
        most = MESSAGE_BYTES // one
        raise TooLarge(f"{count} pictures of {size} pixels are too large to be sent back together. Ask for {most} at a time.")


def _check_canvas(canvas: Canvas, extent: Extent | None) -> None:
    if canvas.picture.layout is Layout.A8:
        raise InvalidRequest("The canvas is a mask. Send it with its colours.")
    _check_mask("the canvas's mask", canvas.mask, canvas.picture.extent)
    if canvas.mask is not None and extent is not None and extent != canvas.picture.extent:
        raise InvalidRequest("A picture that is painted into a mask has the canvas's size. Leave the size out, or leave the mask out.")


def _check_mask(what: str, mask: Plane | None, extent: Extent | None) -> None:
    if mask is None:
        return
    if mask.layout is not Layout.A8:
        raise InvalidRequest(f"{what[0].upper()}{what[1:]} has the layout {mask.layout.value}; masks are A8, one byte a pixel.")
    if extent is not None and mask.extent != extent:
        have, want = mask.extent, extent
        raise InvalidRequest(
            f"{what[0].upper()}{what[1:]} has {have.width} x {have.height} pixels, the picture {want.width} x {want.height}. "
            "Make them the same size."
        )


def _check_window(what: str, window: Window) -> None:
    if not window.start < window.end:
        raise InvalidRequest(f"The window of {what} ends ({window.end:g}) before it starts ({window.start:g}). Exchange them.")


def _check_guide(number: int, guide: Guide, canvas: Canvas | None) -> None:
    _check_window(f"guide {number}", guide.window)
    if guide.keypoints and guide.kind is not GuideKind.KEYPOINTS:
        raise InvalidRequest(f"Guide {number} shows {guide.kind.value} and has face keypoints too. Make the points a guide of their own.")
    if guide.keypoints and len(guide.keypoints) != 5:
        raise InvalidRequest(f"Guide {number} has {len(guide.keypoints)} keypoints; a face has five: eyes, nose, corners of the mouth.")
    if guide.picture is None and guide.kind in CANVAS_GUIDES:
        if canvas is None or (guide.kind is GuideKind.INPAINT and canvas.mask is None):
            needs = "a canvas with a mask" if guide.kind is GuideKind.INPAINT else "a canvas"
            raise InvalidRequest(f"Guide {number} shows nothing: give it a picture, or {needs} that it can be made of.")
        return
    if (guide.picture is None) == (not guide.keypoints):
        raise InvalidRequest(f"Guide {number} needs a picture, or for keypoints five points: one of the two.")
