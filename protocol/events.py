"""What `Client.poll()` returns: what the backend said, and how the client stands with it."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from .errors import LikenessError
from .frozen import frozen
from .messages import Accepted, CharacterPhotos, Characters, Done, Fetched, JobUpdate, Models, Preview, Request, StatusReport
from .results import WorkerStage


class Link(Enum):
    """How the client stands with the backend."""

    CONNECTING = "connecting"
    NOT_RUNNING = "not running"
    STARTING = "starting"
    WRONG_VERSION = "wrong version"
    NOT_OUR_KEY = "not our key"
    LOST = "lost"
    CONNECTED = "connected"


@frozen
class LinkChanged:
    """The connection is another than before; `sentence` is for the user, empty when connected or connecting."""

    link: Link
    sentence: str


@frozen
class WorkerChanged:
    """What computes is in another state; `sentence` says why nothing is computed, empty when all is well."""

    stage: WorkerStage
    sentence: str


@frozen
class ModelsChanged:
    """There are other models than before, or other LoRAs and textual inversions for them: `Client.ask_models` tells which."""


@frozen
class Refused:
    """A request was not done, and why."""

    request: Request
    error: LikenessError
    retry_after_s: float | None = None


Event: TypeAlias = (
    LinkChanged
    | WorkerChanged
    | ModelsChanged
    | Refused
    | Accepted
    | JobUpdate
    | Preview
    | Fetched
    | Done
    | StatusReport
    | Models
    | Characters
    | CharacterPhotos
)
