"""Picture files and PNGs as planes, by Qt's own readers and writers. Without Krita."""

from __future__ import annotations

from typing import Any

from .host import CanvasProblem
from .protocol.errors import BadPicture
from .protocol.geometry import Extent
from .protocol.limits import SIDE
from .protocol.planes import Layout, Plane
from .qt import QtCore, QtGui

LONGEST_SIDE = 2048
"""Pictures opened as references are made this small: faces are looked at in fewer pixels than that."""


def open_picture(path: str) -> Plane:
    """A picture file as BGRA8 in sRGB, turned upright as its EXIF says, at most `LONGEST_SIDE` pixels a side.

    Raises `CanvasProblem` when there is no picture in it, or a larger one than 16384 pixels a side.
    """
    reader = QtGui.QImageReader(path)
    reader.setDecideFormatFromContent(True)
    reader.setAutoTransform(True)
    size = reader.size()
    if size.isValid() and max(size.width(), size.height()) > SIDE:
        raise CanvasProblem(
            f"The picture {_name(path)} has {size.width()} x {size.height()} pixels; at most {SIDE} a side can be opened. "
            "Save a smaller one."
        )
    if size.isValid() and max(size.width(), size.height()) > LONGEST_SIDE:
        # A decoder that can make it smaller on its way (JPEG) needs less memory so.
        reader.setScaledSize(size.scaled(LONGEST_SIDE, LONGEST_SIDE, QtCore.Qt.AspectRatioMode.KeepAspectRatio))
    image = reader.read()
    if image.isNull():
        raise CanvasProblem(f"The file {_name(path)} could not be opened as a picture: {reader.errorString()}. Choose a PNG or JPEG file.")
    if max(image.width(), image.height()) > LONGEST_SIDE:
        keep, smooth = QtCore.Qt.AspectRatioMode.KeepAspectRatio, QtCore.Qt.TransformationMode.SmoothTransformation
        image = image.scaled(LONGEST_SIDE, LONGEST_SIDE, keep, smooth)
    if image.colorSpace().isValid():
        image.convertToColorSpace(QtGui.QColorSpace(QtGui.QColorSpace.NamedColorSpace.SRgb))
    return plane_of(image)


def save_picture(plane: Plane, path: str) -> None:
    """Write RGB8, RGBA8, BGRA8 or A8 as a PNG. Raises `CanvasProblem` when the file cannot be written."""
    writer = QtGui.QImageWriter(path, b"png")
    if not writer.write(image_of(plane)):
        raise CanvasProblem(f"The picture could not be saved as {path}: {writer.errorString()}. Choose another folder.")


def png(plane: Plane) -> bytes:
    """A picture as a PNG; safe in any thread."""
    data = QtCore.QByteArray()
    buffer = QtCore.QBuffer(data)
    buffer.open(QtCore.QIODevice.OpenModeFlag.WriteOnly)
    if not image_of(plane).save(buffer, "PNG"):
        raise CanvasProblem(f"A picture of {plane.extent.width} x {plane.extent.height} pixels could not be packed as PNG.")
    buffer.close()
    return bytes(data)


def from_png(data: bytes) -> Plane:
    """The BGRA8 picture in a PNG; safe in any thread. Raises `BadPicture` when it is none."""
    image = QtGui.QImage.fromData(data, "PNG")
    if image.isNull():
        raise BadPicture("A picture that was kept is damaged. Choose its photo again.")
    return plane_of(image)


def scaled(plane: Plane, extent: Extent, background: int | None = None) -> Plane:
    """A picture as BGRA8, or a mask as A8, at another size or the same, smoothly; over a grey level of 0 … 255 when one is given."""
    if plane.extent == extent and plane.layout in (Layout.BGRA8, Layout.A8) and background is None:
        return plane
    image = image_of(plane)
    if plane.extent != extent:
        whole, smooth = QtCore.Qt.AspectRatioMode.IgnoreAspectRatio, QtCore.Qt.TransformationMode.SmoothTransformation
        image = image.scaled(extent.width, extent.height, whole, smooth)
    if plane.layout is Layout.A8:
        return _mask_of(image)
    if background is not None:
        ground = QtGui.QImage(extent.width, extent.height, QtGui.QImage.Format.Format_RGB32)
        ground.fill(QtGui.QColor(background, background, background))
        painter = QtGui.QPainter(ground)
        painter.drawImage(0, 0, image)
        painter.end()
        image = ground
    return plane_of(image)


def image_of(plane: Plane, side: int | None = None) -> Any:  # a QImage
    """A QImage with pixels of its own; with `side` made smaller, where it is larger than that many pixels a side.

    Raises `BadPicture` or `TooLarge` for a plane that is none.
    """
    plane.check()
    formats = QtGui.QImage.Format
    form = {
        Layout.RGB8: formats.Format_RGB888,
        Layout.RGBA8: formats.Format_RGBA8888,
        Layout.BGRA8: formats.Format_ARGB32,
        Layout.A8: formats.Format_Grayscale8,
    }[plane.layout]
    width, height = plane.extent.width, plane.extent.height
    data = plane.data if isinstance(plane.data, bytes) else bytes(plane.data)
    image = QtGui.QImage(data, width, height, width * plane.layout.channels, form)
    if side is None or max(width, height) <= side:
        return image.copy()  # Qt does not keep the buffer alive that an image was made of
    keep, modes = QtCore.Qt.AspectRatioMode.KeepAspectRatio, QtCore.Qt.TransformationMode
    if max(width, height) > 3 * side:  # the smooth way reads every pixel, which takes longer than a frame
        image = image.scaled(2 * side, 2 * side, keep, modes.FastTransformation)
    return image.scaled(side, side, keep, modes.SmoothTransformation)


def plane_of(image: Any) -> Plane:  # a QImage
    """The pixels of a QImage as BGRA8."""
    image = image.convertToFormat(QtGui.QImage.Format.Format_ARGB32)
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    return Plane(Layout.BGRA8, Extent(image.width(), image.height()), bytes(bits))


def _mask_of(image: Any) -> Plane:  # a QImage
    image = image.convertToFormat(QtGui.QImage.Format.Format_Grayscale8)
    bits = image.constBits()
    bits.setsize(image.sizeInBytes())
    data, width, stride = bytes(bits), image.width(), image.bytesPerLine()  # Qt pads rows to four bytes
    rows = (data[y * stride : y * stride + width] for y in range(image.height()))
    return Plane(Layout.A8, Extent(width, image.height()), b"".join(rows))


def _name(path: str) -> str:
    return str(QtCore.QFileInfo(path).fileName())
