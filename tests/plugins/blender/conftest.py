"""Real Blender as a Python module, one process per scene. Two variables say where it is; without them these tests are skipped."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
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


class Scenes:
    """Scenes that were played or are. The same one is played in all Blenders of the run at once: each computes on one core."""

    def __init__(self, pool: Executor, pythons: Sequence[str], folders: pytest.TempPathFactory) -> None:
        self._pool, self._pythons, self._folders = pool, pythons, folders
        self._kept: dict[tuple[str, str], Future[Played]] = {}

    def played(self, python: str, scene: str, further: Sequence[object], timeout_s: float, alone: bool) -> Played:
        for one in (python, *(() if alone else self._pythons)):
            if (one, scene) not in self._kept:
                folder = self._folders.mktemp(scene)
                words = [one, str(SCENES / f"play_{scene}.py"), str(folder), *map(str, further)]
                self._kept[one, scene] = self._pool.submit(play_scene, words, folder, dict(os.environ), timeout_s)
        return self._kept[python, scene].result()


def play_scene(words: Sequence[str], folder: Path, environment: Mapping[str, str], timeout_s: float) -> Played:
    (temporary := folder / "temporary").mkdir()  # its own: what is left there is nobody else's
    around = {**environment, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))}
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False, env=around)
    said = folder / "answer.json"
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    assert said.is_file(), f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return Played(json.loads(said.read_text(encoding="utf-8")), folder)


@pytest.fixture(scope="session")
def scenes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    asked = [item.callspec.params.get("blender_python") for item in request.session.items if hasattr(item, "callspec")]
    pythons = [os.environ.get(variable, "") for version, variable in VARIABLES.items() if version in asked]
    with ThreadPoolExecutor(len(VARIABLES)) as pool:
        yield Scenes(pool, [python for python in pythons if python], tmp_path_factory)


@pytest.fixture(scope="session")
def play(blender_python: str, scenes: Scenes):
    """Play a scene once in this Blender, with further words for it if need be; every test that asks for it reads the same answer.

    `alone`: not in the other Blenders at the same time.
    """

    def play(scene: str, *further: object, timeout_s: float = 600, alone: bool = False) -> Played:
        return scenes.played(blender_python, scene, further, timeout_s, alone)

    return play
