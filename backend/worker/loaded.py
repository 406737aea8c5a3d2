"""Opened models: which stay loaded between jobs, and which have to leave for another one."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from protocol.errors import ModelError

from ..config import Settings
from ..faces import Face, FaceAnalyser, Identity
from ..models.base import weight_count
from ..models.bundle import Model
from ..models.recognisers import Digests, Recogniser
from ..pipelines.engine import Engine
from ..pipelines.sights import Sight
from ..workbench import CUDA_PROVIDERS, device_and_dtype, open_faces, open_recogniser, tune
from .people import NOT_KNOWN, Eye, People

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
_SHARE_OF_GPU = 0.7
"""The rest is for what a job needs beside the weights."""
_SHARE_OF_RAM = 0.4
"""Krita, Blender and everything else of the user live in the same memory."""
_KEPT_IDENTITIES = 64


def memory_budget(device: str) -> int:
    """Bytes that loaded models may fill together: those on a GPU, and those that wait in the processor's memory while another one works."""
    waiting = int(psutil.virtual_memory().total * _SHARE_OF_RAM)
    if device.startswith("cuda"):
        return waiting + int(torch.cuda.mem_get_info(device)[1] * _SHARE_OF_GPU)
    return waiting


class LoadedModels:
    """The opened models, in the order of their last use, within a budget of bytes. The one in use stays, whatever it takes.

    A model's size is that of its weight files until they are read, in the precision they are read to; then what really lies in memory.
    """

    def __init__(self, open_: Callable[[str], LoadedModel], budget: int, free: Callable[[], None]) -> None:
        self._open, self._budget, self._free = open_, budget, free
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()

    def get(self, name: str) -> LoadedModel:
        """The model `name`, opened; others leave when they would not all fit, the one that was not used for the longest time first."""
        if name not in self._models:
            self._models[name] = self._open(name)
        self._models.move_to_end(name)
        while len(self._models) > 1 and sum(model.size() for model in self._models.values()) > self._budget:
            self._models.popitem(last=False)
            self._free()
        return self._models[name]

    def make_room(self, needed: int, room: int) -> None:
        """Have models wait in the processor's memory until those left on the device, and `needed` bytes for the one used last, take no more
        than `room` together: the one that was not used for the longest time first."""
        others = list(self._models.values())[:-1]
        for model in others:
            if sum(other.on_device() for other in others) + needed <= room:
                return
            if model.on_device():
                model.engine.parts.park()
                self._free()

    def keep_one(self) -> None:
        """Close all but the one that was used last."""
        while len(self._models) > 1:
            self._models.popitem(last=False)
        self._free()

    def names(self) -> tuple[str, ...]:
        """The opened models, the last one used last."""
        return tuple(self._models)

    def opened(self) -> list[LoadedModel]:
        """The models, the last one used last."""
        return list(self._models.values())


class RememberingFaces:
    """A face analyser that knows the photos it has seen: the second picture of a person does not analyse the photo again."""

    def __init__(self, faces: FaceAnalyser) -> None:
        self._faces = faces
        self._known: OrderedDict[bytes, Identity] = OrderedDict()

    def change(self, faces: FaceAnalyser) -> None:
        """Have the same models read elsewhere from now on; who is known stays known."""
        self._faces = faces

    def analyse(self, rgb: Pixels) -> list[Face]:
        """Faces of a picture (H, W, 3), largest first."""
        return self._faces.analyse(rgb)

    def similarity(self, rgb: Pixels, identity: Identity) -> float | None:
        """How alike the face in a picture (H, W, 3) is (cosine), or None without a face."""
        return self._faces.similarity(rgb, identity)

    def identify(self, pictures: Sequence[Pixels], face: int | None = None, near: Sequence[Floats] = ()) -> Identity:
        """Who the photos (H, W, 3) show; with `near`, by the faces that lie at these keypoints (5, 2), one for each photo."""
        key = _key(pictures, face) + b"".join(points.tobytes() for points in near)
        if key not in self._known:
            self._known[key] = self._faces.identify(pictures, face, near) if len(near) else self._faces.identify(pictures, face)
            while len(self._known) > _KEPT_IDENTITIES:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]


