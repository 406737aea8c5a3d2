"""An add-on's first line: how it stands with the backend, in one sentence, and whether the button that starts it is offered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..events import Link
from ..results import WorkerStage

START_S = 60.0
"""A backend answers in a second; a cold disk and a busy computer may take it longer."""


class Light(Enum):
    """The colour of the state line."""

    OFF = "off"
    WAIT = "wait"
    READY = "ready"
    BUSY = "busy"
    TROUBLE = "trouble"


@dataclass(frozen=True)
class Backend:
    """The state line: one sentence, and whether the button that starts the backend is offered."""

    light: Light
    sentence: str
    can_start: bool = False


def state_line(
    link: Link, sentence: str, worker: WorkerStage | None, worker_sentence: str, title: str, waited_s: float | None, unavailable: str
) -> Backend:
    """`sentence` is the client's, `title` the device's name. `waited_s`: since the button was pressed, None: it was not. `unavailable`:
    why none can be started, empty when one can.
    """
    match link:
        case Link.CONNECTED:
            return _connected(worker, worker_sentence, title)
        case Link.CONNECTING:
            return Backend(Light.WAIT, "Looking for the backend …")
        case Link.STARTING:
            return Backend(Light.WAIT, "The backend is starting …")
        case Link.NOT_OUR_KEY | Link.WRONG_VERSION:
            return Backend(Light.TROUBLE, sentence)
        case Link.LOST | Link.NOT_RUNNING if waited_s is not None and waited_s < START_S:
            return Backend(Light.WAIT, "The backend is starting …")
        case Link.LOST:
            kept = "The backend does not answer. Jobs are kept, and go on when it is back."
            return Backend(Light.TROUBLE, kept, can_start=not unavailable)
        case Link.NOT_RUNNING if waited_s is not None:
            return Backend(
                Light.TROUBLE, f"The backend did not start within {START_S:.0f} s. Its log says why; try again.", not unavailable
            )
        case Link.NOT_RUNNING:
            return Backend(Light.OFF, unavailable or "The backend is not running.", can_start=not unavailable)
    return Backend(Light.WAIT, sentence or "Looking for the backend …")


def _connected(worker: WorkerStage | None, sentence: str, title: str) -> Backend:
    match worker:
        case WorkerStage.READY:
            return Backend(Light.READY, f"Ready: {title}" if title else "Ready")
        case WorkerStage.WORKING:
            return Backend(Light.BUSY, f"Working: {title}" if title else "Working")
        case WorkerStage.STARTING:
            return Backend(Light.WAIT, sentence or "Connected; the model is being loaded …")
        case WorkerStage.RESTARTING:
            return Backend(Light.WAIT, sentence or "Connected; what computes is being started again …")
        case WorkerStage.UNAVAILABLE:
            return Backend(Light.TROUBLE, sentence or "Connected, but nothing computes. The backend's log says why.")
        case None:
            return Backend(Light.READY, "Connected")
