"""Likeness from Python: `Studio` connects to the backend (or starts one), takes Pillow pictures, arrays or files, and gives Pillow.

    from backend.scripting import Part, Studio

    with Studio() as studio:
        captain = studio.character("captain", photos=["captain-1.png", "captain-2.png"])
        studio.portrait(captain, "portrait of a smiling person at the sea", count=4).save("at-sea.png")
        mate = studio.character("mate", photos=[Part("crew.png", (120, 40, 380, 300))])

While it works:

    for news in studio.stream(portrait_job(captain, "at the sea", count=2)):
        match news:
            case Progress(step=step, steps=steps): print(f"{step} of {steps}")
            case Preview(image=image): image.show()
            case Results() as results: results.save("at-sea.png")

With asyncio: `results = await studio.arun(job)`, or `async for news in studio.astream(job)`. Errors are those of `protocol.errors`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias, TypedDict, Unpack

from protocol.errors import InvalidRequest, Lost
from protocol.geometry import Extent
from protocol.jobs import (
    Canvas,
    Character,
    Embedding,
    ImagePrompt,
    Lora,
    Photos,
    PictureJob,
    Sampling,
    Subject,
)
from protocol.messages import Done, JobUpdate, Models, Priority, StatusReport
from protocol.messages import Preview as PreviewMessage
from protocol.results import ModelInfo, Pictures, Status, WorkerStage

from .live import Live, Wire
from .live import draft as draft
from .people import PeopleSession
from .pictures import AnyPicture, Results, mask_plane, picture_plane, pillow, results_of
from .pictures import Part as Part  # for scripts, which need nothing else of that room
from .recipe import Region, region_plane
from .session import ANSWER_S, TURN_S

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Progress:
    """How far a job is. While it waits `step` and `steps` are None, and `position` is the number of jobs before it."""

    step: int | None
    """Sampling steps that are done, over all pictures of the job."""
    steps: int | None
    """Of so many."""
    seconds_left: float | None
    """An estimate, once there is one."""
    position: int | None


@dataclass(frozen=True)
class Preview:
    """What the picture looks like after `step` of its steps: RGB, smaller than the picture."""

    step: int
    image: Image.Image


News: TypeAlias = Progress | Preview | Results


class Options(TypedDict, total=False):
    """What every picture may be told. What is not said is the model's own; a value out of range is an `InvalidRequest`."""

    count: int
    """How many pictures, 1 to 32; picture i has the seed `seed + i`."""
    seed: int
    """0 to 2^53, 0 if not said: the same seed makes the same picture."""
    size: tuple[int, int]
    """Width and height in pixels, each 1 to 8192."""
    negative: str
    """What is not to be seen."""
    likeness: float
    """The image adapter's scale, 0 to 2; 0.8 if not said."""
    structure: float
    """IdentityNet's scale, 0 to 2; 0.8 if not said."""
    model: str
    """Its id, as `Studio.models` gives it."""
    steps: int
    """Sampling steps, 1 to 1000."""
    guidance_scale: float
    """0 to 100; 1 and less is no guidance."""
    image_prompts: Sequence[ImagePrompt]
    """Pictures as prompts: `ImagePrompt(picture_plane("hat.png"), lends=Lends.STYLE)`."""
    clip_skip: int
    """1 to 12, as A1111 counts it: 1 is the text encoder's last layer, 2 the one before."""
    loras: Mapping[str, float]
    """LoRAs of the model by name, with their weights, -4 to 4: `{"ink": 0.5}`."""


def portrait_job(who: str | Character | Photos | Embedding | None, prompt: str, **options: Unpack[Options]) -> PictureJob:
    """The job of a portrait of a saved person (by name), of photos, or of what a recogniser read; with None, of a picture of nobody."""
    return group_job(() if who is None else (who,), prompt, **options)


