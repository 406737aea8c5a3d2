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
    """First come, first served; `turn` is called from the timer."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._chores: deque[_Chore] = deque()

    @property
    def waiting(self) -> int:
        """How many are not done."""
        return len(self._chores)

    def do(
        self, steps: Steps[T], then: Callable[[T], None] = lambda value: None, failed: Callable[[str], None] = lambda sentence: None
    ) -> None:
        """Do this in the turns to come; later `then(value)`, or `failed(sentence)`."""
        self._chores.append(_Chore(steps, then, failed))

    def turn(self) -> None:
        """Work for three milliseconds at most, and a step."""
        end = self._clock() + TURN_S
        while self._chores and self._clock() < end:
            chore = self._chores[0]
            try:
                next(chore.steps)
            except StopIteration as done:
                self._chores.popleft()
                chore.then(done.value)
            except Exception as error:
                self._chores.popleft()
                chore.failed(sentence_of(error))

    def clear(self) -> None:
        """Leave what is not done."""
        while self._chores:
            self._chores.popleft().steps.close()
