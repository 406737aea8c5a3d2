"""The pipeline that draws: jobs of every kind, with the engine, the faces and the saved characters. Models stay loaded between jobs."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from protocol.errors import LikenessError
from protocol.geometry import Box, Point
from protocol.jobs import AnalyseFaces, BlendCharacters, Embed, ImportCharacter, Job, MakeCharacter, PictureJob
from protocol.results import Embedded, FoundFace, MadePicture, ModelInfo, Outcome, Pictures
from protocol.results import Faces as FacesOutcome

from .. import images
from ..characters import CharacterStore
from ..config import Settings
from ..faces import Face, Identity, cosine, embedding_of
from ..models.memory_plan import Level
from ..models.recognisers import Digests
from ..models.residency import Residency, Shuttle
from ..pipe import Beat
from ..workbench import device_and_dtype, find_model, hush
from .footing import Asked, Ground, guide_nets, moves_weights, room_on, wears_loras
from .loaded import LoadedModel, LoadedModels, memory_budget
from .memory import Rung
from .people import People
from .register import Register
from .serve import Watch
from .stock import Stock

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


ALONE, TILES = "with nothing else loaded", "decoding in tiles"


class StudioPipeline:
    """Every kind of job. Opens models when they are first asked for; `budget` is the memory in bytes that they may fill together.

    `room` says how many bytes of the device a model's plan may use, and `shuttle` makes what moves weights; by default those of the device.
    """

    def __init__(
        self,
        settings: Settings,
        characters: Path,
        budget: int | None = None,
        *,
        room: Callable[[], int] | None = None,
        shuttle: Callable[[], Shuttle] | None = None,
    ) -> None:
        self._settings = settings
        self._shuttle = shuttle
        self._people = People(CharacterStore(characters))
        self._digests = Digests()
        self._stock = Stock(settings, self._digests)
        self._register = Register(CharacterStore(characters), self._people, self._recognisers)
        self._device, _ = device_and_dtype(settings)
        self._room = room or (partial(room_on, self._device) if moves_weights(self._device) else None)
        self._ground = Ground(self._room, self._make_room, Asked.by(settings, self._device))
        hush()
        self._loaded = LoadedModels(self._open, budget if budget is not None else memory_budget(self._device), self.free)
        self._announce()

    @property
    def title(self) -> str:
        """The device, for people."""
        if self._device.startswith("cuda"):
            return torch.cuda.get_device_name(self._device)
        return f"{self._device} ({platform.machine()}, {torch.get_num_threads()} threads)"

    def models(self) -> tuple[ModelInfo, ...]:
        """The installed models, the one that is used by default first. A damaged one is left out here; `likeness doctor` tells of it."""
        return self._stock.models()

    def changed(self) -> tuple[ModelInfo, ...] | None:
        """The models anew, if there are others than before or other files in their folders."""
        return self._stock.changed()

    def beat(self) -> Beat:
        """The device's memory and what is loaded."""
        loaded = self._loaded.names()
        if not self._device.startswith("cuda"):
            memory = psutil.virtual_memory()
            return Beat(memory.total, memory.available, loaded, self._ground.sentence[:1000])
        free, total = torch.cuda.mem_get_info(self._device)
        return Beat(total, free, loaded, self._ground.sentence[:1000])

    def ladder(self) -> Sequence[Rung]:
        """As the memory plan has it; once more with empty caches and one model; then level by level less on the device, which changes no
        pixel; at last decoding in tiles."""
        levels = [Rung(level.words, partial(self._at, level)) for level in self._ground.levels]
        return Rung(Level.ALL.words), Rung(ALONE, self._alone), *levels, Rung(TILES, self._tiled)

    def free(self) -> None:
        """Empty the device's caches."""
        gc.collect()
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()

    def run(self, job: Job, watch: Watch, rung: str | None) -> Outcome:
        """Do a job; raises errors of the tree."""
        match job:
            case PictureJob():
                return self._draw(job, watch, rung)
            case AnalyseFaces():
                return self._analyse(job)
            case Embed():
                return self._embed(job)
            case MakeCharacter():
                return self._register.make(job, self._model(job.model).eye())
            case BlendCharacters():
                return self._register.blend(job, self._model(job.model).eyes())
            case ImportCharacter():
                return self._register.bring(job, lambda: self._model(job.model).eye())

    # Inside ----------------------------------------------------------------------------------------------------------------------------
    def _draw(self, job: PictureJob, watch: Watch, rung: str | None) -> Pictures:
        began = time.monotonic()
        loaded = self._model(job.model)
        parts = loaded.engine.parts
        nets = guide_nets(parts.model, job)
        with self._ground.under(parts, rung in (None, ALONE, TILES), nets, wears_loras(job)) as level:
            if level > Level.ALL:
                loaded.faces_away()
            made = loaded.engine.run(job, _EngineWatch(watch))
        if rung is None and level is not self._ground.planned(parts, nets):
            rung = level.words
        pictures = tuple(MadePicture(images.to_plane(one.pixels), one.seed, _clipped(one.similarities)) for one in made)
        return Pictures(pictures, loaded.engine.parts.model.id[:80], time.monotonic() - began, rung)

    def _analyse(self, job: AnalyseFaces) -> FacesOutcome:
        eye = self._model(job.model).eye()
        who = self._people.identity(job.character, eye) if job.character is not None else None
        return FacesOutcome(tuple(_found(face, who) for face in eye.faces.analyse(images.to_rgb(job.picture))[:128]))

    def _embed(self, job: Embed) -> Embedded:
        eye = self._model(job.model).eye_for(job.adapter)
        if job.shares:
            return Embedded(embedding_of(self._people.between(job.shares, eye)))
        return Embedded(embedding_of(eye.faces.identify([images.to_rgb(photo) for photo in job.photos], job.face)))

    def _recognisers(self) -> dict[str, str]:
        """The recognisers of all installed models, sha256 -> name."""
        found: dict[str, str] = {}
        for info in self.models():
            found |= {recogniser.sha256: recogniser.name for recogniser in info.recognisers}
        return found

    def _model(self, model_id: str | None) -> LoadedModel:
        """An opened model."""
        return self._loaded.get(model_id or self._settings.model)

    def _open(self, name: str) -> LoadedModel:
        model = find_model(self._settings, name)
        loaded = LoadedModel(model, self._settings, self._people, self._digests, self._ground.faces_there(model, *self._precision()))
        if self._shuttle is not None:
            loaded.engine.parts.residency = Residency(loaded.engine.parts.device, self._shuttle())
        return loaded

    def _make_room(self, needed: int) -> None:
        if self._room is not None:
            self._loaded.make_room(needed, self._room())

    def _announce(self) -> None:
        """What is planned for the model that is used by default, for whoever asks before the first picture."""
        try:
            model = find_model(self._settings, self._settings.model)
        except LikenessError:  # said when a job asks for it
            return
        self._ground.announce(model, *self._precision())

    def _precision(self) -> tuple[int, int | None]:
        """Bytes of a number, and of one of the UNet's and the ControlNets' where these are kept otherwise."""
        return device_and_dtype(self._settings)[1].itemsize, 1 if self._settings.storage == "float8" else None

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Only the model that was used last stays."""
        self._loaded.keep_one()
        yield

    @contextmanager
    def _at(self, level: Level) -> Generator[None]:
        """At most so much on the device."""
        with self._alone(), self._ground.at_least(level):
            yield

    @contextmanager
    def _tiled(self) -> Generator[None]:
        """The VAE works in tiles: less memory and more time, which the result names."""
        with self._alone(), self._ground.at_least(self._ground.levels[-1] if self._ground.levels else Level.ALL):
            engines = [loaded.engine for loaded in self._loaded.opened()]
            for engine in engines:
                engine.always_tiled = True
            try:
                yield
            finally:
                for engine in engines:
                    engine.always_tiled = False


class _EngineWatch:
    """The engine's watch over the worker's: pictures become planes."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def step(self, done: int, total: int) -> None:
        self._watch.step(done, total)

    def preview(self, pixels: Pixels, step: int) -> None:
        self._watch.show(images.to_plane(pixels), step)

    def cancelled(self) -> bool:
        return self._watch.cancelled()


def _found(face: Face, who: Identity | None) -> FoundFace:
    left, top, right, bottom = (float(value) for value in face.box)
    points = tuple(Point(float(x), float(y)) for x, y in face.keypoints)
    similarity = None if who is None else _clip(float(cosine(face.embedding, who.embedding)))
    return FoundFace(Box(left, top, right, bottom), points, min(1.0, max(0.0, float(face.score))), similarity)


def _clipped(similarities: Sequence[float | None]) -> tuple[float | None, ...]:
    return tuple(None if one is None else _clip(float(one)) for one in similarities)


def _clip(cosine: float) -> float:
    return min(1.0, max(-1.0, cosine))
