"""What is there on this machine, and what to do about what is missing."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocol.errors import LikenessError

from .config import Settings
from .workbench import BUILT_IN, REAL, device_and_dtype, installed

if TYPE_CHECKING:
    from .models.bundle import Model
    from .models.recognisers import Digests

LIBRARIES = ("diffusers", "transformers", "accelerate", "peft", "safetensors", "insightface", "numpy", "Pillow", "pyzmq", "msgpack")
OLDEST_PYTHON = (3, 11)
TAKEN_GIB = 0.6
"""What a driver, CUDA's context and a screen take of a card before anything is drawn."""


class State(Enum):
    """How bad it is. The value is the mark on the screen."""

    GOOD = "ok"
    ADVICE = "--"
    WRONG = "!!"


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the doctor's: what was looked at, what was found, and what to do about it."""

    topic: str
    state: State
    found: str
    cure: str = ""


def examine(settings: Settings, memory_gib: float | None = None) -> list[Note]:
    """Look at everything. Never raises: what cannot be looked at is a note too. `memory_gib` shows the memory plan of a card of that size
    instead of the present one's."""
    looks: tuple[tuple[str, Callable[[], list[Note]]], ...] = (
        ("Python", _python),
        ("libraries", _libraries),
        ("torch", lambda: _torch(settings)),
        ("attention", lambda: _attention(settings)),
        ("onnxruntime", _shared_modules),
        ("providers", lambda: _providers(settings)),
        ("models", lambda: _models(settings)),
        ("memory", lambda: _memory(settings, memory_gib)),
        ("disk", lambda: _disk(settings)),
    )
    return [note for topic, look in looks for note in _safely(topic, look)]


