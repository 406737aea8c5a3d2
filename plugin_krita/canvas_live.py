"""Krita's canvas for live pictures: whether anything changed, without reading a pixel, and pixels without waiting for a stroke to end.

Krita tells of no change of an image. What tells is its undo history (the model of the docker "Undo History" is reset at every step, undo
and redo, also while that docker is hidden), and whether the image is at work: from the first touch of a brush to its last, it cannot be
locked. Visibility and opacity of layers are looked at, as a script sets them without a step.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import Any

from krita import Krita

from .canvas_colour import is_srgb, node_pixels
from .canvas_layers import nodes
from .host import CanvasProblem
from .picture_files import plane_of
from .protocol.geometry import Bounds
from .protocol.planes import Layout, Plane
from .qt import QtWidgets, is_deleted

HISTORY = "History"
"""Krita's name of the docker."""
SEARCH_S = 5.0
"""Between two searches for it in the active window: each window has its own."""
BLIND_S = 1.0
"""Where it is not found, the image counts as changed so often."""
PIXELS_AT_ONCE = 1 << 18
"""A megabyte: well under a millisecond."""
CONVERTED_AT_ONCE = 1 << 15
"""Where Krita converts each pixel to sRGB on the way: some three milliseconds."""


class Watch:
    """Counts what may have changed the active document."""

    def __init__(self) -> None:
        self._models: list[Any] = []
        self._count = 0
        self._searched_at = -1e9

    def stamp(self, document: Any) -> Hashable:  # a krita.Document
        """Differs from the last one when the document may look otherwise; while Krita is at work on it, every time."""
        self._search()
        if document.tryBarrierLock():
            document.unlock()
        else:
            self._changed()
        blind = None if self._models else int(time.monotonic() / BLIND_S)
        return self._count, blind, tuple((node.visible(), node.opacity()) for node in nodes(document))

    def _changed(self) -> None:
        self._count += 1

    def _search(self) -> None:
        if time.monotonic() - self._searched_at < SEARCH_S:
            return
        self._searched_at = time.monotonic()
        self._models = [model for model in self._models if not is_deleted(model)]
        if Krita.instance().activeWindow() is None:
            return  # Krita crashes when it is asked for the dockers of no window
        for docker in Krita.instance().dockers():
            if docker.objectName() == HISTORY:
                for view in docker.findChildren(QtWidgets.QAbstractItemView):
                    self._follow(view.model())

    def _follow(self, model: Any) -> None:  # a QAbstractItemModel
        if model is not None and model not in self._models:
            model.modelReset.connect(self._changed)
            self._models.append(model)


def at_once(document: Any) -> int:  # a krita.Document
    """How many pixels of it can be read within a few milliseconds."""
    direct = is_srgb(document.colorModel(), document.colorDepth(), document.colorProfile())
    return PIXELS_AT_ONCE if direct else CONVERTED_AT_ONCE


def glance(document: Any, node: Any, bounds: Bounds) -> Plane:  # a krita.Document; a krita.Node or None
    """BGRA8 of the canvas, or of one layer, as it is this moment.

    Never `waitForDone`: it would end the stroke that the artist is painting.
    """
    x, y, width, height = bounds.x, bounds.y, bounds.width, bounds.height
    direct = is_srgb(document.colorModel(), document.colorDepth(), document.colorProfile())
    if node is not None:
        if not is_srgb(node.colorModel(), node.colorDepth(), node.colorProfile()):
            raise CanvasProblem(
                "Live reads regions, guides and image prompts in 8-bit sRGB pictures only. Remove them, or convert the picture with "
                "Image > Convert Image Color Space."
            )
        return node_pixels(node, bounds)
    if direct:
        return Plane(Layout.BGRA8, bounds.extent, bytes(document.pixelData(x, y, width, height)))
    # Krita's own conversion for its screen, which knows every depth. RGB comes out as `document_pixels` has it, but for 8-bit pixels of
    # another profile, which come as they are; inks and Lab by another rendering intent, which strong colours show. It is for a draft.
    return plane_of(document.projection(x, y, width, height))
