"""The five points of a face on the canvas: found under the selection, laid there to be moved by hand, or as in the person's photo."""

from __future__ import annotations

from collections.abc import Callable

from . import asking
from .desk import Desk
from .form import Form, Mode, PersonRow, Pose
from .host import CanvasProblem, Capture
from .protocol.geometry import Bounds, Extent, Point
from .protocol.jobs import AnalyseFaces
from .protocol.planes import Plane
from .protocol.results import Faces, Outcome

PICTURE_SIDE = 1024
TEMPLATE = (Point(38.2946, 51.6963), Point(73.5318, 51.5014), Point(56.0252, 71.7366), Point(41.5493, 92.3655), Point(70.7299, 92.2041))
"""ArcFace's template, 112 x 112: a face seen from the front, for where none was found."""

Points = tuple[Point, ...]
PoseOf = Callable[[PersonRow, Callable[[Points], None], Callable[[str], None]], None]
"""Measures a person's face: the row, then what takes its points, or what takes a sentence."""


def place_face(form: Form, area: asking.Area, pose_of: PoseOf, then: Callable[[Points], None], failed: Callable[[str], None]) -> None:
    """Find out where the first person's face goes: `then` with five points in canvas pixels, or with () where the backend decides."""
    if form.persons and form.pose is Pose.PHOTO:
        pose_of(form.persons[0], lambda points: then(asking.fitted(points, asking.head_place(area))), failed)
    else:
        then(form.points if form.pose is Pose.HAND else ())


class PoseDesk:
    """What the five-point editor shows and moves; points in canvas pixels."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.picture: Plane | None = None
        self.bounds: Bounds | None = None
        self.points: tuple[Point, ...] = ()
        self._job = ""

    def ask(self) -> None:
        """Look for a face under the selection, or on the whole canvas. Raises `CanvasProblem` without a document."""
        host = self._desk.host
        card = host.document()
        if card is None:
            raise CanvasProblem("No document is open, so there is no face to look for. Open one first.")
        area = asking.area_of(Mode.REFINE, card)
        capture = host.capture(area.bounds)
        scale = min(1.0, PICTURE_SIDE / max(area.bounds.width, area.bounds.height))
        extent = Extent(max(1, round(area.bounds.width * scale)), max(1, round(area.bounds.height * scale)))
        small = capture.picture if scale == 1 else host.scaled(capture.picture, extent)
        self.picture, self.bounds = small, area.bounds
        self.points = asking.fitted(TEMPLATE, asking.head_place(area))
        self._desk.form = self._desk.form.changed(points=self.points)
        if self._job:
            self._desk.drop(self._job)

        def take(outcome: Outcome) -> None:
            self._job = ""
            self._found(outcome, capture, area, small.extent)

        def failed(code: str, sentence: str) -> None:
            self._job = ""
            self._desk.say(sentence)

        self._job = self._desk.errand(AnalyseFaces(small, model=self._desk.form.model), take, failed)

    def _found(self, outcome: Outcome, capture: Capture, area: asking.Area, extent: Extent) -> None:
        x, y = area.bounds.width / extent.width, area.bounds.height / extent.height
        faces = outcome.faces if isinstance(outcome, Faces) else ()
        for face in faces:
            points = tuple(Point(area.bounds.x + point.x * x, area.bounds.y + point.y * y) for point in face.keypoints)
            if _is_inside(points, area.target):
                self.set(points, by_hand=False)
                return
        self._desk.say("No face was found under the selection. The five points lie where one would fit; move them to where it shall be.")

    def set(self, points: tuple[Point, ...], by_hand: bool = True) -> None:
        """Five points in canvas pixels; moved by hand they decide the pose."""
        if len(points) != 5:
            return
        self.points = tuple(points)
        self._desk.form = self._desk.form.changed(points=self.points, **({"pose": Pose.HAND} if by_hand else {}))


def _is_inside(points: tuple[Point, ...], box: Bounds) -> bool:
    x, y = sum(point.x for point in points) / 5, sum(point.y for point in points) / 5
    return box.x <= x < box.right and box.y <= y < box.bottom
