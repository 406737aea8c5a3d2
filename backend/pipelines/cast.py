"""The people of a picture: who they are, where their faces go, which part of the picture is theirs, and which face became whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.jobs import Subject

from .. import images
from ..faces import Face, Identity, cosine
from .placement import Finder, Wish, head_box, place
from .plan import Plan, guide_points, keypoint_guides, sized_like
from .regions import regions_for, shares_of

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

REACH = 1.0
"""How far a face may lie from where somebody's was asked for and still be theirs, in heights of the head."""


@dataclass(frozen=True, slots=True, eq=False)
class Cast:
    """The job's people, where their faces go, (5, 2) in pixels of what is drawn, and their regions there, (H, W) in 0..1; None for all."""

    subjects: tuple[Subject, ...]
    identities: tuple[Identity, ...]
    keypoints: tuple[Floats, ...]
    regions: tuple[Floats | None, ...]


def cast_of(plan: Plan, identities: Sequence[Identity], finder: Finder | None) -> Cast:
    """The people of `plan`'s job, who are `identities`; nobody at weight 0 takes a part of the picture."""
    subjects = plan.job.subjects
    guides = keypoint_guides(plan.job)
    points = [guide_points(guide) for guide in guides[: len(subjects)]]
    points += [None] * (len(subjects) - len(points))
    masks = [
        None if one.region is None else images.to_mask(sized_like(one.region, plan.extent, f"The region of person {number}"))
        for number, one in enumerate(subjects, 1)
    ]
    keypoints = place(plan, [Wish(*wish) for wish in zip(identities, points, masks, strict=True)], finder)
    given = [None if mask is None else shares_of(plan.frame.cut_and_scale(mask)) for mask in masks]
    acting = [number for number, one in enumerate(subjects) if one.adapter > 0 or one.identity_net > 0]
    shared = regions_for([keypoints[number] for number in acting], [given[number] for number in acting], plan.frame.extent)
    regions = dict(zip(acting, shared, strict=True))
    return Cast(subjects, tuple(identities), keypoints, tuple(regions.get(number) for number in range(len(subjects))))


def likenesses(pixels: Pixels, plan: Plan, cast: Cast, finder: Finder | None) -> tuple[float | None, ...]:
    """How alike each person's face is to them (cosine) in the finished picture (H, W, 3); None where they have no face."""
    if finder is None or not cast.identities:
        return (None,) * len(cast.identities)
    corner = np.array([max(plan.frame.bounds.x, 0), max(plan.frame.bounds.y, 0)], np.float32)
    found = finder.analyse(plan.frame.cut(pixels))
    places = [plan.frame.outward(points) - corner for points in cast.keypoints]
    faces = whose(found, places)
    return tuple(None if face is None else cosine(face.embedding, who.embedding) for face, who in zip(faces, cast.identities, strict=True))


def whose(faces: Sequence[Face], places: Sequence[Floats]) -> tuple[Face | None, ...]:
    """Which of the faces is whose: each the nearest to the place (5, 2) where it was asked for, no face twice, the surest first.

    A face far from every place is nobody's; but somebody who is alone has the nearest one, however far.
    """
    reach = REACH if len(places) > 1 else float("inf")
    pairs = sorted(
        (distance, number, index)
        for number, place in enumerate(places)
        for index, face in enumerate(faces)
        if (distance := _heads_between(face.keypoints, place)) <= reach
    )
    chosen: dict[int, int] = {}
    for _, number, index in pairs:
        if number not in chosen and index not in chosen.values():
            chosen[number] = index
    return tuple(faces[chosen[number]] if number in chosen else None for number in range(len(places)))


def _heads_between(face: Floats, place: Floats) -> float:
    head = head_box(place)
    return float(np.linalg.norm(face.mean(0) - place.mean(0))) / max(float(head[3] - head[1]), 1.0)
