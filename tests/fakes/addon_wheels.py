"""Made-up wheels of pyzmq and msgpack, for every Python and system that the add-ons are made for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from fake_wheels import write_wheel

from backend.addons.wheels import PYZMQ, Build
from backend.blender.package import PLATFORMS as BLENDERS
from backend.blender.package import builds_for
from backend.krita.wheels import targets_everywhere, targets_here

PLATFORMS = {
    "linux_x86_64": "manylinux_2_28_x86_64",
    "linux_aarch64": "manylinux_2_28_aarch64",
    "macosx": "macosx_10_15_universal2",
    "macosx_arm64": "macosx_11_0_arm64",
    "macosx_x86_64": "macosx_10_13_x86_64",
    "win_amd64": "win_amd64",
    "win_arm64": "win_arm64",
}


def write_pyzmq(folder: Path, version: str = "27.9") -> Path:
    """A folder for pip's --find-links with all of them; each holds a zmq that says which one it is. On Macs there is one for both kinds."""
    for target in {*targets_everywhere(), *targets_here()}:
        _write_pyzmq(folder, target.build, version, target.folder)
    mine = [build for build in builds_for(list(BLENDERS)) if build.project is PYZMQ]
    for build in mine:
        system = "macosx" if build.system.startswith("macosx") else build.system
        _write_pyzmq(folder, Build(PYZMQ, (3, 12) if build.is_stable else build.python, system), version, "")
    return folder


def write_msgpack(folder: Path, version: str = "1.9", builds: Iterable[Build] | None = None) -> Path:
    """The same for msgpack, which has a build for each Python and each kind of Mac."""
    for build in builds_for(list(BLENDERS)) if builds is None else builds:
        if build.project is not PYZMQ:
            python = f"cp{build.python[0]}{build.python[1]}"
            write_wheel(folder, "msgpack", version=version, tag=f"{python}-{python}-{PLATFORMS[build.system]}")
    return folder


def _write_pyzmq(folder: Path, build: Build, version: str, which: str) -> None:
    python = f"cp{build.python[0]}{build.python[1]}"
    tag = f"{python}-{'abi3' if build.is_stable else python}-{PLATFORMS[build.system]}"
    if (folder / f"pyzmq-{version}-{tag}.whl").exists():
        return
    files = {
        "zmq/__init__.py": f"which = {which!r}\nversion = {version!r}\n\ndef has(what):\n    return what == 'curve'\n",
        "zmq/tests/test_much.py": "",
        "zmq/utils/deep.h": "",
        f"pyzmq-{version}.dist-info/licenses/LICENSE.md": "BSD, made up",
    }
    write_wheel(folder, "pyzmq", files, version=version, tag=tag)


def pip_sees_only(monkeypatch: pytest.MonkeyPatch, wheels: Path | None) -> None:
    """Without a network: pip has this folder, or nothing at all."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    if wheels is not None:
        monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