class LoadedModel:
    """One opened model, with its recognisers: the one in its face models at once, others when an adapter asks for them."""

    def __init__(self, model: Model, settings: Settings, people: People, digests: Digests, faces_there: bool = False) -> None:
        found = open_faces(model, settings, CUDA_PROVIDERS) if faces_there else open_faces(model, settings)
        self._faces_there = faces_there
        self.faces = RememberingFaces(found) if found is not None else None
        self._model, self._settings, self._people, self._digests = model, settings, people, digests
        self._eyes: dict[str, Eye] = {}
        device, dtype = device_and_dtype(settings)
        self.engine = Engine(
            model,
            self.faces,
            characters=lambda name: people.identity(name, self.eye()),
            photo=people.photo,
            recognisers=self._sight,
            device=device,
            dtype=dtype,
        )
        tune(self.engine.parts, settings)
        self._files = _size_of_files(model, dtype.itemsize)

    def eye(self, recogniser: Recogniser | None = None) -> Eye:
        """A recogniser at work, by default the one in the model's face models; `ModelError` for a model without."""
        main = self._model.recognisers[0] if self._model.recognisers else None
        chosen = recogniser or main
        if chosen is None or chosen == main:
            name, digest = (self._model.id, "") if main is None else (main.name, self._digests.of(main))
            return Eye(name, digest or NOT_KNOWN, self.need_faces())
        if chosen.name not in self._eyes:
            faces = RememberingFaces(open_recogniser(self._model, self._settings, chosen))
            self._eyes[chosen.name] = Eye(chosen.name, self._digests.of(chosen) or NOT_KNOWN, faces)
        return self._eyes[chosen.name]

    def eye_for(self, adapter: str | None) -> Eye:
        """The recogniser of one of the model's image adapters, or InstantID's (None; without InstantID that in the face models)."""
        if not self._model.recognisers or (adapter is None and not self._model.instant_id):
            return self.eye()
        return self.eye(self._model.recogniser(None if adapter is None else self._model.adapter(adapter)))

    def eyes(self) -> list[Eye]:
        """All recognisers of the model, the one in its face models first."""
        return [self.eye(), *(self.eye(recogniser) for recogniser in self._model.recognisers[1:])]

    def _sight(self, recogniser: Recogniser) -> Sight:
        eye = self.eye(recogniser)
        return Sight(eye.faces, lambda name: self._people.identity(name, eye), self._people.photo)

    def need_faces(self) -> RememberingFaces:
        """The face analyser; `ModelError` for a model without."""
        if self.faces is None:
            raise ModelError(f"The model {self.engine.parts.model.id!r} has no face models, so it cannot read faces. Choose another model.")
        return self.faces

    def faces_away(self) -> None:
        """Face models leave the device, if they are there, and work on the processor from now on."""
        if self._faces_there and self.faces is not None and (found := open_faces(self._model, self._settings)) is not None:
            self.faces.change(found)
            self._faces_there = False

    def size(self) -> int:
        """Bytes that the model takes: at least what its files say, which are read when a job first needs them."""
        return max(self._files, self.engine.parts.weight_bytes())

    def on_device(self) -> int:
        """Bytes of its weights that are on the device now, and of its captured nets."""
        parts = self.engine.parts
        return parts.residency.bytes_here() + (parts.graphs.bytes if parts.graphs is not None else 0)


def _size_of_files(model: Model, element: int) -> int:
    """Bytes of a model's base weights once they are read: the files are in half precision, `element` is the bytes of a number here."""
    if model.base.checkpoint is not None:
        return weight_count(model.base) * element
    folders = ("unet", "vae", "text_encoder", "text_encoder_2")
    files = [file for name in folders for file in (model.folder / name).glob("*.safetensors")]
    return sum(file.stat().st_size for file in files) * element // 2


def _key(pictures: Sequence[Pixels], face: int | None) -> bytes:
    digest = hashlib.blake2b(repr((face, [picture.shape for picture in pictures])).encode(), digest_size=16)
    for picture in pictures:
        digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()
