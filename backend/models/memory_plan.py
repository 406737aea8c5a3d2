"""What stays in a device's memory, what leaves it after use and what is streamed through it: decided from sizes and from what is free.

Pure: numbers in, a plan out. Every level gives the same pixels; each needs less memory than the one before, and costs more copying over the
bus. On a card of 12 GB, IdentityNet beside SDXL fits when the text encoders leave (1.6 GB that work for milliseconds); on one of 8 GB, the
transformer blocks come and go while others compute: 6.4 GB a step at 25 GB/s are a quarter of a second, a third of such a card's step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

GIB = 1024**3
MARGIN = 0.05
"""Share of what is free that the plan leaves alone: the allocator's waste, and workspaces of libraries."""
IN_FLIGHT = 3
"""Blocks that are on the device at once while they are streamed: the one that computes, the next, and one on its way out."""

FACES_POOL = GIB
"""What face models are taken to need on a device beside their weights: an ONNX runtime has a pool of its own. Assumed, not measured."""


class Role(Enum):
    """What a part is for, and so when it is needed."""

    TEXT = "text encoder"
    PICTURE = "image encoder"
    VAE = "VAE"
    UNET = "UNet"
    NET = "ControlNet"
    ADAPTER = "adapter"
    FACES = "face models"


class Stay(Enum):
    """Where a part is between its uses."""

    DEVICE = "stays"
    AWAY = "leaves after use"
    STREAMED = "is streamed"
    PROCESSOR = "works on the processor"


class Level(IntEnum):
    """How much leaves the device, from nothing to all that can."""

    ALL = 0
    ENCODERS_AWAY = 1
    TAKING_TURNS = 2
    NETS_STREAMED = 3
    STREAMED = 4

    @property
    def words(self) -> str:
        """For people, and as the name of a rung of the memory ladder."""
        return _WORDS[self]


_WORDS = {
    Level.ALL: "all at once",
    Level.ENCODERS_AWAY: "encoders leave after use",
    Level.TAKING_TURNS: "parts take turns on the device",
    Level.NETS_STREAMED: "ControlNets are streamed",
    Level.STREAMED: "layers are streamed",
}
_PHASES = ((Role.TEXT,), (Role.PICTURE,), (Role.UNET, Role.NET), (Role.VAE,))
"""Which parts work together: the text is read, pictures are read, the picture is sampled, latents are decoded (or a canvas encoded)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part and its weights in bytes: `blocks` of them lie in transformer blocks, the largest of which has `block`."""

    name: str
    role: Role
    weights: int
    blocks: int = 0
    block: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """Bytes that computing takes beside the weights, at its worst moment: reading a text or picture, one step, the VAE.

    `captured` is what CUDA graphs hold from their first picture on, 0 where nets are not captured; `replaced` what is kept of the UNet
    while LoRAs are merged into it, at most, 0 where they act beside the layers.
    """

    reading: int
    step: int
    decode: int
    captured: int = 0
    replaced: int = 0


@dataclass(frozen=True, slots=True)
class Allotment:
    """Bytes of the device that are there for captured nets (0: none are captured), and for what LoRAs replace (0: it waits in the
    processor's memory)."""

    graphs: int
    originals: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """`free` bytes may be used; at `level` the most at any moment is `peak`. It does not fit when even the last level needs more."""

    level: Level
    free: int
    peak: int
    fits: bool
    parts: tuple[tuple[Part, Stay], ...]
    work: Work
    captured: bool = False
    """Whether captured nets have room, too. They are the first thing to go: without them a step takes longer, and is the same."""

    def peak_at(self, level: Level, captured: bool = False) -> int:
        """Bytes on the device at the worst moment, were it another level, or with other nets captured."""
        if (level, captured) == (self.level, self.captured):
            return self.peak
        return peak(level, [part for part, _ in self.parts], self.work, captured)

    def allotment(self, level: Level, captured: bool) -> Allotment:
        """Who gets what is left at this level: what LoRAs replace if all of it fits, then captured nets."""
        spare = max(0, _room(self.free) - self.peak_at(level, captured))
        originals = self.work.replaced if captures(level) and spare >= self.work.replaced else 0
        return Allotment(self.work.captured + spare - originals if captured else 0, originals)

    def names(self, wanted: Stay) -> tuple[str, ...]:
        """The parts that are kept like this."""
        return tuple(part.name for part, stay in self.parts if stay is wanted)

    def sentence(self) -> str:
        """The plan in one line."""
        words = [f"{stay.value}: {', '.join(names)}" for stay in Stay if (names := self.names(stay))]
        need = f"needs {self.peak / GIB:.1f} of {self.free / GIB:.1f} GiB"
        if not self.fits:
            need += ", which is too much: pictures of the model's own size decode in tiles or fail; use smaller ones"
        return f"{self.level.words} ({need}); {'; '.join([*words, *self._quicker()])}"

    def _quicker(self) -> list[str]:
        """What captured nets and LoRAs come to, where these are asked for."""
        if not self.work.captured and not self.work.replaced:
            return []
        if Stay.STREAMED in (stay(self.level, Role.UNET), stay(self.level, Role.NET)):
            return ["nets that are streamed are neither compiled nor captured"]
        words: list[str] = []
        if self.work.captured:
            there = f"captured nets hold {self.work.captured / GIB:.1f} GiB" if self.captured else "no room for captured nets"
            words.append(there if captures(self.level) else "nets that come and go are not captured")
        if self.work.replaced and captures(self.level):
            where = "on the device" if self.allotment(self.level, self.captured).originals else "in the processor's memory"
            words.append(f"what LoRAs replace waits {where}")
        elif self.work.replaced:
            words.append("LoRAs act beside layers that come and go, which are not compiled then")
        return words


