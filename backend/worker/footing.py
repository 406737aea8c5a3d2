"""At which level of the memory plan each model's pictures are drawn: as planned, lower after a full device, and back up again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from protocol.errors import OutOfMemory
from protocol.jobs import Shortcut

from ..models.memory_plan import Allotment, Level, MemoryPlan, Role, Stay, captures, plan_memory
from ..models.part_sizes import parts_of, work_of
from ..workbench import CUDA_PROVIDERS

if TYPE_CHECKING:
    from protocol.jobs import PictureJob

    from ..config import Settings
    from ..models.bundle import Model
    from ..models.parts import Parts

PICTURES = 8
"""So many pictures in a row fit before the next one tries the level above: what filled the device may be gone by then. If it is not, that
costs one attempt in nine."""


def moves_weights(device: str) -> bool:
    """Whether the device has a memory of its own, so that weights in the processor's memory leave room there."""
    return device.startswith(("cuda", "xpu"))


def room_on(device: str) -> int:
    """Bytes of the device that this process has or may have."""
    if not device.startswith("cuda"):
        return 0
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)


FLOAT8 = "nets stored in float8 are neither compiled nor captured, since their weights are made anew in each layer"


@dataclass(frozen=True, slots=True)
class Asked:
    """What settings ask for that takes a device's memory: `faces` on it where there is room, `captured` nets, LoRAs `merged` into the UNet
    since it is compiled or captured. `unsound` says why something that is asked for cannot be."""

    faces: bool = False
    captured: bool = False
    merged: bool = False
    unsound: str = ""

    @classmethod
    def by(cls, settings: Settings, device: str) -> Asked:
        """By the settings, on this device."""
        there = device.startswith("cuda")
        compiled, captured = (there and word == "yes" for word in (settings.compile, settings.graphs))
        faces = faces_may_be_there(settings, device)
        if settings.storage == "float8":
            return cls(faces, unsound=FLOAT8 if compiled or captured else "")
        return cls(faces, captured, compiled or captured)


NOTHING = Asked()


def plan_for(
    model: Model, element: int, free: int, stored: int | None = None, guides: Iterable[Path] = (), asked: Asked = NOTHING
) -> MemoryPlan:
    """What is to stay where, for pictures of the model's own size, with `free` bytes, numbers of `element` bytes, the UNet and the
    ControlNets kept in `stored` bytes a number, the ControlNets for guides in these folders beside InstantID's, and what is `asked` for."""
    parts = parts_of(model, element, stored, guides)
    work = work_of(model, parts, element, asked.captured, asked.merged)
    return plan_memory(parts, work, free, asked.faces)


def faces_may_be_there(settings: Settings, device: str) -> bool:
    """Whether somebody wants face models on the device, and onnxruntime can compute there."""
    if settings.faces != "auto" or not device.startswith("cuda"):
        return False
    runtime: Any = import_module("onnxruntime")  # it has no types
    return CUDA_PROVIDERS[0] in runtime.get_available_providers()


def wears_loras(job: PictureJob) -> bool:
    """Whether a job's pictures may be drawn with LoRAs, its own or that of a shortcut."""
    return bool(job.loras) or Shortcut.FEW_STEPS in job.sampling.shortcuts


def guide_nets(model: Model, job: PictureJob) -> frozenset[Path]:
    """The folders of the ControlNets that a job's guides take; what the model lacks is refused elsewhere."""
    folders = dict(model.controls)
    return frozenset(folders[guide.kind] for guide in job.guides if guide.weight > 0 and guide.kind in folders)


@dataclass(slots=True)
class Footing:
    """Where one model stands. `planned` is as high as it goes; for `crowded` pictures to come, nothing is captured."""

    planned: Level
    level: Level
    good: int = 0
    crowded: int = 0

    def held(self, level: Level) -> None:
        """A picture was made at `level`."""
        self.crowded = max(0, self.crowded - 1)
        if level > self.level:
            self.level, self.good = level, 0
            return
        self.good += 1
        if self.good >= PICTURES and self.level > self.planned:
            self.level, self.good = Level(self.level - 1), 0


Key = tuple[str, frozenset[Path]]
"""A model's id, and the ControlNets for guides that pictures take with it: each such company has a plan of its own."""


