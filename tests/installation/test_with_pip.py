"""The real pip, without a network, on wheels that collide as the real ones do: what one command leaves, and that mending mends it."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from fake_wheels import write_all

from backend.runtime_check import Health, examine, has_pip, mend

pytestmark = pytest.mark.skipif(not has_pip(), reason="this environment has no pip")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("wheels"))


class Environment:
    """A virtual environment that our pip installs into."""

    def __init__(self, folder: Path, wheels: Path) -> None:
        venv.create(folder, with_pip=False)
        binaries = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = str(next(binaries.glob("python*")))
        self._settings = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        [self.site] = [str(path) for path in folder.rglob("site-packages")]

    def run(self, command: list[str]) -> int:
        """Run a pip command that names this environment's python, which has no pip of its own, by ours."""
        assert command[:3] == [self.python, "-m", "pip"]
        return self.pip(*command[3:])

    def pip(self, *arguments: str) -> int:
        command = [sys.executable, "-m", "pip", "--python", self.python, *arguments, "-q"]
        return subprocess.run(command, env=self._settings, check=False).returncode

    def read(self, path: str) -> str:
        return (Path(self.site) / path).read_text()

    def health(self) -> list[Health]:
        return [finding.health for finding in examine([self.site], lambda name: None)]


def test_one_command_leaves_the_headless_opencv_on_top_and_mending_makes_the_gpu_build_work(tmp_path: Path, wheels: Path) -> None:
    environment = Environment(tmp_path / "env", wheels)
    assert environment.pip("install", "likeness-like[gpu]") == 0
    assert environment.read("cv2/cv2.abi3.so") == "binding of opencv-contrib-python-headless"
    assert environment.health() == [Health.BROKEN, Health.FRAGILE]
    assert mend(examine([environment.site], lambda name: None), environment.run, environment.python)
    assert environment.health() == [Health.FINE, Health.FINE]
    assert environment.read("onnxruntime/capi/onnxruntime_pybind11_state.so") == "binding of onnxruntime-gpu"
    assert environment.read("cv2/cv2.abi3.so") == "binding of opencv-contrib-python-headless"


@pytest.mark.slow
def test_the_usual_headless_opencv_would_be_overwritten(tmp_path: Path, wheels: Path) -> None:
    """The unsafe twin, and why the project asks for the contrib kind."""
    environment = Environment(tmp_path / "env", wheels)
    assert environment.pip("install", "insightface", "opencv-python-headless") == 0
    assert environment.read("cv2/cv2.abi3.so") == "binding of opencv-python"
