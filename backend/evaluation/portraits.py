"""Claims 1 to 3: identity, editing and control, on portraits of persons never trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.jobs import ImagePrompt

from ..contact import Cell
from ..contact import Row as Strip
from ..faces import Identity, cosine
from ..training.world import attributes, caption
from .findings import SHOWN, Finding, at_least, at_most, plain
from .measures import Mean, gain, keypoint_error, mean, nearest
from .people import Sitter, stranger_in
from .tested import ModelUnderTest, Shown, checked, planes, subject

Judge = Callable[[NDArray[np.uint8]], dict[str, str]]
"""A picture (H, W, 3) -> its attributes, as `training.world.attributes` names them."""
WAYS = ("text only", "IP-Adapter", "InstantID")
NEAR_STRANGERS = 0.1
"""How near is near: cosine."""


@dataclass(frozen=True, slots=True, eq=False)
class Portraits:
    """One sitter, painted in every way with the same prompt and seed."""

    sitter: Sitter
    identity: Identity
    again: Shown
    """The world's own drawing of what was asked."""
    painted: dict[str, Shown]


def paint_portraits(tested: ModelUnderTest, sitters: Sequence[Sitter]) -> list[Portraits]:
    """Text only, IP-Adapter and InstantID for every sitter, with the options that `likeness portrait` has by default."""
    return [_portraits(tested, sitter) for sitter in sitters]


def _portraits(tested: ModelUnderTest, sitter: Sitter) -> Portraits:
    prompt, photo = caption(sitter.wanted), sitter.reference.picture
    ways = {
        WAYS[0]: tested.paint(prompt, sitter.seed),
        WAYS[1]: tested.paint(prompt, sitter.seed, image_prompt=ImagePrompt(planes(photo)[0])),
        WAYS[2]: tested.paint(prompt, sitter.seed, subject=subject(photo)),
    }
    return Portraits(sitter, tested.identity(photo), tested.look(sitter.again.picture), ways)


def identity(portraits: Sequence[Portraits]) -> Finding:
    """Claim 1."""
    claim = "1 identity"
    likeness = {way: [p.painted[way].likeness(p.identity) for p in portraits] for way in WAYS}
    scores = {way: mean(values) for way, values in likeness.items()}
    same = mean(p.again.likeness(p.identity) for p in portraits)
    others = [
        cosine(checked(p.again.face, "a drawing").embedding, q.identity.embedding)
        for p, q in zip(portraits, _turned(portraits), strict=True)
    ]
    strangers = mean(others)
    found = nearest([p.painted["InstantID"].embedding for p in portraits], [p.identity.embedding for p in portraits])
    text, _, instant = (scores[way].value for way in WAYS)
    rows = [
        plain(claim, f"cosine to the reference, {name}", score.value, text=str(score)) for name, score in _named(scores, same, strangers)
    ]
    rows.append(
        at_least(
            claim, "InstantID above IP-Adapter by", (better := gain(likeness[WAYS[2]], likeness[WAYS[1]])).value, 0.0, text=str(better)
        )
    )
    rows.append(
        at_least(
            claim, "IP-Adapter above text only by", (better := gain(likeness[WAYS[1]], likeness[WAYS[0]])).value, 0.0, text=str(better)
        )
    )
    rows.append(at_least(claim, "InstantID, share of two drawings of the same person", instant / max(same.value, 1e-6), 0.75))
    rows.append(at_most(claim, "text only, distance from two strangers", abs(text - strangers.value), NEAR_STRANGERS))
    rows.append(
        at_least(claim, f"InstantID, nearest of {len(portraits)} persons is the right one", found, 0.8, text=f"{found:.0%}", goal="80%")
    )
    faceless = mean(float(p.painted["InstantID"].face is None) for p in portraits)
    rows.append(plain(claim, "InstantID, pictures without a face", faceless.value, text=f"{faceless.value:.0%}"))
    return Finding(tuple(rows), _identity_strips(portraits))


