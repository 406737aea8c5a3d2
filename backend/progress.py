"""A progress bar as the engine's watch."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Watch(Protocol):
    """Who hears of the steps of a job and of what is worth a line."""

    def step(self, done: int, total: int) -> None:
        """`done` of `total` sampling steps."""
        ...

    def preview(self, pixels: NDArray[np.uint8], step: int) -> None:
        """What the picture seems to become, (h, w, 3), after `step` steps."""
        ...

    def cancelled(self) -> bool:
        """Whether to stop now."""
        ...

    def say(self, text: str) -> None:
        """Print a line."""
        ...


class Bar:
    """Counts the sampling steps of several jobs on one line: how many, how long it will take. A context manager."""

    def __init__(self, title: str, jobs: int) -> None:
        from tqdm import tqdm

        layout = "{desc:24.24} {percentage:3.0f} %|{bar}| {n:.0f}/{total:.0f} [{elapsed}<{remaining}]"
        pause = 0.2 if sys.stderr.isatty() else 10.0  # a log is not filled with bars
        self._bar: Any = tqdm(total=jobs, desc=title, dynamic_ncols=True, bar_format=layout, mininterval=pause, miniters=0)
        self._base = 0.0

    def next_job(self, pictures: int = 1) -> None:
        """A job is finished; the bar stands at a whole number of pictures again."""
        self._base += pictures
        self._show(self._base)

    def step(self, done: int, total: int) -> None:
        """The engine finished a sampling step."""
        self._show(self._base + done / max(total, 1) * 0.999)

    def preview(self, pixels: NDArray[np.uint8], step: int) -> None:
        """Previews have no place on a command line."""

    def cancelled(self) -> bool:
        """Ctrl-C ends the process; nothing else cancels."""
        return False

    def say(self, text: str) -> None:
        """Print a line without breaking the bar."""
        self._bar.write(text)

    def _show(self, value: float) -> None:
        self._bar.update(min(value, self._bar.total) - self._bar.n)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()
