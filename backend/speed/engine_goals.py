"""`likeness bench engine`, goal by goal: the engine beside plain diffusers, and beside itself."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.errors import Cancelled, ServiceError

from ..models.adapters import Untyped
from ..pipelines.compiled import Compiler
from ..pipelines.engine import Unwatched
from ..pipelines.graphs import CudaCapturer, Graphs
from .goals import Figure, high
from .rig import ALMOST, Calls, Equality, Rig, flops
from .timing import compare

Pixels = NDArray[np.uint8]
WINDOW_END = 0.6
FEW_STEPS = 10
COMPILING_S = 900.0
COMPILED_APART = 0.3
"""Standard deviations of the latents that the worst number may be off with compiled blocks, after all steps. Rounding to bf16 alone comes
to 0.09 in tiny nets on a processor (0.02 on average), where the worst is one of 256 numbers and not of 65,536; another picture is off by
several. Not measured on a GPU."""
SEVERAL = 1000
"""Apart from one another, so that no two goals ask for the same person."""


@dataclass(frozen=True, slots=True)
class Run:
    """How long to measure: `steps` of a picture whose calls are counted, `rounds` pairs, `cancels` requests to stop; `timed` are the steps
    of a picture that is timed, if they are others."""

    steps: int = 30
    rounds: int = 7
    cancels: int = 40
    timed: int | None = None

    @property
    def timed_steps(self) -> int:
        """Steps of a picture that is timed. Each step is the same, so that few are enough for a ratio."""
        return self.timed or self.steps

    @property
    def few_steps(self) -> int:
        """Enough where a figure is per step."""
        return min(self.timed_steps, FEW_STEPS)


def against_plain(rig: Rig, run: Run) -> Figure:
    """G1: a picture by the engine, beside the same one by plain diffusers; a new person and a new prompt each time."""
    with rig.latents() as seen:
        equality = Equality(seen, ALMOST if rig.cuda else 0.0)
        found = compare(
            rig.timer,
            run.rounds,
            lambda number: rig.draw(rig.job(number, run.timed_steps)),
            lambda number: rig.plain.draw(rig.asked(number, run.timed_steps)),
            equality.check,
        )
    few = run.few_steps
    ours, plain = flops(lambda: rig.draw(rig.job(SEVERAL, few))), flops(lambda: rig.plain.draw(rig.asked(SEVERAL, few)))
    detail = f"{equality.sentence}; operations {ours / plain:.3f} of plain's"
    return Figure("G1", "a picture, as a part of plain diffusers' time", found.ratio, 1.0, "", detail, _sides(found.first, found.second))


def compiled(rig: Rig, run: Run, backend: str = "inductor") -> Figure:
    """G2: the engine with compiled blocks, on a GPU captured too, beside plain diffusers as it is; and whether the second request compiles
    anything.

    The numbers differ in their last bits, and in half precision steps add that up: latents are compared within a bound, not for equality.
    """
    from torch._dynamo.utils import counters

    parts = rig.engine.parts
    parts.compiler = compiler = Compiler(backend)
    parts.graphs = graphs = Graphs(CudaCapturer(parts.device), print) if rig.cuda else None
    try:
        rig.draw(rig.job(8 * SEVERAL, 2))
        if not compiler.wait(COMPILING_S):
            raise ServiceError(f"The blocks were not compiled within {COMPILING_S:.0f} s, so there is no figure.")
        rig.draw(rig.job(8 * SEVERAL, 2))
        before = _graphs(counters)
        with rig.latents() as seen:
            equality = Equality(seen, COMPILED_APART)
            found = compare(
                rig.timer,
                run.rounds,
                lambda number: rig.draw(rig.job(8 * SEVERAL + number, run.timed_steps)),
                lambda number: rig.plain.draw(rig.asked(8 * SEVERAL + number, run.timed_steps)),
                equality.check,
            )
        detail = f"{equality.sentence}; graphs made after the first requests: {_graphs(counters) - before}"
        if graphs is not None:
            work = flops(lambda: rig.plain.draw(rig.asked(8 * SEVERAL, run.timed_steps)))
            detail += f"; nets captured: {len(graphs)}; {work / found.first / 1e12:.0f} TFLOP/s"
    finally:
        parts.compiler = parts.graphs = None
        compiler.close()
    return Figure("G2", "compiled, as a part of plain diffusers' time", found.ratio, 0.60, "", detail, _sides(found.first, found.second))


def first_preview(rig: Rig, run: Run) -> Figure:
    """G5: from the job to its first preview, in steps; the person and the prompt are known already."""
    steps = run.few_steps
    rig.draw(rig.job(2 * SEVERAL, 1))
    ratios: list[float] = []
    firsts: list[float] = []
    for number in range(run.rounds):
        watch = _Noting(rig.timer.now)
        begin = rig.timer.now()
        rig.draw(rig.job(2 * SEVERAL, steps, previews=1, seed=number), watch)
        firsts.append(watch.previews[0] - begin)
        ratios.append(firsts[-1] / watch.step_s)
    median = statistics.median(ratios)
    times = {"first preview": statistics.median(firsts)}
    return Figure("G5", "the first preview, known person and prompt", median, 1.3, "steps", "", times)


def previews(rig: Rig, run: Run) -> Figure:
    """G6: what previews after each step cost.

    On a GPU, whole pictures with and without, since a wait that nobody wanted shows in the whole. On a processor a preview is a ten
    thousandth of a step, far less than two pictures differ by themselves: every other step of a picture is followed by one, and each such
    step is compared with the next one.
    """
    steps = run.few_steps

    def drawn(every: int) -> Callable[[int], Pixels]:
        return lambda number: rig.draw(rig.job(3 * SEVERAL + number, steps, previews=every), _Noting(rig.timer.now))

    rig.draw(rig.job(3 * SEVERAL, 1))
    found = compare(rig.timer, run.rounds if rig.cuda else 1, drawn(1), drawn(0), _same)
    if rig.cuda:
        times = {"with": found.first, "without": found.second}
        return Figure("G6", "a picture with previews, as a part of one without", found.ratio, 1.01, "", "pictures equal", times)
    pairs: list[tuple[float, float]] = []
    for number in range(2 * run.rounds):
        watch = _Noting(rig.timer.now)
        rig.draw(rig.job(3 * SEVERAL + number, steps, previews=2), watch)
        pairs += watch.in_pairs
    middle = statistics.median
    times = {"step with": middle(a for a, _ in pairs), "without": middle(b for _, b in pairs)}
    detail = f"pictures equal; {len(pairs)} pairs of steps"
    return Figure("G6", "a step with a preview, as a part of one without", middle(a / b for a, b in pairs), 1.01, "", detail, times)


def cancelling(rig: Rig, run: Run) -> Figure:
    """G7: from a request to stop, at any moment of a step, to the engine's return with nothing left to do on the device."""
    watch, times = _Noting(rig.timer.now), run.cancels
    rig.draw(rig.job(4 * SEVERAL, 4), watch)
    step_s = watch.step_s
    moments = [(number + 0.5) / times for number in range(times)]
    random.Random(7).shuffle(moments)
    late: list[float] = []
    for moment in moments:
        stopper = _Stopping(rig.timer.now, moment * step_s)
        try:
            rig.draw(rig.job(4 * SEVERAL, 6), stopper)
        except Cancelled:
            rig.timer.finish()
            late.append((rig.timer.now() - stopper.asked_at) / step_s)
    if len(late) < times:
        raise ServiceError(f"{times - len(late)} of {times} pictures were finished although they were cancelled.")
    detail = f"{times} requests spread over a step; median {statistics.median(late):.3f} steps"
    return Figure("G7", "the end of a cancelled picture, 95 in 100", high(late), 0.15, "steps", detail, {"step": step_s})


