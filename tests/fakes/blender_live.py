"""A scene that is posed without Blender, and a backend that draws live pictures when a test says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from blender_stage import FACE, a_shot
from krita_people import PeopleBackend
from plugin_blender.protocol.errors import InvalidRequest
from plugin_blender.protocol.geometry import Point
from plugin_blender.protocol.jobs import GuideKind

from plugin_blender.chores import Steps
from plugin_blender.wish import Shot, Wish
from protocol.geometry import Extent
from protocol.jobs import PictureJob
from protocol.messages import Accepted, Cancel, Fault, JobUpdate, Models, Stage, Submit
from protocol.planes import Layout, Plane
from protocol.results import MadePicture, Pictures

ANNA = Wish(prompt="a pilot", character="Anna", seed=7, skeleton=0.0, depth=0.0)
NOBODY = ANNA.changed(character="")


def turned(by: float) -> tuple[Point, ...]:
    """The face, moved to the right."""
    return tuple(Point(point.x + by, point.y) for point in FACE)


def is_turned(job: PictureJob, by: float) -> bool:
    """Whether the job asks for the face there. The add-on's points are of its own copy of the contract."""
    return [(point.x, point.y) for guide in job.guides for point in guide.keypoints] == [(point.x, point.y) for point in turned(by)]


@dataclass
class FakeEyes:
    """A scene whose face is at `at`; counts how often it is glanced at and looked at."""

    panel: Wish = ANNA
    at: float = 0.0
    changes: int = 0
    obstacle: str = ""
    unseen: str = ""
    glances: int = 0
    looks: list[Sequence[GuideKind]] = field(default_factory=list)

    def move(self, to: float) -> None:
        self.at, self.changes = to, self.changes + 1

    def wish(self) -> Wish:
        return self.panel

    def stamp(self) -> int:
        self.glances += 1
        if self.obstacle:
            raise InvalidRequest(self.obstacle)
        return self.changes

    def look(self, kinds: Sequence[GuideKind]) -> Steps[Shot]:
        self.looks.append(kinds)
        points = () if self.unseen else turned(self.at)
        yield
        if self.unseen == "no camera":
            raise InvalidRequest("The scene has no camera.")
        yield
        maps = {kind: plane for kind, plane in a_shot().maps.items() if kind in kinds}
        return replace(a_shot(), maps=maps, keypoints=points, sentences=(self.unseen,) if self.unseen else ())


class LiveBackend(PeopleBackend):
    """Says of live jobs that they wait; a test draws the newest. A newer one ends an older one that waits, as the real one does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.live: dict[str, Submit] = {}
        self.guides: tuple[GuideKind, ...] = ()

    def _submitted(self, request: Submit, job):
        if request.live is None:
            return super()._submitted(request, job)
        gone = [JobUpdate(job_id, Stage.CANCELLED, note=one.note) for job_id, one in self.live.items()]
        self.live = {request.job_id: request}
        self.pictures.append(job)
        return [Accepted(request.request, request.job_id), *gone, JobUpdate(request.job_id, Stage.QUEUED, note=request.note)]

    def _reply(self, request):
        if isinstance(request, Cancel):
            self.live.pop(request.job_id, None)
        replies = super()._reply(request)
        return [self._with_guides(one) if isinstance(one, Models) else one for one in replies]

    def _with_guides(self, models: Models) -> Models:
        return replace(models, models=tuple(replace(one, guides=self.guides) for one in models.models))

    @property
    def submits(self) -> list[Submit]:
        return [one for one in self.heard if isinstance(one, Submit) and isinstance(one.job, PictureJob)]

    @property
    def live_jobs(self) -> list[PictureJob]:
        return [one.job for one in self.submits if one.live is not None]

    def draw(self, level: int = 100, side: int = 8, seed: int = 7) -> None:
        """The live job that waits is drawn."""
        [(job_id, request)] = self.live.items()
        self.live.clear()
        plane = Plane(Layout.RGB8, Extent(side, side), bytes([level]) * (side * side * 3))
        self.outcomes[job_id] = Pictures((MadePicture(plane, seed, (0.5,)),), "m")
        self.say(JobUpdate(job_id, Stage.DONE, note=request.note))

    def fail(self, sentence: str) -> None:
        [(job_id, request)] = self.live.items()
        self.live.clear()
        self.say(JobUpdate(job_id, Stage.FAILED, fault=Fault("invalid-request", sentence), note=request.note))
