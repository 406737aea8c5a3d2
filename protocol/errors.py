# ruff: noqa: N818  (the names are the users' words, and the codes' names on the wire)
"""Every error that a user can see, as one tree. Each class has a wire code; each instance is a sentence: what happened, why, what to do.

LikenessError
├── InvalidRequest           the request cannot be meant like this: a number, a size, a name
│   ├── BadPicture           a file or plane that is no usable picture
│   ├── TooLarge             more pixels, planes or bytes than anything here takes
│   ├── UnknownModel         no model, adapter or character of that name
│   ├── NameTaken            a character of that name exists already
│   ├── UnknownJob           no job of that id (any more)
│   └── JobIdConflict        the same job id, but another job
├── FaceError                something about the faces in a photo
│   ├── NoFace
│   ├── FaceTooSmall
│   └── NoSuchFace
├── ModelError               weights that are missing, wrong, or cannot do what was asked
├── OutOfMemory
├── NumericalFailure         the model gave numbers that are no picture
├── Cancelled
├── ServiceError             the backend cannot, at the moment or with this job
│   ├── Busy                 too much is waiting already
│   ├── DiskFull
│   ├── SpoolUnusable        the folder that keeps the jobs cannot be written or read
│   ├── BackendUnavailable   the part that computes does not start
│   ├── WorkerStalled        a job made no progress and was stopped
│   ├── PoisonJob            a job that ended the worker again and again
│   └── Interrupted          the power went before the job was on the disk
└── ConnectionProblem        the two sides do not reach or not understand each other
    ├── NotRunning
    ├── Starting
    ├── NotOurKey            somebody answers, but the keys do not fit
    ├── Lost                 the backend was there and is silent now
    ├── NoEncryption         this libzmq has no CURVE
    ├── UnsafeFolder         others could read the connection file
    ├── VersionMismatch
    ├── BadMessage           a message that does not follow the specification
    ├── Unsupported          a kind of message that this side does not know
    ├── NotHandedOver        planes do not lie where a message says
    └── NotGreeted           a request before Hello
"""

from __future__ import annotations

from typing import ClassVar


class LikenessError(Exception):
    """Base of all errors for the person at the screen; `str(error)` is the sentence to show."""

    code: ClassVar[str] = "error"
    cure: ClassVar[str] = "Try again; if it happens again, look into the backend's log."
    """What to do, where the sentence cannot know better."""

    def __str__(self) -> str:
        """The sentence; without one of its own, the class's description and cure."""
        return super().__str__() or f"{(type(self).__doc__ or '').strip()} {self.cure}"


class InvalidRequest(LikenessError):
    """The request cannot be meant like this."""

    code: ClassVar[str] = "invalid-request"
    cure: ClassVar[str] = "Change the value that is named."


class BadPicture(InvalidRequest):
    """A file or plane is no usable picture."""

    code: ClassVar[str] = "bad-picture"
    cure: ClassVar[str] = "Choose another picture, or save it again as PNG."


class TooLarge(InvalidRequest):
    """This is larger than anything the backend takes."""

    code: ClassVar[str] = "too-large"
    cure: ClassVar[str] = "Select a smaller area, or use fewer pictures."


class UnknownModel(InvalidRequest):
    """No model, adapter or character has that name."""

    code: ClassVar[str] = "unknown-model"
    cure: ClassVar[str] = "Choose one from the list."


class NameTaken(InvalidRequest):
    """A character of that name exists already."""

    code: ClassVar[str] = "name-taken"
    cure: ClassVar[str] = "Choose another name, or replace the character."


class UnknownJob(InvalidRequest):
    """The backend has no job of that id."""

    code: ClassVar[str] = "unknown-job"
    cure: ClassVar[str] = "It may have been taken already; send it again if the picture is missing."


class JobIdConflict(InvalidRequest):
    """Another job was sent under the same id."""

    code: ClassVar[str] = "job-id-conflict"
    cure: ClassVar[str] = "Give every job an id of its own."


class FaceError(LikenessError):
    """The faces in the photo do not allow this."""

    code: ClassVar[str] = "face"
    cure: ClassVar[str] = "Choose a photo that shows one face clearly."


class NoFace(FaceError):
    """No face was found, after trying other detector sizes and padding."""

    code: ClassVar[str] = "no-face"
    cure: ClassVar[str] = "Choose a photo that shows the face from the front and not too close to the border."


class FaceTooSmall(FaceError):
    """The face has too few pixels to tell who it is."""

    code: ClassVar[str] = "face-too-small"
    cure: ClassVar[str] = "Choose a larger photo of the face."


class NoSuchFace(FaceError):
    """The photo has fewer faces than the index asked for."""

    code: ClassVar[str] = "no-such-face"
    cure: ClassVar[str] = "Choose one of the faces that were found."


class ModelError(LikenessError):
    """The model's weights are missing, wrong, or cannot do what was asked."""

    code: ClassVar[str] = "model"
    cure: ClassVar[str] = "Run `likeness doctor`, or choose another model."


class OutOfMemory(LikenessError):
    """The picture does not fit into the device's memory, also after every cheaper way was tried."""

    code: ClassVar[str] = "out-of-memory"
    cure: ClassVar[str] = "Select a smaller area, ask for fewer pictures, or use a smaller model."


