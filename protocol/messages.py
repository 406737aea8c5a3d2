"""Every request, reply and event: one frozen dataclass per kind. SPEC.md says when each is sent.

A request carries a number that its replies repeat. Every request may be sent again without harm.
"""

from __future__ import annotations

from dataclasses import field
from enum import Enum
from typing import Annotated, TypeAlias

from .frozen import frozen
from .jobs import About, Job, Reading
from .limits import (
    CHARACTERS_PER_PAGE,
    FRAME_BYTES,
    JOBS_PER_CLIENT,
    MODELS,
    PHOTOS,
    PLANES,
    RECOGNISERS,
    Between,
    ClientId,
    Count,
    Fraction,
    Handle,
    Items,
    JobId,
    Name,
    Note,
    RequestNumber,
    Seconds,
    Sentence,
)
from .planes import Plane
from .results import CharacterCard, ModelInfo, Outcome, Status, WorkerStage


class Priority(Enum):
    """Interactive jobs pass batches."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Stage(Enum):
    """Where a job is. The last three are final; a job reaches exactly one of them."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing follows."""
        return self in (Stage.DONE, Stage.FAILED, Stage.CANCELLED)


@frozen
class Handed:
    """Where the planes of a message are that are not behind it: in one file, one behind the other, in the order of their frames.

    It stands in the header beside the fields of the message (`handed`), as it says how planes travel and nothing about what is asked.
    """

    handle: Handle
    lengths: Annotated[tuple[Annotated[int, Between(1, FRAME_BYTES)], ...], Items(PLANES, least=1)]
    """Bytes of each plane."""


# Requests ----------------------------------------------------------------------------------------------------------------------------
@frozen
class Hello:
    """The first message on a connection. `client` stays the same over restarts of the host, so that it finds its jobs again."""

    request: RequestNumber
    client: ClientId
    program: Note = ""
    handover: bool = False
    """Whether this client can put planes into files of the state folder, and read them there."""


@frozen
class Ping:
    """The client's heartbeat."""

    request: RequestNumber


@frozen
class Submit:
    """Keep this job and do it. `replaces` names a queued job of this client that it takes the place of (a live edit).

    `live` names a stream of pictures that follow what is being painted: a newer one takes the place of an older one that waits, and of one
    that runs when that is worth it, so that at most one of a stream waits.
    """

    request: RequestNumber
    job_id: JobId
    job: Job
    priority: Priority = Priority.INTERACTIVE
    replaces: JobId | None = None
    note: Note = ""
    """Given back with every update: enough for the host to know where the result belongs."""
    live: Name | None = None


@frozen
class Cancel:
    """Stop this job, wherever it is. A job that is final stays as it is."""

    request: RequestNumber
    job_id: JobId


@frozen
class Inquire:
    """Where is this job? Answered with `JobUpdate`."""

    request: RequestNumber
    job_id: JobId


@frozen
class Fetch:
    """Send the outcome of a job that is done. It stays until acknowledged."""

    request: RequestNumber
    job_id: JobId
    handover: bool = False
    """Whether its planes may come in a file."""


@frozen
class Acknowledge:
    """The layer exists (or the failure was read): the backend may forget the job in its own time."""

    request: RequestNumber
    job_id: JobId


@frozen
class AskStatus:
    """What is the backend, and what does it do?"""

    request: RequestNumber


@frozen
class AskModels:
    """Which models are there, and what can each do?"""

    request: RequestNumber


@frozen
class AskCharacters:
    """Which characters are saved? Sorted by name; `after` continues behind the last name of a reply with `more`."""

    request: RequestNumber
    after: Name | None = None


@frozen
class RenameCharacter:
    """Give a character another name."""

    request: RequestNumber
    name: Name
    to: Name


@frozen
class DeleteCharacter:
    """Forget a character: photos and embeddings are deleted."""

    request: RequestNumber
    name: Name


@frozen
class ExportCharacter:
    """Send what is kept of a character, from which `ImportCharacter` makes it again; without `photos` all but those."""

    request: RequestNumber
    name: Name
    photos: bool = True


@frozen
class Shutdown:
    """End the backend. Accepted jobs are kept and go on at its next start."""

    request: RequestNumber


