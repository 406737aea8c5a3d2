"""`Engine`: a job in, pictures out. One engine holds one model's modules; jobs run one after another and leave nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protocol.errors import Cancelled, InvalidRequest, OutOfMemory
from protocol.geometry import Extent
from protocol.jobs import Crop, GuideKind, ImagePrompt, PictureJob
from protocol.planes import Plane

from .. import images
from ..faces import Identity, draw_keypoints
from ..models.bundle import AdapterEntry, Family, Model
from ..models.kept import digest
from ..models.parts import Parts
from ..models.recognisers import Recogniser
from ..models.shelf import embeddings
from .arriving import Arrivals
from .attention import Lane
from .blocks import layers_of
from .cast import Cast, cast_of, likenesses
from .control import Conditioning
from .crops import cropped
from .following import Following, Tally
from .frames import Frame
from .guides import guide_picture, view_of
from .identity import IdentityNet, face_tokens
from .inversion import named
from .ip_adapter import entry_for, face_prompt_tokens, picture_tokens
from .lora import Worn
from .paste import default_feather, put_back
from .plan import Plan, keypoint_guides, plan, sized_like
from .preview import SD15, SDXL, PreviewMatrix
from .quick import Shortening
from .regions import shares_of
from .sample import Hooks, Recipe, draw
from .sights import Faces, Sight, Sights, picture_of
from .tiles import needs_tiles
from .tiny_decoder import Previewer, decoder_of

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
    """One result. `pixels` (H, W, 3) at the size asked for; `similarities` has one cosine per subject, of the face where theirs was asked
    for, None where none was found.

    `drawn` is the size that the model drew at; `keypoints` (5, 2), one per subject, where its face was asked for, in pixels of the result.
    """

    pixels: Pixels
    seed: int
    similarities: tuple[float | None, ...]
    drawn: Extent
    keypoints: tuple[NDArray[np.float32], ...] = ()


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
        self._following = Following(self.parts, faces, self._recipe)
        self.always_tiled = False
        """Whether the VAE works in tiles whatever a job says: what a worker short of memory turns on."""

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
                people = cast_of(decided, [self._sights.identity(one.who) for one in job.subjects], self._faces)
                recipe = self._recipe(decided, people)
                return [self._picture(decided, people, recipe, number, watch) for number in range(job.count)]
            except torch.OutOfMemoryError as error:
                size = f"{decided.frame.extent.width} x {decided.frame.extent.height}"
                raise OutOfMemory(
                    f"A picture of {size} pixels does not fit into the memory of {self.parts.device}. Use a smaller one."
                ) from error

    def _picture(self, decided: Plan, people: Cast, recipe: Recipe, number: int, watch: Watch) -> Picture:
        seed = decided.seeds[number]
        tally = Tally(watch.step, number, decided.job.count, sum(self._following.reckoned(decided, people)))
        hooks = partial(_hooks, watch, tally, self.parts)
        drawn = draw(self.parts, recipe, seed, hooks(decided))
        decided, people, drawn = self._following.second(decided, people, drawn, seed, tally, hooks)
        pixels = self._following.faces(decided, people, _finished(drawn, decided), seed, tally, hooks)
        alike = likenesses(pixels, decided, people, self._faces)
        places = tuple(decided.frame.outward(points) for points in people.keypoints)
        return Picture(pixels, seed, alike, decided.frame.extent, places)

    def _recipe(self, decided: Plan, people: Cast) -> Recipe:
        frame, job = decided.frame, decided.job
        lanes: list[Lane] = []
        nets: list[Conditioning] = []
        for number, subject in enumerate(people.subjects):
            if subject.adapter > 0 or subject.identity_net > 0:  # a person at weight 0 leaves the base as it is, bit for bit
                self._add_person(decided, people, number, lanes, nets)
        lanes += [self._image_prompt(decided, prompt) for prompt in job.image_prompts if prompt.weight > 0]
        guides = [guide for guide in job.guides if guide.kind is not GuideKind.KEYPOINTS and guide.weight > 0]
        nets += [Conditioning(view_of(self.parts, one.kind), guide_picture(decided, one), one.weight, one.window) for one in guides]
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
            guidance_rescale=job.sampling.guidance_rescale or 0.0,
            tiled=self._in_tiles(decided),
            shortening=Shortening.of(job.sampling.shortcuts),
            loras=tuple(Worn(self.parts.lora(one.name), one.weight) for one in job.loras if one.weight != 0),
            clip_skip=decided.clip_skip,
            inversions=tuple(map(self.parts.inversion, named((job.prompt, decided.negative), embeddings(self.parts.model)))),
        )

    def _in_tiles(self, decided: Plan) -> bool:
        asked = decided.job.sampling.tiled
        if asked is not None or self.always_tiled:
            return self.always_tiled or bool(asked)
        return needs_tiles(self.parts.base["vae"], decided.frame.extent, self.parts.model.extent)

    def _add_person(self, decided: Plan, people: Cast, number: int, lanes: list[Lane], nets: list[Conditioning]) -> None:
        subject, identity = people.subjects[number], people.identities[number]
        adapter = self.parts.face_adapter
        face = identity.embedding[None]
        tokens = self.parts.kept.get(adapter, digest("person", face, decided.guided), lambda: face_tokens(adapter, face, decided.guided))
        region = self._on_device(people.regions[number])
        if subject.adapter > 0:
            lanes.append(Lane(adapter, tokens, subject.adapter, subject.adapter_window, region=region, schedule=subject.adapter_schedule))
        if subject.identity_net > 0:
            net = IdentityNet.of(self.parts.identity_net, tokens, region)
            picture = _keypoint_picture(decided, number, people.keypoints[number])
            nets.append(Conditioning(net, picture, subject.identity_net, subject.identity_net_window, subject.identity_net_schedule))

    def _image_prompt(self, decided: Plan, prompt: ImagePrompt) -> Lane:
        model = self.parts.model
        entry = entry_for(model, prompt.adapter, prompt.lends)
        adapter = self.parts.adapter(entry)
        if adapter.kind.needs_face:
            _check_face_prompt(prompt, entry)
            identity, crop = self._sights.face_prompt(prompt, entry, adapter.kind.needs_picture)
            content = digest("face", identity.embeddings, crop, decided.guided)
            make = partial(face_prompt_tokens, self.parts, entry, identity.embeddings, crop, decided.guided)
        else:
            negative = None if prompt.negative is None else cropped(images.to_rgb(prompt.negative), prompt.crop, self._faces)
            reference = cropped(picture_of(prompt, entry), prompt.crop, self._faces)
            content = digest("picture", entry.encoder, reference, negative, decided.guided)
            make = partial(picture_tokens, self.parts, entry, reference, decided.guided, negative)
        tokens = self.parts.kept.get(adapter, content, make)
        layers = layers_of(list(self.parts.unet.attn_processors), model.family, prompt)
        return Lane(adapter, tokens, prompt.weight, prompt.window, layers, self._region(decided, prompt.region), prompt.schedule)

    def _region(self, decided: Plan, plane: Plane | None) -> Tensor | None:
        if plane is None:
            return None
        mask = images.to_mask(sized_like(plane, decided.extent, "The region of an image prompt"))
        return self._on_device(shares_of(decided.frame.cut_and_scale(mask)))

    def _on_device(self, region: NDArray[np.float32] | None) -> Tensor | None:
        """A region (H, W) -> (1, H, W) where the model is."""
        return None if region is None else torch.tensor(region)[None].to(self.parts.device, self.parts.dtype)


def _finished(drawn: Pixels, decided: Plan) -> Pixels:
    """What was drawn, in its place in the picture, which has the size that was asked for; with a mask, only within it."""
    if decided.canvas is not None and decided.mask is not None and decided.job.canvas is not None:
        feather = decided.job.canvas.feather
        feather = default_feather(decided.mask) if feather is None else feather
        return put_back(decided.canvas, decided.frame, drawn, decided.mask, feather)
    whole, box = decided.frame.uncut(drawn)
    return whole[-box.y :, -box.x :][: decided.extent.height, : decided.extent.width]


def _check_face_prompt(prompt: ImagePrompt, entry: AdapterEntry) -> None:
    if prompt.crop is not Crop.SQUASH or prompt.negative is not None:
        what = "a negative picture" if prompt.negative is not None else "a crop"
        raise InvalidRequest(
            f"The adapter {entry.name!r} reads who a face is, not a picture, so {what} says nothing to it. Leave it out, or choose another."
        )


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


def _hooks(watch: Watch, tally: Tally, parts: Parts, decided: Plan) -> Hooks:
    every = decided.job.preview_every
    previewer = Previewer(matrix_of(parts), decoder_of(parts)) if every else None

    def show(numbers: Tensor, done: int) -> None:
        assert previewer is not None
        watch.preview(decided.frame.spread(previewer.pixels(numbers), decided.extent, decided.canvas), done)

    previews = Arrivals(show)

    def check() -> None:
        previews.look()
        if watch.cancelled():
            raise Cancelled("The job was cancelled.")

    def step(done: int, steps: int, estimate: Tensor) -> None:
        tally.step(done, steps)
        if previewer is not None and done % every == 0 and done < steps:
            previews.send(previewer.numbers(estimate, done), done)
        check()

    return Hooks(step, check)


def matrix_of(parts: Parts) -> PreviewMatrix:
    """From latents to previews: the model's own matrix, or that of its family."""
    table = parts.preview_table
    if table is not None:
        return PreviewMatrix.from_table(table)
    return SDXL if parts.model.family is Family.SDXL else SD15


__all__ = ["Engine", "Faces", "Frame", "Picture", "Unwatched", "Watch"]
