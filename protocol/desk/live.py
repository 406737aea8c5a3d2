"""Live pictures of an add-on: quick small ones that follow what the artist does. None of them is kept, and none is waited for.

    live = LiveStream(client)
    live.route(event)                      # for each event of the client, before anybody else looks at it
    if live.wants(stamp):                  # at each look: `stamp` is anything cheap that differs when something else is to be seen
        turn = live.begin(stamp)           # only now are pixels read and a job made, here or in another thread
        live.show(turn, job, about)        # … and sent; or live.give_up(turn, sentence)
    live.picture                           # the newest, with its `about`; None before the first
    live.pause()                           # an ordinary picture has precedence: what is under way ends, and is done anew afterwards
    live.stop()                            # nobody looks any more: everything ends, and the picture goes

The backend gives the place of a live job that waits to the next one of its stream, so one runs and one waits at most.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from ..client import Client
from ..errors import Busy, LikenessError
from ..events import Event, Link, LinkChanged, Refused
from ..geometry import Extent
from ..jobs import PictureJob, Shortcut
from ..messages import Accepted, Acknowledge, Cancel, Fetch, Fetched, JobUpdate, Preview, Stage, Submit
from ..planes import Plane
from ..results import Pictures

DRAFT = (Shortcut.FEW_STEPS, Shortcut.GUIDANCE_INTERVAL, Shortcut.CONDITIONAL_IDENTITY, Shortcut.SMALL)
"""A picture to look at for a moment. So few steps leave nothing for features to be reused in."""
LIVE_PIXELS = 640 * 640
"""What is sent, and comes back, has so many pixels at most: as many as SDXL draws with `Shortcut.SMALL`."""
PACE_S, SLOWEST_PACE_S = 0.15, 1.0
"""Between two jobs: a quarter of what the last picture took, within these bounds. What waits at the backend is then never much older than
what is on the screen, and a slow computer is not kept busy with reading pixels that nobody will see."""
BUSY_S = 1.0
"""After "too many jobs", when the backend does not say how long to wait."""

About = TypeVar("About")


def draft(job: PictureJob) -> PictureJob:
    """The job as a quick look at it: one picture by all shortcuts, without previews and further passes.

    How it is sampled is left to the model: the shortcuts change nothing that a job says itself.
    """
    sampling = replace(job.sampling, steps=None, guidance_scale=None, guidance_rescale=None, scheduler=None, shortcuts=DRAFT)
    return replace(job, count=1, preview_every=0, sampling=sampling, second_pass=None, face_pass=None)


def small(extent: Extent, pixels: int = LIVE_PIXELS) -> Extent:
    """The size at which something of this size is sent: its proportions, and at most so many pixels."""
    scale = min(1.0, (pixels / extent.area) ** 0.5)
    return extent if scale == 1 else Extent(max(1, int(extent.width * scale)), max(1, int(extent.height * scale)))


@dataclass(frozen=True)
class LivePicture(Generic[About]):
    """One picture of the stream. `about` is what the host gave with its job: where it belongs, what was asked for."""

    plane: Plane
    seed: int
    similarity: float | None
    """Of the first person; None: nobody was asked for, or no face was found."""
    about: About
    seconds: float
    """From the change on the screen to the picture."""
    number: int
    """Grows with each job."""


@dataclass(frozen=True)
class _Sent(Generic[About]):
    job_id: str
    about: About
    began: float
    number: int


class LiveStream(Generic[About]):
    """One stream of one host. It knows neither the screen nor its pixels, only when they are to be read, and what came of them.

    `sentence` says why the last job came to nothing, "" when it came to something.
    """

    def __init__(self, client: Client, stream: str = "live", clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._stream, self._clock = client, stream, clock
        self._note = json.dumps({"k": "live", "s": stream})
        self._open: dict[str, _Sent[About]] = {}
        self._left: set[str] = set()
        """Jobs that nobody looks at any more, until they are over."""
        self._unheard: str | None = None
        """The last job, while the backend has not said that it has it."""
        self._turn = 0
        self._began: float | None = None
        self._stamp: Hashable = None
        self._content: Hashable = None
        self._next_at = -1e9
        self._number = 0
        self.picture: LivePicture[About] | None = None
        self.sentence = ""

    @property
    def working(self) -> bool:
        """Whether something newer than the picture is under way."""
        return self._began is not None or bool(self._open)

    # What the host does ----------------------------------------------------------------------------------------------------------------
    def wants(self, stamp: Hashable) -> bool:
        """Whether what this stamp stands for is to be read and shown now. Reads nothing, sends nothing."""
        if self._began is not None or self._unheard is not None or self._client.link is not Link.CONNECTED:
            return False
        return stamp != self._stamp and self._clock() >= self._next_at

    def begin(self, stamp: Hashable) -> int:
        """What this stamp stands for is being read; the turn is for `show` or `give_up`, and `wants` nothing before."""
        self._stamp, self._began = stamp, self._clock()
        self._turn += 1
        return self._turn

    def show(self, turn: int, job: PictureJob, about: About, content: Hashable = None) -> None:
        """Send what was read, as a draft. A turn that was paused or stopped meanwhile, and a job that is wrong, send nothing.

        `content` (a digest) differs when what was read differs: the same as of the last job sends nothing either.
        """
        if turn != self._turn or self._began is None:
            return
        began, self._began = self._began, None
        if content is not None and content == self._content:
            return
        self._content = content
        try:
            job_id = self._client.submit(draft(job), note=self._note, live=self._stream)
        except LikenessError as error:
            self.sentence = str(error)
            return
        self._number += 1
        self._open[job_id] = _Sent(job_id, about, began, self._number)
        self._unheard = job_id
        took = self.picture.seconds if self.picture is not None else 0.0
        self._next_at = self._clock() + min(SLOWEST_PACE_S, max(PACE_S, took / 4))

    def give_up(self, turn: int, sentence: str = "") -> None:
        """It could not be read, or no job be made of it: nothing is sent until there is another stamp."""
        if turn == self._turn and self._began is not None:
            self._began, self.sentence = None, sentence

    def pause(self) -> None:
        """End what is under way; the picture stays. What was not drawn to its end is wanted again."""
        if self.working:
            self.again()
        self._leave()

    def again(self) -> None:
        """Whatever is on the screen is wanted once more, though it is the same."""
        self._stamp = self._content = None

    def stop(self) -> None:
        """End everything."""
        self._leave()
        self.again()
        self.picture, self.sentence = None, ""

    def _leave(self) -> None:
        self._began = self._unheard = None
        for job_id in self._open:
            self._client.cancel(job_id)
            self._left.add(job_id)
        self._open.clear()

    # What comes back -------------------------------------------------------------------------------------------------------------------
    def route(self, event: Event) -> bool:
        """Whether the event was about a live job; then nobody else wants it."""
        match event:
            case LinkChanged() if event.link is not Link.CONNECTED:
                self.pause()
                return False
            case JobUpdate() if event.job_id in self._open:
                self._follow(self._open[event.job_id], event)
            case JobUpdate() if event.job_id in self._left or event.note == self._note:  # the latter: of a session that is over
                self._end(event)
            case Fetched() if event.job_id in self._open or event.job_id in self._left:
                self._take(event)
            case Accepted() | Preview() if event.job_id in self._open or event.job_id in self._left:
                self._heard(event.job_id)
            case Refused(request=Submit() | Fetch() | Cancel() | Acknowledge()):
                return self._refused(event)
            case _:
                return False
        return True

    def _heard(self, job_id: str) -> None:
        self._unheard = None if self._unheard == job_id else self._unheard

    def _follow(self, sent: _Sent[About], update: JobUpdate) -> None:
        self._heard(sent.job_id)
        if update.stage is Stage.DONE and self._is_news(sent):
            self._client.fetch(sent.job_id)
        elif update.stage.final:
            del self._open[sent.job_id]
            self._client.acknowledge(sent.job_id)
            if update.stage is Stage.FAILED and update.fault is not None:
                self.sentence = update.fault.sentence

    def _end(self, update: JobUpdate) -> None:
        if update.stage.final:
            self._left.discard(update.job_id)
            self._client.acknowledge(update.job_id)
        elif update.job_id not in self._left:
            self._left.add(update.job_id)
            self._client.cancel(update.job_id)

    def _take(self, event: Fetched) -> None:
        self._client.acknowledge(event.job_id)
        self._left.discard(event.job_id)
        sent = self._open.pop(event.job_id, None)
        if sent is not None and isinstance(event.outcome, Pictures) and self._is_news(sent):
            made = event.outcome.pictures[0]
            similarity = made.similarities[0] if made.similarities else None
            seconds = self._clock() - sent.began
            self.picture = LivePicture(made.picture, made.seed, similarity, sent.about, seconds, sent.number)
            self.sentence = ""

    def _is_news(self, sent: _Sent[About]) -> bool:
        return self.picture is None or sent.number > self.picture.number

    def _refused(self, event: Refused) -> bool:
        request = event.request
        if not isinstance(request, (Submit, Fetch, Cancel, Acknowledge)):
            return False
        job_id = request.job_id
        if job_id in self._left:
            if not isinstance(request, Cancel):  # the refusal of a cancel is followed by the job's last update
                self._left.discard(job_id)
            return True
        if self._open.pop(job_id, None) is None:
            return False
        self._heard(job_id)
        if isinstance(event.error, Busy):
            self.again()
            self._next_at = self._clock() + (event.retry_after_s or BUSY_S)
        else:
            self.sentence = str(event.error)
        return True
