"""What follows the first pass of a picture: it once more at a larger size, and its small faces once more at the model's own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from protocol.geometry import Bounds

from ..models.parts import Parts
from .cast import Cast
from .control import Conditioning
from .frames import scaled
from .identity import IdentityNet
from .passes import Larger, enlarged, feather_of, head_plan, joined, larger, small_heads, within
from .paste import put_back
from .placement import Finder
from .plan import Plan
from .sample import Hooks, Recipe, draw

Pixels = NDArray[np.uint8]

APART = 1_000_003
"""Between the seeds of two tiles: the same noise in each would show as a pattern."""


class Tally:
    """Counts the steps of a job of `count` pictures, over all passes; tells `say` how many are done of how many.

    How many the passes to come will take is reckoned, and put right when they begin.
    """

    def __init__(self, say: Callable[[int, int], None], number: int, count: int, later: int = 0) -> None:
        self._say, self._number, self._count = say, number, count
        self._before, self._now, self._later = 0, 0, later

    def step(self, done: int, steps: int) -> None:
        """`done` of the `steps` of this pass."""
        self._now = steps
        whole = self._before + steps + self._later
        self._say(self._number * whole + self._before + done, self._count * whole)

    def next_pass(self, later: int) -> None:
        """This pass is over, and about `later` steps come after the next one."""
        self._before, self._now, self._later = self._before + self._now, 0, later

    def close(self, later: int) -> None:
        """Nothing more is drawn where `later` steps had been reckoned with: the bar goes to its end."""
        if later:
            whole = self._before + self._now
            self._say((self._number + 1) * whole, self._count * whole)


class Following:
    """Draws the passes after the first. `recipe_of` is what makes a recipe of a plan and its people."""

    def __init__(self, parts: Parts, finder: Finder | None, recipe_of: Callable[[Plan, Cast], Recipe]) -> None:
        self._parts, self._finder, self._recipe_of = parts, finder, recipe_of

    def reckoned(self, decided: Plan, people: Cast) -> tuple[int, int]:
        """About how many steps the second pass and the faces will take."""
        model, job = self._parts.model, decided.job
        shown, cast, second = decided, people, 0
        if job.second_pass is not None:
            again = larger(decided, model, job.second_pass)
            second = len(again.tiles) * _steps(again.drawn)
            shown, cast = again.shown, enlarged(people, decided.frame.extent, again.drawn.frame.extent)
        if job.face_pass is None:
            return second, 0
        steps = job.face_pass.steps or decided.steps
        return second, len(small_heads(shown, cast, model, job.face_pass, ())) * max(1, int(steps * job.face_pass.strength))

    def second(
        self, decided: Plan, people: Cast, first: Pixels, seed: int, tally: Tally, hooks: Callable[[Plan], Hooks]
    ) -> tuple[Plan, Cast, Pixels]:
        """`first` (h, w, 3), as it was drawn, once more; the plan and the people of what is shown in the end."""
        if decided.job.second_pass is None:
            return decided, people, first
        again = larger(decided, self._parts.model, decided.job.second_pass)
        size = again.drawn.frame.extent
        start, cast = scaled(first, size), enlarged(people, decided.frame.extent, size)
        if again.drawn.repainted is not None and decided.canvas is not None:
            # What is kept is seen as sharp as the canvas is.
            start = np.where(again.drawn.repainted[..., None] > 0, start, again.drawn.frame.cut_and_scale(decided.canvas))
        return again.shown, cast, self._in_tiles(again, cast, start, seed, tally, hooks(again.shown))

    def _in_tiles(self, again: Larger, cast: Cast, start: Pixels, seed: int, tally: Tally, hooks: Hooks) -> Pixels:
        drawn: list[tuple[Bounds, Pixels]] = []
        mask, (_, faces) = again.drawn.repainted, self.reckoned_rest(again, cast)
        for number, box in enumerate(again.tiles):
            tally.next_pass(_steps(again.drawn) * (len(again.tiles) - number - 1) + faces)
            if mask is not None and not _cut(mask, box).any():
                continue
            recipe = self._recipe_of(again.drawn, within(cast, box) if len(again.tiles) > 1 else cast)
            recipe = replace(recipe, image=start)
            if len(again.tiles) > 1:
                recipe = replace(_tile_of(recipe, box), tiled=again.drawn.job.sampling.tiled is True)
            drawn.append((box, draw(self._parts, recipe, (seed + APART * number) % 2**63, hooks)))
        return drawn[0][1] if len(again.tiles) == 1 else joined(drawn, start)

    def reckoned_rest(self, again: Larger, cast: Cast) -> tuple[int, int]:
        """As `reckoned`, when the second pass is being drawn."""
        alone = replace(again.shown, job=replace(again.shown.job, second_pass=None))
        return self.reckoned(alone, cast)

    def faces(self, shown: Plan, people: Cast, pixels: Pixels, seed: int, tally: Tally, hooks: Callable[[Plan], Hooks]) -> Pixels:
        """The finished picture (H, W, 3) with its small heads drawn once more; outside them every byte is as it was."""
        again, model = shown.job.face_pass, self._parts.model
        if again is None:
            return pixels
        _, reckoned = self.reckoned(replace(shown, job=replace(shown.job, second_pass=None)), people)
        heads = small_heads(shown, people, model, again, self._finder.analyse(pixels) if self._finder else ())
        for number, head in enumerate(heads):
            planned = head_plan(shown, people, model, again, head, pixels)
            if planned is None:
                continue
            plan, cast, mask = planned
            tally.next_pass(_steps(plan) * (len(heads) - number - 1))
            drawn = draw(self._parts, self._recipe_of(plan, cast), seed, hooks(plan))
            pixels = put_back(pixels, plan.frame, drawn, mask, feather_of(head.points))
        if not heads:
            tally.close(reckoned)
        return pixels


def _steps(plan: Plan) -> int:
    return max(1, int(plan.steps * plan.strength))


def _tile_of(recipe: Recipe, box: Bounds) -> Recipe:
    """A recipe of a whole picture -> one of a part of it."""
    return replace(
        recipe,
        extent=box.extent,
        image=None if recipe.image is None else _cut(recipe.image, box),
        mask=None if recipe.mask is None else _cut(recipe.mask, box),
        lanes=tuple(
            lane if lane.region is None else replace(lane, region=lane.region[:, box.y : box.bottom, box.x : box.right])
            for lane in recipe.lanes
        ),
        nets=tuple(_net_of(net, box) for net in recipe.nets),
    )


def _net_of(conditioning: Conditioning, box: Bounds) -> Conditioning:
    net = conditioning.net
    if isinstance(net, IdentityNet) and net.region is not None:
        region = net.region[:, box.y : box.bottom, box.x : box.right]
        net = copy.copy(net)
        object.__setattr__(net, "region", region)  # as in IdentityNet.of: not among the buffers, which views share
    return replace(conditioning, net=net, picture=_cut(conditioning.picture, box))


def _cut(picture: Pixels, box: Bounds) -> Pixels:
    return np.ascontiguousarray(picture[box.y : box.bottom, box.x : box.right])
