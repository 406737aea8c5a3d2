"""A backend with characters in memory: photos show as many faces as their first byte says (5 and more: none), and nothing is computed."""

from __future__ import annotations

from pathlib import Path

from fake_backend import FakeBackend

from protocol.errors import NameTaken
from protocol.geometry import Box, Extent, Point
from protocol.jobs import AnalyseFaces, ImportCharacter, Job, MakeCharacter, PictureJob, Reading
from protocol.messages import (
    Accepted,
    Acknowledge,
    AskCharacters,
    AskModels,
    AskStatus,
    Cancel,
    CharacterPhotos,
    Characters,
    DeleteCharacter,
    Done,
    ExportCharacter,
    Fault,
    Fetch,
    Fetched,
    JobUpdate,
    Models,
    Rejected,
    RenameCharacter,
    Reply,
    Request,
    Stage,
    Submit,
)
from protocol.planes import Layout, Plane
from protocol.results import CharacterCard, Faces, FoundFace, MadeCharacter, ModelInfo, Outcome

PAGE = 2


def photo(faces: int, side: int = 64, layout: Layout = Layout.BGRA8) -> Plane:
    """A photo with so many faces; its bytes are opaque for every layout."""
    data = bytearray(b"\xff" * (side * side * layout.channels))
    data[0] = faces
    return Plane(layout, Extent(side, side), bytes(data))


def faces_on(plane: Plane) -> tuple[FoundFace, ...]:
    """The faces of such a photo, largest first, from left to right."""
    count = bytes(plane.data[:1])[0]
    found = []
    for number in range(count if count < 5 else 0):
        size, left = 20 - 4 * number, 2 + 20 * number
        points = tuple(Point(left + x * size, 10 + y * size) for x, y in ((0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.35, 0.8), (0.65, 0.8)))
        found.append(FoundFace(Box(left, 10, left + size, 10 + size), points, 0.9 - number / 10))
    return tuple(found)


class PeopleBackend(FakeBackend):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, self._reply)
        self.characters: dict[str, tuple[Plane, ...]] = {}
        self.readings: dict[str, tuple[Reading, ...]] = {}
        self.made: list[MakeCharacter] = []
        self.brought: list[ImportCharacter] = []
        self.pictures: list[PictureJob] = []
        self.outcomes: dict[str, Outcome] = {}
        self.acknowledged: list[str] = []

    def _reply(self, request: Request) -> list[Reply]:
        number = request.request
        match request:
            case Submit():
                return self._submitted(request, request.job)
            case Fetch():
                return [Fetched(number, request.job_id, self.outcomes[request.job_id])]
            case Acknowledge():
                self.acknowledged.append(request.job_id)
                return [Done(number)]
            case Cancel():
                return [JobUpdate(request.job_id, Stage.CANCELLED, number)]
            case AskModels():
                return [Models(number, (ModelInfo("m", "A model", "sdxl", Extent(64, 64), subjects=True, steps=30),))]
            case AskCharacters():
                names = sorted(name for name in self.characters if request.after is None or name > request.after)
                return [Characters(number, tuple(self._card(name) for name in names[:PAGE]), len(names) > PAGE)]
            case RenameCharacter():
                self.characters[request.to] = self.characters.pop(request.name)
                return [Done(number)]
            case DeleteCharacter():
                self.characters.pop(request.name)
                return [Done(number)]
            case ExportCharacter():
                readings = self.readings.get(request.name, ())
                photos = self.characters[request.name] if request.photos or not readings else ()
                return [CharacterPhotos(number, request.name, photos, self._card(request.name).thumbnail, readings, release="0.1.0")]
            case AskStatus():
                return [Rejected(number, "busy", "Too much is waiting already.")]
        return []

    def _submitted(self, request: Submit, job: Job) -> list[Reply]:
        def end(stage: Stage, fault: Fault | None = None) -> list[Reply]:
            accepted = Accepted(request.request, request.job_id)
            return [accepted, JobUpdate(request.job_id, stage, fault=fault, note=request.note)]

        match job:
            case AnalyseFaces():
                if bytes(job.picture.data[:1])[0] == 9:
                    return end(Stage.FAILED, Fault("no-face", "The photo shows no face. Choose another."))
                self.outcomes[request.job_id] = Faces(faces_on(job.picture))
            case MakeCharacter():
                if job.name in self.characters and not job.replace:
                    return end(Stage.FAILED, Fault(NameTaken.code, f"There is a character called {job.name!r} already."))
                self.made.append(job)
                self.characters[job.name] = job.photos
                self.outcomes[request.job_id] = MadeCharacter(self._card(job.name))
            case ImportCharacter():
                self.brought.append(job)
                self.characters[job.name], self.readings[job.name] = job.photos, job.readings
                self.outcomes[request.job_id] = MadeCharacter(self._card(job.name))
            case PictureJob():
                self.pictures.append(job)
                return end(Stage.QUEUED)
        return end(Stage.DONE)

    def _card(self, name: str) -> CharacterCard:
        photos = self.characters[name]
        thumbnail = photo(bytes(photos[0].data[:1])[0] if photos else 1, 32, Layout.RGB8)
        scores = tuple(0.9 - n / 10 for n in range(len(photos)))
        return CharacterCard(name, thumbnail, scores, tuple(0.8 - n / 10 for n in range(len(photos))))
