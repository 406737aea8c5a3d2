"""The pipeline that draws: jobs of every kind, with the engine, the faces and the saved characters. Models stay loaded between jobs."""

from __future__ import annotations

import gc
import hashlib
import platform
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from protocol.errors import ModelError
from protocol.geometry import Box, Point
from protocol.jobs import AnalyseFaces, BlendCharacters, Embed, Job, MakeCharacter, PictureJob
from protocol.planes import Plane
from protocol.results import Faces as FacesOutcome
from protocol.results import Embedded, FoundFace, MadeCharacter, MadePicture, ModelInfo, Outcome, Pictures

from .. import images
from ..characters import CharacterStore
from ..config import Settings
from ..faces import Face, FaceAnalyser, Identity, cosine, embedding_of
from ..models.bundle import Model
from ..pipe import Beat
from ..pipelines.engine import Engine
from ..workbench import device_and_dtype, find_model, installed, open_faces
from .casting import blended, made_from_photos, numbers_of
from .memory import Rung
from .serve import Watch

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
_KEPT_MODELS = 2
"""Two, so that a host may change between two without waiting; out of memory throws out all but the one in use."""
_KEPT_IDENTITIES = 64


class RememberingFaces:
    """A face analyser that knows the photos it has seen: the second picture of a person does not analyse the photo again."""

    def __init__(self, faces: FaceAnalyser) -> None:
        self._faces = faces
        self._known: OrderedDict[bytes, Identity] = OrderedDict()

    def analyse(self, rgb: Pixels) -> list[Face]:
        """Faces of a picture (H, W, 3), largest first."""
        return self._faces.analyse(rgb)

    def similarity(self, rgb: Pixels, identity: Identity) -> float | None:
        """How alike the face in a picture is, or None without a face."""
        return self._faces.similarity(rgb, identity)

    def identify(self, pictures: Sequence[Pixels], face: int | None = None) -> Identity:
        """Who the photos show."""
        key = _key(pictures, face)
        if key not in self._known:
            self._known[key] = self._faces.identify(pictures, face)
            while len(self._known) > _KEPT_IDENTITIES:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]


class Desk:
    """One opened model."""

    def __init__(self, model: Model, settings: Settings, characters: Callable[[str], Identity]) -> None:
        found = open_faces(model, settings)
        self.faces = RememberingFaces(found) if found is not None else None
        device, dtype = device_and_dtype(settings)
        self.engine = Engine(model, self.faces, characters=characters, device=device, dtype=dtype)

    def need_faces(self) -> RememberingFaces:
        """The face analyser; `ModelError` for a model without."""
        if self.faces is None:
            raise ModelError(f"The model {self.engine.parts.model.id!r} has no face models, so it cannot read faces. Choose another model.")
        return self.faces


