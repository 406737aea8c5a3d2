"""Made-up wheels of pyzmq for every Python and system that Krita has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_wheels import write_wheel

from backend.krita.wheels import targets_everywhere, targets_here

PLATFORMS = {
    "linux_x86_64": "manylinux_2_28_x86_64",
    "linux_aarch64": "manylinux_2_28_aarch64",
    "macosx": "macosx_10_15_universal2",
    "win_amd64": "win_amd64",
    "win_arm64": "win_arm64",
}


def write_pyzmq(folder: Path, version: str = "27.9") -> Path:
    """A folder for pip's --find-links with all of them; each holds a zmq that says which one it is."""
    for target in {*targets_everywhere(), *targets_here()}:
        python = f"cp{target.python[0]}{target.python[1]}"
        tag = f"{python}-{'abi3' if target.python >= (3, 12) else python}-{PLATFORMS[target.system]}"
        files = {
            "zmq/__init__.py": f"which = {target.folder!r}\nversion = {version!r}\n\ndef has(what):\n    return what == 'curve'\n",
            "zmq/tests/test_much.py": "",
            "zmq/utils/deep.h": "",
            f"pyzmq-{version}.dist-info/licenses/LICENSE.md": "BSD, made up",
        }
        write_wheel(folder, "pyzmq", files, version=version, tag=tag)
    return folder


def pip_sees_only(monkeypatch: pytest.MonkeyPatch, wheels: Path | None) -> None:
    """Without a network: pip has this folder, or nothing at all."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    if wheels is not None:
        monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
