"""With the gpu extra, the GPU's onnxruntime is the one that works, whatever the installer wrote last."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from backend.cli.settle import settle

BINDING = "onnxruntime/capi/onnxruntime_pybind11_state.so"


def install(site: Path, name: str, content: bytes) -> None:
    """As an installer does it: the file, written over whatever is there, and a record of what was written."""
    file = site / BINDING
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    info = site / f"{name.replace('-', '_')}-1.31.0.dist-info"
    info.mkdir(exist_ok=True)
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.31.0\n")
    (info / "RECORD").write_text(f"{BINDING},sha256={digest},{len(content)}\n")


@pytest.fixture
def asked() -> list[list[str]]:
    return []


def settled(site: Path, asked: list[list[str]], status: int = 0) -> bool:
    def run(command: list[str]) -> int:
        asked.append(command)
        return status

    return settle(run, [str(site)])


def test_an_overwritten_gpu_build_is_installed_anew(tmp_path, asked):
    install(tmp_path, "onnxruntime-gpu", b"with a GPU")
    install(tmp_path, "onnxruntime", b"for the CPU alone")
    assert settled(tmp_path, asked)
    assert "uninstall" in asked[0]
    assert asked[0][-1] == "onnxruntime"
    assert asked[-1][-1] == "onnxruntime-gpu==1.31.0"
    assert "--no-deps" in asked[-1]


def test_a_gpu_build_that_is_in_place_is_left_alone(tmp_path, asked):
    install(tmp_path, "onnxruntime", b"for the CPU alone")
    install(tmp_path, "onnxruntime-gpu", b"with a GPU")
    assert not settled(tmp_path, asked)
    assert asked == []


def test_the_plain_build_alone_is_left_alone(tmp_path, asked):
    install(tmp_path, "onnxruntime", b"for the CPU alone")
    assert not settled(tmp_path, asked)
    assert asked == []


def test_what_cannot_be_put_right_is_said_with_the_commands(tmp_path, asked, capsys):
    install(tmp_path, "onnxruntime-gpu", b"with a GPU")
    install(tmp_path, "onnxruntime", b"for the CPU alone")
    assert not settled(tmp_path, asked, status=1)
    assert "onnxruntime-gpu==1.31.0" in capsys.readouterr().err
