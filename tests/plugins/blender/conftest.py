"""Real Blender as a Python module, one process per scene. Two variables say where it is; without them these tests are skipped."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

VARIABLES = {"4.5": "LIKENESS_BPY_45", "5.x": "LIKENESS_BPY_5"}
SCENES = Path(__file__).parent / "in_blender"


@dataclass(frozen=True)
class Played:
    """What a scene told, and what it left in its folder."""

    words: dict[str, Any]
    folder: Path

    def __getitem__(self, name: str) -> Any:
        return self.words[name]

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / f"{name}.npz") as kept:
            return dict(kept)


@pytest.fixture(scope="session", params=VARIABLES, ids=lambda version: f"Blender {version}")
def blender_python(request: pytest.FixtureRequest) -> str:
    """The Python that has this Blender as a module."""
    variable = VARIABLES[request.param]
    python = os.environ.get(variable, "")
    if not python:
        pytest.skip(
            f"{variable} does not name a Python with Blender's module (pip install bpy), so nothing is played in Blender {request.param}."
        )
    return python


@pytest.fixture(scope="session")
def play(blender_python: str, tmp_path_factory: pytest.TempPathFactory):
    """Play a scene once in this Blender, with further words for it if need be; every test that asks for it reads the same answer."""
    kept: dict[str, Played] = {}

    def play(scene: str, *further: object, timeout_s: float = 300) -> Played:
        if scene not in kept:
            folder = tmp_path_factory.mktemp(scene)
            words = [blender_python, str(SCENES / f"play_{scene}.py"), str(folder), *map(str, further)]
            (temporary := folder / "temporary").mkdir()  # its own: what is left there is nobody else's
            around = {**os.environ, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))}
            done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False, env=around)
            said = folder / "answer.json"
            assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
            assert said.is_file(), f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
            kept[scene] = Played(json.loads(said.read_text(encoding="utf-8")), folder)
        return kept[scene]

    return play
