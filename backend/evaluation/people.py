"""The persons of the evaluation, and the drawings of them that the measures need. All follows from the persons' numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..training.drawing import Drawing, draw
from ..training.world import EXPRESSIONS, FIRST_EVALUATION_PERSON, HATS, Person, Shot, person, shot

Pixels = NDArray[np.uint8]

PHOTOS = 5
"""Photos in the measure of several against one."""
MASKED, COVERED = 1, 3
"""Which of them show the face partly hidden: behind sunglasses and a hat; with something held before the mouth."""


@dataclass(frozen=True, slots=True, eq=False)
class Sitter:
    """One person and what is asked of them. Pictures are (S, S, 3) RGB."""

    seed: int
    person: Person
    reference: Drawing
    """The one photo that the model gets: no hat, no glasses, a calm face."""
    wanted: Shot
    """What the prompt says."""
    again: Drawing
    """The same person in the wanted shot, as the world draws it; never shown to the model. What a perfect model would reach."""
    photos: tuple[Pixels, ...]
    """`PHOTOS` other photos, `MASKED` and `COVERED` among them."""
    clear: tuple[Pixels, ...]
    """Clear drawings, never shown to the model: who the person really is."""


def sitter(index: int, size: int) -> Sitter:
    """Person number `index` of the evaluation, drawn at `size` pixels."""
    seed = FIRST_EVALUATION_PERSON + index
    who = person(seed)
    rng = np.random.default_rng(np.random.SeedSequence([20261122, seed]))
    wanted = wanted_shot(index)
    return Sitter(
        seed=seed,
        person=who,
        reference=draw(who, plain(shot(rng)), size),
        wanted=wanted,
        again=draw(who, wanted, size),
        photos=tuple(_photo(who, shot(rng), size, i) for i in range(PHOTOS)),
        clear=tuple(draw(who, plain(shot(rng)), size).picture for _ in range(PHOTOS)),
    )


def stranger_in(view: Shot, index: int, size: int) -> Drawing:
    """Somebody else, who sits for no other measure, in a given shot."""
    return draw(person(FIRST_EVALUATION_PERSON + 500_000 + index), view, size)


def plain(view: Shot) -> Shot:
    """The shot as one would choose a reference photo: nothing on the head, a calm face, turned a little at most."""
    return replace(view, hat="none", glasses="none", expression="neutral", yaw=view.yaw * 0.5, pitch=view.pitch * 0.5, roll=view.roll * 0.5)


def wanted_shot(index: int) -> Shot:
    """What is asked of person number `index`: every hat, expression and kind of glasses in turn, each equally often."""
    view = shot(np.random.default_rng(np.random.SeedSequence([20261123, index])))
    hat = ("none", *HATS)[index % 5]
    glasses = ("none", "glasses", "sunglasses")[(index // 2) % 3]
    return replace(view, hat=hat, glasses=glasses, expression=EXPRESSIONS[(index // 5 + index) % 5])


def _photo(who: Person, view: Shot, size: int, index: int) -> Pixels:
    if index == MASKED:
        return draw(who, replace(view, hat="beanie", glasses="sunglasses"), size).picture
    drawing = draw(who, view, size)
    if index != COVERED:
        return drawing.picture
    left, top, right, bottom = (round(float(v)) for v in drawing.box)
    picture = drawing.picture.copy()
    picture[max(0, bottom - (bottom - top) // 4) : bottom, max(0, left) : right] = (188, 180, 170)
    return picture
