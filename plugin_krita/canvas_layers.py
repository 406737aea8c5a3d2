"""The layers that are ours: the preview on top, which becomes the result. Everything that writes into a document is here.

Adding a layer is one step of Krita's undo history; its pixels, name and lock are not on it. So the preview is added once, its pixels are
exchanged, and applying unlocks and renames it: one step. Pixels of a layer that is not ours are never written, as that cannot be undone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from krita import Krita

from .canvas_colour import node_bytes, through_mask
from .host import CanvasProblem
from .protocol.geometry import Bounds
from .protocol.planes import Plane
from .qt import QtCore

PREVIEW = "[Likeness preview]"
PIXEL_LAYERS = ("paintlayer", "grouplayer", "vectorlayer", "filelayer", "clonelayer")
_A_TICK_MS = 20


def nodes(document: Any) -> Iterator[Any]:  # krita.Document, krita.Node
    """Every layer and mask of a document, top first, a group before what is in it."""
    root = document.rootNode()
    waiting = list(root.childNodes()) if root is not None else []
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.childNodes())


def key_of(node: Any) -> str:  # a krita.Node
    """Krita's unique id of a layer as text."""
    return str(node.uniqueId().toString())


class Refresh:
    """Has one document's canvas show what was written into layers.

    Krita does that for the whole canvas only, and waits for it: some milliseconds, or some tenths of a second for a very large one. So at
    least `SHARE` times as long passes before the next one, which then shows the newest.
    """

    SHARE = 4

    def __init__(self) -> None:
        self._free_at = 0.0
        self._waiting = False

    def now(self, document: Any) -> None:  # a krita.Document
        """Show everything, whatever it takes."""
        started = time.monotonic()
        if document.rootNode() is not None:  # it is open still
            document.refreshProjection()
        ended = time.monotonic()
        self._free_at, self._waiting = ended + self.SHARE * (ended - started), False

    def soon(self, document: Any) -> None:  # a krita.Document
        """Show everything now, or a little later where the last time took long."""
        wait_s = self._free_at - time.monotonic()
        if wait_s <= 0:
            self.now(document)
        elif not self._waiting:
            self._waiting = True
            QtCore.QTimer.singleShot(int(wait_s * 1000) + 1, lambda: self.now(document))


