"""Pictures that came back as images of the file, and images of the file as pictures to send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from .levels import levels_of, without_alpha
from .png import png_of, png_size
from .protocol.geometry import Extent
from .protocol.planes import Layout, Plane
from .scene import SceneProblem

PROMPT, SEED, SIMILARITY, JOB = "likeness_prompt", "likeness_seed", "likeness_similarity", "likeness_job"
"""Custom properties of an image that we made. They survive renaming, saving and undo."""

LIVE, LIVE_NAME = "likeness_live", "Likeness Live"
"""The custom property of the image that live pictures are shown in, and what it is called at first."""


@dataclass(frozen=True, slots=True)
class Origin:
    """How a picture was made. `similarity` is None where no face was found."""

    prompt: str = ""
    seed: int | None = None
    similarity: float | None = None
    job: str = ""


def image_of(picture: bytes | Plane, name: str, origin: Origin | None = None) -> Any:
    """A new image of the file from a PNG or a plane, packed, so that it is saved along even where nothing shows it.

    The PNG is taken as it is and decoded when it is first shown: half a millisecond, where handing over pixels and packing them takes
    0.1 to 0.7 s. Raises `SceneProblem` when the bytes are no PNG.
    """
    data = png_of(picture) if isinstance(picture, Plane) else bytes(picture)
    size = png_size(data)
    if size is None:
        raise SceneProblem("The picture that came is no PNG, so Blender cannot show it. Make it again.")
    image = bpy.data.images.new(name, *size)
    image.pack(data=data, data_len=len(data))
    image.source = "FILE"  # until then it shows the black picture that `new` made; `reload` would look for a file
    image.use_fake_user = True
    if origin is not None:
        image[PROMPT], image[JOB] = origin.prompt, origin.job
        if origin.seed is not None:
            image[SEED] = str(origin.seed)  # a custom property's whole numbers end at 2**31
        if origin.similarity is not None:
            image[SIMILARITY] = float(origin.similarity)
    return image


def show_live(plane: Plane) -> Any:
    """The one image of the file that shows the newest live picture; made where there is none, or where undo took it away.

    Packed, as pixels that are written into an image make Blender ask whether to save it; and not compressed, which takes a millisecond.
    Nobody holds on to it but what shows it, so that a file that is saved without an editor for it does not keep it.
    """
    data = png_of(plane, 0)
    image = next((image for image in bpy.data.images if LIVE in image and image.library is None), None)
    if image is None:
        image = image_of(data, LIVE_NAME)
        image[LIVE], image.use_fake_user = True, False
        return image
    image.pack(data=data, data_len=len(data))
    if image.source != "FILE":
        image.source = "FILE"
    image.buffers_free()  # what was decoded of the last one
    return image


def image_by_job(job: str) -> Any | None:
    """The first image that this job made, whatever it is called by now."""
    return next((image for image in bpy.data.images if image.get(JOB) == job), None)


def plane_of_image(image: Any, longest: int | None = None) -> Plane:
    """An image's pixels as RGB8, or RGBA8 where some are not opaque; shrunk to at most `longest` pixels a side.

    Images of floats (EXR, HDR, 16-bit files) hold light and are brought to sRGB, what is brighter than white becomes white. Raises
    `SceneProblem` for an image without pixels, such as a lost file or the render result, and `TooLarge` when it cannot be sent.
    """
    if image.type in {"RENDER_RESULT", "COMPOSITING"}:
        raise SceneProblem(f"Blender does not hand out the pixels of {image.name}. Choose “Repaint render”, or save it as a file first.")
    pixels = _pixels(image)
    while longest and max(pixels.shape[:2]) > longest:
        pixels = _shrunk(pixels, longest)
    levels = levels_of(pixels)
    opaque = bool((levels[..., 3] == 255).all())
    height, width = levels.shape[:2]
    data = (without_alpha(levels) if opaque else levels).tobytes()
    plane = Plane(Layout.RGB8 if opaque else Layout.RGBA8, Extent(width, height), data)
    plane.check()
    return plane


def _pixels(image: Any) -> NDArray[np.float32]:
    """(height, width, 4), sRGB, straight alpha, top row first."""
    width, height = image.size
    count = len(image.pixels)  # loads it
    if not count or not width:
        raise SceneProblem(f"The image {image.name} has no pixels; its file may be lost. Reload it, or choose another one.")
    flat = np.empty(count, dtype=np.float32)
    image.pixels.foreach_get(flat)
    values = flat.reshape(height, width, -1)[::-1]
    if values.shape[2] == 4 and not image.is_float:
        return values  # bytes that Blender keeps: straight alpha, sRGB, and always numbers
    colours, alpha = values, np.ones((height, width, 1), np.float32)
    if values.shape[2] in {2, 4}:
        colours, alpha = values[..., :-1], values[..., -1:]
    if image.is_float and not image.colorspace_settings.is_data:
        colours = _srgb(colours / np.where(alpha > 0, alpha, 1))
    if colours.shape[2] == 1:
        colours = np.repeat(colours, 3, axis=2)
    return np.concatenate([np.nan_to_num(colours), np.nan_to_num(alpha)], axis=2)


def _srgb(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light to sRGB (IEC 61966-2-1)."""
    light = np.clip(np.nan_to_num(light), 0.0, 1.0)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)


def _shrunk(pixels: NDArray[np.float32], longest: int) -> NDArray[np.float32]:
    """Smaller by the mean of whole squares; by the nearest pixel where less than half is to go."""
    height, width = pixels.shape[:2]
    factor = max(height, width) // longest
    if factor > 1:
        height, width = max(1, height // factor), max(1, width // factor)
        across, down = min(factor, pixels.shape[1]), min(factor, pixels.shape[0])
        squares = pixels[: height * down, : width * across].reshape(height, down, width, across, 4)
        return squares.mean(axis=(1, 3))
    scale = longest / max(height, width)
    rows, columns = (max(1, round(side * scale)) for side in (height, width))
    return pixels[_nearest(rows, height)][:, _nearest(columns, width)]


def _nearest(count: int, of: int) -> NDArray[np.intp]:
    return ((np.arange(count) + 0.5) * of / count).astype(np.intp)
