"""Krita's pixels as 8-bit sRGB, whatever the document's colour model, depth and profile are."""

from __future__ import annotations

from typing import Any

from krita import Krita

from .host import CanvasProblem
from .protocol.geometry import Bounds
from .protocol.limits import PIXELS, SIDE
from .protocol.planes import Layout, Plane

Space = tuple[str, str, str]
"""Colour model, depth and profile, as Krita names them."""
SRGB: Space = ("RGBA", "U8", "sRGB-elle-V2-srgbtrc.icc")
"""Of everything that leaves or enters: pixels are B, G, R, A then."""
DIRECT = ("srgb-elle-v2-srgbtrc.icc", "srgb-elle-v4-srgbtrc.icc", "srgb built-in", "srgb iec61966-2.1", "srgb iec61966-2-1")
"""Profiles with sRGB's primaries and tone curve: 8-bit pixels in them need no conversion."""


def is_srgb(model: str, depth: str, profile: str) -> bool:
    """Whether pixels of this colour space are 8-bit sRGB as they are."""
    return model == "RGBA" and depth == "U8" and profile.lower() in DIRECT


def document_pixels(document: Any, bounds: Bounds) -> Plane:  # a krita.Document
    """What the canvas looks like in `bounds`, which must lie within it: BGRA8 in sRGB."""
    check_size(bounds)
    raw = bytes(document.pixelData(bounds.x, bounds.y, bounds.width, bounds.height))
    return _plane(raw, bounds, document.colorModel(), document.colorDepth(), document.colorProfile())


def node_pixels(node: Any, bounds: Bounds) -> Plane:  # a krita.Node
    """A layer as it looks by itself, with its masks, in `bounds`: BGRA8 in sRGB, transparent where it has nothing."""
    check_size(bounds)
    raw = bytes(node.projectionPixelData(bounds.x, bounds.y, bounds.width, bounds.height))
    return _plane(raw, bounds, node.colorModel(), node.colorDepth(), node.colorProfile())


def check_size(bounds: Bounds) -> None:
    """Raise `CanvasProblem` for more pixels than can be sent."""
    if bounds.width < 1 or bounds.height < 1:
        raise CanvasProblem("There are no pixels in that place. Select a part of the canvas.")
    if bounds.width > SIDE or bounds.height > SIDE or bounds.extent.area > PIXELS:
        raise CanvasProblem(
            f"{bounds.width} x {bounds.height} pixels are more than can be worked on at once: at most {SIDE} a side and "
            f"{PIXELS // 1024**2} megapixels. Select a smaller area."
        )


def _plane(raw: bytes, bounds: Bounds, model: str, depth: str, profile: str) -> Plane:
    if not is_srgb(model, depth, profile):
        raw = _changed(raw, bounds, (model, depth, profile), SRGB)
    plane = Plane(Layout.BGRA8, bounds.extent, raw)
    if len(raw) != plane.byte_length:
        raise CanvasProblem(
            f"Krita gave {len(raw)} bytes for {bounds.width} x {bounds.height} pixels of {model} {depth}. "
            "Convert the picture's colour space."
        )
    return plane


def node_bytes(node: Any, picture: Plane) -> bytes:  # a krita.Node
    """BGRA8 in sRGB as the bytes that a layer takes: in the layer's own colour space."""
    space = (node.colorModel(), node.colorDepth(), node.colorProfile())
    raw = bytes(picture.data)
    return raw if is_srgb(*space) else _changed(raw, Bounds(0, 0, picture.extent.width, picture.extent.height), SRGB, space)


def _changed(raw: bytes, bounds: Bounds, source: Space, target: Space) -> bytes:
    """Pixels of one colour space in another, by Krita's own conversion.

    A document of its own is converted, with these pixels as its one layer. Converting a clone of the artist's document would convert each
    layer before they are blended, which gives other colours where one is half transparent, and takes as long as it has layers; converting
    a layer of hers would be a step of her undo history.
    """
    refused = f"Krita cannot convert {source[0]} {source[1]} pixels to {target[0]} {target[1]}. Convert the picture's colour space."
    scratch = Krita.instance().createDocument(bounds.width, bounds.height, "likeness", *source, 72.0)
    if scratch is None:
        raise CanvasProblem(refused)
    try:
        scratch.setBatchmode(True)
        layer = scratch.topLevelNodes()[0]
        layer.setPixelData(raw, 0, 0, bounds.width, bounds.height)
        if not scratch.setColorSpace(*target):
            raise CanvasProblem(refused)
        scratch.waitForDone()
        return bytes(layer.pixelData(0, 0, bounds.width, bounds.height))
    finally:
        scratch.setModified(False)
        scratch.close()


def through_mask(picture: Plane, mask: Plane) -> Plane:
    """BGRA8 with its opacity multiplied by an A8 mask of the same size."""
    pixels, share = bytearray(picture.data), bytes(mask.data)
    alpha = bytes(pixels[3::4])
    if alpha == b"\xff" * len(alpha):  # the usual case, and a fast one
        pixels[3::4] = share
    else:
        pixels[3::4] = bytes((a * m + 127) // 255 for a, m in zip(alpha, share, strict=True))
    return Plane(Layout.BGRA8, picture.extent, bytes(pixels))