def group_job(
    people: Sequence[str | Character | Photos | Embedding],
    prompt: str,
    regions: Sequence[Region | None] = (),
    **options: Unpack[Options],
) -> PictureJob:
    """The job of a picture of several people, from left to right. `regions` are their parts of it: left, top, right and bottom in 0..1.

    Without them each has the part around their face. With them, the picture's `size` must be given. Raises `InvalidRequest` where it is
    not, and for another number of regions than of people.
    """
    size = options.get("size")
    if regions and len(regions) != len(people):
        raise InvalidRequest(f"There are {len(regions)} regions and {len(people)} people. Give one for each, or none.")
    if regions and size is None:
        raise InvalidRequest("Regions are parts of a picture whose size is known. Give its size as well.")
    adapter, net = options.get("likeness", 0.8), options.get("structure", 0.8)
    planes = [None if one is None or size is None else region_plane(one, Extent(*size)) for one in regions or [None] * len(people)]
    persons = [Character(who) if isinstance(who, str) else who for who in people]
    subjects = tuple(Subject(who, adapter=adapter, identity_net=net, region=plane) for who, plane in zip(persons, planes, strict=True))
    return PictureJob(
        prompt,
        options.get("negative"),
        extent=None if size is None else Extent(*size),
        model=options.get("model"),
        subjects=subjects,
        image_prompts=tuple(options.get("image_prompts", ())),
        sampling=Sampling(
            steps=options.get("steps"),
            guidance_scale=options.get("guidance_scale"),
            seed=options.get("seed", 0),
            clip_skip=options.get("clip_skip"),
        ),
        count=options.get("count", 1),
        loras=tuple(Lora(name, weight) for name, weight in options.get("loras", {}).items()),
    )


