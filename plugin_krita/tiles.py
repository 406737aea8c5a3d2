"""A list of pictures with a word below each, in as many columns as fit; for characters and results. Draws only what is in sight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .qt import Qt, QtCore, QtGui, QtWidgets

EDGE = 3
"""Pixels around a tile's picture."""
ROLE = Qt.ItemDataRole.UserRole


@dataclass(frozen=True)
class Tile:
    """One picture. `chosen` tiles stand on the highlight colour; `ticked` ones have a mark in the corner."""

    key: str
    caption: str
    pixmap: Any
    tip: str = ""
    chosen: bool = False
    ticked: bool = False


class _Model(QtCore.QAbstractListModel):
    """The tiles as Qt asks for them."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self.tiles: tuple[Tile, ...] = ()

    def put(self, tiles: tuple[Tile, ...]) -> None:
        """Other tiles; when only their looks changed, the view keeps its place."""
        same = [tile.key for tile in tiles] == [tile.key for tile in self.tiles]
        if same:
            old, self.tiles = self.tiles, tiles
            for place, (before, now) in enumerate(zip(old, tiles)):  # noqa: B905 - equally long
                if before != now:
                    self.dataChanged.emit(self.index(place), self.index(place))
            return
        self.beginResetModel()
        self.tiles = tiles
        self.endResetModel()

    def rowCount(self, parent: Any = None) -> int:
        """Tiles; they have no children."""
        return 0 if parent is not None and parent.isValid() else len(self.tiles)

    def data(self, index: Any, role: int) -> Any:
        """What is drawn and said about one tile."""
        tile = self.tiles[index.row()]
        roles = Qt.ItemDataRole
        if role == ROLE:
            return tile
        if role == roles.ToolTipRole:
            return tile.tip or tile.caption
        if role in (roles.AccessibleTextRole, roles.DisplayRole):
            return tile.caption
        return None


class _Painter(QtWidgets.QStyledItemDelegate):
    """Draws one tile with the palette's colours."""

    def paint(self, painter: Any, option: Any, index: Any) -> None:
        """The highlight, the picture with its proportions, the caption."""
        tile: Tile = index.data(ROLE)
        palette, roles = option.palette, QtGui.QPalette.ColorRole
        painter.save()
        painter.setRenderHints(QtGui.QPainter.RenderHint.Antialiasing | QtGui.QPainter.RenderHint.SmoothPixmapTransform)
        cell = option.rect.adjusted(1, 1, -1, -1)
        hovered = bool(option.state & QtWidgets.QStyle.StateFlag.State_MouseOver)
        if tile.chosen or hovered:
            colour = QtGui.QColor(palette.color(roles.Highlight))
            colour.setAlpha(255 if tile.chosen else 70)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawRoundedRect(QtCore.QRectF(cell), 2, 2)
        words_height = option.fontMetrics.height()
        room = cell.adjusted(EDGE, EDGE, -EDGE, -EDGE - words_height)
        size = tile.pixmap.size().scaled(room.size(), Qt.AspectRatioMode.KeepAspectRatio)
        x, y = room.x() + (room.width() - size.width()) // 2, room.y() + (room.height() - size.height()) // 2
        painter.drawPixmap(QtCore.QRect(QtCore.QPoint(x, y), size), tile.pixmap)
        below = QtCore.QRect(cell.x() + 2, cell.bottom() - words_height - 1, cell.width() - 4, words_height + 1)
        painter.setPen(palette.color(roles.HighlightedText if tile.chosen else roles.Text))
        words = option.fontMetrics.elidedText(tile.caption, Qt.TextElideMode.ElideRight, below.width())
        painter.drawText(below, Qt.AlignmentFlag.AlignCenter, words)
        if tile.ticked:
            self._tick(painter, QtCore.QRectF(x + size.width() - 17, y + 3, 14, 14), palette)
        if option.state & QtWidgets.QStyle.StateFlag.State_HasFocus:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QtGui.QPen(palette.color(roles.Highlight), 1))
            painter.drawRoundedRect(QtCore.QRectF(cell).adjusted(0.5, 0.5, -0.5, -0.5), 2, 2)
        painter.restore()

    def _tick(self, painter: Any, place: Any, palette: Any) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(palette.color(QtGui.QPalette.ColorRole.Highlight))
        painter.drawEllipse(place)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QtGui.QPen(palette.color(QtGui.QPalette.ColorRole.HighlightedText), 1.6))
        corner = place.topLeft()
        painter.drawPolyline(QtGui.QPolygonF([corner + QtCore.QPointF(x, y) for x, y in ((3.8, 7.2), (6.2, 9.8), (10.4, 4.6))]))

    def sizeHint(self, _option: Any, _index: Any) -> Any:
        """All tiles are of the size that the list gave them."""
        return self.parent().gridSize()


