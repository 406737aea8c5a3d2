"""One run of `likeness bench engine`: models made, goals measured one after another, what could not be measured said."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.errors import ServiceError

from ..config import Settings
from ..workbench import device_and_dtype, hush
from .goals import Figure, Report

if TYPE_CHECKING:
    from collections.abc import Generator

    from .engine_goals import Run
    from .rig import Rig

ONLY_GPU = (
    "G2 (compiled, beside plain): compiling brings nothing on a processor; it needs an NVIDIA GPU.",
    "G10 (memory of offload plans): needs an NVIDIA GPU; `likeness bench memory` counts what a processor can show.",
    "TFLOP/s, phases and peak memory of SDXL's real shapes: need an NVIDIA GPU; their code ran here with small shapes.",
)
ELSEWHERE = (
    "G3, G4, G11, G12, G16 (protocol, queue, add-ons): `likeness bench protocol` and `likeness bench picture`.",
    "G13, G14 (start): `likeness bench start`.",
)


def measure_engine(settings: Settings, shapes: str | None, run: Run, say: Callable[[str], None]) -> Report:
    """All goals of the engine on the device of the settings. `shapes` None takes SDXL's on a GPU and small ones on a processor.

    A goal whose two sides drew different pictures has no figure, and is named as failed. Raises `InvalidRequest` for shapes that are not
    known.
    """
    import torch

    from . import engine_goals as goals
    from .arithmetic import few_steps
    from .phases import peak, phases, reached
    from .protocol_goals import transfer_s
    from .rig import Rig
    from .shapes import TINY, shapes_for

    device, _ = device_and_dtype(settings)
    hush()
    cuda = device.startswith("cuda")
    kind = shapes_for(shapes, device)
    dtype = torch.bfloat16 if cuda else torch.float32
    run = replace(run, timed=run.timed or (run.steps if cuda else min(run.steps, goals.FEW_STEPS)))
    with tempfile.TemporaryDirectory() as folder, _one_thread(not cuda):
        say(f"making a model of random weights in {kind.name} shapes")
        rig = Rig(kind, Path(folder), device, dtype, 64 if kind.name != "tiny" else 8)
        warm_up(rig, 3 if cuda else 1)
        figures, failed = measured(_goals(cuda), rig, run, say)
        where = phases(rig, 9000, run.timed_steps)
        picture_s = next((figure.seconds["engine"] for figure in figures if figure.goal == "G1"), where.whole - where.face)
        notes = [*where.lines(transfer_s(kind.side)), reached(rig, 9001, run.timed_steps, picture_s)]
        if cuda:
            notes += [peak(rig), *where.over_budget(run.timed_steps)]
        say("counting operations of SDXL's shapes")
        figures += few_steps(Rig(TINY, Path(folder) / "counted", "cpu", torch.float32, 2))
    setting = {"shapes": kind.name, "side": kind.side, "device": _title(device), "numbers": str(dtype).removeprefix("torch.")}
    setting |= {"steps": run.steps, "timed steps": run.timed_steps, "pairs": run.rounds, "torch": torch.__version__}
    return Report(
        "The engine beside plain diffusers", setting, tuple(figures), tuple(notes), (() if cuda else ONLY_GPU) + ELSEWHERE, tuple(failed)
    )


Goal = Callable[["Rig", "Run"], "Figure | tuple[Figure, ...]"]


def measured(goals: Mapping[str, Goal], rig: Rig, run: Run, say: Callable[[str], None]) -> tuple[list[Figure], list[str]]:
    """The figures of all goals, and why some have none: one that cannot be measured does not cost the others."""
    figures: list[Figure] = []
    failed: list[str] = []
    for name, goal in goals.items():
        try:
            made = goal(rig, run)
        except ServiceError as error:
            failed.append(f"{name}: {error}")
            say(f"FAILED: {failed[-1]}")
            continue
        found = made if isinstance(made, tuple) else (made,)
        figures += found
        for figure in found:
            say(figure.row)
    return figures, failed


def _goals(cuda: bool) -> dict[str, Goal]:
    from . import engine_goals as goals

    found: dict[str, Goal] = {"G1": goals.against_plain, "G5": goals.first_preview, "G6": goals.previews, "G7": goals.cancelling}
    found |= {"G8": goals.known_person, "G9": goals.window}
    return {"G1": found.pop("G1"), "G2": goals.compiled, **found} if cuda else found


def warm_up(rig: Rig, times: int) -> None:
    """Let both sides draw once or more before anything counts."""
    for number in range(times):
        rig.draw(rig.job(8000 + number, 2))
        rig.plain.draw(rig.asked(8000 + number, 2))


@contextmanager
def _one_thread(wanted: bool) -> Generator[None]:
    """With several threads, this thread's time is not the work's, and a shared machine decides how long it takes."""
    import torch

    before = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _title(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{device}, one thread"


def summary(report: Report) -> Sequence[str]:
    """What is said at the end."""
    missed = [figure.goal for figure in report.figures if not figure.met]
    return [*report.lines(), "All goals that were measured are met." if not missed else f"Missed: {', '.join(dict.fromkeys(missed))}."]
