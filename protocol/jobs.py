"""What can be asked of the backend, as frozen dataclasses. Pictures are `Plane`s; the codec lifts them into raw frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from .geometry import Extent, Point
from .planes import Plane


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the sampling steps in which something acts, as fractions of all steps: 0 <= start < end <= 1."""

    start: float = 0.0
    end: float = 1.0


class Lends(Enum):
    """What an image prompt lends to the picture (InstantStyle's names for SDXL blocks)."""

    ALL = "all"
    STYLE = "style"
    COMPOSITION = "composition"
    FACE = "face"


class GuideKind(Enum):
    """What a guide picture shows."""

    KEYPOINTS = "keypoints"
    SKELETON = "skeleton"
    DEPTH = "depth"
    NORMALS = "normals"
    EDGES = "edges"
    LINES = "lines"


@dataclass(frozen=True, slots=True)
class Photos:
    """A person given by one or more photos. `face` chooses one face by index (largest first) when a photo shows several."""

    pictures: tuple[Plane, ...]
    face: int | None = None


@dataclass(frozen=True, slots=True)
class Character:
    """A person saved in the backend under a name."""

    name: str


@dataclass(frozen=True, slots=True)
class Subject:
    """One person in the picture (InstantID): who, how strongly, where.

    `adapter` is the scale of the image adapter's cross-attention, `identity_net` IdentityNet's conditioning scale; each 0 to 2, with its own
    window. `region` (A8, the size of the picture) keeps the person to a part of the picture.
    """

    who: Photos | Character
    adapter: float = 0.8
    identity_net: float = 0.8
    adapter_window: Window = Window()
    identity_net_window: Window = Window()
    region: Plane | None = None


@dataclass(frozen=True, slots=True)
class ImagePrompt:
    """A picture as a prompt (IP-Adapter). `adapter` names one of the model's adapters, or None for its first."""

    reference: Plane
    weight: float = 0.6
    lends: Lends = Lends.ALL
    adapter: str | None = None
    window: Window = Window()
    region: Plane | None = None


@dataclass(frozen=True, slots=True)
class Guide:
    """A ControlNet's picture: pose, depth, edges. Keypoints may come as five points instead (viewer's left eye, right eye, nose,
    left and right corner of the mouth, in pixels of the picture asked for) and then place the first subject's face.
    """

    kind: GuideKind
    picture: Plane | None = None
    keypoints: tuple[Point, ...] = ()
    weight: float = 0.5
    window: Window = Window()


@dataclass(frozen=True, slots=True)
class Canvas:
    """The picture to start from. Without a mask: image-to-image; with one (A8, same size): inpaint, outside it not one byte changes.

    `strength` 0 to 1 is how much changes. `feather` and `grow` are in canvas pixels; None leaves both to the backend.
    """

    picture: Plane
    mask: Plane | None = None
    strength: float = 1.0
    feather: int | None = None
    grow: int | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample. None means the model's own default."""

    steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class PictureJob:
    """One request for `count` pictures. Every optional part combines with every other. Picture i uses seed `sampling.seed + i`."""

    prompt: str = ""
    negative: str | None = None
    """None means the model's own default negative prompt."""
    extent: Extent | None = None
    """Size of the result; None means the canvas's, else the model's own."""
    model: str | None = None
    canvas: Canvas | None = None
    subjects: tuple[Subject, ...] = ()
    image_prompts: tuple[ImagePrompt, ...] = ()
    guides: tuple[Guide, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    count: int = 1
    preview_every: int = 4
    """Steps between two previews; 0 for none."""
