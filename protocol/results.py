"""What comes back: the outcome of a job, and what the backend tells about itself, as frozen dataclasses."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, TypeAlias

from .frozen import frozen
from .geometry import Box, Extent, Point
from .jobs import Embedding, GuideKind
from .limits import (
    COUNT,
    DEVICES,
    FACES,
    LISTED_LORAS,
    MODELS,
    PHOTOS,
    RECOGNISERS,
    SUBJECTS,
    TRIGGERS,
    Between,
    Bytes,
    Count,
    Fraction,
    Hex,
    Items,
    JobId,
    Label,
    LoraWeight,
    Name,
    Note,
    Phrase,
    Prompt,
    Seconds,
    Seed,
    Sentence,
    Similarity,
)
from .planes import Plane


@frozen
class FoundFace:
    """One face: box and five keypoints in pixels of the picture, the detector's score, and how alike it is to the character asked for."""

    box: Box
    keypoints: Annotated[tuple[Point, ...], Items(5, least=5)]
    score: Fraction
    similarity: Similarity | None = None


@frozen
class MadePicture:
    """One finished picture, the seed that makes it again, and per subject how alike the painted face is (None: no face found)."""

    picture: Plane
    seed: Seed
    similarities: Annotated[tuple[Similarity | None, ...], Items(SUBJECTS)] = ()


@frozen
class Pictures:
    """The outcome of a `PictureJob`. `rung` names the way of saving memory that was needed, if any."""

    pictures: Annotated[tuple[MadePicture, ...], Items(COUNT, least=1)]
    model: Name
    seconds: Seconds = 0.0
    rung: Note | None = None


@frozen
class Faces:
    """The outcome of `AnalyseFaces`: largest first."""

    faces: Annotated[tuple[FoundFace, ...], Items(FACES)]


@frozen
class CharacterCard:
    """What is known of a saved person.

    `scores` are the detector's scores of the photos; `alike` says of each photo how alike it is to the mean of all (one photo: 1).
    A low value names a photo of somebody else. Blends have neither.
    """

    name: Name
    thumbnail: Plane
    scores: Annotated[tuple[Fraction, ...], Items(PHOTOS)] = ()
    alike: Annotated[tuple[Similarity, ...], Items(PHOTOS)] = ()


@frozen
class MadeCharacter:
    """The outcome of `MakeCharacter` and `BlendCharacters`."""

    card: CharacterCard


@frozen
class Embedded:
    """The outcome of `Embed`."""

    who: Embedding


@frozen
class RecogniserInfo:
    """A recogniser of a model. `readers` are its adapters that were trained with it, `instantid` for InstantID's.

    `same` and `strangers` are what was measured of it with the people it was made for: the cosine of two photos of one person that 95 in
    100 exceed, and that of two people that 95 in 100 stay below; None where nobody measured.
    """

    name: Name
    sha256: Annotated[str, Hex(64)]
    readers: Annotated[tuple[Name, ...], Items(MODELS)] = ()
    licence: Note = ""
    same: Similarity | None = None
    strangers: Similarity | None = None


@frozen
class LoraInfo:
    """One LoRA that fits a model. `name` is what a job and a tag `<lora:NAME:WEIGHT>` call it.

    `title` is what its file calls it, empty where that is the name; `triggers` are the words that its file asks for in the prompt;
    `weight` is what is suggested for it, None where nobody says.
    """

    name: Name
    title: Label = ""
    triggers: Annotated[tuple[Phrase, ...], Items(TRIGGERS)] = ()
    weight: LoraWeight | None = None


Outcome: TypeAlias = Pictures | Faces | Embedded | MadeCharacter


@frozen
class ModelInfo:
    """One model and what it can do. None or empty: it cannot."""

    id: Name
    title: Note
    family: Name
    extent: Extent
    """The size it was trained for."""
    subjects: bool = False
    """Whether it has an IdentityNet and takes subjects."""
    adapters: Annotated[tuple[Name, ...], Items(MODELS)] = ()
    guides: Annotated[tuple[GuideKind, ...], Items(16)] = ()
    schedulers: Annotated[tuple[Name, ...], Items(MODELS)] = ()
    scheduler: Name | None = None
    steps: Annotated[int, Between(1, 1000)] = 30
    guidance_scale: Annotated[float, Between(0.0, 100.0)] = 5.0
    negative: Prompt = ""
    licence: Note = ""
    installed: bool = True
    recognisers: Annotated[tuple[RecogniserInfo, ...], Items(RECOGNISERS)] = ()
    further_guides: Annotated[tuple[GuideKind, ...], Items(16)] = ()
    """Guides of kinds that version 1.3 brought (`LATER_GUIDES`); apart, since a client of 1.2 reads `guides`."""
    loras: Annotated[tuple[LoraInfo, ...], Items(LISTED_LORAS)] = ()
    """The LoRAs that fit it, by name."""
    embeddings: Annotated[tuple[Name, ...], Items(LISTED_LORAS)] = ()
    """Its textual inversions, as they are written in a prompt."""
    unlisted: Count = 0
    """LoRAs and textual inversions that it has besides: a job may name them, but there was no room to tell of them."""


class WorkerStage(Enum):
    """What a device's worker does."""

    STARTING = "starting"
    READY = "ready"
    WORKING = "working"
    RESTARTING = "restarting"
    UNAVAILABLE = "unavailable"


@frozen
class DeviceStatus:
    """One device and its worker. `sentence` says why it is not ready, empty when it is."""

    device: Name
    stage: WorkerStage
    title: Note = ""
    memory_total: Bytes | None = None
    memory_free: Bytes | None = None
    loaded: Annotated[tuple[Name, ...], Items(MODELS)] = ()
    job_id: JobId | None = None
    sentence: Sentence = ""
    plan: Sentence = ""
    """What stays in the device's memory and what leaves it after use, for the model that was used last."""


@frozen
class Status:
    """What the backend is and does."""

    release: Note
    pid: Count
    uptime_s: Seconds
    devices: Annotated[tuple[DeviceStatus, ...], Items(DEVICES)]
    queued: Count
    running: Count
    kept: Count
    """Finished jobs that wait to be taken or pruned."""
    spool_bytes: Bytes
    disk_free: Bytes