class Tiles(QtWidgets.QListView):
    """The list. It is as high as its rows, up to `most_rows`, then it scrolls."""

    clicked_tile = QtCore.pyqtSignal(str, bool)
    """Key of the tile that was clicked or got Return or Space, and whether Ctrl was held."""
    menu_wanted = QtCore.pyqtSignal(str, object)
    """Key of the tile that was clicked with the right button, and where on the screen."""

    def __init__(self, narrowest: int, most_rows: float, empty: str = "") -> None:
        """`narrowest`: least width of a tile in pixels. `empty`: what to say where there is none."""
        super().__init__()
        self._narrowest, self._most_rows, self._empty = narrowest, most_rows, empty
        self._list = _Model(self)
        self.setModel(self._list)
        self.setItemDelegate(_Painter(self))
        self.setViewMode(QtWidgets.QListView.ViewMode.IconMode)
        self.setMovement(QtWidgets.QListView.Movement.Static)
        self.setResizeMode(QtWidgets.QListView.ResizeMode.Adjust)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.NoSelection)
        self.setVerticalScrollMode(QtWidgets.QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._ask_menu)
        self.clicked.connect(self._click)
        policy = QtWidgets.QSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self._measure()

    def put(self, tiles: tuple[Tile, ...]) -> None:
        """Show these."""
        count = len(self._list.tiles)
        self._list.put(tiles)
        if len(tiles) != count:
            self._measure()

    def tiles(self) -> tuple[Tile, ...]:
        """What is shown."""
        return self._list.tiles

    def _columns(self, width: int) -> tuple[int, Any, bool]:
        """For this width: the height that is wanted, the size of a tile, and whether there are more rows than are shown at once."""
        frame, count = 2 * self.frameWidth(), len(self._list.tiles)
        if not count:
            return self.fontMetrics().height() * 4, QtCore.QSize(self._narrowest, self._narrowest), False
        inside = width - frame
        columns = max(1, inside // self._narrowest)
        scrolls = -(-count // columns) > self._most_rows
        if scrolls:
            inside -= self.style().pixelMetric(QtWidgets.QStyle.PixelMetric.PM_ScrollBarExtent)
            columns = max(1, inside // self._narrowest)
        # One pixel less, or Qt breaks the row one tile early.
        side = max(24, (inside - 1) // columns)
        size = QtCore.QSize(side, side + self.fontMetrics().height())
        return round(size.height() * min(-(-count // columns), self._most_rows)) + frame, size, scrolls

    def _measure(self) -> None:
        """Share the width among the columns."""
        _, size, scrolls = self._columns(self.width())
        policies = Qt.ScrollBarPolicy
        self.setVerticalScrollBarPolicy(policies.ScrollBarAlwaysOn if scrolls else policies.ScrollBarAlwaysOff)
        if size != self.gridSize():
            self.setGridSize(size)
        self.updateGeometry()

    def hasHeightForWidth(self) -> bool:
        """Fewer columns need more rows."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Pixels."""
        return self._columns(width)[0]

    def minimumSizeHint(self) -> Any:
        """One column; the height follows from the width."""
        return QtCore.QSize(self._narrowest, 24)

    def sizeHint(self) -> Any:
        """At the width that it has."""
        return QtCore.QSize(self._narrowest * 3, self.heightForWidth(max(self.width(), self._narrowest)))

    def _click(self, index: Any) -> None:
        held = QtWidgets.QApplication.keyboardModifiers() & Qt.KeyboardModifier.ControlModifier
        self.clicked_tile.emit(self._list.tiles[index.row()].key, bool(held))

    def _ask_menu(self, place: Any) -> None:
        index = self.indexAt(place)
        if index.isValid():
            self.menu_wanted.emit(self._list.tiles[index.row()].key, self.viewport().mapToGlobal(place))

    def keyPressEvent(self, event: Any) -> None:
        """Return and Space are a click on the tile that has the focus."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and self.currentIndex().isValid():
            held = event.modifiers() & Qt.KeyboardModifier.ControlModifier
            self.clicked_tile.emit(self._list.tiles[self.currentIndex().row()].key, bool(held))
            return
        super().keyPressEvent(event)

    def resizeEvent(self, event: Any) -> None:
        """Other columns."""
        self._measure()
        super().resizeEvent(event)

    def wheelEvent(self, event: Any) -> None:
        """Without rows out of sight the wheel scrolls the docker."""
        if self.verticalScrollBar().maximum() > 0:
            super().wheelEvent(event)
        else:
            event.ignore()

    def paintEvent(self, event: Any) -> None:
        """The tiles, or what to do to get some."""
        super().paintEvent(event)
        if not self._list.tiles and self._empty:
            painter = QtGui.QPainter(self.viewport())
            painter.setPen(self.palette().color(QtGui.QPalette.ColorGroup.Disabled, QtGui.QPalette.ColorRole.Text))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.viewport().rect().adjusted(8, 2, -8, -2), int(flags), self._empty)
