"""Krita as the presenter's host: the active document, its layers, pixels out and layers in."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from krita import Krita

from . import picture_files as pictures
from .canvas_colour import check_size, document_pixels, node_pixels
from .canvas_layers import PIXEL_LAYERS, Preview, key_of, nodes
from .canvas_live import Watch, at_once, glance
from .host import CanvasProblem, Capture, DocumentCard, Glimpse, LayerCard
from .krita_files import KRITA_FILES, annotation_in
from .protocol.errors import LikenessError
from .protocol.geometry import Bounds, Extent
from .protocol.planes import Layout, Plane
from .qt import QtGui

KEY_NOTE = "likeness/document"
STATE_NOTE = "likeness/state"
_MESSAGE_MS = 4000

Call = TypeVar("Call", bound=Callable[..., Any])


def _asked(call: Call) -> Call:
    """Whatever Krita throws becomes a `CanvasProblem`: it may close a document or delete a layer between any two of our calls."""

    @functools.wraps(call)
    def told(*values: Any, **named: Any) -> Any:
        try:
            return call(*values, **named)
        except CanvasProblem:
            raise
        except LikenessError as error:
            raise CanvasProblem(str(error)) from error
        except Exception as error:
            raise CanvasProblem(f"Krita could not do this at the moment ({error}). {CanvasProblem.cure}") from error

    return told  # type: ignore[return-value]


class KritaHost:
    """`host.Host` for Krita 5.1 and newer. `active` gives the active document; it is Krita's own unless a test runs without windows."""

    def __init__(self, active: Callable[[], Any] | None = None) -> None:
        self._active = active or (lambda: Krita.instance().activeDocument())
        self._keys: dict[str, str] = {}
        """Root layer -> document key. The root's id is new whenever a file is opened, and stays while it is open."""
        self._previews: dict[str, Preview] = {}
        self._watch = Watch()

    @_asked
    def document(self) -> DocumentCard | None:
        """The active document, or None."""
        document = self._active()
        if document is None or document.rootNode() is None:
            return None
        name = os.path.basename(document.fileName()) or document.name() or "Unnamed"
        return DocumentCard(self._key(document), document.width(), document.height(), name, _selected(document))

    @_asked
    def layers(self) -> tuple[LayerCard, ...]:
        """The layers with pixels, top first; without our preview."""
        document = self._active()
        if document is None or document.rootNode() is None:
            return ()
        active = document.activeNode()
        chosen = None if active is None else key_of(active)
        preview = self._preview(document)
        return tuple(
            LayerCard(key_of(node), node.name(), key_of(node) == chosen)
            for node in nodes(document)
            if node.type() in PIXEL_LAYERS and not preview.is_ours(node)
        )

    @_asked
    def capture(self, bounds: Bounds) -> Capture:
        """The canvas in `bounds`, as far as they lie within it, without our preview; and the selection there."""
        document = self._now()
        bounds = _clamped(bounds, document)
        check_size(bounds)
        ours = self._preview(document)
        preview = ours.node(document)
        hidden = preview is not None and preview.visible() and _overlap(preview.bounds(), bounds)
        if hidden:
            preview.setVisible(False)
            ours.refresh.now(document)
        try:
            document.waitForDone()
            picture = document_pixels(document, bounds)
        finally:
            if hidden:
                preview.setVisible(True)
                ours.refresh.soon(document)
        return Capture(self._kept_key(document), bounds, picture, _mask(document, bounds))

    @_asked
    def layer_pixels(self, key: str, bounds: Bounds | None = None) -> tuple[Bounds, Plane]:
        """A layer's own pixels, in `bounds` or in the box that it fills on the canvas."""
        document = self._now()
        node = _layer(document, key)
        document.waitForDone()
        bounds = bounds or _box_of(node, document)
        return bounds, node_pixels(node, bounds)

    @_asked
    def stamp(self) -> Hashable:
        """Differs when the active document may look otherwise, and every time while a stroke is being painted."""
        document = self._active()
        return None if document is None or document.rootNode() is None else self._watch.stamp(document)

    @_asked
    def at_once(self) -> int:
        """How many pixels `glance` reads within a few milliseconds."""
        return at_once(self._now())

    @_asked
    def glance(self, bounds: Bounds, layer: str | None = None) -> Glimpse:
        """What the active document, or one of its layers, has in `bounds` this moment."""
        document = self._now()
        if _clamped(bounds, document) != bounds:
            raise CanvasProblem("The canvas has another size than a moment ago. Live goes on when it is settled.")
        picture = glance(document, None if layer is None else _layer(document, layer), bounds)
        return Glimpse(self._key(document), picture, _mask(document, bounds) if layer is None else None)

    @_asked
    def layer_box(self, layer: str) -> Bounds:
        """The box that a layer fills on the canvas."""
        document = self._now()
        return _box_of(_layer(document, layer), document)

    @_asked
    def open_picture(self, path: str) -> Plane:
        """A picture file as BGRA8, upright, at most 2048 pixels a side."""
        return pictures.open_picture(path)

    @_asked
    def save_picture(self, plane: Plane, path: str) -> None:
        """Write a picture as a PNG."""
        pictures.save_picture(plane, path)

    def png(self, plane: Plane) -> bytes:
        """A picture as a PNG; in any thread."""
        return pictures.png(plane)

    def from_png(self, data: bytes) -> Plane:
        """The BGRA8 picture in a PNG; in any thread."""
        return pictures.from_png(data)

    def scaled(self, plane: Plane, extent: Extent, background: int | None = None) -> Plane:
        """A picture at another size; in any thread."""
        return pictures.scaled(plane, extent, background)

    @_asked
    def show_preview(self, document: str, bounds: Bounds, picture: Plane) -> None:
        """Show BGRA8 pixels in a locked layer on top."""
        _fits(bounds, picture, Layout.BGRA8)
        found = self._open(document)
        self._preview(found).show(found, bounds, picture)

    @_asked
    def hide_preview(self, document: str) -> None:
        """Take that layer away, if it is there. A document that is closed has none."""
        found = self._find(document)
        if found is not None:
            self._preview(found).hide(found, self._is_active(document))

    @_asked
    def apply(self, document: str, bounds: Bounds, picture: Plane, name: str, mask: Plane | None = None) -> None:
        """Make a layer of BGRA8 pixels, in one step of undo; the preview becomes it, when there is one."""
        _fits(bounds, picture, Layout.BGRA8)
        if mask is not None:
            _fits(bounds, mask, Layout.A8)
        found = self._open(document)
        self._kept_key(found)
        self._preview(found).apply(found, bounds, picture, name, mask, self._is_active(document))

    @_asked
    def read_note(self, document: str) -> bytes | None:
        """What `write_note` kept in the document; None: nothing."""
        return bytes(self._open(document).annotation(STATE_NOTE)) or None

    @_asked
    def write_note(self, document: str, data: bytes, news: bool = False) -> None:
        """Keep bytes with the document, in its file when it is saved."""
        found = self._open(document)
        self._kept_key(found)
        _annotate(found, STATE_NOTE, "Likeness: history of this picture", data)
        if news:
            found.setModified(True)  # Krita saves nothing that is not modified, not even when it is told to

    @_asked
    def is_open(self, document: str) -> bool:
        """Whether that document is open."""
        return self._find(document) is not None

    @_asked
    def path(self, document: str) -> str:
        """The document's file."""
        found = self._find(document)
        return "" if found is None else str(found.fileName())

    @_asked
    def file(self, document: str) -> str:
        """Where the document is saved, if that is a file of Krita's own kind: others have no annotations."""
        path = self.path(document)
        return path if path.lower().endswith(KRITA_FILES) else ""

    def note_in_file(self, path: str) -> bytes | None:
        """The note in a file of Krita's own kind; in any thread."""
        return annotation_in(path, STATE_NOTE)

    def tell(self, sentence: str) -> None:
        """A short message over the canvas; nothing where no canvas is shown."""
        window = Krita.instance().activeWindow()
        view = None if window is None else window.activeView()
        if view is not None:
            view.showFloatingMessage(sentence, QtGui.QIcon(), _MESSAGE_MS, 1)

    def _now(self) -> Any:  # a krita.Document
        document = self._active()
        if document is None or document.rootNode() is None:
            raise CanvasProblem("No document is open. Open or create one first.")
        return document

    def _find(self, key: str) -> Any:  # a krita.Document or None
        return next((d for d in Krita.instance().documents() if d.rootNode() is not None and self._key(d) == key), None)

    def _open(self, key: str) -> Any:  # a krita.Document
        document = self._find(key)
        if document is None:
            raise CanvasProblem("The document is closed. Open it again: the result is kept until you take it.")
        return document

    def _is_active(self, key: str) -> bool:
        document = self._active()
        return document is not None and document.rootNode() is not None and self._key(document) == key

    def _preview(self, document: Any) -> Preview:
        return self._previews.setdefault(key_of(document.rootNode()), Preview())

    def _key(self, document: Any) -> str:
        """The document's key: known since it was opened, or from its file, or new."""
        root = key_of(document.rootNode())
        if root not in self._keys:
            key = bytes(document.annotation(KEY_NOTE)).decode("ascii", "replace") or _key_of_file(str(document.fileName()))
            roots = {key_of(d.rootNode()) for d in Krita.instance().documents() if d.rootNode() is not None}
            taken = {known for other, known in self._keys.items() if other in roots}
            # Two files with one key are a file and its copy: the one that is opened later is a document of its own.
            self._keys[root] = uuid.uuid4().hex if not key or key in taken else key
        return self._keys[root]

    def _kept_key(self, document: Any) -> str:
        """The key, written into the document now that something of ours belongs to it."""
        key = self._key(document)
        if bytes(document.annotation(KEY_NOTE)) != key.encode("ascii"):
            _annotate(document, KEY_NOTE, "Likeness: key of this picture", key.encode("ascii"))
        return key