def stay(level: Level, role: Role) -> Stay:
    """Where a part of this role is between its uses.

    Face models work on the processor: an ONNX runtime on the card would hold a second pool of its memory for parts that take a tenth of a
    second for each person, once; and embeddings would differ in their last bits from card to card. Who wants them on the card asks for it,
    and has them there where everything else fits beside them (`plan_memory`).
    """
    match role:
        case Role.FACES:
            return Stay.PROCESSOR
        case Role.ADAPTER:
            return Stay.DEVICE
        case Role.TEXT | Role.PICTURE | Role.VAE:
            return Stay.AWAY if level >= Level.ENCODERS_AWAY else Stay.DEVICE
        case Role.NET:
            if level >= Level.NETS_STREAMED:
                return Stay.STREAMED
            return Stay.AWAY if level >= Level.TAKING_TURNS else Stay.DEVICE
        case Role.UNET:
            if level >= Level.STREAMED:
                return Stay.STREAMED
            return Stay.AWAY if level >= Level.TAKING_TURNS else Stay.DEVICE


def captures(level: Level) -> bool:
    """Whether the nets are where they are between pictures, so that graphs may know their addresses, and LoRAs be merged into them."""
    return all(stay(level, role) is Stay.DEVICE for role in (Role.UNET, Role.NET))


def together(role: Role) -> frozenset[Role]:
    """The roles that work in the same phase as this one."""
    return next((frozenset(phase) for phase in _PHASES if role in phase), frozenset((role,)))


def peak(level: Level, parts: Sequence[Part], work: Work, captured: bool = False) -> int:
    """Bytes on the device at the worst moment of a picture. What graphs hold counts at every moment: nothing else can use it."""
    needs = {Role.TEXT: work.reading, Role.PICTURE: work.reading, Role.UNET: work.step, Role.VAE: work.decode}
    return max(_resident(level, parts, phase) + needs[phase[0]] for phase in _PHASES) + (work.captured if captured else 0)


def plan_memory(parts: Iterable[Part], work: Work, free: int, faces_may: bool = False) -> MemoryPlan:
    """The first level at which everything fits into `free` bytes, else the last; captured nets go before any part does. With `faces_may`,
    face models are on the device where all else stays there and they still fit."""
    known, room = tuple(parts), _room(free)
    for level, captured in ((level, captured) for level in Level for captured in (True, False)):
        if captured and not (work.captured and captures(level)):
            continue
        most = peak(level, known, work, captured)
        if most <= room or level is Level.STREAMED:
            faces = sum(part.weights for part in known if part.role is Role.FACES)
            there = faces_may and faces > 0 and level is Level.ALL and most + faces + FACES_POOL <= room
            places = tuple((part, Stay.DEVICE if there and part.role is Role.FACES else stay(level, part.role)) for part in known)
            most_of_all = most + (faces + FACES_POOL if there else 0)
            return MemoryPlan(level, free, most_of_all, most <= room, places, work, captured)
    raise AssertionError("the last level is always taken")


def _room(free: int) -> int:
    return int(free * (1 - MARGIN))


def _resident(level: Level, parts: Sequence[Part], phase: Sequence[Role]) -> int:
    total = largest = 0
    for part in parts:
        match stay(level, part.role):
            case Stay.DEVICE:
                total += part.weights
            case Stay.AWAY:
                total += part.weights if part.role in phase else 0
            case Stay.STREAMED:
                total += part.weights - part.blocks
                largest = max(largest, part.block if part.role in phase else 0)
            case Stay.PROCESSOR:
                pass
    return total + IN_FLIGHT * largest
