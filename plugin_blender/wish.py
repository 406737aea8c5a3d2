"""What is set in the panel when a button is pressed, and what of the scene is sent along: plain values, without Blender and numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from typing import Any

from .protocol.desk.loras import LoraRow as LoraRow
from .protocol.desk.loras import bounded, rows_from
from .protocol.geometry import Extent, Point
from .protocol.jobs import GuideKind
from .protocol.planes import Plane

MAP_KINDS = (GuideKind.SKELETON, GuideKind.DEPTH, GuideKind.NORMALS)
"""The guides that are pictures; the face's keypoints travel as numbers."""


class Kind(Enum):
    """What the button does."""

    PORTRAIT = "portrait"
    """A new picture in this pose."""
    REPAINT = "repaint"
    """A render, changed by the strength: all of it, or what a mask shows."""
    TEXTURE = "texture"
    """A new picture that is meant for the surfaces which the camera sees."""


@dataclass(frozen=True)
class Wish:
    """One press of a button. A weight of 0 leaves that part out."""

    kind: Kind = Kind.PORTRAIT
    prompt: str = ""
    negative: str = ""
    """Empty: the model's own."""
    character: str = ""
    """Empty: nobody in particular."""
    likeness: float = 0.8
    """Scale of the image adapter's attention, 0 … 1.5."""
    face: float = 0.8
    """IdentityNet's conditioning scale on the five keypoints, 0 … 1.5."""
    skeleton: float = 0.8
    depth: float = 0.45
    normals: float = 0.0
    """Conditioning scales of these ControlNets, 0 … 1.5."""
    strength: float = 0.6
    """How much a repaint changes, 0.05 … 1."""
    seed: int = 0
    """0 … 2147483583."""
    count: int = 2
    """1 … 16 pictures; picture i has the seed `seed + i`."""
    model: str = ""
    """Empty: the backend's first."""
    steps: int = 0
    """0 … 1000; 0: the model's own number."""
    guidance_scale: float = 0.0
    """0 … 30; 0: the model's own."""
    loras: tuple[LoraRow, ...] | Mapping[str, float] = ()
    """The model's LoRAs with their weights, -2 … 2; a script may give `{"ink": 0.5}`."""

    def changed(self, **values: object) -> Wish:
        """With some values set, each brought within its bounds."""
        wish: Wish = replace(self, **values)  # type: ignore[arg-type]
        scales = ("likeness", "face", "skeleton", "depth", "normals")
        return replace(
            wish,
            prompt=wish.prompt[:4000],
            negative=wish.negative[:4000],
            strength=min(1.0, max(0.05, wish.strength)),
            seed=min(2**31 - 65, max(0, wish.seed)),
            count=min(16, max(1, wish.count)),
            steps=min(1000, max(0, wish.steps)),
            loras=wish.lora_rows,
            guidance_scale=min(30.0, max(0.0, wish.guidance_scale)),
            **{name: min(1.5, max(0.0, getattr(wish, name))) for name in scales},
        )

    @property
    def lora_rows(self) -> tuple[LoraRow, ...]:
        """The LoRAs as rows, within their bounds."""
        if isinstance(self.loras, Mapping):
            return rows_from([{"name": name, "weight": weight} for name, weight in self.loras.items()])
        return bounded(self.loras)

    def weight(self, kind: GuideKind) -> float:
        """The weight of one of `MAP_KINDS`, or of the face."""
        return {
            GuideKind.SKELETON: self.skeleton,
            GuideKind.DEPTH: self.depth,
            GuideKind.NORMALS: self.normals,
            GuideKind.KEYPOINTS: self.face if self.character else 0.0,
        }[kind]

    @property
    def maps(self) -> tuple[GuideKind, ...]:
        """The maps that must be made for it."""
        return tuple(kind for kind in MAP_KINDS if self.weight(kind) > 0)

    def kept(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "kind": self.kind.value}


def wish_from(kept: object) -> Wish:
    """A wish from what `kept` gave; whatever does not fit (an older version, a damaged file) has its default."""
    wish = Wish()
    if not isinstance(kept, Mapping):
        return wish
    for item in fields(Wish):
        if item.name in kept:
            try:
                value = rows_from(kept["loras"]) if item.name == "loras" else type(getattr(wish, item.name))(kept[item.name])
                wish = wish.changed(**{item.name: value})
            except (TypeError, ValueError):
                continue
    return wish


@dataclass(frozen=True)
class Target:
    """An object of the file without holding on to it: undo gives every object another place in memory, and the artist renames them."""

    name: str
    uid: str
    """Blender's `session_uid` with the session that gave it: the same for one object until the file is closed."""


@dataclass(frozen=True, eq=False)
class Shot:
    """What one camera sees at the moment of pressing. All planes have the size of `extent`."""

    name: str
    """For the result's list: the camera, and the frame when there are several."""
    extent: Extent
    camera: Mapping[str, Any] = field(default_factory=dict)
    """The camera as numbers (`scene_shot.camera_record`), with which the picture is placed in the scene later."""
    maps: Mapping[GuideKind, Plane] = field(default_factory=dict)
    keypoints: tuple[Point, ...] = ()
    """Five, in pixels of the picture; () where the face is not seen."""
    picture: Plane | None = None
    mask: Plane | None = None
    """A8: what is repainted."""
    targets: tuple[Target, ...] = ()
    """The objects that a texture is for, or whose card it becomes."""
    document: str = ""
    """The name of the .blend file."""
    sentences: tuple[str, ...] = ()
    """What the artist should know about it: why there are no keypoints."""
    view: object = None
    """What the host measured for putting the picture onto meshes; handed through, never looked into, not kept over sessions."""