def editing(portraits: Sequence[Portraits], judge: Judge) -> Finding:
    """Claim 2: what the prompt names must appear. Nothing is asked of attributes that the prompt does not name."""
    claim = "2 editing"
    hits: dict[str, dict[str, list[bool]]] = {way: {} for way in ("text only", "InstantID", "the world's own drawing")}
    for p in portraits:
        wanted = {kind: value for kind, value in attributes(p.sitter.wanted).items() if value != "none"}
        pictures = {"text only": p.painted["text only"], "InstantID": p.painted["InstantID"], "the world's own drawing": p.again}
        for way, shown in pictures.items():
            seen = judge(shown.picture)
            for kind, value in wanted.items():
                hits[way].setdefault(kind, []).append(seen[kind] == value)
    share = {way: {kind: float(np.mean(values)) for kind, values in kinds.items()} for way, kinds in hits.items()}
    total = {way: float(np.mean(list(kinds.values()))) for way, kinds in share.items()}
    rows = [
        plain(claim, f"{kind} as asked, InstantID (text only)", value, text=f"{value:.0%} ({share['text only'][kind]:.0%})")
        for kind, value in share["InstantID"].items()
    ]
    rows.append(
        plain(
            claim, "all kinds, the world's own drawings: the judge's limit", total["the world's own drawing"], text=f"{total[_LIMIT]:.0%}"
        )
    )
    rows.append(at_least(claim, "all kinds, with identity on", total["InstantID"], 0.9, text=f"{total['InstantID']:.0%}", goal="90%"))
    gap = total["text only"] - total["InstantID"]
    rows.append(at_most(claim, "all kinds, points lost to text only", gap, 0.05, text=f"{gap * 100:.1f} points", goal="5 points"))
    return Finding(tuple(rows))


_LIMIT = "the world's own drawing"


def control(tested: ModelUnderTest, sitters: Sequence[Sitter]) -> Finding:
    """Claim 3: the pose of somebody else, from their five keypoints."""
    claim = "3 control"
    errors: list[float] = []
    from_reference: list[float] = []
    likeness: list[float] = []
    cells: list[tuple[Cell, Cell]] = []
    for index, sitter in enumerate(sitters):
        pose = stranger_in(sitter.wanted, index, tested.side)
        shown = tested.paint(caption(sitter.wanted), sitter.seed, subject=subject(sitter.reference.picture), keypoints=pose.keypoints)
        likeness.append(shown.likeness(tested.identity(sitter.reference.picture)))
        if shown.face is not None:
            errors.append(keypoint_error(shown.face.keypoints, pose.keypoints, tested.side))
            from_reference.append(keypoint_error(shown.face.keypoints, sitter.reference.keypoints, tested.side))
        cells.append((Cell(pose.picture, "pose"), Cell(shown.picture, f"{likeness[-1]:.2f}")))
    error, reference = mean(errors), mean(from_reference)
    rows = [
        at_most(claim, "mean keypoint error, share of the side", error.value, 0.03, text=f"{error.value:.2%}", goal="3%"),
        at_least(
            claim,
            "reference's pose is farther away by",
            reference.value - error.value,
            0.0,
            text=f"{reference.value - error.value:.2%}",
            goal="0%",
        ),
        plain(claim, "cosine to the reference in a stranger's pose", mean(likeness).value, text=str(mean(likeness))),
    ]
    poses, results = zip(*cells[:SHOWN], strict=True)
    return Finding(tuple(rows), (Strip("A pose asked for, on somebody else", poses), Strip("The person in that pose", results)))


def _turned(portraits: Sequence[Portraits]) -> list[Portraits]:
    return [*portraits[1:], *portraits[:1]]


def _named(scores: dict[str, Mean], same: Mean, strangers: Mean) -> list[tuple[str, Mean]]:
    return [*scores.items(), ("two drawings of the same person", same), ("two strangers", strangers)]


def _identity_strips(portraits: Sequence[Portraits]) -> tuple[Strip, ...]:
    some = portraits[:SHOWN]
    strips = [Strip("One photo in", tuple(Cell(p.sitter.reference.picture, f"person {p.sitter.seed}") for p in some))]
    for way in WAYS:
        strips.append(
            Strip(way, tuple(Cell(p.painted[way].picture, f"{p.painted[way].likeness(p.identity):.2f}  {_short(p.sitter)}") for p in some))
        )
    strips.append(
        Strip(
            "What was asked, drawn by the world itself", tuple(Cell(p.again.picture, f"{p.again.likeness(p.identity):.2f}") for p in some)
        )
    )
    return tuple(strips)


def _short(sitter: Sitter) -> str:
    return caption(sitter.wanted).removeprefix("portrait of a ").replace(" person", "")
