"""What the tests of live pictures in Krita's docker do and look at."""

from __future__ import annotations

import time

import numpy as np
from krita_host import Document, array_of
from krita_stage import Stage
from plugin_krita.protocol.jobs import PictureJob

Sent = list[tuple[PictureJob, bool]]
"""Picture jobs, and whether each is a live one."""


def listened(stage: Stage) -> Sent:
    """Every picture job that is sent from now on."""
    client, known = stage.presenter._desk.client, []
    submit = client.submit

    def heard(job: object, **more: object) -> str:
        known.append((job, more.get("live") is not None))
        return submit(job, **more)

    client.submit = heard
    return known


def follow(stage: Stage, prompt: str = "steps=1", **values: object) -> None:
    """Live is turned on, and the first picture is there."""
    stage.ready()
    stage.presenter.change(prompt=prompt, **values)
    stage.presenter.turn_live(True)
    shown(stage)


def shown(stage: Stage, other_than: object = None) -> np.ndarray:
    """The live picture, once it is another one than that."""
    stage.until(lambda: stage.presenter.live.picture is not None and stage.presenter.live.picture is not other_than)
    return array_of(stage.presenter.live.picture)


def words(stage: Stage, part: str) -> None:
    stage.until(lambda: stage.presenter.live is not None and part in stage.presenter.live.words)


def paint(document: Document, value: int, box: tuple[slice, slice] = (slice(None), slice(None))) -> None:
    """What a stroke does: other pixels, and a step in the history of the document."""
    document.layers[0].pixels[(*box, slice(0, 3))] = value
    document.changes += 1


def quiet(stage: Stage, seconds: float = 0.5) -> None:
    """So many ticks go by, over several looks."""
    end = time.monotonic() + seconds
    stage.until(lambda: time.monotonic() > end)
    stage.settle()


def at_backend(stage: Stage) -> tuple[int, int]:
    """Jobs that wait there, and that run."""
    return stage.pair.service.broker.dispatcher.counts()[:2]
