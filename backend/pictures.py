"""Pictures as scripts have them: files, Pillow images and arrays in, Pillow images out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from protocol.geometry import Bounds
from protocol.jobs import PictureJob
from protocol.planes import Plane
from protocol.results import Pictures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    AnyPicture: TypeAlias = "str | Path | Image.Image | NDArray[np.uint8] | Plane | Part"
else:
    AnyPicture: TypeAlias = Any


@dataclass(frozen=True)
class Part:
    """A part of a picture, wherever a picture is asked for: `Part("group.png", (120, 40, 380, 300))` is one person of a group.

    `box` is left, top, right, bottom in pixels, and must lie within the picture (`BadPicture` otherwise). A face is found best with some
    room around it.
    """

    picture: AnyPicture
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Result:
    """One picture, the seed that makes it again, and how alike each subject became (None: no face to be seen)."""

    image: Image.Image
    seed: int
    similarities: tuple[float | None, ...]
    metadata: dict[str, Any]

    def save(self, path: str | Path) -> Path:
        """Save as PNG, with prompt and seed in it. Raises `InvalidRequest` if the file cannot be written."""
        import numpy as np

        from .images import save_png

        save_png(Path(path), np.asarray(self.image.convert("RGB")), self.metadata)
        return Path(path)

    def _repr_png_(self) -> bytes:
        """Jupyter's display."""
        return _png(self.image)


@dataclass(frozen=True)
class Results:
    """The pictures of a job, in the order of their seeds."""

    pictures: tuple[Result, ...]
    model: str
    seconds: float
    rung: str | None
    """The way of saving memory that was needed, if any."""

    def save(self, path: str | Path) -> list[Path]:
        """Save all: `out.png`, `out-2.png`, `out-3.png` … Raises `InvalidRequest` if one cannot be written."""
        names = numbered(Path(path), len(self.pictures))
        return [picture.save(name) for picture, name in zip(self.pictures, names, strict=True)]

    def sheet(self) -> Image.Image:
        """All pictures side by side, four in a row."""
        from PIL import Image

        width, height = self.pictures[0].image.size
        columns = min(4, len(self.pictures))
        sheet = Image.new("RGB", (columns * width, -(-len(self.pictures) // columns) * height), "white")
        for number, picture in enumerate(self.pictures):
            sheet.paste(picture.image, (number % columns * width, number // columns * height))
        return sheet

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.pictures)

    def __getitem__(self, number: int) -> Result:
        """One picture."""
        return self.pictures[number]

    def __iter__(self) -> Iterator[Result]:
        """All pictures."""
        return iter(self.pictures)

    def _repr_png_(self) -> bytes:
        """Jupyter's display."""
        return _png(self.sheet())


def numbered(first: Path, count: int) -> list[Path]:
    """The files of several pictures: OUT.png, OUT-2.png, OUT-3.png …"""
    return [first if number == 1 else first.with_name(f"{first.stem}-{number}{first.suffix}") for number in range(1, count + 1)]


def picture_plane(picture: AnyPicture) -> Plane:
    """A picture of any kind as a plane: a file, a Pillow image, an array (H, W, 3) or (H, W, 4) of uint8, or a `Part` of one. Raises
    `BadPicture` for what is none.
    """
    from PIL import Image

    from . import images

    match picture:
        case Plane():
            return picture
        case Part():
            left, top, right, bottom = picture.box
            return images.cropped(picture_plane(picture.picture), Bounds(left, top, right - left, bottom - top))
        case str() | Path():
            return images.to_plane(images.open_picture(Path(picture)))
        case Image.Image():
            return images.to_plane(images.from_pillow(picture))
        case _:
            return images.to_plane(picture)


def mask_plane(mask: AnyPicture) -> Plane:
    """A mask of any kind as a plane: a file, a Pillow image, an array (H, W) of uint8, or a `Part`; white (255) is painted. Raises
    `BadPicture` for what is none.
    """
    import numpy as np
    from PIL import Image

    from . import images

    match mask:
        case Plane():
            return mask
        case Part():
            left, top, right, bottom = mask.box
            return images.cropped(mask_plane(mask.picture), Bounds(left, top, right - left, bottom - top))
        case str() | Path():
            return images.to_plane(images.open_mask(Path(mask)))
        case Image.Image():
            return images.to_plane(np.asarray(mask.convert("L")))
        case _:
            return images.to_plane(mask)


def pillow(plane: Plane) -> Image.Image:
    """A plane as a Pillow image; a copy, so that the message it came in can go."""
    from . import images

    return images.to_pillow(images.to_rgb(plane)).copy()


def results_of(outcome: Pictures, job: PictureJob) -> Results:
    """An outcome as scripts see it."""
    common = {"prompt": job.prompt, "negative": job.negative, "model": outcome.model}
    pictures = tuple(Result(pillow(made.picture), made.seed, made.similarities, {**common, "seed": made.seed}) for made in outcome.pictures)
    return Results(pictures, outcome.model, outcome.seconds, outcome.rung)


def _png(image: Image.Image) -> bytes:
    import io

    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
