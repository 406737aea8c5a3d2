"""What takes longer than a tick, done in steps: Blender's Python must not use threads, so a piece of work yields every few milliseconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from .protocol.desk.sentences import sentence_of

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]
"""Work that yields between steps of a millisecond or two, and returns what came of it."""
TURN_S = 0.003
"""How long one turn works before it leaves the rest to the next tick; with its last step it stays under five milliseconds."""


@dataclass
class _Chore:
    steps: Generator[None, None, Any]
    then: Callable[[Any], None]
    failed: Callable[[str], None]


class Chores:
    """First come, first served, but for what has time, which is done while nothing else waits; `turn` is called from the timer."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._chores: deque[_Chore] = deque()
        self._later: deque[_Chore] = deque()

    @property
    def waiting(self) -> int:
        """How many are not done."""
        return len(self._chores) + len(self._later)

    def do(
        self, steps: Steps[T], then: Callable[[T], None] = lambda value: None, failed: Callable[[str], None] = lambda sentence: None
    ) -> None:
        """Do this in the turns to come; later `then(value)`, or `failed(sentence)`."""
        self._chores.append(_Chore(steps, then, failed))

    def do_later(self, steps: Steps[T]) -> None:
        """Do this while nothing else waits; nobody hears what came of it."""
        self._later.append(_Chore(steps, lambda value: None, lambda sentence: None))

    def turn(self) -> None:
        """Work for three milliseconds at most, and a step."""
        end = self._clock() + TURN_S
        while (chores := self._chores or self._later) and self._clock() < end:
            chore = chores[0]
            try:
                next(chore.steps)
            except StopIteration as done:
                chores.popleft()
                chore.then(done.value)
            except Exception as error:
                chores.popleft()
                chore.failed(sentence_of(error))

    def clear(self) -> None:
        """Leave what is not done."""
        for chores in (self._chores, self._later):
            while chores:
                chores.popleft().steps.close()
