"""The planes of a job, listed by hand: what the codec, which finds them by their types, is compared with."""

from __future__ import annotations

from protocol.jobs import AnalyseFaces, BlendCharacters, Embed, ImportCharacter, Job, MakeCharacter, Photos, PictureJob
from protocol.planes import Plane


def planes_of(job: Job) -> tuple[Plane, ...]:
    """Every plane of a job, in the order in which their frames travel (the order of the fields)."""
    match job:
        case AnalyseFaces():
            return (job.picture,)
        case Embed() | MakeCharacter() | BlendCharacters():
            return job.photos
        case ImportCharacter():
            return (job.thumbnail, *(reading.numbers for reading in job.readings), *job.photos)
        case PictureJob():
            found: list[Plane | None] = [job.canvas.picture, job.canvas.mask] if job.canvas else []
            for subject in job.subjects:
                found += [*(subject.who.pictures if isinstance(subject.who, Photos) else ()), subject.region]
            for prompt in job.image_prompts:
                found += [prompt.reference, prompt.region]
                found += [*(prompt.who.pictures if isinstance(prompt.who, Photos) else ()), prompt.negative]
            found += [guide.picture for guide in job.guides]
            return tuple(plane for plane in found if plane is not None)
