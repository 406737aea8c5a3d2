"""A wheel of the project, installed: it has what `likeness krita install` puts into Krita, and what Blender's ZIP is made of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
from addon_wheels import pip_sees_only, write_msgpack, write_pyzmq

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, unpacked. It is built from a copy without the weights, which have no part in this and take their time."""
    # Asked of the metadata: importing setuptools into a process that has distutils already fails.
    found = next((one.version for one in distributions(name="setuptools")), "0")
    if int(found.split(".")[0]) < 77:
        pytest.skip("builds a wheel without a network, so setuptools 77 or newer must be here")
    folder = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.onnx", "*.bin", "*.png")
    for room in ("backend", "protocol", "plugin_krita", "plugin_blender"):
        shutil.copytree(ROOT / room, folder / "source" / room, ignore=left_out)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder / "source")
    words = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(folder), str(folder / "source")]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.parametrize("plugin", ["plugin_krita", "plugin_blender"])
def test_it_has_the_plug_in_with_everything_that_lies_beside_its_sources(installed: Path, plugin: str) -> None:
    assert {path.name for path in (installed / plugin).iterdir()} == {
        path.name for path in (ROOT / plugin).iterdir() if path.name not in ("__pycache__", "pictures")
    }  # the pictures are the README's


def test_both_licences_come_along(installed: Path) -> None:
    [metadata] = installed.glob("*.dist-info")
    assert "License-Expression: Apache-2.0 AND GPL-3.0-or-later" in (metadata / "METADATA").read_text()
    texts = [path.read_text() for path in metadata.rglob("LICENSE")]
    assert any("Apache License" in text for text in texts)
    assert any("GNU GENERAL PUBLIC LICENSE" in text for text in texts)


def test_the_installed_likeness_puts_the_docker_into_krita(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_sees_only(monkeypatch, write_pyzmq(tmp_path / "wheels"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "artist").mkdir()
    start = f"import sys; sys.path.insert(0, {str(installed)!r}); from backend.__main__ import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-P", "-c", start, "krita", "install", "--home", str(tmp_path / "artist")]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [plugin] = (tmp_path / "artist").rglob("pykrita/likeness")
    assert {path.name for path in plugin.glob("*.py")} == {path.name for path in (ROOT / "plugin_krita").glob("*.py")}
    assert f'"{sys.executable}"' in (plugin / "backend.json").read_text()


def test_the_installed_likeness_makes_blenders_zip(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_sees_only(monkeypatch, write_msgpack(write_pyzmq(tmp_path / "wheels")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    start = f"import sys; sys.path.insert(0, {str(installed)!r}); from backend.__main__ import main; sys.exit(main(sys.argv[1:]))"
    words = ["blender", "zip", "--platform", "linux-x64", "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-P", "-c", start, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [made] = (tmp_path / "out").glob("*.zip")
    with zipfile.ZipFile(made) as archive:
        names = set(archive.namelist())
    assert {path.name for path in (ROOT / "plugin_blender").glob("*.py")} == {
        name for name in names if "/" not in name and name[-3:] == ".py"
    }
    assert {"blender_manifest.toml", "LICENSE", "protocol/client.py"} <= names
