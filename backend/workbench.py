"""One model with its faces and its engine, opened for a command: in this process, or behind a backend (`remote`)."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from protocol.errors import InvalidRequest, ModelError, UnknownModel
from protocol.jobs import Character

from .config import Settings, cache_home

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from protocol.jobs import Embedding, PictureJob

    from .faces import FaceAnalyser, Identity
    from .models.bundle import Model
    from .models.parts import Parts
    from .models.recognisers import Recogniser
    from .pipelines.engine import Engine
    from .progress import Watch

    Pixels = NDArray[np.uint8]

STORAGE = ("same", "float8")
FACES = ("cpu", "auto")
CPU_PROVIDERS = ("CPUExecutionProvider",)
CUDA_PROVIDERS = ("CUDAExecutionProvider", *CPU_PROVIDERS)
"""Of onnxruntime, for face models."""
BUILT_IN = Path(__file__).resolve().parent / "sketch"
"""The folder of the built-in model, id "sketch"."""
REAL = "instantid-sdxl"
"""The set of the catalogue that reads photographs and draws who is on them."""
DEVICES = ("cpu", "cuda", "mps", "xpu")


class Made(Protocol):
    """One picture that was made."""

    @property
    def pixels(self) -> Pixels:
        """(H, W, 3)."""
        ...

    @property
    def similarities(self) -> tuple[float | None, ...]:
        """One cosine per subject, None where no face was found."""
        ...


class Bench(Protocol):
    """What a painting command works at."""

    @property
    def model(self) -> Model:
        """The folder of the model that is used."""
        ...

    def person(self, identity: Identity) -> Character | Embedding:
        """How jobs call this person."""
        ...

    def identify(self, photos: Sequence[Pixels]) -> Identity:
        """Who the photos (H, W, 3) show; an error of the tree when that cannot be said."""
        ...

    def saved(self, name: str, adapter: str | None = None) -> Identity:
        """A person who is saved in the backend, as the recogniser of an image adapter reads them, or InstantID's (None)."""
        ...

    def face_points(self, picture: Pixels) -> list[NDArray[np.float32]]:
        """The five keypoints (5, 2) of each face of a picture (H, W, 3), the largest first."""
        ...

    def paint(self, job: PictureJob, bar: Watch) -> Made:
        """Do a job of one picture."""
        ...


@dataclass(slots=True)
class Workbench:
    """A model, its face analyser (None when it has no face models) and its engine. `people` are the persons its jobs may name."""

    model: Model
    faces: FaceAnalyser | None
    engine: Engine
    people: dict[str, Identity] = field(default_factory=dict["str", "Identity"])

    def add(self, identity: Identity) -> Character:
        """Give the engine a person; the name that jobs call them by."""
        name = f"person {len(self.people) + 1}"
        self.people[name] = identity
        return Character(name)

    def person(self, identity: Identity) -> Character:
        """As `add`."""
        return self.add(identity)

    def identify(self, photos: Sequence[Pixels]) -> Identity:
        """Who the photos (H, W, 3) show."""
        return self.need_faces().identify(photos)

    def saved(self, name: str, adapter: str | None = None) -> Identity:
        """Nobody: InvalidRequest with what to do."""
        raise InvalidRequest(f"Saved people such as {name!r} are kept by the backend. Leave --alone out, or give photos.")

    def face_points(self, picture: Pixels) -> list[NDArray[np.float32]]:
        """The five keypoints (5, 2) of each face of a picture (H, W, 3), the largest first."""
        return [face.keypoints for face in self.need_faces().analyse(picture)]

    def paint(self, job: PictureJob, bar: Watch) -> Made:
        """Do a job of one picture in this process."""
        return self.engine.run(job, bar)[0]

    def need_faces(self) -> FaceAnalyser:
        """The face analyser; ModelError for a model without."""
        if self.faces is None:
            raise ModelError(
                f"The model {self.model.id!r} has no face models, so it cannot read faces. Leave --face out, or choose another model."
            )
        return self.faces


def find_model(settings: Settings, model_id: str) -> Model:
    """The model called `NAME` or `NAME:STYLE`; UnknownModel with the names that there are."""
    from .models.bundle import Model

    name, _, style = model_id.partition(":")
    folder = installed(settings).get(name)
    if folder is None:
        raise UnknownModel(_unknown(settings, name))
    model = Model.open(folder)
    return model.with_style(style) if style else model


def installed(settings: Settings) -> dict[str, Path]:
    """The folders of all models, by id; the built-in one first. A folder whose model.toml is damaged goes by its own name."""
    folders = [BUILT_IN] if (BUILT_IN / "model.toml").is_file() else []
    if settings.models.is_dir():
        folders += [path.parent for path in sorted(settings.models.glob("*/model.toml"))]
    return {_id_of(folder): folder for folder in reversed(folders)}


def _id_of(folder: Path) -> str:
    try:
        return str(tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))["id"])
    except (OSError, KeyError, ValueError):
        return folder.name