def known_person(rig: Rig, run: Run) -> tuple[Figure, Figure]:
    """G8: the second picture of a person and a prompt: what is asked again, and what comes before the first step."""
    parts, stand_in = rig.engine.parts, rig.stand_in
    stand_in.calls = 0
    texts = {name: module for name, module in parts.base.items() if name.startswith("text_encoder")}
    again, first_s, second_s = 0, list[float](), list[float]()
    with Calls(projection=parts.face_adapter.projection, **texts) as calls:
        for number in range(run.rounds):
            photo = 5 * SEVERAL + number
            first_s.append(_until_first_step(rig, photo, photo))
            before = stand_in.calls + calls.count.total()
            second_s.append(_until_first_step(rig, photo, photo + SEVERAL))
            again += stand_in.calls + calls.count.total() - before
        asked = stand_in.calls + calls.count.total() - again
    if not asked:
        raise ServiceError("The first pictures asked neither for a face nor for a text, so nothing was measured.")
    ratio = statistics.median(b / a for a, b in zip(first_s, second_s, strict=True))
    detail = f"{asked} for the first pictures of {run.rounds} persons"
    times = {"first": statistics.median(first_s), "second": statistics.median(second_s)}
    return (
        Figure("G8", "calls of face, text and projection, known person", again, 0, "calls", detail),
        Figure("G8", "set-up of a known person's picture, as a part of the first", ratio, 0.05, "", "", times),
    )


