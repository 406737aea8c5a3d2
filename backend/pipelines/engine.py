"""`Engine`: a job in, pictures out. One engine holds one model's modules; jobs run one after another and leave nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protocol.errors import Cancelled, InvalidRequest, OutOfMemory
from protocol.geometry import Extent
from protocol.jobs import GuideKind, ImagePrompt, PictureJob, Subject
from protocol.planes import Plane

from .. import images
from ..faces import Identity, draw_keypoints
from ..models.bundle import Family, Model
from ..models.parts import Parts
from ..models.recognisers import Recogniser
from .attention import Lane
from .control import Conditioning, GatedControlNet
from .frames import Frame
from .identity import IdentityNet, face_tokens
from .ip_adapter import entry_for, face_prompt_tokens, lent_layers, picture_tokens
from .paste import default_feather, put_back
from .placement import place
from .plan import Plan, guide_points, keypoint_guides, plan, sized_like
from .preview import SD15, SDXL, latents_to_rgb
from .sample import Hooks, Recipe, draw
from .sights import Faces, Sight, Sights, picture_of

Pixels = NDArray[np.uint8]
class Watch(Protocol):
    """Who wants to know how a job is going. All are called from the thread that runs the job and should return at once."""

    def step(self, done: int, total: int) -> None:
        """`done` of `total` sampling steps, over all pictures of the job."""
        ...

    def preview(self, pixels: Pixels, step: int) -> None:
        """What the picture (h, w, 3) seems to become, after `step` of its steps."""
        ...

    def cancelled(self) -> bool:
        """Whether to stop now."""
        ...


class Unwatched:
    """A watch that nobody looks at."""

    def step(self, done: int, total: int) -> None:
        """Nothing."""

    def preview(self, pixels: Pixels, step: int) -> None:
        """Nothing."""

    def cancelled(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One result. `pixels` (H, W, 3) at the size asked for; `similarities` has one cosine per subject, None where no face was found.

    `drawn` is the size that the model drew at; `keypoints` (5, 2), one per subject, where its face was asked for, in pixels of the result.
    """

    pixels: Pixels
    seed: int
    similarities: tuple[float | None, ...]
    drawn: Extent
    keypoints: tuple[NDArray[np.float32], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Cast:
    """The job's people and where their faces go, (5, 2) in pixels of what is drawn."""

    subjects: tuple[Subject, ...]
    identities: tuple[Identity, ...]
    keypoints: tuple[NDArray[np.float32], ...]


class Engine:
    """Draws for one model. `faces` may be None for a model without people; `characters` looks up a saved person by name, `photo` the first
    photo of one, and `recognisers` opens another recogniser than that of `faces`, for adapters that were trained with it.
    """

    def __init__(
        self,
        model: Model,
        faces: Faces | None,
        *,
        characters: Callable[[str], Identity] | None = None,
        photo: Callable[[str], Pixels | None] | None = None,
        recognisers: Callable[[Recogniser], Sight] | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.parts = Parts(model, device, dtype)
        self._faces = faces
        self._sights = Sights(model, Sight(faces, characters, photo), recognisers)
        self._lock = threading.Lock()

    def run(self, job: PictureJob, watch: Watch | None = None) -> list[Picture]:
        """Draw the pictures of `job`, in the order of their seeds.

        The same job gives the same bytes, whatever ran before. Raises InvalidRequest for what cannot be meant, FaceError about photos,
        ModelError for what the model cannot do, Cancelled as soon as `watch.cancelled()`, and OutOfMemory.
        """
        watch = watch or Unwatched()
        with self._lock:
            if watch.cancelled():
                raise Cancelled("The job was cancelled before it began.")
            decided = plan(job, self.parts.model)
            try:
                people = self._cast(decided)
                recipe = self._recipe(decided, people)
                return [self._picture(decided, people, recipe, number, watch) for number in range(job.count)]
            except torch.OutOfMemoryError as error:
                size = f"{decided.frame.extent.width} x {decided.frame.extent.height}"
                raise OutOfMemory(
                    f"A picture of {size} pixels does not fit into the memory of {self.parts.device}. Use a smaller one."
                ) from error

    def _picture(self, decided: Plan, people: _Cast, recipe: Recipe, number: int, watch: Watch) -> Picture:
        seed = decided.seeds[number]
        drawn = draw(self.parts, recipe, seed, _hooks(decided, number, watch, self.parts))
        pixels = _finished(drawn, decided)
        seen = decided.frame.cut(pixels)
        alike = tuple(self._faces.similarity(seen, who) if self._faces else None for who in people.identities)
        places = tuple(decided.frame.outward(points) for points in people.keypoints)
        return Picture(pixels, seed, alike, recipe.extent, places)

    def _cast(self, decided: Plan) -> _Cast:
        subjects = decided.job.subjects
        identities = tuple(self._sights.identity(subject.who) for subject in subjects)
        guides = keypoint_guides(decided.job)
        keypoints: list[NDArray[np.float32]] = []
        for number, (subject, identity) in enumerate(zip(subjects, identities, strict=True)):
            points = guide_points(guides[number]) if number < len(guides) else None
            region = None if subject.region is None else _mask(subject.region, decided)
            keypoints.append(place(decided, identity, points, region, self._faces, keypoints))
        return _Cast(subjects, identities, tuple(keypoints))

    def _recipe(self, decided: Plan, people: _Cast) -> Recipe:
        frame, job = decided.frame, decided.job
        lanes: list[Lane] = []
        nets: list[Conditioning] = []
        for number, subject in enumerate(people.subjects):
            if subject.adapter > 0 or subject.identity_net > 0:  # a person at weight 0 leaves the base as it is, bit for bit
                self._add_person(decided, people, number, lanes, nets)
        lanes += [self._image_prompt(decided, prompt) for prompt in job.image_prompts if prompt.weight > 0]
        for guide in job.guides:
            if guide.kind is not GuideKind.KEYPOINTS and guide.weight > 0 and guide.picture is not None:
                picture = images.to_rgb(sized_like(guide.picture, decided.extent, f"The {guide.kind.value} guide"))
                net = GatedControlNet.over(self.parts.control_net(guide.kind))
                nets.append(Conditioning(net, frame.cut_and_scale(picture), guide.weight, guide.window))
        return Recipe(
            extent=frame.extent,
            prompt=job.prompt,
            negative=decided.negative,
            steps=decided.steps,
            guidance_scale=decided.guidance_scale,
            scheduler=decided.scheduler,
            mode=decided.mode,
            image=None if decided.canvas is None else frame.cut_and_scale(decided.canvas),
            mask=decided.repainted,
            strength=decided.strength,
            lanes=tuple(lanes),
            nets=tuple(nets),
        )

    def _add_person(self, decided: Plan, people: _Cast, number: int, lanes: list[Lane], nets: list[Conditioning]) -> None:
        subject, identity = people.subjects[number], people.identities[number]
        adapter = self.parts.face_adapter
        tokens = face_tokens(adapter, identity.embedding[None], decided.guided)
        region = self._region(decided, subject.region)
        if subject.adapter > 0:
            lanes.append(Lane(adapter, tokens, subject.adapter, subject.adapter_window, region=region))
        if subject.identity_net > 0:
            net = IdentityNet.of(self.parts.identity_net, tokens, region)
            picture = _keypoint_picture(decided, number, people.keypoints[number])
            nets.append(Conditioning(net, picture, subject.identity_net, subject.identity_net_window))

    def _image_prompt(self, decided: Plan, prompt: ImagePrompt) -> Lane:
        model = self.parts.model
        entry = entry_for(model, prompt.adapter, prompt.lends)
        adapter = self.parts.adapter(entry)
        if adapter.kind.needs_face:
            identity, crop = self._sights.face_prompt(prompt, entry, adapter.kind.needs_picture)
            tokens = face_prompt_tokens(self.parts, entry, identity.embeddings, crop, decided.guided)
        else:
            tokens = picture_tokens(self.parts, entry, picture_of(prompt, entry), decided.guided)
        layers = lent_layers(list(self.parts.unet.attn_processors), model.family, prompt.lends)
        return Lane(adapter, tokens, prompt.weight, prompt.window, layers, self._region(decided, prompt.region))

    def _region(self, decided: Plan, plane: Plane | None) -> Tensor | None:
        if plane is None:
            return None
        mask = decided.frame.cut_and_scale(_mask(plane, decided))
        return torch.as_tensor(mask.astype(np.float32) / 255)[None].to(self.parts.device, self.parts.dtype)


def _finished(drawn: Pixels, decided: Plan) -> Pixels:
    """What was drawn, in its place in the picture, which has the size that was asked for; with a mask, only within it."""
    if decided.canvas is not None and decided.mask is not None and decided.job.canvas is not None:
        feather = decided.job.canvas.feather
        feather = default_feather(decided.mask) if feather is None else feather
        return put_back(decided.canvas, decided.frame, drawn, decided.mask, feather)
    whole, box = decided.frame.uncut(drawn)
    return whole[-box.y :, -box.x :][: decided.extent.height, : decided.extent.width]


def _mask(plane: Plane, decided: Plan) -> Pixels:
    return images.to_mask(sized_like(plane, decided.extent, "The region"))


def _keypoint_picture(decided: Plan, number: int, keypoints: NDArray[np.float32]) -> Pixels:
    """IdentityNet's picture, drawn at the size that is generated; a drawing that came with the job is taken if it has this size."""
    guides = keypoint_guides(decided.job)
    picture = guides[number].picture if number < len(guides) and not guides[number].keypoints else None
    if picture is None:
        return draw_keypoints(keypoints, decided.frame.extent)
    if not decided.frame.is_whole(decided.extent):
        extent = decided.frame.extent
        raise InvalidRequest(
            f"Drawn keypoints must have the size that is generated, {extent.width} x {extent.height}: resizing would change the discs. "
            "Give five points instead."
        )
    return images.to_rgb(sized_like(picture, decided.extent, "The drawing of the keypoints"))


def _hooks(decided: Plan, number: int, watch: Watch, parts: Parts) -> Hooks:
    every, count = decided.job.preview_every, decided.job.count

    def check() -> None:
        if watch.cancelled():
            raise Cancelled("The job was cancelled.")

    def step(done: int, steps: int, estimate: Tensor) -> None:
        watch.step(number * steps + done, count * steps)
        if every and done % every == 0 and done < steps:
            watch.preview(decided.frame.spread(preview_of(estimate, parts), decided.extent, decided.canvas), done)
        check()

    return Hooks(step, check)


def preview_of(latents: Tensor, parts: Parts) -> Pixels:
    """Latents (1, C, h, w) -> a small picture (h, w, 3), by the model's own matrix or that of its family."""
    return latents_to_rgb(latents, parts.preview_table or (SDXL if parts.model.family is Family.SDXL else SD15))


__all__ = ["Engine", "Faces", "Frame", "Picture", "Unwatched", "Watch"]
