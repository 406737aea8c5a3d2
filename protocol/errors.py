"""Every error that a user can see, as one tree. Each class has a wire code; each instance is a sentence: what happened, why, what to do.

LikenessError
├── InvalidRequest      the request cannot be meant like this: a number, a size, a name
│   ├── BadPicture      a file or plane that is no usable picture
│   └── UnknownModel    no model, adapter or character of that name
├── FaceError           something about the faces in a photo
│   ├── NoFace
│   ├── FaceTooSmall
│   └── NoSuchFace
├── ModelError          weights that are missing, wrong, or cannot do what was asked
├── OutOfMemory
└── Cancelled
"""

from __future__ import annotations

from typing import ClassVar


class LikenessError(Exception):
    """Base of all errors for the person at the screen; `str(error)` is the sentence to show."""

    code: ClassVar[str] = "error"


class InvalidRequest(LikenessError):
    """The request cannot be meant like this."""

    code: ClassVar[str] = "invalid-request"


class BadPicture(InvalidRequest):
    """A file or plane is no usable picture."""

    code: ClassVar[str] = "bad-picture"


class UnknownModel(InvalidRequest):
    """No model, adapter or character of that name."""

    code: ClassVar[str] = "unknown-model"


class FaceError(LikenessError):
    """Something about the faces in a photo."""

    code: ClassVar[str] = "face"


class NoFace(FaceError):
    """No face was found, after trying other detector sizes and padding."""

    code: ClassVar[str] = "no-face"


class FaceTooSmall(FaceError):
    """The face has too few pixels to tell who it is."""

    code: ClassVar[str] = "face-too-small"


class NoSuchFace(FaceError):
    """The photo has fewer faces than the index asked for."""

    code: ClassVar[str] = "no-such-face"


class ModelError(LikenessError):
    """Weights are missing, wrong, or cannot do what was asked."""

    code: ClassVar[str] = "model"


class OutOfMemory(LikenessError):
    """The picture does not fit into the device's memory, also after every cheaper way was tried."""

    code: ClassVar[str] = "out-of-memory"


class Cancelled(LikenessError):
    """The user cancelled."""

    code: ClassVar[str] = "cancelled"