class Preview:
    """The one layer of ours in one document, while it is no result yet."""

    def __init__(self) -> None:
        self.refresh = Refresh()
        self._key: str | None = None
        self._undo_text: str | None = None
        """What Krita calls undoing a layer that was added, in the artist's language; None until the first one is."""

    def node(self, document: Any) -> Any:  # a krita.Node or None
        """The preview, wherever the artist has moved it; None when it is not in the document (never shown, or undone)."""
        return next((node for node in nodes(document) if self.is_ours(node)), None)

    def is_ours(self, node: Any) -> bool:  # a krita.Node
        """Whether this is the preview, or one that a saved file has brought along."""
        return key_of(node) == self._key or _is_left_over(node)

    def show(self, document: Any, bounds: Bounds, picture: Plane) -> None:  # a krita.Document
        """Show these pixels: in the preview that is there, or in a new layer on top."""
        node = self._usable(document)
        if node is None:
            node = _paint_layer(document, PREVIEW)
            _write(node, bounds, picture)
            node.setLocked(True)
            self._key = key_of(node)
            _add(document, node, self._added)
        else:
            self._rewrite(document, node, bounds, picture)

    def hide(self, document: Any, active: bool) -> None:  # a krita.Document
        """Take the preview away: by undoing its adding, while that is the last step of the active document, else by removing it."""
        node = self.node(document)
        if node is None:
            return
        ours = key_of(node) == self._key
        if not (active and ours and self._undone(document)):
            node.remove()
            document.waitForDone()
        if ours:
            self._forget()

    def apply(self, document: Any, bounds: Bounds, picture: Plane, name: str, mask: Plane | None, active: bool) -> None:
        """Make the preview, or a new layer, the result. With `mask` as a transparency mask where one step of undo allows that."""
        can_mask = mask is not None and hasattr(document, "createTransparencyMask")
        if can_mask and self._usable(document) is not None and not (active and self._undone(document)):
            can_mask = False  # the mask would be a second step, on top of the preview's
        if mask is not None and not can_mask:
            picture, mask = through_mask(picture, mask), None
        node = self._usable(document)
        if node is None:
            node = _paint_layer(document, name)
            _write(node, bounds, picture)
            if mask is not None:
                _add_mask(document, node, bounds, mask)
            _add(document, node)
        else:
            self._rewrite(document, node, bounds, picture)
            node.setLocked(False)
            node.setName(name)
        self._forget()

    def _usable(self, document: Any) -> Any:
        """The preview that was added since the document was opened; one from its file has no step of undo and goes."""
        found = None
        for node in list(nodes(document)):
            if key_of(node) == self._key:
                found = node
            elif _is_left_over(node):
                node.remove()
        return found

    def _rewrite(self, document: Any, node: Any, bounds: Bounds, picture: Plane) -> None:
        old = node.bounds()  # as it is now: cropping the canvas moves the layer
        if not old.isEmpty() and (old.x(), old.y(), old.width(), old.height()) != (bounds.x, bounds.y, bounds.width, bounds.height):
            one = len(bytes(node.pixelData(old.x(), old.y(), 1, 1)))
            node.setPixelData(bytes(old.width() * old.height() * one), old.x(), old.y(), old.width(), old.height())
        _write(node, bounds, picture)
        node.setVisible(True)
        self.refresh.soon(document)

    def _added(self) -> None:
        self._undo_text = _undo_text()

    def _undone(self, document: Any) -> bool:
        """Undo the adding of the preview, if it is what undo would undo; whether it is gone."""
        undo, redo = Krita.instance().action("edit_undo"), Krita.instance().action("edit_redo")
        if undo is None or redo is None or not undo.isEnabled() or self._undo_text is None or _undo_text() != self._undo_text:
            return False
        document.waitForDone()  # Krita takes no undo while it is at work, such as on the thumbnail of a layer
        undo.trigger()
        document.waitForDone()
        if self.node(document) is None:
            return True
        redo.trigger()  # another step of the same name: back with it
        document.waitForDone()
        return False

    def _forget(self) -> None:
        self._key = None


def _is_left_over(node: Any) -> bool:
    return bool(node.name() == PREVIEW and node.type() == "paintlayer" and node.locked())


def _undo_text() -> str | None:
    action = Krita.instance().action("edit_undo")
    return None if action is None else str(action.text())


def _paint_layer(document: Any, name: str) -> Any:
    """A new paint layer in the document's colour space, not in it yet: one of another space would cost a step of undo."""
    node = document.createNode(name, "paintlayer")
    if node is None:
        raise CanvasProblem("Krita made no new layer. Check that the document is not closed or being saved, then try again.")
    return node


def _write(node: Any, bounds: Bounds, picture: Plane) -> None:
    node.setPixelData(node_bytes(node, picture), bounds.x, bounds.y, bounds.width, bounds.height)


def _add_mask(document: Any, node: Any, bounds: Bounds, mask: Plane) -> None:
    # Never createNode(..., "transparencymask"): such a mask has no selection, and saving it crashes Krita up to 6.0.
    child = document.createTransparencyMask("Transparency Mask")
    child.setPixelData(bytes(mask.data), bounds.x, bounds.y, bounds.width, bounds.height)
    # Not addChildNode: it is a step of undo, also for a layer that is not in the document yet.
    node.setChildNodes([child])


def _add(document: Any, node: Any, then: Any = None) -> None:
    """Put a layer on top, and have the artist's layer active again a tick later: Krita makes a new one active."""
    before = document.activeNode()
    if not document.rootNode().addChildNode(node, None):
        raise CanvasProblem("Krita did not take the new layer. Finish what is being painted or transformed, then try again.")

    def later() -> None:
        if before is not None and document.rootNode() is not None:
            document.setActiveNode(before)
        if then is not None:
            then()

    QtCore.QTimer.singleShot(_A_TICK_MS, later)
