"""The workbench behind a backend: the commands' pictures are made where Krita's and Blender's are, by models that stay loaded.

A backend is started when none runs; it ends by itself after some idle minutes, unlike one that was started with `likeness serve`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InvalidRequest, Lost
from protocol.jobs import AnalyseFaces, Embed, Embedding, PictureJob
from protocol.results import Embedded, Faces

from . import images
from .config import Settings, environment
from .faces import Identity, embedding_of, identity_of
from .progress import Watch
from .scripting import Progress, Results, Studio
from .workbench import find_model

if TYPE_CHECKING:
    from .models.bundle import Model

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class RemotePicture:
    """One picture from the backend."""

    pixels: Pixels
    similarities: tuple[float | None, ...]


class RemoteBench:
    """A model of a backend. Its names are the workbench's."""

    def __init__(self, studio: Studio, model: Model) -> None:
        self._studio = studio
        self.model = model

    def person(self, identity: Identity) -> Embedding:
        """The person by the numbers themselves: nothing is saved in the backend."""
        return embedding_of(identity)

    def identify(self, photos: Sequence[Pixels]) -> Identity:
        """Who the photos (H, W, 3) show."""
        outcome = self._studio.outcome(Embed(tuple(images.to_plane(photo) for photo in photos), model=self.model.id))
        if not isinstance(outcome, Embedded):
            raise Lost
        return identity_of(outcome.who)

    def saved(self, name: str, adapter: str | None = None) -> Identity:
        """A person who is saved in the backend."""
        return identity_of(self._studio.embedding(name, model=self.model.id, adapter=adapter))

    def face_points(self, picture: Pixels) -> list[NDArray[np.float32]]:
        """The five keypoints (5, 2) of each face of a picture (H, W, 3), the largest first."""
        outcome = self._studio.outcome(AnalyseFaces(images.to_plane(picture), model=self.model.id))
        if not isinstance(outcome, Faces):
            raise Lost
        return [np.array([(point.x, point.y) for point in face.keypoints], dtype=np.float32) for face in outcome.faces]

    def paint(self, job: PictureJob, bar: Watch) -> RemotePicture:
        """Do a job of one picture; Ctrl-C cancels it in the backend too."""
        told = False
        for news in self._studio.stream(replace(job, model=self.model.id)):
            match news:
                case Progress(step=int(step), steps=int(steps)):
                    bar.step(step, steps)
                case Progress(position=int(position)) if position and not told:
                    bar.say(f"{position} other job{'s are' if position > 1 else ' is'} first.")
                    told = True
                case Results():
                    made = news[0]
                    return RemotePicture(np.array(made.image.convert("RGB")), made.similarities)
                case _:
                    pass
        raise Lost


@contextmanager
def remote_bench(settings: Settings, model_id: str | None = None) -> Generator[RemoteBench]:
    """A bench at the backend of this user; one is started when none runs.

    Raises:
        InvalidRequest: the backend that runs does not compute on the device that is asked for.
        ModelError: there is no such model here.
    """
    model = find_model(settings, model_id or settings.model)
    with studio_for(settings) as studio:
        _check_device(studio, settings.device)
        yield RemoteBench(studio, model)


def studio_for(settings: Settings) -> Studio:
    """A connection to the backend of this user; one with these settings is started when none runs."""
    return Studio(options=["--on", settings.device], environ=environment(settings, os.environ))


def _check_device(studio: Studio, device: str) -> None:
    if device == "auto":
        return
    devices = studio.status().devices
    end = time.monotonic() + 30.0
    while not all(one.title or one.sentence for one in devices) and time.monotonic() < end:  # "auto" is known when the worker is ready
        time.sleep(0.2)
        devices = studio.status().devices
    running = [_kind(one.title) or one.device if one.device == "auto" else one.device for one in devices]
    fits = any(one.device == device or (one.device == "auto" and _kind(one.title) == device.split(":")[0]) for one in devices)
    if not fits:
        raise InvalidRequest(
            f"The backend that runs computes on {', '.join(running)}, not on {device}. End it with `likeness status --stop`, so that "
            "one on that device can start; or use --alone, which computes in the command's own process."
        )


def _kind(title: str) -> str:
    """What "auto" came to: a worker's title begins with cpu or mps, or is the name of a GPU."""
    first = title.split(" ")[0]
    return first if first in ("cpu", "mps", "") else "cuda"
