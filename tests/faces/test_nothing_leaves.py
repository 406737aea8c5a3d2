"""onnxruntime tells its makers about every session, unless it is told not to before it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READS = """
import onnxruntime
onnxruntime.InferenceSession("backend/sketch/faces/rec.onnx", providers=["CPUExecutionProvider"])
"""


def left_by(program: str, home: Path) -> list[str]:
    """The files that a process which reads faces leaves in its user's home."""
    home.mkdir()
    usual = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY" and not name.startswith("XDG_")}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env={**usual, "HOME": str(home)}, check=True)
    return [path.name for path in home.rglob("*") if path.is_file()]


def test_reading_faces_leaves_no_events_for_onnxruntimes_makers(tmp_path: Path) -> None:
    assert left_by(f"import backend\n{READS}", tmp_path / "ours") == []
    if not left_by(READS, tmp_path / "theirs"):
        pytest.skip("this onnxruntime keeps none, with or without being asked")
