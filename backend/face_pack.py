"""The ONNX files behind `FaceAnalyser`: a detector and a recogniser, loaded through insightface or refused with a sentence.

SCRFD (Guo et al., arXiv:2105.04714) finds faces and five keypoints, ArcFace (Deng et al., arXiv:1801.07698) turns an aligned face into 512
numbers. insightface and onnxruntime are imported when a pack is loaded, not before.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from protocol.errors import ModelError

from .models.recognisers import EMBEDDING, Recogniser, onnx_sha256

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

INPUT = 640
"""Side of the detector's square input that a pack is prepared with, InstantID's."""


class Detector(Protocol):
    """What is used of insightface's SCRFD. Pictures are BGR; boxes (faces, 5) with the score last; keypoints (faces, 5, 2)."""

    static_input_size: tuple[int, int] | None

    def detect(self, img: Pixels, input_size: tuple[int, int]) -> tuple[Floats, Floats]:
        """Boxes (faces, 5) and keypoints (faces, 5, 2) of a picture (H, W, 3)."""
        ...


class Embedder(Protocol):
    """What is used of insightface's ArcFaceONNX: an aligned BGR crop -> (1, 512); `model_file` is its ONNX file."""

    model_file: str
    input_size: tuple[int, int]
    input_mean: float
    input_std: float
    output_shape: list[int]

    def get_feat(self, imgs: Pixels) -> Floats:
        """The raw embedding (1, 512) of an aligned crop (112, 112, 3)."""
        ...


@dataclass(frozen=True, slots=True)
class Pack:
    """What finds faces and what recognises them."""

    detector: Detector
    embedder: Embedder


def pack_folder(folder: Path) -> Path:
    """The folder that holds the ONNX files: `folder`, or its only subfolder (antelopev2's archive is nested)."""
    if not folder.is_absolute():
        # insightface looks for relative names below the current directory first, then downloads.
        raise ModelError(f"The face models' folder must be given as an absolute path, and {str(folder)!r} is relative.")
    if not folder.is_dir():
        raise ModelError(f"The face models' folder {folder} does not exist. Install the model once more, or correct its path.")
    inner = [entry for entry in folder.iterdir() if entry.is_dir()]
    for candidate in [folder, *inner[:1]] if len(inner) == 1 else [folder]:
        if any(candidate.glob("*.onnx")):
            return candidate.resolve()
    raise ModelError(f"The folder {folder} holds no face models (a detector and a recogniser as .onnx files). Install the model once more.")


def load_pack(folder: Path, providers: Sequence[str], det_threshold: float, recogniser: Recogniser | None = None) -> Pack:
    """Detector and recogniser from a folder of ONNX files, or the recogniser from the file that `recogniser` names beside it.

    `recogniser` also says what its file must be like. Every way in which a pack can be wrong is a `ModelError`.
    """
    folder = pack_folder(folder)
    alone = recogniser.file if recogniser is not None else None
    try:
        runtime = importlib.import_module("onnxruntime")
        app = importlib.import_module("insightface.app")
    except (ImportError, OSError) as error:
        raise ModelError(f"Faces cannot be read: a library does not load ({error}). `likeness doctor` says what to install.") from error
    if missing := [name for name in providers if name not in runtime.get_available_providers()]:
        raise ModelError(
            f"onnxruntime here cannot compute with {', '.join(missing)}, only with {', '.join(runtime.get_available_providers())}. "
            "`likeness doctor` says which packages are in each other's way."
        )
    try:
        # Some of insightface's models print while they load; standard output may be somebody's protocol.
        with contextlib.redirect_stdout(sys.stderr):
            pack = app.FaceAnalysis(
                name=str(folder),
                allowed_modules=["detection"] if alone else ["detection", "recognition"],
                providers=list(providers),
                sess_options=_session_options(runtime),
                static_shape_sessions=False,
            )
            pack.prepare(ctx_id=0, det_thresh=det_threshold, det_size=(INPUT, INPUT))
            models = dict(pack.models)
            if alone is not None:
                models["recognition"] = _alone(alone, runtime, providers)
        found = _checked_pack(folder, models)
        if recogniser is not None:
            _check_recogniser(found.embedder, recogniser)
        return found
    except ModelError:
        raise
    except AssertionError as error:  # how insightface says that a folder lacks a detector
        said = f"The face models in {folder} are not complete: no detection model is among them. Install the model once more."
        raise ModelError(said) from error
    except Exception as error:  # onnxruntime, onnx and insightface raise unrelated types
        said = f"The face models in {folder} cannot be loaded ({type(error).__name__}: {error}). Install the model once more."
        raise ModelError(said) from error


def _session_options(runtime: ModuleType) -> object:
    """Few threads that sleep when idle: by default, onnxruntime's spin on every core while torch needs them."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = min(4, os.cpu_count() or 1)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _checked_pack(folder: Path, models: dict[str, Any]) -> Pack:
    missing = [name for name in ("detection", "recognition") if name not in models]
    if missing:
        raise ModelError(f"The face models in {folder} are not complete: no {' and no '.join(missing)} model is among them.")
    detector, recogniser = models["detection"], models["recognition"]
    if not getattr(detector, "use_kps", False):
        raise ModelError(f"The face detector in {folder} gives no keypoints, and InstantID needs five. Use one that does (SCRFD … bnkps).")
    fixed = detector.static_input_size
    if fixed and fixed[0] != fixed[1]:
        raise ModelError(f"The face detector in {folder} takes {fixed[0]} x {fixed[1]} pixels, and only square inputs are supported.")
    side, width = recogniser.input_size[0], recogniser.output_shape[-1]
    if side % 112 and side % 128:
        raise ModelError(f"The face recogniser in {folder} takes {side} pixels, and only multiples of 112 or 128 are supported.")
    if width != EMBEDDING:
        raise ModelError(f"The face recogniser in {folder} gives {width} numbers for a face; InstantID and FaceID take {EMBEDDING}.")
    return Pack(detector, recogniser)


def _alone(file: Path, runtime: ModuleType, providers: Sequence[str]) -> object:
    """A recogniser from one ONNX file."""
    if not file.is_absolute() or not file.is_file():
        raise ModelError(f"The recogniser {file} does not exist. Install it once more, or correct its place in model.toml.")
    arcface = importlib.import_module("insightface.model_zoo.arcface_onnx")
    session = runtime.InferenceSession(str(file), sess_options=_session_options(runtime), providers=list(providers))
    return arcface.ArcFaceONNX(model_file=str(file), session=session)


def _check_recogniser(embedder: Embedder, said: Recogniser) -> None:
    """Refuse another file than model.toml speaks of, and take the normalisation that it gives."""
    if said.sha256 and onnx_sha256(Path(embedder.model_file)) != said.sha256:
        raise ModelError(
            f"{Path(embedder.model_file).name} is not the recogniser {said.name} that model.toml speaks of: its sha256 is another. What "
            "adapters and characters know would not fit. Install the model once more."
        )
    if said.input is not None and said.input != int(embedder.input_size[0]):
        raise ModelError(f"The recogniser {said.name} takes {embedder.input_size[0]} pixels, and model.toml says {said.input}. Correct it.")
    if said.embedding != EMBEDDING:
        raise ModelError(f"The recogniser {said.name} gives {said.embedding} numbers for a face; InstantID and FaceID take {EMBEDDING}.")
    if said.normalisation is not None:
        embedder.input_mean, embedder.input_std = said.normalisation
