"""Five points over a part of the canvas, to be dragged to where the face's eyes, nose and corners of the mouth are to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .protocol.geometry import Bounds, Point
from .qt import Qt, QtCore, QtGui, QtWidgets
from .widgets import Picture, Sentence, column

if TYPE_CHECKING:
    from .presenter import Presenter

NAMES = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner of the mouth")
"""As the viewer sees them, in the contract's order."""
REACH = 12.0
"""Pixels of the screen around a point within which it is grasped."""


class FivePoints(Picture):
    """The picture with the points on it. Drag them, or move the marked one with the arrow keys."""

    moved = QtCore.pyqtSignal(tuple)
    """All five points in canvas pixels, when one has been let go."""

    def __init__(self) -> None:
        super().__init__(320)
        self._bounds: Bounds | None = None
        self._points: tuple[Point, ...] = ()
        self._held: int | None = None
        self._marked: int | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)

    def show_points(self, bounds: Bounds | None, points: tuple[Point, ...]) -> None:
        """Show these, in canvas pixels; while one is dragged, the hand is right."""
        if self._held is None:
            self._bounds, self._points = bounds, points
            self.update()

    def place_of(self, point: Point) -> Any:  # a QPointF
        """Where a point of the canvas lies in this widget."""
        rect, bounds = self.picture_rect(), self._bounds
        assert bounds is not None
        x = rect.x() + (point.x - bounds.x) * rect.width() / bounds.width
        return QtCore.QPointF(x, rect.y() + (point.y - bounds.y) * rect.height() / bounds.height)

    def _point_at(self, place: Any) -> Point:
        """The point of the canvas below a place of this widget, within the picture."""
        rect, bounds = self.picture_rect(), self._bounds
        assert bounds is not None
        across = min(1.0, max(0.0, (place.x() - rect.x()) / rect.width()))
        down = min(1.0, max(0.0, (place.y() - rect.y()) / rect.height()))
        return Point(bounds.x + across * bounds.width, bounds.y + down * bounds.height)

    def _nearest(self, place: Any) -> int | None:
        if self._bounds is None:
            return None
        ways = [(QtCore.QLineF(self.place_of(point), place).length(), index) for index, point in enumerate(self._points)]
        length, index = min(ways, default=(REACH + 1, 0))
        return index if length <= REACH else None

    def _put(self, index: int, point: Point) -> None:
        self._points = tuple(point if number == index else old for number, old in enumerate(self._points))
        self.update()

    def mousePressEvent(self, event: Any) -> None:
        """Grasp the nearest point."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._held = self._marked = self._nearest(_place(event))
            self.update()

    def mouseMoveEvent(self, event: Any) -> None:
        """Take it along, and say which one is below the pointer."""
        if self._held is not None:
            self._put(self._held, self._point_at(_place(event)))
            return
        near = self._nearest(_place(event))
        self.setCursor(Qt.CursorShape.ArrowCursor if near is None else Qt.CursorShape.OpenHandCursor)
        self.setToolTip("" if near is None or near >= len(NAMES) else f"The {NAMES[near]}, as you see it.")

    def mouseReleaseEvent(self, event: Any) -> None:
        """Let go."""
        if self._held is not None and event.button() == Qt.MouseButton.LeftButton:
            self._held = None
            self.moved.emit(self._points)

    def keyPressEvent(self, event: Any) -> None:
        """One canvas pixel with an arrow key, ten with Shift."""
        keys = Qt.Key
        steps = {keys.Key_Left: (-1, 0), keys.Key_Right: (1, 0), keys.Key_Up: (0, -1), keys.Key_Down: (0, 1)}
        if self._marked is None or self._marked >= len(self._points) or self._bounds is None or event.key() not in steps:
            super().keyPressEvent(event)
            return
        far = 10 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1
        across, down = steps[event.key()]
        old, bounds = self._points[self._marked], self._bounds
        x = min(float(bounds.right), max(float(bounds.x), old.x + across * far))
        self._put(self._marked, Point(x, min(float(bounds.bottom), max(float(bounds.y), old.y + down * far))))
        self.moved.emit(self._points)

    def paintEvent(self, event: Any) -> None:
        """The picture, thin lines that make a face of the points, and the points."""
        super().paintEvent(event)
        if self._bounds is None or len(self._points) != 5:
            return
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        places = [self.place_of(point) for point in self._points]
        palette, roles = self.palette(), QtGui.QPalette.ColorRole
        for colour, width in ((QtGui.QColor(0, 0, 0, 140), 3.0), (palette.color(roles.HighlightedText), 1.0)):
            painter.setPen(QtGui.QPen(colour, width))
            for first, second in ((0, 2), (1, 2), (2, 3), (2, 4), (3, 4), (0, 1)):
                painter.drawLine(places[first], places[second])
        for index, place in enumerate(places):
            painter.setPen(QtGui.QPen(palette.color(roles.HighlightedText), 2.0 if index == self._marked else 1.2))
            painter.setBrush(palette.color(roles.Highlight))
            painter.drawEllipse(place, 6.0 if index == self._marked else 5.0, 6.0 if index == self._marked else 5.0)


def _place(event: Any) -> Any:
    return event.position() if hasattr(event, "position") else QtCore.QPointF(event.pos())


class FaceEditor(QtWidgets.QWidget):
    """The five points with a button that fetches the part of the canvas under the selection, and its face."""

    WATCHES = frozenset({"pose_picture", "pose_bounds", "pose_points"})

    def __init__(self, presenter: Presenter) -> None:
        super().__init__()
        self._presenter = presenter
        self.points = FivePoints()
        self.words = Sentence()
        self.ask = QtWidgets.QPushButton("Take from the canvas")
        self.ask.setToolTip("Show what is selected, and put the points on the face that is found there.")
        self.setLayout(column(None, self.points, self.words, self.ask))
        self.points.moved.connect(presenter.set_pose)
        self.ask.clicked.connect(lambda: presenter.ask_pose())

    def refresh(self, names: frozenset[str]) -> None:
        """Show what changed."""
        presenter = self._presenter
        if "pose_picture" in names:
            self.points.show_plane(presenter.pose_picture)
        if names & self.WATCHES:
            self.points.show_points(presenter.pose_bounds, presenter.pose_points)
            if presenter.pose_picture is None:
                self.words.say("Select the place of the head, then take it from the canvas.")
            elif len(presenter.pose_points) != 5:
                self.words.say("No face was found here. Select a larger part around the head.")
            else:
                self.words.say("Drag the points: eyes, nose, corners of the mouth.")