def _key_of_file(path: str) -> str:
    """The key of a file in which none is saved: one of Krita's before it is saved with ours, and every PNG. "" without a file."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"file:{path}").hex if path else ""


def _annotate(document: Any, name: str, words: str, data: bytes) -> None:
    """Krita calls a document modified for this, which would ask the artist to save what she did not change."""
    modified = document.modified()
    document.setAnnotation(name, words, data)
    if not modified:
        document.setModified(False)


def _clamped(bounds: Bounds, document: Any) -> Bounds:
    """The part within the canvas; of no size when there is none. Krita gives made-up pixels outside."""
    left, top = max(0, bounds.x), max(0, bounds.y)
    right, bottom = min(document.width(), bounds.right), min(document.height(), bounds.bottom)
    return Bounds(left, top, max(0, right - left), max(0, bottom - top))


def _layer(document: Any, key: str) -> Any:  # a krita.Node
    node = next((node for node in nodes(document) if key_of(node) == key), None)
    if node is None:
        raise CanvasProblem("That layer is not in the document any more. Choose another one.")
    return node


def _box_of(node: Any, document: Any) -> Bounds:
    box = node.bounds()
    bounds = _clamped(Bounds(box.x(), box.y(), box.width(), box.height()), document)
    if bounds.extent.area == 0:
        raise CanvasProblem(f"The layer “{node.name()}” has no pixels on the canvas. Paint on it, or choose another one.")
    return bounds


def _overlap(box: Any, bounds: Bounds) -> bool:  # a QRect
    across = box.x() < bounds.right and bounds.x < box.x() + box.width()
    return bool(across and box.y() < bounds.bottom and bounds.y < box.y() + box.height())


def _selected(document: Any) -> Bounds | None:
    selection = document.selection()
    if selection is None:
        return None
    bounds = _clamped(Bounds(selection.x(), selection.y(), selection.width(), selection.height()), document)
    return bounds if bounds.extent.area else None


def _mask(document: Any, bounds: Bounds) -> Plane | None:
    selection = document.selection()
    if selection is None or _selected(document) is None:
        return None
    return Plane(Layout.A8, bounds.extent, bytes(selection.pixelData(bounds.x, bounds.y, bounds.width, bounds.height)))


def _fits(bounds: Bounds, plane: Plane, layout: Layout) -> None:
    """Krita reads past the end of pixels that are too few."""
    plane.check()
    if plane.layout is not layout or plane.extent != bounds.extent:
        raise CanvasProblem(
            f"The picture has {plane.extent.width} x {plane.extent.height} pixels as {plane.layout.value}, but its place has "
            f"{bounds.width} x {bounds.height} as {layout.value}."
        )
