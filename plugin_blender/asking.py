"""From a wish and what the camera saw to a job for the backend. Without Blender and numpy."""

from __future__ import annotations

from .protocol.desk.loras import asked
from .protocol.errors import InvalidRequest
from .protocol.jobs import Canvas, Character, Guide, GuideKind, PictureJob, Sampling, Subject
from .protocol.results import ModelInfo
from .wish import MAP_KINDS, Kind, Shot, Wish


def job_of(wish: Wish, shot: Shot, model: ModelInfo | None) -> PictureJob:
    """The job for one shot. `model` is the one that will draw, None when it is not known yet; guides that it lacks are left out.

    Raises `InvalidRequest` for what cannot be meant.
    """
    if wish.kind is Kind.REPAINT and shot.picture is None:
        raise InvalidRequest("There is no render to repaint. Render the scene first (F12), or choose an image.")
    if wish.character and model is not None and not model.subjects:
        raise InvalidRequest(f"{model.title} does not paint characters. Choose another model, or take the character out.")
    guides = [
        Guide(kind, shot.maps[kind], weight=wish.weight(kind))
        for kind in MAP_KINDS
        if kind in shot.maps and wish.weight(kind) > 0 and (model is None or kind in model.guides)
    ]
    canvas = None
    if wish.kind is Kind.REPAINT and shot.picture is not None:
        canvas = Canvas(shot.picture, shot.mask, strength=wish.strength)
    subjects = ()
    if wish.character:
        # IdentityNet draws a face wherever it is given points, and without any the backend takes those of the photo: a face that the
        # camera does not see gets none, and the person is left to the adapter.
        seen = bool(shot.keypoints) and wish.face > 0
        subjects = (Subject(Character(wish.character), adapter=wish.likeness, identity_net=wish.face if seen else 0.0),)
        if seen:
            guides.insert(0, Guide(GuideKind.KEYPOINTS, keypoints=shot.keypoints))
    return PictureJob(
        prompt=wish.prompt,
        negative=wish.negative or None,
        extent=shot.extent,
        model=wish.model or None,
        canvas=canvas,
        subjects=subjects,
        guides=tuple(guides),
        sampling=Sampling(wish.steps or None, wish.guidance_scale or None, seed=wish.seed),
        count=wish.count,
        loras=asked(wish.lora_rows),
    )


def left_out(wish: Wish, shot: Shot, model: ModelInfo | None) -> str:
    """Which maps this model cannot take, as a sentence; "" when it takes all."""
    missing = [kind.value for kind in MAP_KINDS if kind in shot.maps and wish.weight(kind) > 0 and model and kind not in model.guides]
    if not missing or model is None:
        return ""
    return f"{model.title} takes no {' and no '.join(missing)} maps; they were left out."