class Ground:
    """The footings of all models of a device; `room` says how many bytes may be used, None on a device whose weights never move, and
    `make_room` has other models leave until so many are free for the one that works."""

    def __init__(
        self, room: Callable[[], int] | None, make_room: Callable[[int], None] = lambda needed: None, asked: Asked = NOTHING
    ) -> None:
        self._room, self._make_room, self._asked = room, make_room, asked
        self._footings: dict[Key, Footing] = {}
        self._plans: dict[Key, MemoryPlan] = {}
        self._least = Level.ALL
        self._tried = -1
        self.sentence = ""
        """The plan of the model that was used last."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels below the first that a job may be retried at."""
        return tuple(Level)[1:] if self._room is not None else ()

    @contextmanager
    def at_least(self, level: Level) -> Generator[None]:
        """Within the context, pictures are drawn at `level` or lower."""
        self._least = level
        try:
            yield
        finally:
            self._least = Level.ALL

    @contextmanager
    def under(self, parts: Parts, first: bool, nets: frozenset[Path] = frozenset(), worn: bool = False) -> Generator[Level]:
        """The level for one attempt at a picture with these ControlNets for guides, and `worn` LoRAs; `first` of its job, or of those that
        find nothing else on the device. What leaves after use is gone at the end. Raises `OutOfMemory` at once for a level that was tried.

        After a full device, graphs are what goes first: nothing is captured for some pictures."""
        key, footing = (parts.model.id, nets), self._footing(parts, nets)
        level = max(footing.level, self._least)
        if not first and self._least > Level.ALL and level <= self._tried:
            raise OutOfMemory(f"It does not fit at this level either: {level.words}.")
        self._tried = level
        captured = key in self._plans and self._plans[key].work.captured > 0 and captures(level) and not footing.crowded
        captured = captured and (self._plans[key].captured or level > self._plans[key].level)
        self._say(key, level, captured)
        if key in self._plans:
            self._allot(self._plans[key].allotment(level, captured), parts, footing)
            self._make_room(self._plans[key].peak_at(level, captured) + (parts.originals.room or 0 if worn else 0))
        parts.residency.change(level)
        parts.residency.wake()
        try:
            yield level
        except (OutOfMemory, torch.OutOfMemoryError):
            footing.crowded = PICTURES
            raise
        finally:
            parts.residency.rest()
        footing.held(level)

    def planned(self, parts: Parts, nets: frozenset[Path] = frozenset()) -> Level:
        """The level that the plan begins with."""
        return self._footing(parts, nets).planned

    def announce(self, model: Model, element: int, stored: int | None) -> None:
        """Say what is planned for a model before its first picture."""
        if self._room is not None:
            self.sentence = f"{model.id}: {self._plan(model, element, stored).sentence()}{self._unsound}"

    def faces_there(self, model: Model, element: int, stored: int | None) -> bool:
        """Whether a model's face models are to be opened on the device."""
        if self._room is None or not self._asked.faces:
            return False
        return any(part.role is Role.FACES and where is Stay.DEVICE for part, where in self._plan(model, element, stored).parts)

    def _plan(self, model: Model, element: int, stored: int | None, nets: frozenset[Path] = frozenset()) -> MemoryPlan:
        assert self._room is not None
        return plan_for(model, element, self._room(), stored, sorted(nets), self._asked)

    def _allot(self, share: Allotment, parts: Parts, footing: Footing) -> None:
        """Tell graphs and LoRAs how much of the device is theirs."""
        if parts.graphs is not None:
            parts.graphs.allow(share.graphs)
        parts.originals.room = 0 if footing.crowded else share.originals

    def _footing(self, parts: Parts, nets: frozenset[Path]) -> Footing:
        model, stored = parts.model, parts.storage.itemsize if parts.storage else None
        key = (model.id, nets)
        if key not in self._footings:
            level = Level.ALL
            if self._room is not None:
                self._plans[key] = self._plan(model, parts.dtype.itemsize, stored, nets)
                level = self._plans[key].level
            self._footings[key] = Footing(level, level)
        return self._footings[key]

    def _say(self, key: Key, level: Level, captured: bool) -> None:
        plan, name = self._plans.get(key), key[0]
        if plan is None:
            self.sentence = ""
        elif level is not plan.level:
            self.sentence = f"{name}: {level.words}, after the device was full at what was planned ({plan.level.words})"
        else:
            rests = "; for some pictures nothing is captured, after the device was full" if plan.captured and not captured else ""
            self.sentence = f"{name}: {plan.sentence()}{rests}{self._unsound}"

    @property
    def _unsound(self) -> str:
        return f"; {self._asked.unsound}" if self._asked.unsound else ""