def _safely(topic: str, look: Callable[[], list[Note]]) -> list[Note]:
    try:
        return look()
    except (LikenessError, ImportError, OSError, RuntimeError, AttributeError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        return [
            Note(topic, State.WRONG, f"cannot be looked at: {said}", "Install Likeness again: pip install --force-reinstall -e '.[cpu]'")
        ]


def _python() -> list[Note]:
    found = f"{platform.python_version()} ({sys.executable}), {platform.platform(terse=True)}"
    old = sys.version_info[:2] < OLDEST_PYTHON
    return [Note("Python", State.WRONG if old else State.GOOD, found, "Install Python 3.11 or newer." if old else "")]


def _libraries() -> list[Note]:
    there: list[str] = []
    missing: list[str] = []
    for name in LIBRARIES:
        try:
            there.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    notes = [Note("libraries", State.GOOD, ", ".join(there))]
    if missing:
        notes.append(Note("libraries", State.WRONG, f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}"))
    return notes


def _torch(settings: Settings) -> list[Note]:
    import torch

    device, dtype = device_and_dtype(settings)
    notes = [Note("torch", State.GOOD, f"{torch.__version__}; pictures are computed on {device} in {str(dtype).removeprefix('torch.')}")]
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found = f"cuda:{index}: {torch.cuda.get_device_name(index)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        notes.append(Note("GPU", State.GOOD, found))
    if torch.cuda.device_count() == 0 and not torch.backends.mps.is_available():
        there = "an NVIDIA driver is installed, but torch does not see it" if shutil.which("nvidia-smi") else "none that torch can use"
        cure = "The built-in model does not need one; SDXL does. Install the driver, and a build of torch with CUDA."
        notes.append(Note("GPU", State.ADVICE, there, cure))
    return notes


def _attention(settings: Settings) -> list[Note]:
    """Which kernels compute attention, and what else makes nets quicker here."""
    from .pipelines import kernels

    kernels.check(settings.attention)
    device, dtype = device_and_dtype(settings)
    if not device.startswith("cuda"):
        idle = [name for name in ("compile", "graphs") if getattr(settings, name) == "yes"]
        idle += ["attention"] if settings.attention != kernels.AUTO else []
        there = f"; {' and '.join(idle)} in the settings would act on an NVIDIA GPU" if idle else ""
        return [Note("attention", State.GOOD, f"torch's own on {device}{there}")]
    kernels.prefer(settings.attention)
    found = {family: [kernels.chosen(device, dtype, width) for width in widths] for family, widths in kernels.WIDTHS.items()}
    poor = settings.attention != "math" and any({"math", "none"} & set(names) for names in found.values())
    said = ", ".join(f"{' and '.join(dict.fromkeys(names))} for {family}" for family, names in found.items())
    sound = settings.storage != "float8"
    words = ["" if sound and getattr(settings, name) == "yes" else "not " for name in ("compile", "graphs")]
    how = f"; blocks are {words[0]}compiled, nets {words[1]}captured"
    cure = "Only plain matrices are left for attention here, which is slow. Use float16, or a build of torch for this card." if poor else ""
    return [Note("attention", State.ADVICE if poor else State.GOOD, f"{said} ({settings.attention}){how}", cure)]


def _shared_modules() -> list[Note]:
    """onnxruntime and OpenCV, which several packages install into the same place."""
    from .runtime_check import Health
    from .runtime_check import examine as look

    states = {Health.FINE: State.GOOD, Health.FRAGILE: State.ADVICE, Health.BROKEN: State.WRONG}
    cures = [(finding, [" ".join(command) for command in finding.commands()]) for finding in look()]
    return [Note(finding.module, states[finding.health], finding.sentence, " && ".join(cure)) for finding, cure in cures]


def _providers(settings: Settings) -> list[Note]:
    runtime: Any = import_module("onnxruntime")  # it has no types
    names = ", ".join(str(name).removesuffix("ExecutionProvider") for name in runtime.get_available_providers())
    where = "on the GPU where the memory plan says so" if settings.faces == "auto" else "on the CPU, which takes milliseconds"
    return [Note("providers", State.GOOD, f"onnxruntime computes with {names}; faces are read {where}")]


def _models(settings: Settings) -> list[Note]:
    from .models.bundle import Model
    from .models.recognisers import Digests

    notes: list[Note] = []
    digests = Digests()
    for name, folder in installed(settings).items():
        try:
            model = Model.open(folder)
        except LikenessError as error:
            notes.append(Note("model", State.WRONG, f"{name}: {error}"))
            continue
        notes.append(Note("model", State.GOOD if model.faces else State.ADVICE, f"{name}: {', '.join(_abilities(model))}"))
        notes += _recognisers(model, digests)
    if BUILT_IN not in installed(settings).values():
        cure = f"Get the folder {BUILT_IN} again: git checkout -- backend/{BUILT_IN.name}"
        notes.append(Note("model", State.WRONG, "the built-in model is missing", cure))
    if len(notes) == 1:
        cure = f"For photographs, fetch a real model: likeness models pull {REAL}"
        notes.append(Note("model", State.ADVICE, "no further models", cure))
    return notes


def _recognisers(model: Model, digests: Digests) -> list[Note]:
    """Each recogniser of a model: its file's hash, its licence and who reads with it; and adapters that were trained with another."""
    from .models.bundle import readers_of

    notes: list[Note] = []
    for one in model.recognisers:
        known = digests.of(one)
        licence = f", {one.licence}" if one.licence else ", licence not noted"
        readers = f"; for {', '.join(readers_of(model, one))}" if readers_of(model, one) else ""
        digest = f"sha256 {known[:12]}…" if known else "file not known before it is loaded"
        notes.append(Note("recogniser", State.GOOD, f"{model.id}: {one.name} ({digest}, {one.embedding} numbers{licence}){readers}"))
    wanting = [entry for entry in model.adapters if "faceid" in (entry.kind.value if entry.kind else entry.name).lower()]
    for entry in [*([None] if model.instant_id and model.recognisers else []), *(wanting if model.recognisers else [])]:
        try:
            model.recogniser(entry)
        except LikenessError as error:
            notes.append(Note("recogniser", State.WRONG, f"{model.id}: {error}"))
    return notes


def _abilities(model: object) -> list[str]:
    from .models.bundle import Model

    if not isinstance(model, Model):
        return []
    can = [f"{model.family.value}, {model.extent.width} x {model.extent.height}"]
    can += ["InstantID"] if model.instant_id else []
    can += [f"IP-Adapter {entry.name}" for entry in model.adapters]
    can += [f"ControlNet {kind.value}" for kind, _ in model.controls]
    can += [f"style {style.name}" for style in model.styles]
    return [*can, "faces" if model.faces else "no face models, so no --face"]


def _memory(settings: Settings, memory_gib: float | None) -> list[Note]:
    """What would stay on the card, for each model."""
    from .models.bundle import Model
    from .models.memory_plan import GIB, plan_memory
    from .models.part_sizes import SDXL_CAPTURED, SDXL_INSTANTID, SDXL_REPLACED, SDXL_WORK
    from .worker.footing import Asked, moves_weights, plan_for, room_on

    device, dtype = device_and_dtype(settings)
    if memory_gib is None and not moves_weights(device):
        found = f"weights stay in the processor's memory, since {device} has none of its own"
        return [Note("memory", State.GOOD, found, "What a card of 12 GB would do: likeness doctor --memory 12")]
    free = room_on(device) if memory_gib is None else int((memory_gib - TAKEN_GIB) * GIB)
    element = 2 if memory_gib is not None else dtype.itemsize
    stored = 1 if settings.storage == "float8" else None
    card = "this card" if memory_gib is None else f"a card of {memory_gib:g} GB"
    asked = Asked.by(settings, device if memory_gib is None else "cuda")
    if memory_gib is not None:
        asked = replace(asked, faces=settings.faces == "auto")
    plans = [(name, plan_for(Model.open(folder), element, free, stored, (), asked)) for name, folder in installed(settings).items()]
    if memory_gib is not None:
        work = replace(SDXL_WORK, captured=SDXL_CAPTURED * asked.captured, replaced=SDXL_REPLACED * asked.merged)
        plans.append(("SDXL with InstantID and an IP-Adapter", plan_memory(SDXL_INSTANTID, work, free, asked.faces)))
    end = f"; {asked.unsound}" if asked.unsound else ""
    return [Note("memory", State.GOOD if plan.fits else State.ADVICE, f"{name} on {card}: {plan.sentence()}{end}") for name, plan in plans]


def _disk(settings: Settings) -> list[Note]:
    place = settings.models
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    small = free < 20
    cure = "A real model with InstantID takes about 12 GiB. Free some space, or set LIKENESS_MODELS to another disk." if small else ""
    return [Note("disk", State.ADVICE if small else State.GOOD, f"{free:.0f} GiB free for models ({_short(settings.models)})", cure)]


def _short(path: Path) -> str:
    try:
        return f"~/{path.relative_to(Path.home()).as_posix()}"
    except ValueError:
        return str(path)
