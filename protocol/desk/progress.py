"""How far an add-on's pictures are, in a share and in words: both hosts say it in the same ones."""

from __future__ import annotations

from dataclasses import dataclass

from ..messages import JobUpdate, Stage


@dataclass(frozen=True)
class Progress:
    """The work under way. `share` is 0 to 1; `words` are for the bar, "step 12 of 30, 6 s left"."""

    share: float
    words: str
    waiting: int = 0
    """Jobs of ours behind it."""


def progress_of(update: JobUpdate | None, connected: bool, waiting: int) -> Progress:
    """The progress of the job whose last `update` this is, None before the first; `waiting` jobs of ours are behind it."""
    stage = update.stage if update else Stage.QUEUED
    reached = min(1.0, update.step / update.steps) if update and update.steps and update.step is not None else 0.0
    if stage is Stage.DONE:
        return Progress(1.0, "taking the pictures", waiting)
    if not connected:
        return Progress(reached, "waiting for the backend", waiting)
    if update is None or stage is Stage.QUEUED:
        before = update.position if update and update.position else 0
        words = "sent" if update is None else f"waiting, {before} before it" if before else "waiting"
        return Progress(0.0, words, waiting)
    if not update.steps or update.step is None:
        return Progress(0.0, "beginning", waiting)
    left = "" if update.seconds_left is None else f", {_time(update.seconds_left)} left"
    return Progress(reached, f"step {update.step} of {update.steps}{left}", waiting)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
