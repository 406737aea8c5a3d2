"""What the command says about itself, and how fast."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "transformers", "insightface", "onnxruntime", "cv2", "numpy", "PIL", "tqdm")
COMMANDS = ("demo", "portrait", "inpaint", "again", "doctor", "evaluate", "train", "models", "krita", "blender")


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


def test_help_imports_none_of_the_heavy_libraries():
    script = f"""
import sys, json
from backend.__main__ import main
try:
    main(["--help"])
except SystemExit:
    pass
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""
    assert json.loads(python("-c", script).stdout.splitlines()[-1]) == []


@pytest.mark.skipif(sys.platform == "win32", reason="a child's processor time is measured with getrusage")
def test_help_takes_less_than_three_tenths_of_a_second_of_the_processor():
    """Processor time, the best of several: a busy machine makes the clock on the wall say anything, and the processor slower."""
    import resource

    def taken() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert python("-m", "backend", "--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(taken() < 0.3 for _ in range(5))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help(command: str):
    done = python("-m", "backend", command, "--help")
    assert done.returncode == 0
    assert f"likeness {command}" in done.stdout


def test_the_help_names_every_command():
    text = python("-m", "backend", "--help").stdout
    assert [command for command in COMMANDS if command not in text] == []