def open_workbench(settings: Settings, model_id: str | None = None) -> Workbench:
    """Open a model; its weights are read when they are first needed."""
    from .pipelines.engine import Engine
    from .pipelines.sights import Sight

    model = find_model(settings, model_id or settings.model)
    device, dtype = device_and_dtype(settings)
    hush()
    people: dict[str, Identity] = {}
    faces = open_faces(model, settings)

    def other(recogniser: Recogniser) -> Sight:
        return Sight(open_recogniser(model, settings, recogniser), people.__getitem__)

    engine = Engine(model, faces, characters=people.__getitem__, recognisers=other, device=device, dtype=dtype)
    tune(engine.parts, settings)
    return Workbench(model, faces, engine, people)


def open_faces(model: Model, settings: Settings, providers: Sequence[str] = CPU_PROVIDERS) -> FaceAnalyser | None:
    """The model's face analyser, or None if it has no face models; `providers` are onnxruntime's."""
    if model.faces is None:
        return None
    return open_recogniser(model, settings, model.recognisers[0] if model.recognisers else None, providers)


def open_recogniser(
    model: Model, settings: Settings, recogniser: Recogniser | None, providers: Sequence[str] = CPU_PROVIDERS
) -> FaceAnalyser:
    """An analyser with one of the model's recognisers; for one that is an ONNX file alone the model's detector finds the faces."""
    from .faces import DET_SIZES, FaceAnalyser

    folder = model.faces if recogniser is None or recogniser.folder is None else recogniser.folder
    if folder is None:
        raise ModelError(f"The model {model.id!r} has no face models, so it cannot read faces. Choose another model.")
    return FaceAnalyser(
        folder,
        det_sizes=model.det_sizes or DET_SIZES,
        providers=providers,
        hint=_hint(settings) if model.drawn else "",
        drawn=model.drawn,
        recogniser=recogniser,
    )


def device_and_dtype(settings: Settings) -> tuple[str, torch.dtype]:
    """Where and how exactly to compute; InvalidRequest for a device that is not there."""
    import torch

    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if device.partition(":")[0] not in DEVICES:
        raise InvalidRequest(f"There is no device called {device!r}. Choose auto, cpu, cuda, cuda:1 or mps.")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidRequest(
            f"The device {device!r} cannot be used here ({_first_line(error)}). `likeness doctor` lists the devices."
        ) from error
    types = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    types["auto"] = torch.float32 if device == "cpu" else torch.float16
    if settings.dtype not in types:
        raise InvalidRequest(f"There is no number format {settings.dtype!r}; it is one of {', '.join(sorted(types))}.")
    return device, types[settings.dtype]


def tune(parts: Parts, settings: Settings) -> None:
    """Storage, compiling, capturing and attention as the settings have it, before anything of `parts` is loaded; InvalidRequest for other
    words. All but storage are for NVIDIA's GPUs and do nothing elsewhere."""
    import torch

    from .pipelines import kernels

    if settings.storage not in STORAGE:
        raise InvalidRequest(f"There is no storage {settings.storage!r}; it is one of {', '.join(STORAGE)}.")
    if settings.faces not in FACES:
        raise InvalidRequest(f"Faces cannot be read on {settings.faces!r}; it is one of {', '.join(FACES)}.")
    for name in ("compile", "graphs"):
        if getattr(settings, name) not in ("yes", "no"):
            raise InvalidRequest(f'The setting {name} is "yes" or "no", not {getattr(settings, name)!r}.')
    kernels.check(settings.attention)
    if settings.storage == "float8":
        parts.storage = torch.float8_e4m3fn
    if parts.device.type != "cuda":
        return
    kernels.prefer(settings.attention)
    if settings.compile == "yes":
        from .pipelines.compiled import Compiler

        parts.compiler = Compiler(cache=cache_home(os.environ) / "compiled", say=lambda words: print(f"compiler: {words}"))
    if settings.graphs == "yes":
        from .pipelines.graphs import CudaCapturer, Graphs

        parts.graphs = Graphs(CudaCapturer(parts.device), say=lambda words: print(f"graphs: {words}"))


def _hint(settings: Settings) -> str:
    fetched = REAL in installed(settings)
    cure = (
        f"choose {REAL} with --model" if fetched else f"fetch a real model with `likeness models pull {REAL}`, then choose it with --model"
    )
    return f"The built-in model knows drawn people only, no photographs: for those, {cure}."


def _unknown(settings: Settings, name: str) -> str:
    names = ", ".join(sorted(installed(settings))) or "none at all"
    return f"There is no model called {name!r}. Installed: {names}. Further models are folders in {settings.models}."


def hush() -> None:
    """diffusers and transformers report every loaded file, and quote prompts that are too long: no screen and no log wants that."""
    import diffusers.utils.logging as diffusers_log
    import transformers.utils.logging as transformers_log

    for log in (diffusers_log, transformers_log):
        log.set_verbosity_error()
        log.disable_progress_bar()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
