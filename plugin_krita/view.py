"""What the docker shows, as frozen values: the presenter makes them, the docker draws them. Without Qt and without Krita."""

from __future__ import annotations

from dataclasses import dataclass

from .protocol.desk.progress import Progress as Progress
from .protocol.desk.state_line import Backend as Backend
from .protocol.desk.state_line import Light as Light
from .protocol.geometry import Bounds, Box, Point
from .protocol.planes import Plane
from .protocol.results import LoraInfo


@dataclass(frozen=True)
class Person:
    """A saved character in the picker. `alike` is the lowest likeness among its photos to their mean, None for one photo."""

    name: str
    thumbnail: Plane
    photos: int
    score: float | None = None
    alike: float | None = None


@dataclass(frozen=True)
class DraftFace:
    """One face that was found on a photo of a new character: box in pixels of the photo, the detector's score."""

    box: Box
    keypoints: tuple[Point, ...]
    score: float


@dataclass(frozen=True)
class DraftPhoto:
    """One photo of a new character. While `faces` is None it is being looked at; `sentence` says what is wrong with it."""

    number: int
    label: str
    picture: Plane
    faces: tuple[DraftFace, ...] | None = None
    sentence: str = ""


@dataclass(frozen=True)
class Result:
    """One finished picture that can be shown and applied. `key` is unique in its document."""

    key: str
    bounds: Bounds
    thumbnail: Plane
    """RGB8 or BGRA8, at most 160 pixels a side."""
    prompt: str
    seed: int
    similarity: float | None
    """Of the first person; None: nobody was asked for, or no face was found."""
    applied: bool = False
    shown: bool = False


@dataclass(frozen=True)
class Live:
    """What the docker shows while live is on. `words` say what is followed, or what it waits for; `tip` is for the picture."""

    words: str
    picture: Plane | None = None
    tip: str = ""
    working: bool = False
    """Something newer is under way."""


@dataclass(frozen=True)
class Choice:
    """One model as the docker offers it."""

    id: str
    title: str
    subjects: bool
    guides: tuple[str, ...]
    adapters: tuple[str, ...]
    steps: int
    loras: tuple[LoraInfo, ...] = ()
    embeddings: tuple[str, ...] = ()
    """Textual inversions."""
    unlisted: int = 0
    """LoRAs and textual inversions that it has besides."""
