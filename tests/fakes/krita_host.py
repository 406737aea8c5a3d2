"""A canvas for the presenter's tests: documents with pixel layers, a selection, an undo list, and a preview, in NumPy arrays.

It is as strict as Krita's: a layer that is applied composites over what is below, a closed document refuses, an alien thread is noticed.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from plugin_krita.protocol.errors import BadPicture
from plugin_krita.protocol.geometry import Bounds, Extent
from plugin_krita.protocol.planes import Layout, Plane

from plugin_krita.host import CanvasProblem, Capture, DocumentCard, Glimpse, LayerCard


def plane_of(array: np.ndarray) -> Plane:
    """(H, W, 4) BGRA or (H, W) -> a plane."""
    layout = Layout.A8 if array.ndim == 2 else {3: Layout.RGB8, 4: Layout.BGRA8}[array.shape[2]]
    return Plane(layout, Extent(array.shape[1], array.shape[0]), np.ascontiguousarray(array, np.uint8).tobytes())


def array_of(plane: Plane) -> np.ndarray:
    """A plane -> (H, W) or (H, W, channels)."""
    plane.check()
    array = np.frombuffer(plane.data, np.uint8).reshape(plane.extent.height, plane.extent.width, -1)
    return array[..., 0] if plane.layout is Layout.A8 else array


def rgba_of(plane: Plane) -> np.ndarray:
    array = array_of(plane)
    match plane.layout:
        case Layout.BGRA8:
            return array[..., [2, 1, 0, 3]]
        case Layout.RGB8:
            return np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])
        case _:
            return array


@dataclass
class Layer:
    key: str
    name: str
    pixels: np.ndarray
    """(H, W, 4) BGRA, of the size of the canvas."""


@dataclass
class Document:
    key: str
    width: int = 96
    height: int = 64
    name: str = "untitled.kra"
    layers: list[Layer] = field(default_factory=list)
    """Bottom first."""
    selection: np.ndarray | None = None
    undo: list[str] = field(default_factory=list)
    note: bytes | None = None
    file: str = ""
    modified: bool = False
    preview: tuple[Bounds, Plane] | None = None
    previews: int = 0
    masks: list[Plane | None] = field(default_factory=list)
    changes: int = 0
    """Steps of what the artist did; a test that paints counts it."""
    stroke: bool = False
    looks: int = 0

    def __post_init__(self) -> None:
        if not self.layers:
            rng = np.random.default_rng(1)
            ground = rng.integers(0, 255, (self.height, self.width, 4), np.uint8)
            ground[..., 3] = 255
            self.layers.append(Layer(f"{self.key}-ground", "Background", ground))

    def add(self, name: str) -> Layer:
        layer = Layer(f"{self.key}-{name}", name, np.zeros((self.height, self.width, 4), np.uint8))
        self.layers.append(layer)
        return layer

    def select(self, x: int, y: int, width: int, height: int, value: int = 255) -> None:
        self.selection = np.zeros((self.height, self.width), np.uint8)
        self.selection[y : y + height, x : x + width] = value

    def seen(self, part: tuple[slice, slice] = (slice(None), slice(None))) -> np.ndarray:
        """The projection, BGRA, of all or of some rows and columns."""
        result = np.zeros(self.layers[0].pixels[part].shape, np.float64)
        for layer in self.layers:
            above = layer.pixels[part].astype(np.float64)
            alpha, below = above[..., 3:] / 255, result[..., 3:] / 255
            whole = alpha + below * (1 - alpha)
            mixed = above[..., :3] * alpha + result[..., :3] * below * (1 - alpha)
            result[..., :3] = np.divide(mixed, whole, out=np.zeros_like(mixed), where=whole > 0)
            result[..., 3:] = whole * 255
        return np.rint(result).astype(np.uint8)


def _filled(pixels: np.ndarray) -> Bounds:
    alpha = pixels[..., 3] > 0
    if not alpha.any():
        raise CanvasProblem("The layer is empty.")
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    x, y = int(columns[0]), int(rows[0])
    return Bounds(x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)


class FakeHost:
    """`active` is the key of the document in front; those in `closed` refuse."""

    def __init__(self, *documents: Document) -> None:
        self.documents = {one.key: one for one in documents}
        self.active: str | None = documents[0].key if documents else None
        self.told: list[str] = []
        self.files: dict[str, Plane] = {}
        self.problem = ""
        self.quick_pixels = 1 << 18
        self.glances: list[tuple[Bounds, str | None]] = []
        self.thread = threading.get_ident()

    def close(self, key: str) -> Document:
        """Close a document; what it is as a file is given back."""
        self.active = None if self.active == key else self.active
        return self.documents.pop(key)

    def open(self, document: Document) -> None:
        self.documents[document.key] = document
        self.active = document.key

    def _document(self, key: str | None = None) -> Document:
        assert threading.get_ident() == self.thread, "a canvas was touched from another thread"
        if self.problem:
            raise CanvasProblem(self.problem)
        document = self.documents.get(key or self.active or "")
        if document is None:
            raise CanvasProblem("The document is closed.")
        return document

    # Host ------------------------------------------------------------------------------------------------------------------------------
    def document(self) -> DocumentCard | None:
        if self.active is None:
            return None
        one, box = self._document(), None
        if one.selection is not None and one.selection.any():
            rows, columns = np.flatnonzero(one.selection.any(1)), np.flatnonzero(one.selection.any(0))
            x, y = int(columns[0]), int(rows[0])
            box = Bounds(x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)
        return DocumentCard(one.key, one.width, one.height, one.name, box)

    def layers(self) -> tuple[LayerCard, ...]:
        cards = self._document().layers[::-1]
        return tuple(LayerCard(one.key, one.name, number == 0) for number, one in enumerate(cards))

    def capture(self, bounds: Bounds) -> Capture:
        one = self._document()
        assert min(bounds.x, bounds.y) >= 0, "a capture beyond the canvas"
        assert bounds.right <= one.width, "a capture beyond the canvas"
        assert bounds.bottom <= one.height, "a capture beyond the canvas"
        part = (slice(bounds.y, bounds.bottom), slice(bounds.x, bounds.right))
        mask = None if one.selection is None else plane_of(one.selection[part])
        return Capture(one.key, bounds, plane_of(one.seen(part)), mask)

    def layer_pixels(self, key: str, bounds: Bounds | None = None) -> tuple[Bounds, Plane]:
        layer = self._layer(key)
        bounds = bounds or _filled(layer.pixels)
        return bounds, plane_of(layer.pixels[bounds.y : bounds.bottom, bounds.x : bounds.right])

    def stamp(self) -> object:
        """As Krita's: of the history of changes, not of the pixels; while a stroke is painted, every time another."""
        one = self._document()
        one.looks += one.stroke
        return (one.changes, one.looks, len(one.undo))

    def at_once(self) -> int:
        return self.quick_pixels

    def glance(self, bounds: Bounds, layer: str | None = None) -> Glimpse:
        one = self._document()
        self.glances.append((bounds, layer))
        assert bounds.width * bounds.height <= max(self.quick_pixels, bounds.width * 64), "too much at once"
        if bounds.right > one.width or bounds.bottom > one.height:
            raise CanvasProblem("The canvas has another size.")
        part = (slice(bounds.y, bounds.bottom), slice(bounds.x, bounds.right))
        if layer is not None:
            return Glimpse(one.key, plane_of(self._layer(layer).pixels[part]))
        seen = one.seen(part) if one.preview is None else one.seen(part) // 2
        mask = None if one.selection is None or not one.selection.any() else plane_of(one.selection[part])
        return Glimpse(one.key, plane_of(seen), mask)

    def layer_box(self, layer: str) -> Bounds:
        return _filled(self._layer(layer).pixels)

    def _layer(self, key: str) -> Layer:
        layer = next((one for one in self._document().layers if one.key == key), None)
        if layer is None:
            raise CanvasProblem("The layer is gone.")
        return layer

    def open_picture(self, path: str) -> Plane:
        if path not in self.files:
            raise BadPicture(f"{Path(path).name} cannot be opened. Choose another file.")
        return self.files[path]

    def save_picture(self, plane: Plane, path: str) -> None:
        Path(path).write_bytes(self.png(plane))

    def png(self, plane: Plane) -> bytes:
        data = io.BytesIO()
        Image.fromarray(rgba_of(plane)).save(data, "PNG")
        return data.getvalue()

    def from_png(self, data: bytes) -> Plane:
        try:
            rgba = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
        except (OSError, SyntaxError) as error:
            raise BadPicture("This is no picture.") from error
        return plane_of(rgba[..., [2, 1, 0, 3]])

    def scaled(self, plane: Plane, extent: Extent, background: int | None = None) -> Plane:
        size = (extent.width, extent.height)
        if plane.layout is Layout.A8:
            return plane_of(np.asarray(Image.fromarray(array_of(plane)).resize(size)))
        image = Image.fromarray(rgba_of(plane))
        image = image if plane.extent == extent else image.resize(size)
        if background is not None:
            ground = Image.new("RGBA", size, (background,) * 3 + (255,))
            image = Image.alpha_composite(ground, image)
        return plane_of(np.asarray(image)[..., [2, 1, 0, 3]])

    def show_preview(self, document: str, bounds: Bounds, picture: Plane) -> None:
        one = self._document(document)
        assert picture.extent == bounds.extent
        assert picture.layout is Layout.BGRA8
        picture.check()
        one.preview, one.previews = (bounds, picture), one.previews + 1

    def hide_preview(self, document: str) -> None:
        self._document(document).preview = None

    def apply(self, document: str, bounds: Bounds, picture: Plane, name: str, mask: Plane | None = None) -> None:
        one = self._document(document)
        assert picture.extent == bounds.extent
        pixels = array_of(picture).copy()
        if mask is not None:
            assert mask.extent == bounds.extent
            pixels[..., 3] = np.minimum(pixels[..., 3], array_of(mask))
        layer = one.add(name)
        left, top = max(0, bounds.x), max(0, bounds.y)
        right, bottom = min(one.width, bounds.right), min(one.height, bounds.bottom)
        if right > left and bottom > top:
            layer.pixels[top:bottom, left:right] = pixels[top - bounds.y : bottom - bounds.y, left - bounds.x : right - bounds.x]
        one.undo.append(f"add {name}")
        one.masks.append(mask)
        one.preview = None

    def read_note(self, document: str) -> bytes | None:
        return self._document(document).note

    def write_note(self, document: str, data: bytes, news: bool = False) -> None:
        one = self._document(document)
        one.note, one.modified = data, one.modified or news

    def is_open(self, document: str) -> bool:
        return document in self.documents

    def path(self, document: str) -> str:
        return self.file(document)

    def file(self, document: str) -> str:
        return self.documents[document].file if document in self.documents else ""

    def note_in_file(self, path: str) -> bytes | None:
        return Path(path).read_bytes() or None

    def save(self, key: str, path: Path | None = None) -> None:
        """What the artist does. The file is nothing but the note."""
        one = self.documents[key]
        one.file, one.modified = str(path or one.file), False
        Path(one.file).write_bytes(one.note or b"")

    def reopen(self, key: str) -> None:
        """The document is opened anew, after it was closed or its program died: with the note that its file has, if it has a file."""
        one = self.documents[key]
        one.note, one.preview = self.note_in_file(one.file) if one.file else None, None

    def tell(self, sentence: str) -> None:
        self.told.append(sentence)