class Studio(PeopleSession):
    """A connection to the backend. `start=False` raises `NotRunning` instead of starting one.

    `options` are those of `likeness serve`, `environ` the environment of a backend that is started (default: this process's).

    What asks for pictures raises the job's error: `InvalidRequest` for what cannot be meant, `UnknownModel` for a name that there is not,
    `FaceError` about photos, `ModelError` for what the model cannot do, `OutOfMemory`; and of the backend `BackendUnavailable` where
    nothing computes, `Lost` when it is away for a minute. Too many jobs at once are no error: they wait here.
    """

    # Pictures --------------------------------------------------------------------------------------------------------------------------
    def portrait(self, who: str | Character, prompt: str, **options: Unpack[Options]) -> Results:
        """Pictures of a person."""
        return self.run(portrait_job(who, prompt, **options))

    def together(
        self, people: Sequence[str | Character], prompt: str, regions: Sequence[Region | None] = (), **options: Unpack[Options]
    ) -> Results:
        """Pictures of several people, from left to right: `studio.together(["anna", "ben"], "at the sea")`; see `group_job`."""
        return self.run(group_job(people, prompt, regions, **options))

    def picture(self, prompt: str, **options: Unpack[Options]) -> Results:
        """Pictures of whatever the prompt says."""
        return self.run(portrait_job(None, prompt, **options))

    def inpaint(
        self, picture: AnyPicture, mask: AnyPicture, prompt: str, who: str | Character | None = None, **options: Unpack[Options]
    ) -> Results:
        """Paint into the white part of `mask`, which has the size of `picture`; outside of it not one byte changes."""
        canvas = Canvas(picture_plane(picture), mask_plane(mask))
        return self.run(replace(portrait_job(who, prompt, **options), canvas=canvas))

    def row(self, one: str | Character, other: str | Character, prompt: str, *, pictures: int = 5, **options: Unpack[Options]) -> Results:
        """Pictures from one person to the other: the same seed and place, `pictures` of them (at least 2, one job each), from all of the
        one to all of the other. `count` is not for it.
        """
        from .comparing import in_a_row

        count = max(2, pictures)
        names = [who if isinstance(who, str) else who.name for who in (one, other)]
        shares = [{names[0]: 1 - n / (count - 1), names[1]: n / (count - 1)} for n in range(count)]
        people = in_a_row([self.embedding(each, model=options.get("model")) for each in shares])
        options["count"] = 1
        made = [self.run(portrait_job(person, prompt, **options)) for person in people]
        return Results(tuple(each[0] for each in made), made[0].model, sum(each.seconds for each in made), made[-1].rung)

    def run(self, job: PictureJob, *, batch: bool = False) -> Results:
        """Do a job and wait for its pictures; `batch` lets whoever sits before a screen go first."""
        for news in self.stream(job, batch=batch):
            if isinstance(news, Results):
                return news
        raise Lost

    def stream(self, job: PictureJob, *, batch: bool = False) -> Iterator[News]:
        """Do a job: its progress and previews, at last its `Results`. Leaving early cancels it. Raises the job's error."""
        job_id = self._submit(job, Priority.BATCH if batch else Priority.INTERACTIVE)
        over = False
        try:
            while not over:
                for news in self._news(job_id, job):
                    over = isinstance(news, Results)
                    yield news
                self._client.wait(TURN_S)
        finally:
            if not over:
                self._abandon(job_id)
            self._leave(job_id)

    async def arun(self, job: PictureJob, *, batch: bool = False) -> Results:
        """`run` for asyncio. Of many at once, as many wait at the backend as it takes of one program, and the others here."""
        async for news in self.astream(job, batch=batch):
            if isinstance(news, Results):
                return news
        raise Lost

    async def astream(self, job: PictureJob, *, batch: bool = False) -> AsyncIterator[News]:
        """`stream` for asyncio: nothing waits in the event loop's thread."""
        job_id = self._submit(job, Priority.BATCH if batch else Priority.INTERACTIVE)
        over = False
        try:
            while not over:
                for news in self._news(job_id, job):
                    over = isinstance(news, Results)
                    yield news
                await asyncio.sleep(TURN_S)
        finally:
            if not over:
                self._abandon(job_id)
            self._leave(job_id)

    def live(self, stream: str = "live") -> Live:
        """Pictures that follow what is being painted; see `backend.live`. Newer ones take the place of older ones of the same `stream`."""
        return Live(
            Wire(
                submit=lambda job: self._submit(job, Priority.INTERACTIVE, live=stream),
                take=self._take,
                settled=self._settled,
                leave=self._leave,
                cancel=self._abandon,
                pause=lambda: self._client.wait(TURN_S),
            )
        )

    # The backend -----------------------------------------------------------------------------------------------------------------------
    def models(self) -> tuple[ModelInfo, ...]:
        """The installed models; the first is used when a job names none. A backend that has just started looks for them first; none where
        no worker came up within a minute.
        """
        end = time.monotonic() + ANSWER_S
        while not (found := self._answer(self._client.ask_models(), Models).models) and time.monotonic() < end:
            if not any(device.stage in (WorkerStage.STARTING, WorkerStage.RESTARTING) for device in self.status().devices):
                break
            self._client.wait(0.2)
        return found

    def status(self) -> Status:
        """What the backend is and does."""
        return self._answer(self._client.ask_status(), StatusReport).status

    def shut_down(self) -> None:
        """End the backend; accepted jobs go on at its next start."""
        self._answer(self._client.shutdown(), Done)

    def __enter__(self) -> Studio:
        """The connected studio."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave."""
        self.close()

    # Inside ----------------------------------------------------------------------------------------------------------------------------
    def _news(self, job_id: str, job: PictureJob) -> Iterator[News]:
        for event in self._take(job_id):
            match event:
                case PreviewMessage():
                    yield Preview(event.step, pillow(event.picture))
                case JobUpdate() if not event.stage.final:
                    yield Progress(event.step, event.steps, event.seconds_left, event.position)
                case _:
                    outcome = self._settled(job_id, event)
                    if isinstance(outcome, Pictures):
                        yield results_of(outcome, job)
