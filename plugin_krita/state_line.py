"""The docker's first line: how it stands with the backend, in one sentence, and whether the button that starts it is offered."""

from __future__ import annotations

from .protocol.events import Link
from .protocol.results import WorkerStage
from .view import Backend, Light

START_S = 60.0
"""A backend answers in a second; a cold disk and a busy computer may take it longer."""


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
    return Backend(Light.READY, "Connected")
