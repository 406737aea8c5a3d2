"""What pyproject.toml says about the packages that get in each other's way."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from fake_wheels import write_all, write_wheel

PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
[STATIC] = [one for one in PYPROJECT["tool"]["uv"]["dependency-metadata"] if one["name"] == "insightface"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", one, maxsplit=1)[0].lower() for one in requirements}


def test_insightfaces_needs_are_stated_as_they_are_but_for_two() -> None:
    real = [one for one in metadata.requires("insightface") or [] if "extra ==" not in one]
    assert names(STATIC["requires-dist"]) == names(real) - {"opencv-python", "onnxruntime"}


def test_the_project_asks_for_one_opencv_and_leaves_the_choice_of_onnxruntime_to_the_extras() -> None:
    project = PYPROJECT["project"]
    assert {name for name in names(project["dependencies"]) if "opencv" in name} == {"opencv-contrib-python-headless"}
    assert not {name for name in names(project["dependencies"]) if "onnxruntime" in name}
    assert names(project["optional-dependencies"]["cpu"]) == {"onnxruntime"}
    assert "onnxruntime-gpu" in names(project["optional-dependencies"]["gpu"])


@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv")
@pytest.mark.parametrize(("extra", "runtime"), [("cpu", "onnxruntime"), ("gpu", "onnxruntime-gpu")])
def test_uv_installs_exactly_one_of_each(tmp_path: Path, extra: str, runtime: str) -> None:
    wheels = write_all(tmp_path / "wheels")
    for need in sorted(names(STATIC["requires-dist"])):
        write_wheel(wheels, need, version="99")
    (tmp_path / "pyproject.toml").write_text(
        "[project]\nname = 'trial'\nversion = '1'\nrequires-python = '>=3.11'\n"
        "dependencies = ['insightface', 'opencv-contrib-python-headless']\n"
        "[project.optional-dependencies]\ncpu = ['onnxruntime']\ngpu = ['onnxruntime-gpu']\n"
        f"[[tool.uv.dependency-metadata]]\nname = 'insightface'\nrequires-dist = {STATIC['requires-dist']}\n"
    )
    command = ["uv", "pip", "compile", "pyproject.toml", "--extra", extra, "--no-index", "--find-links", str(wheels), "--no-header", "-q"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    resolved = {line.split("==")[0] for line in done.stdout.splitlines() if "==" in line}
    assert {name for name in resolved if "opencv" in name or "onnxruntime" in name} == {"opencv-contrib-python-headless", runtime}
