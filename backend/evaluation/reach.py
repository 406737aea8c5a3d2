"""Claims 4 to 7: several photos, independent strengths, another base, and inpainting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from protocol.errors import FaceError
from protocol.jobs import Canvas, ImagePrompt

from ..contact import Cell
from ..contact import Row as Strip
from ..images import to_plane
from ..training.drawing import draw
from ..training.judge import STYLE
from ..training.world import caption
from .findings import SHOWN, Finding, at_least, at_most, plain
from .measures import gain, mean
from .people import PHOTOS, Sitter, stranger_in
from .portraits import Judge
from .table import Row
from .tested import ModelUnderTest, Shown, planes, subject

Pixels = NDArray[np.uint8]
_LIMIT, _SOFT = "the world's own drawings so: the judge's limit", "the world's own soft drawings taken for it"


def several_photos(tested: ModelUnderTest, sitters: Sequence[Sitter]) -> Finding:
    """Claim 4: five photos against one of them, both compared with clear drawings that the model never saw."""
    claim = "4 photos"
    one: list[float] = []
    five: list[float] = []
    strips: list[tuple[Cell, ...]] = []
    for index, sitter in enumerate(sitters):
        photos = [photo for photo in sitter.photos if _readable(tested, photo)]
        single = photos[index % len(photos)]
        truth = tested.identity(*sitter.clear)
        pictures = [tested.paint(caption(sitter.wanted), sitter.seed, subject=subject(*given)) for given in ((single,), photos)]
        one.append(pictures[0].likeness(truth))
        five.append(pictures[1].likeness(truth))
        if len(strips) < 2:
            inputs = [Cell(photo, "photo") for photo in photos]
            strips.append(
                (*inputs, Cell(pictures[0].picture, f"from one: {one[-1]:.2f}"), Cell(pictures[1].picture, f"from all: {five[-1]:.2f}"))
            )
    rows = (
        plain(claim, "cosine to the person, from one photo", mean(one).value, text=str(mean(one))),
        plain(claim, f"cosine to the person, from {PHOTOS}", mean(five).value, text=str(mean(five))),
        at_least(claim, f"{PHOTOS} photos better than one by", gain(five, one).value, 0.0, text=str(gain(five, one))),
    )
    return Finding(rows, tuple(Strip("Several photos, some with the face partly hidden", cells) for cells in strips))


def _readable(tested: ModelUnderTest, photo: Pixels) -> bool:
    """Whether the face in a photo can be read; a user would be told and leave it out."""
    try:
        tested.identity(photo)
    except FaceError:
        return False
    return True


def strengths(tested: ModelUnderTest, sitters: Sequence[Sitter]) -> Finding:
    """Claim 5: the four corners of adapter and IdentityNet; with both at 0 the base must be left as it is, bit for bit."""
    claim = "5 strengths"
    corners = {"neither": (0.0, 0.0), "adapter only": (1.0, 0.0), "IdentityNet only": (0.0, 1.0), "both": (1.0, 1.0)}
    scores: dict[str, list[float]] = {name: [] for name in corners}
    equal: list[bool] = []
    strips: list[Strip] = []
    for sitter in sitters:
        photo, prompt = sitter.reference.picture, caption(sitter.wanted)
        identity = tested.identity(photo)
        base = tested.paint(prompt, sitter.seed)
        shown = {
            name: tested.paint(prompt, sitter.seed, subject=subject(photo, adapter=a, identity_net=n)) for name, (a, n) in corners.items()
        }
        equal.append(bool(np.array_equal(base.picture, shown["neither"].picture)))
        for name, one in shown.items():
            scores[name].append(one.likeness(identity))
        cells = [
            Cell(photo, "photo"),
            Cell(base.picture, "base"),
            *(Cell(one.picture, f"{name}: {scores[name][-1]:.2f}") for name, one in shown.items()),
        ]
        strips.append(Strip("Independent strengths", tuple(cells)))
    rows = [plain(claim, f"cosine to the reference, {name}", mean(values).value, text=str(mean(values))) for name, values in scores.items()]
    rows.append(
        Row(claim, "neither equals the base, bit for bit", f"{sum(equal)} of {len(equal)}", "all", all(equal), float(np.mean(equal)))
    )
    return Finding(tuple(rows), tuple(strips[:2]))


def another_base(tested: ModelUnderTest, styled: ModelUnderTest, style: str, sitters: Sequence[Sitter], judge: Judge) -> Finding:
    """Claim 6: the adapters, trained on the base and untouched, on a second base that draws in another style, which `judge` tells."""
    claim = "6 another base"
    inked: list[float] = []
    drawn: dict[str, list[bool]] = {"InstantID": [], "text only": [], _LIMIT: [], _SOFT: []}
    scores: dict[str, list[float]] = {"text only": [], "IP-Adapter": [], "InstantID": []}
    cells: list[tuple[Cell, Cell, Cell]] = []
    for sitter in sitters:
        photo, prompt = sitter.reference.picture, caption(sitter.wanted)
        identity = tested.identity(photo)
        target = draw(sitter.person, sitter.wanted, tested.side, style=style).picture
        inked.append(tested.look(target).likeness(identity))
        ways = {
            "text only": styled.paint(prompt, sitter.seed),
            "IP-Adapter": styled.paint(prompt, sitter.seed, image_prompt=ImagePrompt(planes(photo)[0])),
            "InstantID": styled.paint(prompt, sitter.seed, subject=subject(photo)),
        }
        for way, shown in ways.items():
            scores[way].append(shown.likeness(identity))
        pictures = (ways["InstantID"].picture, ways["text only"].picture, target, sitter.again.picture)
        for name, picture in zip(drawn, pictures, strict=True):
            drawn[name].append(judge(picture)[STYLE] == style)
        cells.append(
            (
                Cell(photo, "photo"),
                Cell(ways["text only"].picture, "text only"),
                Cell(ways["InstantID"].picture, f"{scores['InstantID'][-1]:.2f}"),
            )
        )
    same = mean(inked).value
    rows = [
        plain(claim, f"cosine to the reference, {way} in {style}", mean(values).value, text=str(mean(values)))
        for way, values in scores.items()
    ]
    rows.append(plain(claim, f"cosine to the reference, the same person drawn in {style}", same, text=str(mean(inked))))
    better = gain(scores["IP-Adapter"], scores["text only"])
    rows.append(at_least(claim, f"IP-Adapter above text only in {style} by", better.value, 0.0, text=str(better)))
    rows.append(
        at_least(claim, f"InstantID in {style}, share of the same person drawn so", mean(scores["InstantID"]).value / max(same, 1e-6), 0.75)
    )
    rows.extend(_drawn_so(claim, style, drawn))
    strips = zip(*cells[:SHOWN], strict=True)
    headings = ("Photos", f"The second base ({style}), text only", f"The second base ({style}) with InstantID, untouched")
    return Finding(tuple(rows), tuple(Strip(heading, tuple(row)) for heading, row in zip(headings, strips, strict=True)))


def _drawn_so(claim: str, style: str, drawn: dict[str, list[bool]]) -> list[Row]:
    """How many pictures of each kind the judge of styles takes for drawn in the style."""
    share = {name: float(np.mean(answers)) for name, answers in drawn.items()}
    rows = [plain(claim, f"drawn in {style}, {name}", share[name], text=f"{share[name]:.0%}") for name in drawn if name != "InstantID"]
    kept = share["InstantID"]
    return [*rows, at_least(claim, f"drawn in {style}, InstantID", kept, 0.9, text=f"{kept:.0%}", goal="90%")]


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """A picture of somebody else, and the face in it that is repainted: 255 in (S, S)."""

    picture: Pixels
    mask: Pixels
    keypoints: NDArray[np.float32]


def _scene(sitter: Sitter, index: int, side: int) -> _Scene:
    other = stranger_in(sitter.wanted, index, side)
    left, top, right, bottom = (float(value) for value in other.box)
    mask = np.zeros((side, side), np.uint8)
    centre, axes = ((left + right) / 2, (top + bottom) / 2), ((right - left) * 0.72, (bottom - top) * 0.68)
    cv2.ellipse(mask, (round(centre[0]), round(centre[1])), (round(axes[0]), round(axes[1])), 0, 0, 360, 255, -1)
    return _Scene(other.picture, mask, other.keypoints)


def inpainting(tested: ModelUnderTest, sitters: Sequence[Sitter]) -> Finding:
    """Claim 7: a face into somebody else's picture, against a portrait with the same face, prompt, seed and pose."""
    claim = "7 inpainting"
    inside: list[float] = []
    portraits: list[float] = []
    kept: list[bool] = []
    cells: list[tuple[Cell, Cell, Cell]] = []
    for index, sitter in enumerate(sitters):
        photo, scene = sitter.reference.picture, _scene(sitter, index, tested.side)
        identity, prompt, who = tested.identity(photo), caption(sitter.wanted), subject(photo)
        canvas = Canvas(planes(scene.picture)[0], to_plane(scene.mask))
        shown = tested.paint(prompt, sitter.seed, subject=who, keypoints=scene.keypoints, canvas=canvas)
        portrait = tested.paint(prompt, sitter.seed, subject=who, keypoints=scene.keypoints)
        inside.append(shown.likeness(identity))
        portraits.append(portrait.likeness(identity))
        kept.append(_same_outside(shown, scene))
        cells.append(
            (Cell(photo, "photo"), Cell(scene.picture, "scene"), Cell(shown.picture, f"{inside[-1]:.2f}, portrait {portraits[-1]:.2f}"))
        )
    gap = mean(portraits).value - mean(inside).value
    rows = (
        plain(claim, "cosine to the reference, inpainted", mean(inside).value, text=str(mean(inside))),
        plain(claim, "cosine to the reference, portraits", mean(portraits).value, text=str(mean(portraits))),
        at_most(claim, "inpainted below portraits by", gap, 0.1),
        Row(claim, "every pixel outside the mask is kept", f"{sum(kept)} of {len(kept)}", "all", all(kept), float(np.mean(kept))),
    )
    headings = ("Photos", "Scenes with somebody else", "The face inpainted into the scene")
    return Finding(rows, tuple(Strip(heading, tuple(row)) for heading, row in zip(headings, zip(*cells[:SHOWN], strict=True), strict=True)))


def _same_outside(shown: Shown, scene: _Scene) -> bool:
    outside = scene.mask == 0
    return bool(np.array_equal(shown.picture[outside], scene.picture[outside]))