class NumericalFailure(LikenessError):
    """The model gave numbers that are no picture."""

    code: ClassVar[str] = "numerical-failure"
    cure: ClassVar[str] = "Lower the weights or the guidance scale, or change the seed."


class Cancelled(LikenessError):
    """The job was cancelled."""

    code: ClassVar[str] = "cancelled"
    cure: ClassVar[str] = "Send it again if you want it after all."


class ServiceError(LikenessError):
    """The backend cannot do this at the moment."""

    code: ClassVar[str] = "service"
    cure: ClassVar[str] = "Try again in a moment."


class Busy(ServiceError):
    """Too many of your jobs are waiting already."""

    code: ClassVar[str] = "busy"
    cure: ClassVar[str] = "Wait until some are done, or take the finished ones."


class DiskFull(ServiceError):
    """There is not enough room on the disk."""

    code: ClassVar[str] = "disk-full"
    cure: ClassVar[str] = "Free some space on the drive that holds Likeness's data; waiting jobs are kept."


class SpoolUnusable(ServiceError):
    """The folder that keeps the jobs cannot be written or read."""

    code: ClassVar[str] = "spool-unusable"
    cure: ClassVar[str] = "Check the rights and the drive of Likeness's data folder, then try again."


class BackendUnavailable(ServiceError):
    """The part of the backend that computes does not start."""

    code: ClassVar[str] = "backend-unavailable"
    cure: ClassVar[str] = "Run `likeness doctor`, which names the cause."


class WorkerStalled(ServiceError):
    """The job made no progress for a long time and was stopped."""

    code: ClassVar[str] = "worker-stalled"
    cure: ClassVar[str] = "Ask for a smaller picture, or look into the backend's log."


class PoisonJob(ServiceError):
    """This job ended the computing process again and again, and is set aside."""

    code: ClassVar[str] = "poison-job"
    cure: ClassVar[str] = "Change its size, model or guides; the backend's log says how it ended."


class Interrupted(ServiceError):
    """The computer went off before this job was safely on the disk."""

    code: ClassVar[str] = "interrupted"
    cure: ClassVar[str] = "Send it again."


class ConnectionProblem(LikenessError):
    """The backend cannot be reached or not be understood."""

    code: ClassVar[str] = "connection"
    cure: ClassVar[str] = "Restart the backend with `likeness serve`."


class NotRunning(ConnectionProblem):
    """The backend is not running."""

    code: ClassVar[str] = "not-running"
    cure: ClassVar[str] = "Start it with the button, or with `likeness serve`."


class Starting(ConnectionProblem):
    """The backend is starting."""

    code: ClassVar[str] = "starting"
    cure: ClassVar[str] = "Wait a moment."


class NotOurKey(ConnectionProblem):
    """Something answers at the backend's address, but the keys do not fit: it is another program, or a backend that was replaced."""

    code: ClassVar[str] = "not-our-key"
    cure: ClassVar[str] = "Stop it and start the backend again."


class Lost(ConnectionProblem):
    """The backend was there and does not answer any more. Jobs that it accepted are kept."""

    code: ClassVar[str] = "lost"
    cure: ClassVar[str] = "Wait, or start it again."


class NoEncryption(ConnectionProblem):
    """The ZeroMQ library of this Python cannot encrypt (no CURVE), and Likeness never speaks in clear."""

    code: ClassVar[str] = "no-encryption"
    cure: ClassVar[str] = "Install pyzmq from PyPI: `pip install --force-reinstall pyzmq`."


class UnsafeFolder(ConnectionProblem):
    """Other users could read or change the connection file, which holds a key."""

    code: ClassVar[str] = "unsafe-folder"
    cure: ClassVar[str] = "Take away other users' rights on the folder that is named."


class VersionMismatch(ConnectionProblem):
    """The backend and the add-on speak different versions of the protocol."""

    code: ClassVar[str] = "version-mismatch"
    cure: ClassVar[str] = "Update the older of the two, then start both again."


class BadMessage(ConnectionProblem):
    """A message does not follow the specification."""

    code: ClassVar[str] = "bad-message"
    cure: ClassVar[str] = "Update the backend and the add-on to the same release."


class Unsupported(ConnectionProblem):
    """The other side does not know this kind of message."""

    code: ClassVar[str] = "unsupported"
    cure: ClassVar[str] = "Update the older of the two."


class NotHandedOver(ConnectionProblem):
    """The pictures of a message do not lie in the file that it names, or not as it says."""

    code: ClassVar[str] = "not-handed-over"
    cure: ClassVar[str] = "The client sends them in the message by itself."


class NotGreeted(ConnectionProblem):
    """A request came before the greeting."""

    code: ClassVar[str] = "not-greeted"
    cure: ClassVar[str] = "The client greets again by itself."


def error_classes() -> dict[str, type[LikenessError]]:
    """Wire code -> class, for the whole tree."""
    found: dict[str, type[LikenessError]] = {}
    waiting: list[type[LikenessError]] = [LikenessError]
    while waiting:
        cls = waiting.pop()
        found[cls.code] = cls
        waiting.extend(cls.__subclasses__())
    return found


def error_from_wire(code: str, sentence: str) -> LikenessError:
    """The error that another process sent; a code of a newer version becomes a plain `LikenessError` with its sentence."""
    return error_classes().get(code, LikenessError)(sentence)
