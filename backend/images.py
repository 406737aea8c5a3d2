"""Pictures: planes, arrays, Pillow images and files. The only code that knows byte layouts and value ranges.

Inside the backend a picture is uint8 (height, width, 3), RGB, and a mask is uint8 (height, width), 0 keeps and 255 is repainted.
"""

from __future__ import annotations

import io
import json
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from protocol.errors import BadPicture, InvalidRequest
from protocol.geometry import Bounds, Extent
from protocol.limits import PIXELS, SIDE
from protocol.planes import Layout, Plane

from .files import check_is_file, write_whole

Pixels = NDArray[np.uint8]

METADATA_KEY = "likeness"
"""Name of the PNG text chunk that holds everything needed to make the picture once more, as JSON."""

_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM")
"""Pillow's other formats are left out: some run a program to be read (EPS), some have no signature and match anything."""

_SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")


_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, MemoryError, RuntimeError, LookupError, TypeError, ArithmeticError, struct.error)
"""What Pillow's readers raise for files that are cut off or have wrong bytes; every format has its own way (AVIF: RuntimeError)."""


def to_rgb(plane: Plane, background: int = 255) -> Pixels:
    """A picture plane -> (height, width, 3). Transparent pixels are laid over a grey level, white unless told otherwise.

    Raises `BadPicture` for a mask, or if the bytes are not as many as the plane says.
    """
    pixels = _pixels(plane)
    match plane.layout:
        case Layout.RGB8:
            return pixels
        case Layout.RGBA8:
            return _over(pixels[..., :3], pixels[..., 3], background)
        case Layout.BGRA8:
            return _over(pixels[..., 2::-1], pixels[..., 3], background)
        case Layout.A8:
            raise BadPicture("A picture was expected, and a mask came. Send the picture as RGB or with transparency.")


def to_mask(plane: Plane) -> Pixels:
    """A mask plane -> (height, width). Raises `BadPicture` for a picture, or if the bytes are not as many as the plane says."""
    if plane.layout is not Layout.A8:
        raise BadPicture(f"A mask was expected, and a picture came ({plane.layout.value}). Send one byte a pixel, 255 where to repaint.")
    return _pixels(plane)[..., 0]


def to_plane(picture: Pixels) -> Plane:
    """(height, width, 3) -> RGB8, (height, width, 4) -> RGBA8, (height, width) -> A8."""
    match picture.shape:
        case (height, width):
            layout = Layout.A8
        case (height, width, 3):
            layout = Layout.RGB8
        case (height, width, 4):
            layout = Layout.RGBA8
        case shape:
            raise BadPicture(f"A picture has 3 or 4 bytes a pixel and a mask has 1, and this array has the shape {shape}.")
    if picture.dtype != np.uint8:
        raise BadPicture(f"A picture has whole numbers from 0 to 255, and this array has {picture.dtype}. Convert it to uint8 first.")
    return Plane(layout, Extent(width, height), np.ascontiguousarray(picture).data)


def cropped(plane: Plane, bounds: Bounds) -> Plane:
    """A part of a plane, as a plane; raises `BadPicture` for a box that does not lie within it."""
    width, height = plane.extent.width, plane.extent.height
    if not (0 <= bounds.x < bounds.right <= width and 0 <= bounds.y < bounds.bottom <= height):
        box = f"{bounds.x}, {bounds.y} to {bounds.right}, {bounds.bottom}"
        raise BadPicture(f"The box from {box} does not lie within the picture of {width} x {height} pixels. Choose one that does.")
    rows = np.frombuffer(plane.data, dtype=np.uint8).reshape(height, width, plane.layout.channels)
    part = np.ascontiguousarray(rows[bounds.y : bounds.bottom, bounds.x : bounds.right])
    return Plane(plane.layout, bounds.extent, part.reshape(-1).data)


def to_pillow(picture: Pixels) -> Image.Image:
    """(height, width, 3) or (height, width) -> an image of mode RGB or L."""
    return Image.fromarray(picture)


def from_pillow(image: Image.Image, background: int = 255) -> Pixels:
    """Any Pillow image -> (height, width, 3), turned as its EXIF says; 16-bit values scaled, transparency over a grey level.

    Raises `BadPicture` for floating-point and 32-bit pictures: nobody can tell which value is white in them.
    """
    upright = _eight_bit(_upright(image))
    if not upright.has_transparency_data:
        return np.array(upright.convert("RGB"))
    pixels = np.array(upright.convert("RGBA"))
    return _over(pixels[..., :3], pixels[..., 3], background)


def open_picture(path: Path) -> Pixels:
    """A picture file -> (height, width, 3). Raises `BadPicture` with a sentence for everything that is no usable picture."""
    return from_pillow(_open(path))


def open_mask(path: Path) -> Pixels:
    """A mask file -> (height, width): the brightness, where transparent counts as black; white is repainted, black is kept."""
    pixels = from_pillow(_open(path), background=0)
    if (pixels == pixels[..., :1]).all():
        return pixels[..., 0].copy()
    return np.array(to_pillow(pixels).convert("L"))


