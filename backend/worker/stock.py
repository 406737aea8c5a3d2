"""Which models there are, and what is in their folders for artists to choose from; looked through again when a folder changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from protocol.errors import ModelError
from protocol.jobs import LATER_GUIDES
from protocol.limits import LISTED_LORAS, RECOGNISERS
from protocol.results import LoraInfo, ModelInfo, RecogniserInfo

from ..config import Settings
from ..models.bundle import Model, readers_of
from ..models.offers import Offer, Offers, folder_stamp
from ..models.recognisers import Digests
from ..pipe import can_tell
from ..pipelines.schedulers import OFFERED
from ..workbench import find_model, installed

MODELS = 64


class Stock:
    """The installed models, the one that is used by default first. A damaged one is left out; `likeness doctor` tells of it."""

    def __init__(self, settings: Settings, digests: Digests) -> None:
        self._settings, self._digests = settings, digests
        self._offers = Offers()
        self._stamp: object = None

    def models(self) -> tuple[ModelInfo, ...]:
        """All of them, with as many of their LoRAs and textual inversions as can be told together."""
        folders = installed(self._settings)
        if self._stamp is None:
            self._stamp = _stamped(folders)
        ids = sorted(folders, key=lambda name: (name != self._settings.model, name))
        infos = tuple(info for name in ids if (info := self._info(name)) is not None)[:MODELS]
        return fitted(infos, can_tell)

    def changed(self) -> tuple[ModelInfo, ...] | None:
        """The models anew if a folder is not as it was at the first or the last time that they were told so, else None."""
        stamp = _stamped(installed(self._settings))
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        return self.models()

    def _info(self, name: str) -> ModelInfo | None:
        try:
            model = find_model(self._settings, name)
        except ModelError:
            return None
        return _told(name, model, _recogniser_infos(model, self._digests), self._offers.of(model))


def _stamped(folders: dict[str, Path]) -> object:
    return tuple((name, folder_stamp(folder)) for name, folder in sorted(folders.items()))


def fitted(infos: tuple[ModelInfo, ...], can_tell: Callable[[tuple[ModelInfo, ...]], bool]) -> tuple[ModelInfo, ...]:
    """The same with the most LoRAs and textual inversions of each model for which `can_tell` holds; the others are only counted."""
    low, high = 0, LISTED_LORAS
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if can_tell(_cut(infos, middle)) else (low, middle - 1)
    return _cut(infos, low)


def _cut(infos: tuple[ModelInfo, ...], most: int) -> tuple[ModelInfo, ...]:
    return tuple(
        replace(
            info,
            loras=info.loras[:most],
            embeddings=info.embeddings[:most],
            unlisted=info.unlisted + len(info.loras[most:]) + len(info.embeddings[most:]),
        )
        for info in infos
    )


def _told(name: str, model: Model, recognisers: tuple[RecogniserInfo, ...], offer: Offer) -> ModelInfo:
    return ModelInfo(
        id=name[:80],
        title=model.name[:256],
        family=model.family.value,
        extent=model.extent,
        subjects=model.instant_id,
        adapters=tuple(entry.name[:80] for entry in model.adapters)[:64],
        guides=tuple(kind for kind, _ in model.controls if kind not in LATER_GUIDES)[:16],
        schedulers=OFFERED,
        scheduler=model.defaults.scheduler[:80],
        steps=model.defaults.steps,
        guidance_scale=model.defaults.guidance_scale,
        negative=model.defaults.negative[:4000],
        recognisers=recognisers,
        further_guides=tuple(kind for kind, _ in model.controls if kind in LATER_GUIDES)[:16],
        loras=tuple(LoraInfo(one.name, one.title, one.triggers, one.weight) for one in offer.loras),
        embeddings=offer.embeddings,
    )


def _recogniser_infos(model: Model, digests: Digests) -> tuple[RecogniserInfo, ...]:
    """What a model's recognisers are, without those whose file is not known before they are loaded."""
    known = [(one, digests.of(one)) for one in model.recognisers]
    return tuple(
        RecogniserInfo(one.name, digest, readers_of(model, one), one.licence, one.same, one.strangers) for one, digest in known if digest
    )[:RECOGNISERS]