class Studio:
    """Every kind of job. Opens models when they are first asked for."""

    def __init__(self, settings: Settings, characters: Path) -> None:
        self._settings = settings
        self._characters = CharacterStore(characters)
        self._device, _ = device_and_dtype(settings)
        self._desks: OrderedDict[str, Desk] = OrderedDict()

    @property
    def title(self) -> str:
        """The device, for people."""
        if self._device.startswith("cuda"):
            return torch.cuda.get_device_name(self._device)
        return f"{self._device} ({platform.machine()}, {torch.get_num_threads()} threads)"

    def models(self) -> tuple[ModelInfo, ...]:
        """The installed models, the one that is used by default first. A damaged one is left out here; `likeness doctor` tells of it."""
        ids = sorted(installed(self._settings), key=lambda name: (name != self._settings.model, name))
        return tuple(info for name in ids if (info := _info(self._settings, name)) is not None)[:64]

    def beat(self) -> Beat:
        """The device's memory and what is loaded."""
        loaded = tuple(self._desks)
        if not self._device.startswith("cuda"):
            return Beat(loaded=loaded)
        free, total = torch.cuda.mem_get_info(self._device)
        return Beat(total, free, loaded)

    def ladder(self) -> Sequence[Rung]:
        """All at once; once more with empty caches and one model; then decoding in tiles."""
        return Rung("all at once"), Rung("with nothing else loaded", self._alone), Rung("decoding in tiles", self._tiled)

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
                return self._make(job)
            case BlendCharacters():
                return self._blend(job)

    # Inside ----------------------------------------------------------------------------------------------------------------------------
    def _draw(self, job: PictureJob, watch: Watch, rung: str | None) -> Pictures:
        began = time.monotonic()
        desk = self._desk(job.model)
        made = desk.engine.run(job, _EngineWatch(watch))
        pictures = tuple(MadePicture(images.to_plane(one.pixels), one.seed, _clipped(one.similarities)) for one in made)
        return Pictures(pictures, desk.engine.parts.model.id[:80], time.monotonic() - began, rung)

    def _analyse(self, job: AnalyseFaces) -> FacesOutcome:
        faces = self._desk(job.model).need_faces()
        who = self._identity(job.character) if job.character is not None else None
        return FacesOutcome(tuple(_found(face, who) for face in faces.analyse(images.to_rgb(job.picture))[:128]))

    def _embed(self, job: Embed) -> Embedded:
        photos = [images.to_rgb(photo) for photo in job.photos]
        return Embedded(embedding_of(self._desk(job.model).need_faces().identify(photos, job.face)))

    def _make(self, job: MakeCharacter) -> MadeCharacter:
        made_by = hashlib.blake2b(repr((job.name, job.face)).encode() + b"".join(map(_digest, job.photos)), digest_size=16).hexdigest()
        self._characters.check_name(job.name, made_by, job.replace)
        record, identity = made_from_photos(self._desk(job.model).need_faces(), job, made_by)
        return MadeCharacter(self._characters.save(record, numbers_of(identity), job.replace))

    def _blend(self, job: BlendCharacters) -> MadeCharacter:
        made_by = hashlib.blake2b(repr(job).encode(), digest_size=16).hexdigest()
        self._characters.check_name(job.name, made_by, job.replace)
        parts = [(self._identity(share.character), share.weight) for share in job.shares]
        thumbnails = {card.name: card.thumbnail for card in self._characters.cards()}
        strongest = max(job.shares, key=lambda share: share.weight).character
        record, identity = blended(job.name, made_by, parts, thumbnails[strongest])
        return MadeCharacter(self._characters.save(record, numbers_of(identity), job.replace))

    def _identity(self, name: str) -> Identity:
        numbers, extent = self._characters.identity(name)
        return Identity(
            embedding=_floats(numbers.embedding),
            embeddings=_floats(numbers.embeddings).reshape(-1, 512),
            keypoints=_floats(numbers.keypoints).reshape(5, 2),
            extent=extent,
        )

    def _desk(self, model_id: str | None) -> Desk:
        """An opened model; the one that was not used for the longest time is closed for it."""
        name = model_id or self._settings.model
        if name not in self._desks:
            model = find_model(self._settings, name)
            while len(self._desks) >= _KEPT_MODELS:
                self._desks.popitem(last=False)
                self.free()
            self._desks[name] = Desk(model, self._settings, self._identity)
        self._desks.move_to_end(name)
        return self._desks[name]

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Only the model that was used last stays."""
        while len(self._desks) > 1:
            self._desks.popitem(last=False)
        self.free()
        yield

    @contextmanager
    def _tiled(self) -> Generator[None]:
        """The VAE decodes in tiles: less memory, faint seams, which the result names."""
        with self._alone():
            vaes = [desk.engine.parts.base["vae"] for desk in self._desks.values()]
            for vae in vaes:
                vae.enable_tiling()
            try:
                yield
            finally:
                for vae in vaes:
                    vae.disable_tiling()


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


def _info(settings: Settings, name: str) -> ModelInfo | None:
    try:
        model = find_model(settings, name)
    except ModelError:
        return None
    return ModelInfo(
        id=name[:80],
        title=model.name[:256],
        family=model.family.value,
        extent=model.extent,
        subjects=model.instant_id,
        adapters=tuple(entry.name[:80] for entry in model.adapters)[:64],
        guides=tuple(kind for kind, _ in model.controls)[:16],
        scheduler=model.defaults.scheduler[:80],
        steps=model.defaults.steps,
        guidance_scale=model.defaults.guidance_scale,
        negative=model.defaults.negative[:4000],
    )


def _found(face: Face, who: Identity | None) -> FoundFace:
    left, top, right, bottom = (float(value) for value in face.box)
    points = tuple(Point(float(x), float(y)) for x, y in face.keypoints)
    similarity = None if who is None else _clip(float(cosine(face.embedding, who.embedding)))
    return FoundFace(Box(left, top, right, bottom), points, min(1.0, max(0.0, float(face.score))), similarity)


def _clipped(similarities: Sequence[float | None]) -> tuple[float | None, ...]:
    return tuple(None if one is None else _clip(float(one)) for one in similarities)


def _clip(cosine: float) -> float:
    return min(1.0, max(-1.0, cosine))


def _floats(data: bytes) -> Floats:
    return np.frombuffer(data, dtype=np.float32).copy()


def _digest(plane: Plane) -> bytes:
    return hashlib.blake2b(plane.data, digest_size=16).digest()


def _key(pictures: Sequence[Pixels], face: int | None) -> bytes:
    digest = hashlib.blake2b(repr((face, [picture.shape for picture in pictures])).encode(), digest_size=16)
    for picture in pictures:
        digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()
