"""Packages that overwrite each other's files are noticed, said, and mended."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from fake_wheels import ONNXRUNTIME as BINDING
from fake_wheels import OPENCV as CV2
from fake_wheels import unpack, write_wheel

from backend.runtime_check import ONNXRUNTIME, OPENCV, Finding, Health, Shared, diagnose, examine, mend, owners


def install(tmp_path: Path, *names: str) -> str:
    """Install distributions in this order into one folder, as installers do; returns the folder."""
    site = tmp_path / "site"
    for name in names:
        path = CV2 if name.startswith("opencv") else BINDING
        # texts of one length: sizes alone must not decide
        unpack(write_wheel(tmp_path / "wheels", name, {path: name.rjust(40)}, version="1.31"), site)
    return str(site)


def verdict(shared: Shared, site: str, failure: str = "") -> Finding:
    return diagnose(shared, owners(shared, [site]), failure)


def test_a_single_intact_package_is_fine(tmp_path: Path) -> None:
    finding = verdict(ONNXRUNTIME, install(tmp_path, "onnxruntime"))
    assert (finding.health, finding.sentence, finding.commands()) == (Health.FINE, "onnxruntime 1.31", [])


def test_the_one_written_last_is_seen_by_its_hash(tmp_path: Path) -> None:
    assert {one.name: one.in_place for one in owners(ONNXRUNTIME, [install(tmp_path, "onnxruntime-gpu", "onnxruntime")])} == {
        "onnxruntime": True,
        "onnxruntime-gpu": False,
    }


def test_a_gpu_build_that_was_overwritten_is_broken_and_the_cure_restores_it(tmp_path: Path) -> None:
    finding = verdict(ONNXRUNTIME, install(tmp_path, "onnxruntime-gpu", "onnxruntime"))
    assert finding.health is Health.BROKEN
    assert "those of onnxruntime-gpu were overwritten: faces are computed on the CPU alone" in finding.sentence
    assert finding.commands("python") == [
        ["python", "-m", "pip", "uninstall", "-y", "onnxruntime"],
        ["python", "-m", "pip", "install", "--no-deps", "--force-reinstall", "onnxruntime-gpu==1.31"],
    ]
    assert finding.commands("python", uv="uv") == [
        ["uv", "pip", "uninstall", "--python", "python", "onnxruntime"],
        ["uv", "pip", "install", "--python", "python", "--no-deps", "--reinstall", "onnxruntime-gpu==1.31"],
    ]


def test_a_gpu_build_that_lies_on_top_works_but_is_fragile(tmp_path: Path) -> None:
    finding = verdict(ONNXRUNTIME, install(tmp_path, "onnxruntime", "onnxruntime-gpu"))
    assert finding.health is Health.FRAGILE
    assert finding.remove == ("onnxruntime",)


def test_what_is_left_after_one_of_two_was_uninstalled_is_incomplete(tmp_path: Path) -> None:
    site = install(tmp_path, "onnxruntime-gpu")
    (Path(site) / BINDING).unlink()
    finding = verdict(ONNXRUNTIME, site, "No module named 'onnxruntime.capi'")
    assert finding.health is Health.BROKEN
    assert finding.commands("python") == [["python", "-m", "pip", "install", "--no-deps", "--force-reinstall", "onnxruntime-gpu==1.31"]]


def test_nothing_installed_says_what_to_install(tmp_path: Path) -> None:
    finding = verdict(ONNXRUNTIME, str(tmp_path), "No module named 'onnxruntime'")
    assert (finding.health, finding.install) == (Health.BROKEN, "onnxruntime")


def test_a_module_from_elsewhere_that_loads_is_left_alone(tmp_path: Path) -> None:
    assert verdict(OPENCV, str(tmp_path)).health is Health.FINE


@pytest.mark.parametrize(("failure", "health"), [("", Health.FRAGILE), ("libGL.so.1: cannot open shared object file", Health.BROKEN)])
def test_the_windowed_opencv_on_top_matters_only_where_it_does_not_load(tmp_path: Path, failure: str, health: Health) -> None:
    finding = verdict(OPENCV, install(tmp_path, "opencv-contrib-python-headless", "opencv-python"), failure)
    assert finding.health is health
    assert (finding.remove, finding.install) == (("opencv-python",), "opencv-contrib-python-headless==1.31")


def test_the_windowed_opencv_alone_is_replaced_where_it_does_not_load(tmp_path: Path) -> None:
    site = install(tmp_path, "opencv-python")
    assert verdict(OPENCV, site).health is Health.FINE
    finding = verdict(OPENCV, site, "libGL.so.1: cannot open shared object file")
    assert "libGL.so.1" in finding.sentence
    assert (finding.remove, finding.install) == (("opencv-python",), "opencv-python-headless==1.31")


def test_the_headless_opencv_on_top_of_the_windowed_one_is_what_pip_leaves(tmp_path: Path) -> None:
    finding = verdict(OPENCV, install(tmp_path, "opencv-python", "opencv-contrib-python-headless"))
    assert finding.health is Health.FRAGILE
    assert "those of opencv-contrib-python-headless are in place" in finding.sentence


def test_both_modules_are_examined_and_why_one_does_not_load_is_said(tmp_path: Path) -> None:
    def load(name: str) -> None:
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file")

    site = install(tmp_path, "opencv-python", "onnxruntime")
    runtime, opencv = examine([site], load)
    assert runtime.health is Health.FINE
    assert "libGL.so.1" in opencv.sentence


def test_other_packages_with_similar_names_are_not_owners(tmp_path: Path) -> None:
    site = tmp_path / "site"
    unpack(write_wheel(tmp_path, "onnxruntime-extensions", {"onnxruntime_extensions/__init__.py": ""}), site)
    assert owners(ONNXRUNTIME, [str(site)]) == []


def test_mending_stops_at_the_first_command_that_fails(tmp_path: Path) -> None:
    findings = examine([install(tmp_path, "onnxruntime-gpu", "onnxruntime")], lambda name: None)
    commands: list[list[str]] = []

    def refuse(command: list[str]) -> int:
        commands.append(command)
        return 1

    assert not mend(findings, refuse)
    assert len(commands) == 1


def imports_setuptools(code: str) -> bool:
    """Whether a fresh interpreter can import setuptools, as torch's compiler does, after `code`."""
    root = Path(__file__).resolve().parents[2]
    return subprocess.run([sys.executable, "-c", f"{code}\nimport setuptools"], cwd=root, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="this environment has no setuptools")
def test_looking_for_pip_leaves_torchs_compiler_its_setuptools() -> None:
    assert imports_setuptools("from backend.addons.wheels import pip_words; pip_words()")
    assert imports_setuptools("from backend.runtime_check import has_pip; has_pip()")


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="only up to Python 3.11 does setuptools bring a hook for distutils")
@pytest.mark.skipif(importlib.util.find_spec("_distutils_hack") is None, reason="this environment has no such hook")
def test_the_usual_way_of_looking_for_pip_would_not() -> None:
    """The unsafe twin."""
    assert not imports_setuptools("import importlib.util; importlib.util.find_spec('pip')")
