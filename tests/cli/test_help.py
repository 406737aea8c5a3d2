"""What the command says about itself, and how fast."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from backend.cli.main import COMMANDS, main

HEAVY = ("torch", "diffusers", "transformers", "insightface", "onnxruntime", "cv2", "numpy", "PIL", "tqdm")


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
    """Processor time, the best of several: a busy machine makes the clock on the wall say anything, and the processor slower. Where Python
    itself is slow, as without compiled files, it counts how much slower: some of its own modules take a twentieth of a second otherwise."""
    import resource

    def taken(*words: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert python(*words).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    floor = min(taken("-c", "import argparse, dataclasses, json, pathlib") for _ in range(3))
    assert any(taken("-m", "backend", "--help") < 0.3 * max(1.0, floor / 0.05) for _ in range(5))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match=r"^0$"):
        main([command, "--help"])
    assert f"likeness {command}" in capsys.readouterr().out


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    named = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ") and line[4] != " "]
    assert named == list(COMMANDS)