def save_png(path: Path, picture: Pixels, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a picture (height, width, 3) as PNG: all of it or nothing. The same picture and metadata give the same bytes.

    `metadata` goes into a text chunk named `likeness` as JSON, and into one named `parameters` in the form that A1111's web UI writes and
    many viewers show. Raises `InvalidRequest` if the file cannot be written.
    """
    data = png_bytes(picture, metadata)
    try:
        write_whole(path, data)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be written: {_reason(error)}. Choose another place.") from error


def png_bytes(picture: Pixels, metadata: Mapping[str, Any] | None = None) -> bytes:
    """The bytes that `save_png` writes."""
    chunks = PngImagePlugin.PngInfo()
    if metadata is not None:
        chunks.add_text("parameters", parameters_text(metadata))
        chunks.add_text(METADATA_KEY, json.dumps(metadata, sort_keys=True))
    buffer = io.BytesIO()
    to_pillow(picture).save(buffer, format="PNG", pnginfo=chunks)
    return buffer.getvalue()


def read_metadata(path: Path) -> dict[str, Any]:
    """What `save_png` wrote into a picture. Raises `BadPicture` if the file is no PNG with metadata of ours."""
    with _open(path) as image:
        text = image.info.get(METADATA_KEY)
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadPicture(f"{path} does not say how it was made: it was not saved by Likeness, or another program has removed that part.")
    return {str(key): value for key, value in found.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def parameters_text(metadata: Mapping[str, Any]) -> str:
    """The lines that A1111's web UI calls `parameters`: prompt, negative prompt, then `Steps: 20, Sampler: …` and other numbers."""
    lines = [str(metadata.get("prompt", ""))]
    if metadata.get("negative"):
        lines.append(f"Negative prompt: {metadata['negative']}")
    known = {"steps": "Steps", "scheduler": "Sampler", "guidance_scale": "CFG scale", "seed": "Seed", "size": "Size", "model": "Model"}
    values = {title: metadata[key] for key, title in known.items() if metadata.get(key) is not None}
    if "width" in metadata and "height" in metadata:
        values["Size"] = f"{metadata['width']}x{metadata['height']}"
    rest = {key: value for key, value in sorted(metadata.items()) if isinstance(value, int | float) and key not in known}
    values |= {key.replace("_", " ").capitalize(): value for key, value in rest.items() if key not in ("width", "height")}
    lines.append(", ".join(f"{title}: {value}" for title, value in values.items()))
    return "\n".join(lines)


def _pixels(plane: Plane) -> Pixels:
    """(height, width, channels), read-only where the plane's bytes are."""
    plane.check()
    flat = np.frombuffer(plane.data, dtype=np.uint8)
    return flat.reshape(plane.extent.height, plane.extent.width, plane.layout.channels)


def _over(colour: Pixels, alpha: Pixels, background: int) -> Pixels:
    """Colours (height, width, 3) over a grey level, in whole numbers, rounded; opaque pixels keep their bytes."""
    if (alpha == 255).all():
        return np.ascontiguousarray(colour)
    opacity = alpha[..., None].astype(np.uint16)
    mixed = colour * opacity + np.uint16(background) * (np.uint16(255) - opacity)
    return ((mixed + np.uint16(127)) // np.uint16(255)).astype(np.uint8)


def _open(path: Path) -> Image.Image:
    """A file as a loaded Pillow image, its size checked before its pixels are read."""
    try:
        with warnings.catch_warnings():
            check_is_file(path)
            warnings.simplefilter("ignore")  # about sizes and damaged EXIF blocks, which are dealt with here
            Image.init()
            image = Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN])
            _check_size(path, *image.size)
            image.load()
        return image
    except Image.DecompressionBombError as error:
        raise BadPicture(f"{path} has far more pixels than can be used. Make it smaller first.") from error
    except UnidentifiedImageError as error:
        raise BadPicture(_unknown_sentence(path)) from error
    except _DAMAGED as error:
        raise BadPicture(f"{path} cannot be read: {_reason(error)}. Choose another file, or save this one once more.") from error


def _check_size(path: Path, width: int, height: int) -> None:
    if width > SIDE or height > SIDE or width * height > PIXELS:
        raise BadPicture(
            f"{path} has {width} x {height} pixels; at most {SIDE} a side and {PIXELS // 1024**2} megapixels can be used. "
            "Make it smaller first."
        )


def _unknown_sentence(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if not head:
        return f"{path} is empty. Choose a picture file."
    if head[4:8] == b"ftyp":
        return f"{path} is a picture or film of a kind that cannot be read here (HEIC, as telephones write it?). Save it as JPEG or PNG."
    return f"{path} is not a picture. Choose a PNG, JPEG, WebP, AVIF, TIFF, BMP or GIF file."


def _reason(error: BaseException) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such file or folder"
        case IsADirectoryError():
            return "it is a folder"
        case PermissionError():
            return "permission is missing"
        case OSError(strerror=str(words)) if words:
            return words[0].lower() + words[1:]
        case MemoryError():
            return "there is not enough memory for it"
        case _:
            return f"it is damaged or incomplete ({error})"


def _upright(image: Image.Image) -> Image.Image:
    """Turned as the camera was held; a damaged EXIF block is no reason to refuse the picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ImageOps.exif_transpose(image)
    except _DAMAGED:
        return image


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits; Pillow's own conversion would cut every value above 255."""
    if image.mode == "F":
        raise BadPicture("The picture has floating-point values, and nobody can tell which of them is white. Save it with 8 or 16 bits.")
    if image.mode not in _SIXTEEN_BIT:
        return image
    values = np.array(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise BadPicture("The picture has 32-bit values, and nobody can tell which of them is white. Save it with 8 or 16 bits.")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