def window(rig: Rig, run: Run) -> tuple[Figure, Figure]:
    """G9: IdentityNet for the first 60 % of the steps, beside all of them: calls, and time against what the operations predict."""
    few, base = run.few_steps, 7 * SEVERAL
    with Calls(net=rig.engine.parts.identity_net.mid_block) as calls, rig.latents() as seen:
        ours = rig.draw(rig.job(base, run.steps, end=WINDOW_END))
        done = calls.count["net"]
        silent = rig.plain.draw(rig.asked(base, run.steps), end=WINDOW_END)
        equality = Equality(seen, ALMOST if rig.cuda else 0.0)
        equality.check(ours, silent)
    expected = sum((step + 1) / run.steps <= WINDOW_END for step in range(run.steps))
    predicted = flops(lambda: rig.draw(rig.job(base, few, end=WINDOW_END))) / flops(lambda: rig.draw(rig.job(base, few)))
    found = compare(
        rig.timer,
        run.rounds,
        lambda number: rig.draw(rig.job(base + number, run.timed_steps, end=WINDOW_END)),
        lambda number: rig.draw(rig.job(base + number, run.timed_steps)),
    )
    told = f"ratio of times {found.ratio:.3f}, of operations {predicted:.3f}; beside a run at scale 0 after the window: {equality.sentence}"
    times = {"window": found.first, "always": found.second}
    return (
        Figure("G9", f"IdentityNet's calls in {run.steps} steps, window 0 to {WINDOW_END}", done, expected, "calls"),
        Figure("G9", "time of the window, off what the operations predict", abs(found.ratio / predicted - 1), 0.03, "%", told, times),
    )


class _Noting(Unwatched):
    """Notes when steps and previews come."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.steps: list[float] = []
        self.previews: list[float] = []

    def step(self, done: int, total: int) -> None:
        self.steps.append(self._now())

    def preview(self, pixels: Pixels, step: int) -> None:
        self.previews.append(self._now())

    @property
    def in_pairs(self) -> list[tuple[float, float]]:
        """Times from a step to the next, of the second, fourth, … step and of the one after each."""
        took = [b - a for a, b in zip(self.steps, self.steps[1:], strict=False)]
        return list(zip(took[1::2], took[2::2], strict=False))

    @property
    def step_s(self) -> float:
        """The median time from a step to the next."""
        return statistics.median(b - a for a, b in zip(self.steps, self.steps[1:], strict=False))


class _Stopping(Unwatched):
    """Wants to stop some time after the first step; notes when it began to want that."""

    def __init__(self, now: Callable[[], float], after_s: float) -> None:
        self._now, self._after_s = now, after_s
        self.asked_at = float("inf")

    def step(self, done: int, total: int) -> None:
        if done == 1:
            self.asked_at = self._now() + self._after_s

    def cancelled(self) -> bool:
        return self._now() >= self.asked_at


def _until_first_step(rig: Rig, photo: int, seed: int) -> float:
    """Seconds from the job to the first net that runs."""
    begun: list[float] = []

    def note(*_: object) -> None:
        rig.timer.finish()
        begun.append(rig.timer.now())

    handle = rig.engine.parts.identity_net.conv_in.register_forward_pre_hook(note)
    try:
        start = rig.timer.now()
        rig.draw(rig.job(photo, 1, photo=photo, seed=seed))
    finally:
        handle.remove()
    return begun[0] - start


def _same(one: Pixels, other: Pixels) -> None:
    if not np.array_equal(one, other):
        raise ServiceError("The two sides drew different pictures, so their times cannot be compared.")


def _graphs(counters: Untyped) -> int:
    return int(counters["stats"]["unique_graphs"])


def _sides(ours: float, plain: float) -> dict[str, float]:
    return {"engine": ours, "plain": plain}