# Replies -----------------------------------------------------------------------------------------------------------------------------
@frozen
class Welcome:
    """The answer to `Hello`. A `JobUpdate` follows for every job of this client that is not acknowledged."""

    request: RequestNumber
    release: Note
    epoch: ClientId
    """Another value after each start of the backend."""
    worker: WorkerStage
    sentence: Sentence = ""
    """Why nothing is computed at the moment; empty when all is well."""
    handover: Handle | None = None
    """The folder through which planes may be handed over; None: they go in the message."""


@frozen
class JobBrief:
    """One job in a heartbeat."""

    job_id: JobId
    stage: Stage


@frozen
class Pong:
    """The answer to `Ping`, with all jobs of this client that are not acknowledged: a client that missed an event inquires."""

    request: RequestNumber
    worker: WorkerStage
    jobs: Annotated[tuple[JobBrief, ...], Items(JOBS_PER_CLIENT)] = ()
    sentence: Sentence = ""
    models: Count = 0
    """How often the answer to `AskModels` has changed since the backend's start: a client that saw another number asks anew."""


@frozen
class Accepted:
    """The job is kept: the death of any process does not lose it."""

    request: RequestNumber
    job_id: JobId


@frozen
class Rejected:
    """The request was not done. `code` is an error's wire code. This message reads the same in every version of the protocol."""

    request: RequestNumber
    code: Note
    sentence: Sentence
    retry_after_s: Seconds | None = None


@frozen
class Fault:
    """Why a job failed: an error's wire code, and its sentence."""

    code: Note
    sentence: Sentence


@frozen
class JobUpdate:
    """Where a job is. `request` is the number of the `Inquire` or `Cancel` that it answers, or None for an event."""

    job_id: JobId
    stage: Stage
    request: RequestNumber | None = None
    position: Count | None = None
    """How many jobs are done before it, while it is queued."""
    step: Count | None = None
    steps: Count | None = None
    seconds_left: Seconds | None = None
    fault: Fault | None = None
    attempt: Annotated[int, Between(0, 1000)] = 0
    note: Note = ""


@frozen
class Preview:
    """What the picture looks like after `step` steps."""

    job_id: JobId
    step: Count
    picture: Plane


@frozen
class Fetched:
    """The outcome of a job."""

    request: RequestNumber
    job_id: JobId
    outcome: Outcome
    note: Note = ""


@frozen
class Done:
    """The request was done: `Acknowledge`, `RenameCharacter`, `DeleteCharacter`, `Shutdown`."""

    request: RequestNumber


@frozen
class StatusReport:
    """The answer to `AskStatus`."""

    request: RequestNumber
    status: Status


@frozen
class Models:
    """The answer to `AskModels`; the first is used when a job names none."""

    request: RequestNumber
    models: Annotated[tuple[ModelInfo, ...], Items(MODELS)]


@frozen
class Characters:
    """The answer to `AskCharacters`: one page."""

    request: RequestNumber
    characters: Annotated[tuple[CharacterCard, ...], Items(CHARACTERS_PER_PAGE)]
    more: bool = False


@frozen
class CharacterPhotos:
    """The answer to `ExportCharacter`."""

    request: RequestNumber
    name: Name
    photos: Annotated[tuple[Plane, ...], Items(PHOTOS)]
    thumbnail: Plane | None = None
    readings: Annotated[tuple[Reading, ...], Items(RECOGNISERS)] = ()
    scores: Annotated[tuple[Fraction, ...], Items(PHOTOS)] = ()
    about: About = field(default_factory=About)
    release: Note = ""
    """The version of Likeness that answers."""


Request: TypeAlias = (
    Hello
    | Ping
    | Submit
    | Cancel
    | Inquire
    | Fetch
    | Acknowledge
    | AskStatus
    | AskModels
    | AskCharacters
    | RenameCharacter
    | DeleteCharacter
    | ExportCharacter
    | Shutdown
)
Reply: TypeAlias = (
    Welcome | Pong | Accepted | Rejected | JobUpdate | Preview | Fetched | Done | StatusReport | Models | Characters | CharacterPhotos
)
