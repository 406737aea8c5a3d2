"""What each shortcut costs in likeness and saves in time: the same persons, prompts and seeds, painted fully and by each shortcut.

Every person is painted in all ways one after another, so that a machine that gets slower or busier does so for all of them. Time is that of
the painting process as a whole where the engine runs in it, else that of the clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocol.jobs import Shortcut

from ..contact import Cell
from ..contact import Row as Strip
from ..training.world import caption
from .findings import SHOWN, Finding, plain
from .measures import gain, mean
from .people import Sitter
from .tested import ModelUnderTest, Shown, subject

ALONE = tuple((shortcut.value, (shortcut,)) for shortcut in Shortcut if shortcut is not Shortcut.SMALL)
QUICK = (Shortcut.FEW_STEPS, Shortcut.GUIDANCE_INTERVAL, Shortcut.CONDITIONAL_IDENTITY)
"""What `--quick` stands for."""
MANY_STEPS = (Shortcut.GUIDANCE_INTERVAL, Shortcut.CONDITIONAL_IDENTITY, Shortcut.FEATURE_REUSE)
WAYS: tuple[tuple[str, tuple[Shortcut, ...]], ...] = (("fully", ()), *ALONE, ("--quick", QUICK), ("all steps, else quick", MANY_STEPS))
"""`small` changes nothing for a model that draws at one size, as the built-in one does; of few steps no features are reused."""
CLAIM = "shortcuts"


@dataclass(frozen=True, slots=True, eq=False)
class Try:
    """One picture of a person, and what it took."""

    shown: Shown
    likeness: float
    seconds: float


def paint(tested: ModelUnderTest, sitters: Sequence[Sitter], clock: Callable[[], float] = time.process_time) -> list[dict[str, Try]]:
    """Every person in every way."""
    return [_ways(tested, sitter, clock) for sitter in sitters]


def costs(tries: Sequence[dict[str, Try]], sitters: Sequence[Sitter]) -> Finding:
    """Likeness and time of each way, and the difference to painting fully, pair by pair."""
    rows = [plain(CLAIM, f"{name}: {what}", value, text=text) for name, _ in WAYS for what, value, text in _figures(tries, name)]
    strips = [Strip("One photo in", tuple(Cell(sitter.reference.picture, "") for sitter in sitters[:SHOWN]))]
    for name, _ in WAYS:
        cells = tuple(Cell(one[name].shown.picture, f"{one[name].likeness:.2f}") for one in tries[:SHOWN])
        strips.append(Strip(name, cells))
    return Finding(tuple(rows), tuple(strips))


def _ways(tested: ModelUnderTest, sitter: Sitter, clock: Callable[[], float]) -> dict[str, Try]:
    photo = sitter.reference.picture
    identity = tested.identity(photo)
    found: dict[str, Try] = {}
    for name, shortcuts in WAYS:
        began = clock()
        shown = tested.paint(caption(sitter.wanted), sitter.seed, subject=subject(photo), shortcuts=shortcuts)
        found[name] = Try(shown, shown.likeness(identity), clock() - began)
    return found


def _figures(tries: Sequence[dict[str, Try]], name: str) -> list[tuple[str, float, str]]:
    likeness = [one[name].likeness for one in tries]
    lost = gain(likeness, [one["fully"].likeness for one in tries])
    share = statistics.median(one[name].seconds / one["fully"].seconds for one in tries)
    score = mean(likeness)
    found = [("cosine to the reference", score.value, str(score))]
    if name != "fully":
        found += [("cosine, against fully", lost.value, f"{lost.value:+.3f} ± {lost.error:.3f}"), ("time, of fully", share, f"{share:.2f}")]
    return found
