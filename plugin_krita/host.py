"""What the presenter asks of a host's canvas: pixels in, layers out. Without Qt and Krita; `canvas.py` is Krita's, tests have a fake.

Pixels are 8-bit sRGB planes, whatever the document is. All calls are made in the host's own thread and return at once; a call that cannot
be done raises `CanvasProblem` with a sentence for the artist, never anything else.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

from .protocol.errors import LikenessError
from .protocol.geometry import Bounds, Extent
from .protocol.planes import Plane


class CanvasProblem(LikenessError):  # noqa: N818 - named like the rest of the tree
    """The document does not allow this at the moment."""

    code = "canvas"
    cure = "Open a document, or choose another layer."


@dataclass(frozen=True)
class DocumentCard:
    """The active document. `key` stays the same as long as the document is open, and over saving and opening it again."""

    key: str
    width: int
    height: int
    name: str
    selection: Bounds | None
    """The box around what is selected, within the canvas; None: nothing is."""


@dataclass(frozen=True)
class LayerCard:
    """One layer with pixels, as a chooser shows it. `key` is Krita's unique id."""

    key: str
    name: str
    active: bool = False


@dataclass(frozen=True)
class Capture:
    """A part of the canvas as it looks, without our own preview: BGRA8 `picture`, and the selection in it as A8 (None: nothing is)."""

    document: str
    bounds: Bounds
    picture: Plane
    mask: Plane | None


@dataclass(frozen=True)
class Glimpse:
    """A part of the canvas, or of a layer, as it is this moment: BGRA8 `picture`, and of the canvas the selection in it as A8, if any."""

    document: str
    picture: Plane
    mask: Plane | None = None


class Host(Protocol):
    """The canvas of the program that the artist uses."""

    def document(self) -> DocumentCard | None:
        """The active document, or None. Cheap: it is asked for five times a second."""
        ...

    def layers(self) -> tuple[LayerCard, ...]:
        """The layers of the active document that have pixels, top first; without our preview."""
        ...

    def capture(self, bounds: Bounds) -> Capture:
        """The pixels of the active document in `bounds` (within the canvas), and the selection there."""
        ...

    def layer_pixels(self, key: str, bounds: Bounds | None = None) -> tuple[Bounds, Plane]:
        """A layer's own pixels as BGRA8, in `bounds` (transparent where it has none), or in the box that it fills."""
        ...

    def stamp(self) -> Hashable:
        """Differs from the last one when the active document may look otherwise; while a stroke is being painted, every time.

        Reads no pixels and costs next to nothing.
        """
        ...

    def at_once(self) -> int:
        """How many pixels of the active document `glance` reads within a few milliseconds."""
        ...

    def glance(self, bounds: Bounds, layer: str | None = None) -> Glimpse:
        """What the active document, or one of its layers, has in `bounds` (within the canvas) this moment.

        A stroke that is being painted is in it as far as it is there: nothing is waited for. Our preview is in it too, when one is shown.
        """
        ...

    def layer_box(self, layer: str) -> Bounds:
        """The box that a layer of the active document fills on the canvas."""
        ...

    def open_picture(self, path: str) -> Plane:
        """A picture file as BGRA8, turned upright as its EXIF says, at most 2048 pixels a side."""
        ...

    def save_picture(self, plane: Plane, path: str) -> None:
        """Write a picture (RGB8, RGBA8 or BGRA8) as a PNG."""
        ...

    def png(self, plane: Plane) -> bytes:
        """A picture as a PNG; called from a thread of its own as well. Raises `BadPicture` or `CanvasProblem` when it cannot be made."""
        ...

    def from_png(self, data: bytes) -> Plane:
        """The BGRA8 picture in a PNG; called from a thread of its own as well. Raises `BadPicture` for what is none."""
        ...

    def scaled(self, plane: Plane, extent: Extent, background: int | None = None) -> Plane:
        """A picture of any layout as BGRA8 at another size or the same, smoothly; called from a thread of its own as well.

        With `background`, a grey level of 0 … 255, transparent pixels are laid over it and the result is opaque. A mask (A8) stays one.
        """
        ...

    def show_preview(self, document: str, bounds: Bounds, picture: Plane) -> None:
        """Show BGRA8 pixels at `bounds` in a locked layer on top, which is made at the first call and changed by the next ones."""
        ...

    def hide_preview(self, document: str) -> None:
        """Take that layer away, if it is there; without a trace in the undo history where the host allows that."""
        ...

    def apply(self, document: str, bounds: Bounds, picture: Plane, name: str, mask: Plane | None = None) -> None:
        """Make a layer of BGRA8 pixels: the preview becomes it, when there is one. One step of undo, whatever was shown before.

        With `mask` (A8, of the size of the picture) the layer gets a transparency mask where the host can do that, else its opacity.
        Raises `CanvasProblem` when the document is closed.
        """
        ...

    def read_note(self, document: str) -> bytes | None:
        """What `write_note` kept in the document's file; None: nothing."""
        ...

    def write_note(self, document: str, data: bytes, news: bool = False) -> None:
        """Keep some bytes with the document, in its file when it is saved. No step of undo.

        With `news` there is something that the artist wants in the file, and the document counts as modified; else it does not.
        """
        ...

    def is_open(self, document: str) -> bool:
        """Whether that document is open, in front or not."""
        ...

    def path(self, document: str) -> str:
        """Path of the document's file, of whatever kind; "" while it has none, or is not open."""
        ...

    def file(self, document: str) -> str:
        """Path of the file that has the note when the document is saved; "" while there is none, or one that keeps no notes."""
        ...

    def note_in_file(self, path: str) -> bytes | None:
        """What `write_note` kept, as that file has it on the disk; None: nothing. Called from a thread of its own, and never raises."""
        ...

    def tell(self, sentence: str) -> None:
        """A short message over the canvas, for some seconds."""
        ...
