"""`likeness models` against a server on 127.0.0.1: the shipped catalogue's layout, with small stand-ins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from model_server import FakeHub

from backend.config import Settings
from backend.models.bundle import Model
from backend.models.catalog import Catalog
from backend.workbench import find_model

SETS = ("instantid-sdxl", "ip-adapter-plus-face-sdxl", "ip-adapter-bigg-sdxl", "faceid-sdxl", "controlnet-depth-sdxl")
SHIPPED = Catalog.load()


def settle_environment(patch: pytest.MonkeyPatch, server: FakeHub, models: Path) -> None:
    """Nothing of this machine is seen: no proxy, no login, no cache and no folder of another program."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith(("HF_", "TRANSFORMERS_"))]:
        patch.delenv(name)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        patch.setenv(name, str(models.parent / "home" / name))
    patch.setenv("LIKENESS_MODELS", str(models))
    patch.setattr("os.fsync", lambda handle: None)  # a hundred times in a pull, and a busy disk takes its time; no test here cuts the power
    patch.setenv("HF_ENDPOINT", server.endpoint)


def put_all(server: FakeHub, catalogue: Path, stand_ins: dict[str, bytes]) -> None:
    for file in Catalog.load(catalogue).files:
        server.put(file.repository, file.path, stand_ins[file.place], revision=file.revision)


def sentence(result: tuple[int, str, str]) -> str:
    """The one sentence of a refusal."""
    code, _, err = result
    assert code == 2, err
    lines = [line for line in err.splitlines() if line.strip() and "%|" not in line]
    assert len(lines) == 1, err
    assert lines[0].endswith((".", "?"))
    return lines[0]


def find_model_of(tmp_path: Path, name: str) -> Model:
    return find_model(Settings(tmp_path / "models", tmp_path / "logs"), name)
